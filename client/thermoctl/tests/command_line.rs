//! The binary as a person or a script runs it, against nodes on loopback.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "../../tests/support/mod.rs"]
#[allow(dead_code)] // Shared with the client's tests.
mod support;

use std::{fs, path::Path, process::Stdio};

use support::{Fault, Node};
use tokio::{io::AsyncWriteExt, process::Command};
use tonic::Code;

const THERMOCTL: &str = env!("CARGO_BIN_EXE_thermoctl");

/// What a run of the binary left.
#[derive(Debug)]
struct Ran {
    code: i32,
    stdout: String,
    stderr: String,
}

struct Cluster {
    low: Node,
    _high: Node,
    endpoints: String,
}

impl Cluster {
    async fn start() -> Self {
        let (low, high) = (Node::start("low", "", "m").await, Node::start("high", "m", "").await);
        let endpoints = support::endpoints_argument(&[&low, &high]);
        Self { low, _high: high, endpoints }
    }

    async fn run(&self, arguments: &[&str]) -> Ran {
        self.run_with_input(arguments, "").await
    }

    async fn run_with_input(&self, arguments: &[&str], input: &str) -> Ran {
        let mut all = vec!["--endpoints", &self.endpoints];
        all.extend(arguments);
        run(THERMOCTL.as_ref(), &all, input).await
    }
}

async fn run(program: &Path, arguments: &[&str], input: &str) -> Ran {
    let mut child = Command::new(program)
        .args(arguments)
        .env_remove("THERMOCLINE_HOME")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).await.unwrap();
    drop(stdin);
    let output = child.wait_with_output().await.unwrap();
    Ran {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

#[tokio::test]
async fn records_are_written_read_and_deleted() {
    let cluster = Cluster::start().await;
    assert_eq!(cluster.run(&["put", "a", "one"]).await.code, 0);
    assert_eq!(cluster.run(&["put", "z", "-"]).await.code, 0, "an empty value from standard input");
    let read = cluster.run(&["get", "a"]).await;
    assert_eq!((read.code, read.stdout.as_str()), (0, "one\n"));
    let raw = cluster.run(&["get", "a", "--raw"]).await;
    assert_eq!(raw.stdout, "one");
    let json = cluster.run(&["get", "a", "-o", "json"]).await;
    let record: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!((&record["key"], &record["value"]), (&"a".into(), &"one".into()));
    assert_eq!(cluster.run(&["del", "a", "z"]).await.code, 0);
    assert_eq!(cluster.run(&["get", "a"]).await.code, 3);
}

#[tokio::test]
async fn failures_have_their_exit_codes_and_say_what_to_do() {
    let cluster = Cluster::start().await;
    let missing = cluster.run(&["get", "none"]).await;
    assert_eq!((missing.code, missing.stdout.as_str()), (3, ""));
    assert!(missing.stderr.contains("has no record"), "{missing:?}");

    cluster.run(&["put", "a", "1"]).await;
    let condition = cluster.run(&["put", "a", "2", "--if-absent"]).await;
    assert_eq!(condition.code, 4, "{condition:?}");
    assert!(condition.stderr.contains("the key \"a\" exists already, with version"), "{condition:?}");
    let gone = cluster.run(&["del", "none", "--if-version", "3"]).await;
    assert!(gone.code == 4 && gone.stderr.contains("the key \"none\" has no record"), "{gone:?}");

    let no_file = cluster.run(&["import", "/nonexistent"]).await;
    assert!(no_file.code == 2 && no_file.stderr.contains("/nonexistent"), "{no_file:?}");

    let usage = cluster.run(&["scan", "--start", "b", "--end", "a"]).await;
    assert_eq!(usage.code, 2, "{usage:?}");

    cluster.low.fault(Fault::DoAndFail(Code::Unavailable));
    let unknown = cluster.run(&["put", "a", "3"]).await;
    assert_eq!(unknown.code, 7, "{unknown:?}");
    assert!(unknown.stderr.contains("may or may not"), "{unknown:?}");

    let nobody = run(THERMOCTL.as_ref(), &["--endpoints", "127.0.0.1:1:1", "--timeout", "2s", "get", "a"], "").await;
    assert_eq!(nobody.code, 5, "{nobody:?}");

    let stopped = tempfile::tempdir().unwrap();
    let file = "{nodes: [{name: gone, kv: \"127.0.0.1:1\", admin: \"127.0.0.1:1\", range: {}}]}";
    fs::write(stopped.path().join("endpoints.yaml"), file).unwrap();
    let home = stopped.path().to_str().unwrap();
    let stopped = run(THERMOCTL.as_ref(), &["--home", home, "--timeout", "2s", "tiers"], "").await;
    assert!(stopped.code == 5 && stopped.stderr.contains("thermoctl local up"), "{stopped:?}");
    for timeout in ["abc", "10", "0s"] {
        let wrong = cluster.run(&["--timeout", timeout, "get", "a"]).await;
        assert!(wrong.code == 2 && wrong.stderr.contains("such as 500ms"), "{wrong:?}");
    }

    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().to_str().unwrap();
    let no_cluster = run(THERMOCTL.as_ref(), &["--home", home, "get", "a"], "").await;
    assert_eq!(no_cluster.code, 2);
    assert!(no_cluster.stderr.contains("thermoctl local up"), "{no_cluster:?}");

    let no_terminal = cluster.run(&["top"]).await;
    assert_eq!(no_terminal.code, 2, "{no_terminal:?}");
}

#[tokio::test]
async fn an_argument_that_is_no_text_is_told_how_bytes_are_given() {
    let bytes = std::os::unix::ffi::OsStrExt::from_bytes(b"\xff");
    let output = Command::new(THERMOCTL).arg("get").arg::<&std::ffi::OsStr>(bytes).output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && said.contains("--base64"), "{said}");
}

