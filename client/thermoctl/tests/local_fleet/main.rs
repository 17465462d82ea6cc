//! A fleet of real processes, driven by the command line as a person drives it.
//!
//! Each test has its own state folder and its own addresses under 127/8, so that tests run beside each other and beside a fleet
//! that somebody uses.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod balance;
mod gates;
mod migrations;
mod objects;
mod replicated;
mod starts;
mod support;

use std::{path::Path, process::Command, time::Duration};

use serde_json::Value;
use support::*;
use thermocline_client::{Batch, Error};
use thermocline_fleet::local::{SupervisorRecord, process};

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
    assert!(matches!(error, Error::BatchSpansShards { .. }), "{error}");
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

#[test]
fn a_node_whose_start_was_not_recorded_is_found_and_not_run_twice() {
    let fleet = Fleet::new();
    fleet.up();
    let manifests = examples("quickstart");
    let up = ["local", "up", "-f", manifests.to_str().unwrap()];
    let pids = fleet.pids();
    // As a supervisor leaves it that is killed between the start of a process and its record.
    kill(SupervisorRecord::alive(&fleet.layout()).unwrap().process.pid);
    std::fs::remove_file(fleet.layout().runs().join("main-1.json")).unwrap();
    assert_eq!(fleet.pids(), pids, "it is found without a record");
    fleet.ok(&up);
    let now = until("it runs with what is declared, from a start of its own", || {
        let now = fleet.pids();
        (now.len() == 3 && now[1].1 != pids[1].1).then_some(now)
    });
    assert_eq!((&now[0], &now[2]), (&pids[0], &pids[2]), "the others were left alone");
    kill(SupervisorRecord::alive(&fleet.layout()).unwrap().process.pid);
    std::fs::remove_file(fleet.layout().runs().join("main-1.json")).unwrap();
    let unrecorded = process::started(now[1].1).unwrap();
    fleet.ok(&["local", "down"]);
    assert!(!process::is_alive(&unrecorded), "and it is stopped with the others");
}

#[test]
fn a_supervisor_whose_log_cannot_be_written_goes_on() {
    let fleet = Fleet::new();
    fleet.up();
    fleet.ok(&["local", "down"]);
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let mut supervisor = Command::new(env!("CARGO_BIN_EXE_thermoctl"))
        .args(["--verbose", "local", "supervise"])
        .env("THERMOCLINE_HOME", fleet.home())
        .env("THERMOCLINE_NODE_BINARY", node_program())
        .stderr(full)
        .spawn()
        .unwrap();
    until("the fleet is ready", || {
        assert_eq!(supervisor.try_wait().unwrap(), None, "it goes on");
        (condition(&fleet.get(&["tc", "demo"]), "Ready")["status"] == "True").then_some(())
    });
    fleet.ok(&["local", "down"]);
    assert_eq!(supervisor.wait().unwrap().code(), Some(0));
}

#[test]
fn the_log_of_the_supervisor_is_bounded() {
    let fleet = Fleet::new();
    fleet.up();
    fleet.ok(&["local", "down"]);
    let log = fleet.layout().supervisor_log();
    std::fs::write(&log, vec![b'.'; 17 << 20]).unwrap();
    let manifests = examples("quickstart");
    fleet.ok(&["local", "up", "-f", manifests.to_str().unwrap()]);
    until("it is cut", || (std::fs::metadata(&log).unwrap().len() < 1 << 20).then_some(()));
    fleet.ok(&["local", "down", "--destroy", "--yes"]);
    assert!(!fleet.home().exists(), "what was cut off is removed too");
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

#[test]
fn a_program_that_is_older_than_its_sources_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let (program, source) = (folder.path().join("program"), folder.path().join("main.rs"));
    std::fs::write(&source, "").unwrap();
    std::fs::write(&program, "").unwrap();
    let list = format!("{}:{}\n", program.display(), format!(" {}", source.display()).repeat(11));
    std::fs::write(folder.path().join("program.d"), list).unwrap();
    let at = |seconds| std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    let touch = |path: &Path, seconds| std::fs::File::open(path).unwrap().set_modified(at(seconds)).unwrap();
    touch(&source, 1000);
    touch(&program, 2000);
    assert_eq!(newer_source(&program), None);
    touch(&source, 3000);
    assert_eq!(newer_source(&program), Some(source));
}
