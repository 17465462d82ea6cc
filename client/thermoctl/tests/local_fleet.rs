//! A fleet of real processes, driven by the command line as a person drives it.
//!
//! Each test has its own state folder and its own addresses under 127/8, so that tests run beside each other and beside a fleet
//! that somebody uses.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::atomic::{AtomicU8, Ordering},
    time::{Duration, Instant},
};

use serde_json::Value;
use thermocline_client::{Batch, Client, Endpoints, Error, Options};
use thermocline_crds::Kind;
use thermocline_fleet::local::{Layout, NodeProcess, SupervisorRecord, process};

/// Generous: machines that run tests are busy.
const PATIENCE: Duration = Duration::from_secs(60);
static FLEETS: AtomicU8 = AtomicU8::new(0);

struct Fleet {
    folder: tempfile::TempDir,
    address: String,
}

impl Fleet {
    fn new() -> Self {
        let pid = std::process::id();
        let number = FLEETS.fetch_add(1, Ordering::Relaxed);
        let address = format!("127.{}.{}.{}", 64 + pid % 128, (pid / 128) % 250, 1 + number * 8);
        Self { folder: tempfile::tempdir().unwrap(), address }
    }

    fn home(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    fn layout(&self) -> Layout {
        Layout::new(self.home())
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_thermoctl"));
        command.env("THERMOCLINE_NODE_BINARY", node_program()).env("THERMOCLINE_HOME", self.home());
        command.args(arguments).output().unwrap()
    }

    /// Runs a command that must succeed and returns what it printed.
    fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}\n{}", text(&output.stderr), self.log());
        text(&output.stdout)
    }

    /// Runs a command that must fail with this exit code and returns what it said.
    fn refused(&self, arguments: &[&str], code: i32) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", text(&output.stderr));
        text(&output.stderr)
    }

    fn up(&self) {
        let manifests = examples("quickstart");
        self.ok(&["local", "up", "-f", manifests.to_str().unwrap(), "--address", &self.address]);
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.layout().supervisor_log()).unwrap_or_default()
    }

    /// Writes a manifest of one object that was changed as a person would edit it.
    fn edited(&self, file: &str, from: &str, to: &str) -> String {
        let text = std::fs::read_to_string(examples("quickstart").join(file)).unwrap();
        assert!(text.contains(from), "{from} stands in {file}");
        let path = self.folder.path().join(file);
        std::fs::write(&path, text.replacen(from, to, 1)).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn get(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.ok(&[&["get", "-o", "json"], arguments].concat())).unwrap()
    }

    /// The processes of the nodes, by name.
    fn pids(&self) -> Vec<(String, u32)> {
        NodeProcess::alive(&self.layout()).into_iter().map(|(name, record)| (name, record.process.pid)).collect()
    }

    async fn client(&self) -> Client {
        Client::connect(Endpoints::read(&self.layout().endpoints()).unwrap(), Options::default()).await.unwrap()
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        let output = self.run(&["local", "down", "--destroy", "--yes"]);
        if !output.status.success() && !std::thread::panicking() {
            let _ = output;
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn examples(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(name)
}

/// The program of the nodes, built where it is missing: a test of one package alone does not build another's.
fn node_program() -> PathBuf {
    let program = Path::new(env!("CARGO_BIN_EXE_thermoctl")).with_file_name("thermocline-node");
    static BUILT: std::sync::Once = std::sync::Once::new();
    BUILT.call_once(|| {
        if !program.is_file() {
            let built = Command::new(env!("CARGO")).args(["build", "-p", "thermocline-node"]).status().unwrap();
            assert!(built.success(), "thermocline-node is built");
        }
    });
    program
}

/// Waits until something is so.
fn until<T>(what: &str, mut so: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(value) = so() {
            return value;
        }
        assert!(begun.elapsed() < PATIENCE, "not so after {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn kill(pid: u32) {
    let process = process::started(pid).unwrap();
    assert!(process::signal(&process, rustix::process::Signal::KILL).unwrap());
    until("the process has ended", || (!process::is_alive(&process)).then_some(()));
}

fn condition<'a>(object: &'a Value, about: &str) -> &'a Value {
    object["status"]["conditions"].as_array().unwrap().iter().find(|one| one["type"] == about).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_serve_their_ranges_and_a_batch_over_two_of_them_is_refused() {
    let fleet = Fleet::new();
    fleet.up();
    let cluster = fleet.get(&["tc", "demo"]);
    assert_eq!(cluster["status"]["nodes"], "3/3");
    assert_eq!(condition(&cluster, "Ready")["status"], "True");
    let client = fleet.client().await;
    for key in ["apple", "grape", "zebra"] {
        client.put(key, format!("{key}!")).await.unwrap();
        assert_eq!(client.get(key).await.unwrap().unwrap().value, format!("{key}!"));
    }
    let owners: Vec<usize> = ["apple", "grape", "zebra"].map(|key| client.ranges().owner(key.as_bytes())).into();
    assert_eq!(owners, [0, 1, 2]);
    let error = client.write(Batch::new().put("apple", "1").put("zebra", "1")).await.unwrap_err();
    assert!(matches!(error, Error::BatchSpansNodes { .. }), "{error}");
    assert_eq!(client.get("apple").await.unwrap().unwrap().value, "apple!", "nothing of the batch was written");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_node_is_started_again_with_its_data() {
    let fleet = Fleet::new();
    fleet.up();
    let client = fleet.client().await;
    client.put("zebra", "striped").await.unwrap();
    let before = fleet.pids();
    let (name, pid) = before[2].clone();
    kill(pid);
    until("the node is started again and told so", || {
        let node = fleet.get(&["tcn", &name]);
        let again = fleet.pids().iter().any(|(of, new)| *of == name && *new != pid);
        (again && node["status"]["restarts"] == 1 && node["status"]["state"] == "Ready").then_some(())
    });
    assert_eq!(client.get("zebra").await.unwrap().unwrap().value, "striped");
    assert_eq!(fleet.pids()[..2], before[..2], "the others were left alone");
    let described = fleet.ok(&["describe", "tcn", &name]);
    assert!(described.contains("Ended") && described.contains("signal 9"), "{described}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_tier_and_a_changed_policy_reach_running_nodes_and_a_profile_restarts_them() {
    let fleet = Fleet::new();
    fleet.up();
    let before = fleet.pids();
    fleet.ok(&["apply", "-f", &fleet.edited("tiers.yaml", "size: 1Gi", "size: 768Mi")]);
    fleet.ok(&["apply", "-f", &fleet.edited("policy.yaml", "hysteresis: 2", "hysteresis: 3")]);
    until("every node has confirmed both", || {
        let nodes = fleet.get(&["tcn"]);
        let sized = nodes.as_array()?.iter().all(|node| {
            node["status"]["tiers"][0]["capacityBytes"] == 768 << 20
                && condition(node, "Progressing")["status"] == "False"
        });
        let policy = fleet.get(&["tcmp", "by-heat"]);
        let in_force = condition(&policy, "InForce");
        (sized && in_force["status"] == "True" && in_force["observedGeneration"] == 2).then_some(())
    });
    assert_eq!(fleet.pids(), before, "nothing was restarted for it");
    let profile = fleet.edited("tiers.yaml", "size: 1Gi", "size: 768Mi\n  profile: {filterBits: 12}");
    fleet.ok(&["apply", "-f", &profile]);
    until("every node runs with the profile", || {
        let now = fleet.pids();
        let all_new = now.len() == 3 && now.iter().zip(&before).all(|(new, old)| new != old);
        let cluster = fleet.get(&["tc", "demo"]);
        (all_new && condition(&cluster, "Progressing")["status"] == "False").then_some(())
    });
    for (name, _) in before {
        let config = std::fs::read_to_string(fleet.layout().node(&name).join("node.yaml")).unwrap();
        assert!(config.contains("filterBits: 12"), "{config}");
        assert_eq!(fleet.get(&["tcn", &name])["status"]["restarts"], 0, "no end by itself");
    }
}

#[test]
fn a_bad_manifest_leaves_everything_as_it_was() {
    let fleet = Fleet::new();
    let manifests = fleet.folder.path().join("bad");
    std::fs::create_dir(&manifests).unwrap();
    for file in ["cluster.yaml", "policy.yaml", "pool.yaml"] {
        std::fs::copy(examples("quickstart").join(file), manifests.join(file)).unwrap();
    }
    let up = ["local", "up", "-f", manifests.to_str().unwrap(), "--address", &fleet.address];
    let said = fleet.refused(&up, 2);
    assert!(said.contains("no StorageTier"), "{said}");
    assert!(!fleet.home().exists(), "nothing was made");
    fleet.up();
    let (before, pids) = (fleet.get(&["tct"]), fleet.pids());
    let said = fleet.refused(&["apply", "-f", &fleet.edited("tiers.yaml", "rank: 0", "rank: 5")], 2);
    assert!(said.contains("rank"), "{said}");
    fleet.refused(&["apply", "-f", &fleet.edited("tiers.yaml", "size: 1Gi", "size: 1Gigabyte")], 2);
    fleet.refused(&["delete", "tct", "cold"], 2);
    fleet.refused(&["get", "tct", "missing"], 3);
    let spec = |objects: &Value| objects.as_array().unwrap().iter().map(|one| one["spec"].clone()).collect::<Vec<_>>();
    assert_eq!(spec(&fleet.get(&["tct"])), spec(&before));
    assert_eq!(fleet.pids(), pids);
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_outlive_their_supervisor_and_the_next_one_takes_them_up() {
    let fleet = Fleet::new();
    fleet.up();
    let manifests = examples("quickstart");
    let up = ["local", "up", "-f", manifests.to_str().unwrap()];
    let said = fleet.refused(&up, 2);
    assert!(said.contains("a supervisor already runs"), "{said}");
    let said = fleet.refused(&["local", "supervise"], 2);
    assert!(said.contains("a supervisor already runs"), "the lock itself: {said}");
    let pids = fleet.pids();
    kill(SupervisorRecord::alive(&fleet.layout()).unwrap().process.pid);
    let client = fleet.client().await;
    client.put("grape", "green").await.unwrap();
    assert!(fleet.ok(&["local", "status"]).contains("Unsupervised"));
    fleet.ok(&up);
    assert_eq!(fleet.pids(), pids, "the same processes go on");
    kill(pids[0].1);
    until("a node that was taken up is kept too", || {
        let now = fleet.pids();
        (now.len() == 3 && now[0].1 != pids[0].1).then_some(())
    });
    kill(SupervisorRecord::alive(&fleet.layout()).unwrap().process.pid);
    fleet.ok(&["local", "down"]);
    assert_eq!(fleet.pids(), [], "nodes without a supervisor are stopped too");
    fleet.ok(&up);
    assert_eq!(fleet.client().await.get("grape").await.unwrap().unwrap().value, "green", "data stays over a stop");
    assert!(fleet.refused(&["local", "down", "--destroy"], 2).contains("--yes"));
    fleet.ok(&["local", "down", "--destroy", "--yes"]);
    assert!(!fleet.home().exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_moves_its_range_on_every_node_that_owns_a_part() {
    let fleet = Fleet::new();
    fleet.up();
    let client = fleet.client().await;
    for number in 0..300 {
        client.put(format!("logs/{number:04}"), "x".repeat(500)).await.unwrap();
    }
    let manifest = examples("migrations").join("archive-logs.yaml");
    fleet.ok(&["apply", "-f", manifest.to_str().unwrap()]);
    let done = until("it is over", || {
        let migration = fleet.get(&["tcm", "archive-logs"]);
        (migration["status"]["phase"] == "Completed").then_some(migration)
    });
    assert_eq!(done["status"]["progress"], 100);
    assert_eq!(condition(&done, "Complete")["status"], "True");
    assert!(done["status"]["bytesMoved"].as_u64().unwrap() > 0, "{done}");
    let explained = fleet.ok(&["explain", "logs/0007"]);
    assert!(explained.contains("cold"), "{explained}");
    assert_eq!(client.get("logs/0299").await.unwrap().unwrap().value.len(), 500);
    assert_eq!(fleet.get(&[Kind::Migration.plural()]).as_array().unwrap().len(), 1);
    fleet.ok(&["delete", "tcm/archive-logs"]);
    assert_eq!(fleet.get(&["tcm"]).as_array().unwrap().len(), 0);
}

#[test]
fn an_address_in_use_is_named_before_anything_is_started() {
    let fleet = Fleet::new();
    let taken = std::net::TcpListener::bind(format!("{}:7401", fleet.address)).unwrap();
    let manifests = examples("quickstart");
    let up = ["local", "up", "-f", manifests.to_str().unwrap(), "--address", &fleet.address];
    let said = fleet.refused(&up, 2);
    let address = taken.local_addr().unwrap().to_string();
    assert!(said.contains(&address) && said.contains("admin of main-0"), "{said}");
    assert!(!fleet.home().exists());
}

#[test]
fn the_demonstration_ends_well_and_leaves_nothing() {
    let fleet = Fleet::new();
    let data = fleet.folder.path().join("data.txt");
    let lines: String = (0..4000).map(|number| format!("record {number} {}\n", "lorem ipsum ".repeat(20))).collect();
    std::fs::write(&data, lines).unwrap();
    let (manifests, data) = (examples("make-run"), data.to_str().unwrap().to_owned());
    let demo = |data: &str| {
        let file = manifests.to_str().unwrap().to_owned();
        [
            "demo",
            "-f",
            &file,
            "--data",
            data,
            "--seconds",
            "8",
            "--seed",
            "7",
            "--address",
            &fleet.address,
            "-o",
            "json",
        ]
        .map(str::to_owned)
    };
    let run = |data: &str| {
        let arguments = demo(data);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        fleet.run(&arguments)
    };
    let output = run("/nowhere/data.txt");
    assert!(!output.status.success() && text(&output.stderr).contains("/nowhere/data.txt"));
    let output = run(&data);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let printed = text(&output.stdout);
    let answer: Value = serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{error}: {printed}"));
    let tiers: Vec<&str> =
        answer["summary"]["tiers"].as_array().unwrap().iter().map(|tier| tier["tier"].as_str().unwrap()).collect();
    assert_eq!(tiers, ["hot", "warm", "cold"]);
    assert_eq!(answer["load"]["errors"], 0);
    assert!(answer["load"]["operations"].as_u64().unwrap() > 0);
    assert!(answer["summary"]["costPerMonth"].as_f64().unwrap() > 0.0);
    assert!(!fleet.home().exists(), "the folder is removed");
}
