//! What is not done: where it cannot be told what happened, nothing is moved, and why is said.

use std::time::{Duration, Instant};

use thermocline_client::Client;
use thermocline_fleet::local::SupervisorRecord;

use super::migrations::{Frozen, apply, assert_filled, fill, has_copy, members, until_phase};
use super::replicated::{FIRST, replicated, whole};
use super::support::*;

/// A node counts as lost after 30 s; this is well behind that.
const LOST: Duration = Duration::from_secs(45);

/// The moves that there are objects of.
fn moves(fleet: &Fleet) -> Vec<String> {
    let all = fleet.get(&["tcm"]);
    all.as_array().unwrap().iter().map(|one| one["metadata"]["name"].as_str().unwrap().to_owned()).collect()
}

async fn ready(fleet: &Fleet) -> Client {
    let client = fleet.client().await;
    for shard in [0, FIRST] {
        whole(&client, shard).await;
    }
    fill(&client).await;
    client
}

/// Waits until an object's events say something.
async fn until_told(fleet: &Fleet, object: &[&str], words: &str) {
    let begun = Instant::now();
    loop {
        let described = fleet.ok(&[&["describe"], object].concat());
        if described.contains(words) {
            return;
        }
        assert!(begun.elapsed() < 4 * LOST, "{words:?} is not told: {described}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_that_fail_at_once_are_not_replaced_and_why_is_told() {
    let fleet = Fleet::new();
    replicated(&fleet, 4);
    let client = ready(&fleet).await;
    let (before, _) = members(&client).await;
    let moved = moves(&fleet);
    let frozen = [Frozen::node(&fleet, &before[1]), Frozen::node(&fleet, &before[2])];
    until_told(&fleet, &["tcp", "main"], "2 nodes that hold members are silent").await;
    assert_eq!(moves(&fleet), moved, "nothing is moved");
    drop(frozen);
    for shard in [0, FIRST] {
        whole(&client, shard).await;
    }
    let mut after = members(&client).await.0;
    let mut before = before;
    before.sort();
    after.sort();
    assert_eq!(after, before);
    assert_filled(&client).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_nodes_gone_and_back_change_nothing() {
    let fleet = Fleet::new();
    replicated(&fleet, 4);
    let client = ready(&fleet).await;
    let mut before = members(&client).await.0;
    let moved = moves(&fleet);
    let frozen: Vec<Frozen> = fleet.pids().iter().map(|(name, _)| Frozen::node(&fleet, name)).collect();
    tokio::time::sleep(LOST).await;
    drop(frozen);
    // And as processes that end, all at one moment.
    for (_, pid) in fleet.pids() {
        kill(pid);
    }
    for shard in [0, FIRST] {
        whole(&client, shard).await;
    }
    let mut after = members(&client).await.0;
    before.sort();
    after.sort();
    assert_eq!((after, moves(&fleet)), (before, moved));
    assert_filled(&client).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_on_the_disks_of_another_cluster_does_not_serve_and_leaves_them_as_they_are() {
    let (fleet, other) = (Fleet::new(), Fleet::new());
    replicated(&fleet, 4);
    replicated(&other, 4);
    let (client, elsewhere) = (ready(&fleet).await, ready(&other).await);
    let (with, _) = members(&client).await;
    let name = &with[1];
    let theirs = fleet.folder.path().join("theirs");
    fleet_down(&other);
    copy(&other.layout().nodes().join(name), &theirs);
    let mine = fleet.layout().nodes().join(name);
    let (_, pid) = fleet.pids().into_iter().find(|(of, _)| of == name).unwrap();
    std::fs::rename(&mine, fleet.folder.path().join("mine")).unwrap();
    copy(&theirs, &mine);
    kill(pid);
    until_told(&fleet, &["tcn", name], "is of cluster").await;
    // Its members are made anew on the node that is left, and nothing of the others' is touched.
    for shard in [0, FIRST] {
        whole(&client, shard).await;
    }
    assert!(!members(&client).await.0.contains(name));
    assert_filled(&client).await;
    drop(elsewhere);
}

fn fleet_down(fleet: &Fleet) {
    fleet.ok(&["local", "down"]);
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    let done = std::process::Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(done.success(), "copy {} to {}", from.display(), to.display());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_supervisor_that_is_killed_at_any_step_of_a_move_leaves_it_to_its_leader_and_the_next_one_follows_it() {
    let fleet = Fleet::new();
    replicated(&fleet, 4);
    let client = ready(&fleet).await;
    let manifests = fleet.folder.path().join("manifests");
    for round in 0..10_u64 {
        let (with, without) = members(&client).await;
        let (from, to) = (&with[usize::from(round % 2 == 0)], &without[0]);
        let name = format!("round-{round}");
        apply(&fleet, &name, &format!("kind: MoveReplica, shard: {FIRST}, from: {from}, to: {to}"));
        // From before it is looked at to behind its end.
        tokio::time::sleep(Duration::from_millis(round * 120)).await;
        kill(SupervisorRecord::alive(&fleet.layout()).unwrap().process.pid);
        fleet.ok(&["local", "up", "-f", manifests.to_str().unwrap()]);
        until_phase(&fleet, &name, "Completed").await;
        let (now, _) = members(&client).await;
        assert!(now.len() == 3 && now.contains(to) && !now.contains(from), "round {round}: {now:?}");
        assert!(!has_copy(&client, from).await, "round {round}: its copy is gone");
    }
    assert_filled(&client).await;
}
