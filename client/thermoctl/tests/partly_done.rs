//! What the binary says and does where it is interrupted, or where it can do a part of what it was asked.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "../../tests/support/mod.rs"]
#[allow(dead_code)] // Shared with the client's tests.
mod support;

use std::{process::Stdio, sync::Arc, time::Duration};

use rustix::process::{Pid, Signal, kill_process};
use support::{Fault, Node};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::{Child, ChildStdin, Command},
    sync::Notify,
    time::{sleep, timeout},
};
use tonic::Code;

/// Far beyond what anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);

struct Cluster {
    low: Node,
    high: Node,
    endpoints: String,
}

/// A run of the binary that goes on, with its standard input.
struct Running {
    child: Child,
    stdin: ChildStdin,
}

#[derive(Debug)]
struct Ended {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Cluster {
    async fn start() -> Self {
        let (low, high) = (Node::start("low", "", "m").await, Node::start("high", "m", "").await);
        let endpoints = support::endpoints_argument(&[&low, &high]);
        Self { low, high, endpoints }
    }

    fn begin(&self, arguments: &[&str]) -> Running {
        let mut child = Command::new(env!("CARGO_BIN_EXE_thermoctl"))
            .args(["--endpoints", &self.endpoints])
            .args(arguments)
            .env_remove("THERMOCLINE_HOME")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let stdin = child.stdin.take().unwrap();
        Running { child, stdin }
    }

    /// The state folder of a fleet with these nodes and without objects.
    fn home(&self) -> tempfile::TempDir {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join("objects")).unwrap();
        let entry = |node: &Node, range: &str| {
            let Node { endpoint, .. } = node;
            format!(
                "  - {{name: {}, kv: \"{}\", admin: \"{}\", range: {range}}}\n",
                endpoint.name, endpoint.kv, endpoint.admin
            )
        };
        let nodes = entry(&self.low, "{end: m}") + &entry(&self.high, "{start: m}");
        std::fs::write(home.path().join("endpoints.yaml"), format!("nodes:\n{nodes}")).unwrap();
        home
    }

    async fn run(&self, arguments: &[&str], input: &str) -> Ended {
        let mut running = self.begin(arguments);
        running.stdin.write_all(input.as_bytes()).await.unwrap();
        running.stdin.shutdown().await.unwrap();
        let Running { child, stdin } = running;
        drop(stdin);
        ended(child).await
    }