#[tokio::test]
async fn an_export_that_its_format_cannot_hold_leaves_no_file() {
    let cluster = Cluster::start().await;
    cluster.run(&["put", "a", "text"]).await;
    cluster.run(&["put", "Yg==", "/w==", "--base64"]).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("out.csv");
    let path = file.to_str().unwrap();
    let refused = cluster.run(&["export", path]).await;
    assert!(refused.code == 2 && refused.stderr.contains("--base64"), "{refused:?}");
    assert!(!file.exists(), "it could not be gone on with");
    assert_eq!(cluster.run(&["export", path, "--base64"]).await.code, 0, "and is not in the way of the next");
}

#[tokio::test]
async fn manifests_that_are_not_there_are_wrong_usage_and_the_demonstration_says_where_they_are_looked_for() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing.yaml");
    for command in ["apply", "validate"] {
        let ran = run(THERMOCTL.as_ref(), &[command, "-f", missing.to_str().unwrap()], "").await;
        assert!(ran.code == 2 && ran.stderr.contains("does not exist"), "{ran:?}");
    }
    let demo = Command::new(THERMOCTL).arg("demo").current_dir(folder.path()).output().await.unwrap();
    let said = String::from_utf8_lossy(&demo.stderr);
    assert!(demo.status.code() == Some(2) && said.contains("examples/make-run") && said.contains("-f DIR"), "{said}");
}

#[tokio::test]
async fn a_home_with_a_routing_file_names_the_nodes() {
    let cluster = Cluster::start().await;
    let folder = tempfile::tempdir().unwrap();
    let node = &cluster.low.endpoint;
    let file = format!(
        "{{cluster: demo, nodes: [{{name: low, kv: \"{}\", admin: \"{}\", range: {{}}}}]}}",
        node.kv, node.admin
    );
    fs::write(folder.path().join("endpoints.yaml"), file).unwrap();
    let home = folder.path().to_str().unwrap();
    assert_eq!(run(THERMOCTL.as_ref(), &["put", "a", "1", "--home", home], "").await.code, 0);
    assert_eq!(cluster.run(&["get", "a"]).await.stdout, "1\n");
}

