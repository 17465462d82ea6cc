//! A pool that keeps its data on several nodes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use thermocline_client::Client;
use thermocline_proto::v1;

use super::support::*;

/// A node counts as lost after 30 s, and is replaced then.
const PATIENCE: Duration = Duration::from_secs(180);

/// A node that has not answered by then is left out.
const ANSWER: Duration = Duration::from_secs(5);

/// The shard of all of the users' keys.
pub const FIRST: u64 = 1;

/// A pool of so many nodes, each shard on two of them and a witness.
pub fn replicated(fleet: &Fleet, nodes: usize) {
    let annotation = "  annotations:\n    thermocline.dev/split-points: \"g,p\"\n";
    let pool = std::fs::read_to_string(fleet.edited("pool.yaml", annotation, "")).unwrap();
    let pool = pool.replace("  replicas: 3\n", &format!("  replicas: {nodes}\n  replication: {{}}\n"));
    let manifests = fleet.manifests("pool.yaml", annotation, "");
    std::fs::write(std::path::Path::new(&manifests).join("pool.yaml"), pool).unwrap();
    fleet.ok(&["local", "up", "-f", &manifests, "--address", &fleet.address]);
}

pub async fn statuses(client: &Client) -> Vec<v1::NodeStatus> {
    let mut found = Vec::new();
    for node in 0..client.nodes().len() {
        let request = v1::StatusRequest { interval_ms: 0, once: true };
        let Some(mut admin) = client.admin(node) else { continue };
        let told = async { admin.status(request).await.ok()?.into_inner().message().await.ok()? };
        // One that is frozen says nothing.
        found.extend(tokio::time::timeout(ANSWER, told).await.ok().flatten());
    }
    found
}

/// Waits until a shard has two data replicas and a witness, each voting, on the nodes that are there.
pub async fn whole(client: &Client, shard: u64) {
    let started = Instant::now();
    loop {
        let told = statuses(client).await;
        let there: BTreeSet<u64> = told.iter().map(|status| status.node_id).collect();
        let led = told.iter().flat_map(|status| &status.shards).find(|found| found.shard == shard && found.leads);
        let is_whole = led.is_some_and(|led| {
            let sound = |member: &&v1::MemberStatus| member.votes && there.contains(&member.node);
            led.job.is_none() && led.members.len() == 3 && led.members.iter().filter(sound).count() == 3
        });
        if is_whole {
            return;
        }
        assert!(started.elapsed() < PATIENCE, "waited too long for the copies of shard {shard}: {led:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_begins_on_one_node_and_grows_to_what_its_pool_declares() {
    let fleet = Fleet::new();
    replicated(&fleet, 3);
    let client = fleet.client().await;
    client.put("greeting", "hello").await.unwrap();
    for shard in [0, FIRST] {
        whole(&client, shard).await;
    }
    assert_eq!(client.get("greeting").await.unwrap().unwrap().value, "hello");
    let cluster = fleet.get(&["tc", "demo"]);
    assert_eq!(cluster["status"]["begunOn"], "main-0");
    let described = fleet.ok(&["describe", "tcp", "main"]);
    assert!(described.contains("Moving") && described.contains("witness"), "{described}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_disks_are_gone_is_replaced_while_writes_go_on_and_nothing_is_lost() {
    let fleet = Fleet::new();
    replicated(&fleet, 3);
    let client = fleet.client().await;
    for shard in [0, FIRST] {
        whole(&client, shard).await;
    }
    for number in 0..200 {
        client.put(format!("before{number:03}"), "value").await.unwrap();
    }
    let (name, pid) = fleet.pids()[1].clone();
    // Away before it ends, so that it cannot start from it again.
    let disks = fleet.layout().nodes().join(&name);
    std::fs::rename(&disks, fleet.folder.path().join("gone")).unwrap();
    kill(pid);
    for number in 0..200 {
        client.put(format!("after{number:03}"), "value").await.unwrap();
    }
    for shard in [0, FIRST] {
        whole(&client, shard).await;
    }
    for number in 0..200 {
        for key in [format!("before{number:03}"), format!("after{number:03}")] {
            assert!(client.get(key.clone()).await.unwrap().is_some(), "{key}");
        }
    }
    // Whether it held data or was the witness is the planner's choice.
    let described = fleet.ok(&["describe", "tcp", "main"]);
    assert!(described.contains("move the "), "{described}");
}

/// Writes in the background until it is told to stop; how many were acknowledged.
fn writing(client: &Client) -> (Arc<AtomicBool>, tokio::task::JoinHandle<usize>) {
    let (stop, client) = (Arc::new(AtomicBool::new(false)), client.clone());
    let told = Arc::clone(&stop);
    let written = tokio::spawn(async move {
        let mut number = 0;
        while !told.load(Ordering::SeqCst) {
            client.put(format!("during{number:06}"), "value").await.unwrap();
            number += 1;
        }
        number
    });
    (stop, written)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_grows_a_node_is_drained_and_comes_back_and_the_pool_shrinks_while_writes_go_on() {
    let fleet = Fleet::new();
    replicated(&fleet, 3);
    let client = fleet.client().await;
    for shard in [0, FIRST] {
        whole(&client, shard).await;
    }
    let refused = fleet.refused(&["drain", "main-0"], 2);
    assert!(refused.contains("needs 3 nodes, and 2 of 3 would stay"), "{refused}");
    let (stop, written) = writing(&client);

    let pool = |replicas: usize| {
        let path = fleet.folder.path().join("scaled.yaml");
        let text = fleet.ok(&["get", "tcp", "main", "-o", "yaml"]);
        let old = text.lines().find(|line| line.trim_start().starts_with("replicas:")).unwrap().to_owned();
        std::fs::write(&path, text.replacen(&old, &format!("  replicas: {replicas}"), 1)).unwrap();
        fleet.ok(&["apply", "-f", path.to_str().unwrap()]);
    };
    pool(4);
    let state = |name: &str| fleet.get(&["tcn", name])["status"]["state"].as_str().unwrap_or_default().to_owned();
    // Its process begins a moment before its object is there.
    until("the new node is known", || fleet.ok(&["get", "tcn", "-o", "json"]).contains("main-3").then_some(()));
    until("the new node is ready", || (state("main-3") == "Ready").then_some(()));

    fleet.ok(&["drain", "main-0"]);
    assert_eq!(state("main-0"), "Offline");
    assert!(fleet.pids().iter().all(|(name, _)| name != "main-0"), "it was stopped");
    assert_eq!(condition(&fleet.get(&["tc", "demo"]), "Ready")["status"], "True", "nobody misses it");
    fleet.ok(&["drain", "main-0", "--cancel"]);
    until("it is ready again", || (state("main-0") == "Ready").then_some(()));

    pool(3);
    until("the last node was emptied and is gone", || {
        let nodes = fleet.ok(&["get", "tcn", "-o", "json"]);
        (!nodes.contains("main-3")).then_some(())
    });
    stop.store(true, Ordering::SeqCst);
    let written = written.await.unwrap();
    // It found the nodes by itself, though some that it knew are gone.
    let client = fleet.client().await;
    for number in (0..written).step_by(7) {
        assert!(client.get(format!("during{number:06}")).await.unwrap().is_some(), "{number} of {written}");
    }
    for shard in [0, FIRST] {
        whole(&client, shard).await;
    }
}