    /// Waits until the first node was called so.
    async fn called(&self, call: &str) {
        let asked = async {
            while !self.low.calls().contains(&call) {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(PATIENCE, asked).await.unwrap();
    }
}

impl Running {
    /// Asks it again and again until it has ended.
    async fn interrupted_to_its_end(mut self) -> Ended {
        let ended_by_itself = async {
            while self.child.try_wait().unwrap().is_none() {
                self.interrupt();
                sleep(Duration::from_millis(100)).await;
            }
        };
        timeout(PATIENCE, ended_by_itself).await.expect("it waits for the call");
        let Self { child, stdin } = self;
        let ended = ended(child).await;
        drop(stdin);
        ended
    }

    /// Waits until Ctrl-C is no longer the end of it at once.
    async fn listens_to_ctrl_c(&self) {
        let status = format!("/proc/{}/status", self.child.id().unwrap());
        let caught = || {
            let status = std::fs::read_to_string(&status).unwrap();
            let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap().trim();
            u64::from_str_radix(mask, 16).unwrap() & (1 << (Signal::INT.as_raw() - 1)) != 0
        };
        let listens = async {
            while !caught() {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(PATIENCE, listens).await.unwrap();
    }

    fn interrupt(&self) {
        interrupt(&self.child);
    }
}

fn interrupt(child: &Child) {
    let id = i32::try_from(child.id().unwrap()).unwrap();
    kill_process(Pid::from_raw(id).unwrap(), Signal::INT).unwrap();
}

/// Runs it to its end, without a cluster that is named for it.
async fn run(arguments: &[&str]) -> Ended {
    let mut command = Command::new(env!("CARGO_BIN_EXE_thermoctl"));
    command.args(arguments).env_remove("THERMOCLINE_HOME").stdin(Stdio::null());
    ended(command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true).spawn().unwrap()).await
}

async fn ended(child: Child) -> Ended {
    let output = timeout(PATIENCE, child.wait_with_output()).await.expect("it does not end").unwrap();
    Ended {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

#[tokio::test]
async fn an_import_that_waits_for_its_input_is_ended_by_ctrl_c() {
    // A pipe has a path too, as the shell gives a process substitution one.
    for file in ["-", "/dev/stdin"] {
        let cluster = Cluster::start().await;
        let mut running = cluster.begin(&["import", file, "--batch", "1"]);
        running.stdin.write_all(b"{\"key\":\"a\",\"value\":\"1\"}\n").await.unwrap();
        cluster.called("write").await;
        running.interrupt();
        let Running { child, stdin } = running;
        let ended = ended(child).await;
        drop(stdin);
        assert_eq!(ended.code, Some(130), "{ended:?}");
        assert!(ended.stderr.contains("stopped; 1 records are written"), "{ended:?}");
        assert!(ended.stderr.contains("--progress-file"), "none is kept beside it: {ended:?}");
    }
}

#[tokio::test]
async fn an_import_from_a_named_pipe_that_nobody_writes_to_is_ended_by_ctrl_c() {
    let cluster = Cluster::start().await;
    let folder = tempfile::tempdir().unwrap();
    for name in ["records.jsonl", "records.csv"] {
        let pipe = folder.path().join(name);
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let running = cluster.begin(&["import", pipe.to_str().unwrap()]);
        running.listens_to_ctrl_c().await;
        running.interrupt();
        let ended = ended(running.child).await;
        assert_eq!(ended.code, Some(130), "{ended:?}");
        assert!(ended.stderr.contains("stopped; 0 records are written"), "{ended:?}");
    }
}

#[tokio::test]
async fn an_import_that_is_interrupted_while_its_last_records_are_written_tells_both() {
    let cluster = Cluster::start().await;
    let answer = Arc::new(Notify::new());
    cluster.low.fault(Fault::DoAndWait(Arc::clone(&answer)));
    let mut running = cluster.begin(&["import"]);
    running.stdin.write_all(b"{\"key\":\"a\",\"value\":\"1\"}\n").await.unwrap();
    let Running { mut child, stdin } = running;
    drop(stdin);
    cluster.called("write").await;
    interrupt(&child);
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
    let first = timeout(PATIENCE, said.next_line()).await.unwrap().unwrap();
    assert!(first.unwrap().contains("Ctrl-C again"));
    answer.notify_one();
    let ended = ended(child).await;
    assert_eq!(ended.code, Some(130), "it was asked to end: {ended:?}");
    assert!(ended.stdout.contains("1 records imported"), "and has come to its end: {ended:?}");
}

#[tokio::test]
async fn a_second_ctrl_c_does_not_wait_for_what_is_under_way() {
    let cluster = Cluster::start().await;
    cluster.low.fault(Fault::DoAndHang);
    let mut running = cluster.begin(&["--timeout", "10m", "import", "--batch", "1"]);
    running.stdin.write_all(b"{\"key\":\"a\",\"value\":\"1\"}\n").await.unwrap();
    cluster.called("write").await;
    let ended = running.interrupted_to_its_end().await;
    assert_eq!(ended.code, Some(130), "{ended:?}");
    assert!(ended.stderr.contains("may or may not be written"), "{ended:?}");
}

#[tokio::test]
async fn a_second_ctrl_c_of_a_bench_says_what_it_leaves_and_the_first_that_it_would() {
    let cluster = Cluster::start().await;
    cluster.low.fault(Fault::DoAndHang);
    let running = cluster.begin(&["--timeout", "10m", "bench", "uniform", "--records", "50", "--duration", "10m"]);
    cluster.called("write").await;
    let ended = running.interrupted_to_its_end().await;
    assert_eq!(ended.code, Some(130), "{ended:?}");
    let said: Vec<&str> = ended.stderr.lines().collect();
    assert_eq!(said, ["removing what was loaded; Ctrl-C again leaves it", "up to 50 records of the run stay"]);
    assert!(!cluster.low.state.lock().unwrap().records.is_empty());
}

#[tokio::test]
async fn an_export_that_is_interrupted_says_how_far_it_came_and_is_gone_on_with() {
    let cluster = Cluster::start().await;
    for key in ["a", "z"] {
        assert_eq!(cluster.run(&["put", key, "1"], "").await.code, Some(0));
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("out.jsonl");
    let path = file.to_str().unwrap();
    cluster.high.fault(Fault::DoAndHang);
    let running = cluster.begin(&["--timeout", "10m", "export", path]);
    let asked = async {
        while !cluster.high.calls().contains(&"scan") {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, asked).await.unwrap();
    running.interrupt();
    let ended = ended(running.child).await;
    assert_eq!(ended.code, Some(130), "{ended:?}");
    assert!(ended.stderr.contains("stopped; 1 records are written; pass --resume to go on"), "{ended:?}");
    assert_eq!(cluster.run(&["export", path, "--resume"], "").await.code, Some(0));
    assert_eq!(std::fs::read_to_string(&file).unwrap().lines().count(), 2);
}

#[tokio::test]
async fn who_asks_every_node_is_told_what_the_others_say_where_one_is_silent() {
    let cluster = Cluster::start().await;
    cluster.high.state.lock().unwrap().silent = true;
    let home = cluster.home();
    let named = format!("--home={}", home.path().display());
    for (command, shown) in
        [(&["tiers"][..], ""), (&["moves"], "low/7"), (&["heat"], "low"), (&["policy", "show"], "low")]
    {
        // The endpoints of a home say who owns what: nobody is asked for that.
        let ran = run(&[&[&named, "--timeout", "1s"], command].concat()).await;
        assert_eq!(ran.code, Some(5), "{command:?}: {ran:?}");
        assert!(ran.stdout.contains(shown) && ran.stderr.contains("not answered: high"), "{command:?}: {ran:?}");
    }
}

#[tokio::test]
async fn without_a_policy_it_is_told_that_the_defaults_are_in_force() {
    let cluster = Cluster::start().await;
    let home = cluster.home();
    let ran = run(&["--home", home.path().to_str().unwrap(), "policy", "show"]).await;
    assert!(ran.code == Some(0) && ran.stdout.contains("the defaults are in force"), "{ran:?}");
    let direct = cluster.run(&["policy", "show"], "").await;
    assert!(direct.code == Some(0) && !direct.stdout.contains("defaults"), "nodes do not tell it: {direct:?}");
}

#[tokio::test]
async fn a_bench_that_is_interrupted_says_so_and_removes_what_it_wrote() {
    let cluster = Cluster::start().await;
    let running = cluster.begin(&["bench", "uniform", "--records", "50", "--duration", "10m", "--workers", "2"]);
    cluster.called("get").await;
    running.interrupt();
    let ended = ended(running.child).await;
    assert_eq!(ended.code, Some(130), "{ended:?}");
    assert!(ended.stdout.contains("operations in"), "what was measured is told: {ended:?}");
    assert!(cluster.low.state.lock().unwrap().records.is_empty());
}

#[tokio::test]
async fn a_bench_with_an_operation_that_failed_has_failed() {
    let cluster = Cluster::start().await;
    cluster.low.fault(Fault::Refuse(Code::FailedPrecondition));
    let bench = ["bench", "uniform", "--records", "50", "--operations", "50", "--skip-load", "--workers", "1"];
    let ran = cluster.run(&bench, "").await;
    assert!(ran.code == Some(1) && ran.stdout.contains("first failure"), "{ran:?}");
}

#[tokio::test]
async fn an_import_does_not_send_again_what_may_have_been_written() {
    let cluster = Cluster::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("records.jsonl");
    std::fs::write(&file, "{\"key\":\"a\",\"value\":\"1\"}\n").unwrap();
    let path = file.to_str().unwrap();
    cluster.low.fault(Fault::DoAndFail(Code::Unavailable));
    let ran = cluster.run(&["import", path], "").await;
    assert_eq!(ran.code, Some(6), "{ran:?}");
    assert!(ran.stderr.contains("may or may not") && ran.stderr.contains("--resume"), "{ran:?}");
    assert_eq!(cluster.low.calls(), ["write"], "another client may have written since");
    let resumed = cluster.run(&["import", path, "--resume"], "").await;
    assert_eq!(resumed.code, Some(0), "{resumed:?}");
}

#[tokio::test]
async fn an_import_sends_again_what_was_certainly_not_written_and_nothing_else() {
    let cluster = Cluster::start().await;
    // More than the client tries by itself.
    for _ in 0..8 {
        cluster.high.fault(Fault::Refuse(Code::ResourceExhausted));
    }
    let ran = cluster.run(&["import"], "{\"key\":\"a\",\"value\":\"1\"}\n{\"key\":\"z\",\"value\":\"2\"}\n").await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(cluster.low.calls(), ["write"], "its part was written at once");
    assert_eq!(cluster.high.calls().len(), 9);
}

#[tokio::test]
async fn deletions_are_told_in_one_document_and_those_before_a_failure_too() {
    let cluster = Cluster::start().await;
    let ran = cluster.run(&["del", "a", "z", "-o", "json"], "").await;
    let told: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((ran.code, &told[0]["key"], &told[1]["key"]), (Some(0), &"a".into(), &"z".into()));
    assert!(told[0]["version"].is_u64());

    cluster.high.fault(Fault::Refuse(Code::FailedPrecondition));
    let partly = cluster.run(&["del", "a", "z", "b", "-o", "json"], "").await;
    assert_eq!(partly.code, Some(7), "not \"nothing was changed\": {partly:?}");
    assert!(partly.stderr.contains("\"a\" was deleted") && !partly.stderr.contains("\"b\""), "{partly:?}");
    let told: Vec<serde_json::Value> = serde_json::from_str(&partly.stdout).unwrap();
    assert_eq!(told.len(), 1);

    cluster.low.fault(Fault::Refuse(Code::FailedPrecondition));
    let nothing = cluster.run(&["del", "a", "-o", "json"], "").await;
    assert_eq!((nothing.code, nothing.stdout.as_str()), (Some(1), ""));
}

#[tokio::test]
async fn a_move_that_is_cancelled_is_told_in_the_form_asked_for() {
    let cluster = Cluster::start().await;
    let reference = format!("{}/3", cluster.low.endpoint.kv);
    let ran = cluster.run(&["moves", "--cancel", &reference, "-o", "json"], "").await;
    let told: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((ran.code, &told["move"], &told["state"]), (Some(0), &reference.into(), &"cancelled".into()));
}