#[tokio::test]
async fn a_torn_import_names_the_line_and_is_resumed_once_corrected() {
    let cluster = Cluster::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("records.jsonl");
    let path = file.to_str().unwrap();
    let line = |number: u32| format!("{{\"key\":\"k{number:02}\",\"value\":\"{number}\"}}\n");
    let whole: String = (1..=9).map(line).collect();
    fs::write(&file, format!("{whole}{{\"key\":\"k1")).unwrap();

    let torn = cluster.run(&["import", path, "--prefix", "p/", "--batch", "4"]).await;
    assert_eq!(torn.code, 6, "{torn:?}");
    assert!(torn.stderr.contains("line 10") && torn.stderr.contains("--resume"), "{torn:?}");
    assert_eq!(
        cluster.run(&["import", path, "--prefix", "p/"]).await.code,
        2,
        "an unfinished import is not begun anew"
    );

    fs::write(&file, format!("{whole}{}", line(10))).unwrap();
    let before = cluster.low.calls().len() + cluster._high.calls().len();
    let resumed = cluster.run(&["import", path, "--prefix", "p/", "--resume", "-o", "json"]).await;
    assert_eq!(resumed.code, 0, "{resumed:?}");
    let summary: serde_json::Value = serde_json::from_str(&resumed.stdout).unwrap();
    assert_eq!(summary["records"], 10);
    let writes = cluster.low.calls().len() + cluster._high.calls().len() - before;
    assert_eq!(writes, 1, "what was written is not written again");
    let scan = cluster.run(&["scan", "--prefix", "p/", "--keys-only"]).await;
    assert_eq!(scan.stdout.lines().count(), 10, "{scan:?}");
    assert_eq!(cluster.run(&["import", path, "--prefix", "p/", "--resume"]).await.code, 2, "nothing is left to resume");
}

#[tokio::test]
async fn an_export_is_imported_again_in_both_formats_and_over_both_nodes() {
    let cluster = Cluster::start().await;
    let input = "key,value\na,\"x,\"\"y\"\"\"\nz,2\n";
    let imported = cluster.run_with_input(&["import", "--format", "csv"], input).await;
    assert_eq!(imported.code, 0, "{imported:?}");
    let csv = cluster.run(&["export", "--format", "csv"]).await;
    assert_eq!((csv.code, csv.stdout.as_str()), (0, input));

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("all.jsonl");
    let path = file.to_str().unwrap();
    assert_eq!(cluster.run(&["export", path]).await.code, 0);
    assert_eq!(cluster.run(&["export", path]).await.code, 2, "a file that exists is not replaced unasked");
    let exported = fs::read_to_string(&file).unwrap();
    assert_eq!(exported.lines().count(), 2);

    // Torn inside its second record, it is completed.
    fs::write(&file, &exported[..exported.len() - 5]).unwrap();
    let resumed = cluster.run(&["export", path, "--resume"]).await;
    assert_eq!(resumed.code, 0, "{resumed:?}");
    assert_eq!(fs::read_to_string(&file).unwrap(), exported);
    assert_eq!(cluster.run(&["import", path, "--prefix", "copy/"]).await.code, 0);
    assert_eq!(cluster.run(&["get", "copy/a"]).await.stdout, "x,\"y\"\n");
}

#[tokio::test]
async fn a_bench_loads_runs_and_prints_its_seed() {
    let cluster = Cluster::start().await;
    for workload in ["ycsb-a", "ycsb-d", "ycsb-e", "hotspot"] {
        let ran = cluster
            .run(&[
                "bench",
                workload,
                "--records",
                "200",
                "--operations",
                "150",
                "--workers",
                "4",
                "--seed",
                "5",
                "--keep",
                "-o",
                "json",
            ])
            .await;
        assert_eq!(ran.code, 0, "{workload}: {ran:?}");
        let report: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!((&report["seed"], &report["operations"], &report["errors"]), (&5.into(), &150.into(), &0.into()));
    }
    let table = cluster
        .run(&["bench", "uniform", "--records", "10", "--operations", "20", "--skip-load", "--seed", "77"])
        .await;
    assert!(table.stdout.contains("seed 77"), "{table:?}");
}

#[tokio::test]
async fn a_bench_removes_what_it_wrote_and_nothing_else() {
    let cluster = Cluster::start().await;
    cluster.run(&["put", "bench/mine", "1"]).await;
    let keys = async || {
        let scan = cluster.run(&["scan", "--keys-only", "-o", "json"]).await;
        scan.stdout.lines().count()
    };
    // One that inserts too.
    let bench = ["bench", "ycsb-d", "--records", "700", "--operations", "300", "--workers", "4", "--seed", "5"];
    let ran = cluster.run(&bench).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(keys().await, 1, "only what was there before");
    let ran = cluster.run(&[&bench[..], &["--keep"]].concat()).await;
    assert!(ran.code == 0 && ran.stderr.contains("records stay"), "{ran:?}");
    let kept = keys().await;
    assert!(kept > 701, "{kept}");
    let ran = cluster.run(&[&bench[..], &["--skip-load"]].concat()).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(keys().await >= kept, "records that were there already stay, those too that an earlier run had inserted");
    let none = cluster.run(&["bench", "uniform", "--duration", "0s"]).await;
    assert!(none.code == 2 && none.stderr.contains("longer than 0"), "{none:?}");
}

#[tokio::test]
async fn a_bench_whose_load_fails_half_way_removes_what_it_loaded() {
    let cluster = Cluster::start().await;
    cluster.run(&["put", "bench/mine", "1"]).await;
    cluster.low.fault(Fault::Refuse(Code::FailedPrecondition));
    let ran = cluster.run(&["bench", "uniform", "--records", "6000", "--operations", "1"]).await;
    assert!(ran.code != 0 && !ran.stderr.contains("loaded"), "{ran:?}");
    let scan = cluster.run(&["scan", "--keys-only", "-o", "json"]).await;
    assert_eq!(scan.stdout.lines().count(), 1, "only what was there before: {}", scan.stderr);
}

#[tokio::test]
async fn without_a_terminal_nothing_is_coloured_or_drawn() {
    let cluster = Cluster::start().await;
    cluster.run(&["put", "a", "1"]).await;
    for arguments in [&["tiers"][..], &["scan"], &["import", "/nonexistent"], &["export"]] {
        let ran = cluster.run(arguments).await;
        assert!(!ran.stdout.contains('\u{1b}') && !ran.stderr.contains('\u{1b}'), "{ran:?}");
    }
    let forced = cluster.run(&["tiers", "--color", "always"]).await;
    assert!(forced.stdout.contains('\u{1b}'), "{forced:?}");
}

#[tokio::test]
async fn on_a_terminal_no_color_leaves_colours_out() {
    let cluster = Cluster::start().await;
    cluster.run(&["put", "a", "1"]).await;
    for (no_color, coloured) in [("", true), ("1", false)] {
        for arguments in ["tiers", "tiers --nonsense"] {
            // The program `script` gives it a terminal of its own.
            let line = format!("{THERMOCTL} --endpoints {} {arguments}", cluster.endpoints);
            let ran = Command::new("script")
                .args(["--quiet", "--command", &line, "/dev/null"])
                .env("NO_COLOR", no_color)
                .env("TERM", "xterm-256color")
                .stdin(Stdio::null())
                .output()
                .await
                .unwrap();
            let shown = String::from_utf8_lossy(&ran.stdout);
            assert_eq!(shown.contains('\u{1b}'), coloured, "{arguments}, NO_COLOR={no_color}: {shown:?}");
        }
    }
}

#[tokio::test]
async fn as_a_plugin_it_calls_itself_as_kubectl_does() {
    let folder = tempfile::tempdir().unwrap();
    let plugin = folder.path().join("kubectl-thermocline");
    std::os::unix::fs::symlink(THERMOCTL, &plugin).unwrap();
    let help = run(&plugin, &["put", "--help"], "").await;
    assert!(help.stdout.contains("Usage: kubectl thermocline put"), "{help:?}");
    let script = run(&plugin, &["completion", "bash"], "").await;
    assert!(script.code == 0 && script.stdout.contains("kubectl-thermocline"), "{}", script.stdout.len());
}

#[tokio::test]
async fn manifests_are_validated_without_a_cluster() {
    let good = "{apiVersion: thermocline.dev/v1alpha1, kind: StorageCluster, metadata: {name: demo}, spec: {version: 0.1.0}}\n";
    let valid = run(THERMOCTL.as_ref(), &["validate", "-f", "-"], good).await;
    assert_eq!(valid.code, 0, "{valid:?}");
    let unknown = good.replace("version: 0.1.0", "nonsense: 1");
    let invalid = run(THERMOCTL.as_ref(), &["validate", "-f", "-"], &unknown).await;
    assert_eq!(invalid.code, 2);
    assert!(invalid.stderr.contains("nonsense"), "{invalid:?}");
}
