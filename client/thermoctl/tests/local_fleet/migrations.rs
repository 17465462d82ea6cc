//! Moves between nodes as objects: a person's, the planner's, and what becomes of them when somebody intervenes.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use thermocline_client::Client;
use thermocline_fleet::local::{SupervisorRecord, process};
use thermocline_proto::v1;

use super::replicated::{FIRST, replicated, statuses, whole};
use super::support::*;

/// A move waits for figures that are measured every now and then, and machines are busy.
const PATIENCE: Duration = Duration::from_secs(180);

/// The members of the users' shard: their nodes' names, the one that leads first, then those with data, then the witness; and
/// the names of the nodes without one.
pub async fn members(client: &Client) -> (Vec<String>, Vec<String>) {
    let told = statuses(client).await;
    let led = told.iter().flat_map(|status| &status.shards).find(|shard| shard.shard == FIRST && shard.leads);
    let mut found: Vec<v1::MemberStatus> = led.map(|led| led.members.clone()).unwrap_or_default();
    found.sort_by_key(|member| (led.is_some_and(|led| led.replica != member.replica), member.witness, member.replica));
    let name = |node: u64| told.iter().find(|status| status.node_id == node).map(|status| status.node.clone());
    let with: Vec<String> = found.iter().filter_map(|member| name(member.node)).collect();
    let all = told.iter().map(|status| status.node.clone());
    let without = all.filter(|node| !with.contains(node)).collect();
    (with, without)
}

fn migration(fleet: &Fleet, name: &str, spec: &str) -> String {
    let text = format!(
        "{{apiVersion: thermocline.dev/v1alpha1, kind: Migration, metadata: {{name: {name}}}, spec: {{cluster: demo, {spec}}}}}"
    );
    let path = fleet.folder.path().join(format!("{name}.yaml"));
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

pub fn apply(fleet: &Fleet, name: &str, spec: &str) {
    fleet.ok(&["apply", "-f", &migration(fleet, name, spec)]);
}

async fn until_so(fleet: &Fleet, what: &str, name: &str, so: impl Fn(&Value) -> bool) -> Value {
    let begun = Instant::now();
    loop {
        let object = fleet.get(&["tcm", name]);
        if so(&object["status"]) {
            return object;
        }
        assert!(begun.elapsed() < PATIENCE, "not so after {PATIENCE:?}: {what}: {object:#}\n{}", fleet.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

pub async fn until_phase(fleet: &Fleet, name: &str, phase: &str) -> Value {
    until_so(fleet, phase, name, |status| status["phase"] == phase).await
}

pub async fn fill(client: &Client) {
    for number in 0..200 {
        client.put(format!("key{number:03}"), "value").await.unwrap();
    }
}

pub async fn assert_filled(client: &Client) {
    for number in 0..200 {
        assert!(client.get(format!("key{number:03}")).await.unwrap().is_some(), "{number}");
    }
}

/// The job that the leader of the users' shard carries out.
async fn job(client: &Client) -> Option<v1::ShardJob> {
    let told = statuses(client).await;
    let led = told.iter().flat_map(|status| &status.shards).find(|shard| shard.shard == FIRST && shard.leads);
    led?.job.clone()
}

async fn until_job(client: &Client, what: &str, so: impl Fn(Option<&v1::ShardJob>) -> bool) {
    let begun = Instant::now();
    loop {
        let now = job(client).await;
        if so(now.as_ref()) {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "not so after {PATIENCE:?}: {what}: {now:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Whether a node says that it has a copy of the users' shard.
pub async fn has_copy(client: &Client, node: &str) -> bool {
    let told = statuses(client).await;
    told.iter().filter(|status| status.node == node).flat_map(|status| &status.shards).any(|shard| shard.shard == FIRST)
}

/// A node that does nothing until it goes on: what is moved to it stays on its way.
pub struct Frozen(process::Started);

impl Frozen {
    pub fn node(fleet: &Fleet, name: &str) -> Self {
        let (_, pid) = fleet.pids().into_iter().find(|(of, _)| of == name).unwrap();
        let process = process::started(pid).unwrap();
        assert!(process::signal(&process, Signal::STOP).unwrap());
        Self(process)
    }

    fn goes_on(self) {}
}

impl Drop for Frozen {
    fn drop(&mut self) {
        let _ = process::signal(&self.0, Signal::CONT);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_a_person_moves_is_on_the_other_node_and_gone_from_the_first() {
    let fleet = Fleet::new();
    replicated(&fleet, 4);
    let client = fleet.client().await;
    whole(&client, FIRST).await;
    fill(&client).await;
    let (with, without) = members(&client).await;
    // Also the lead goes along.
    let (from, to) = (&with[0], &without[0]);
    apply(&fleet, "by-hand", &format!("kind: MoveReplica, shard: {FIRST}, from: {from}, to: {to}"));
    let done = until_phase(&fleet, "by-hand", "Completed").await;
    assert_eq!(done["status"]["progress"], 100);
    assert_eq!(condition(&done, "Complete")["status"], "True");
    assert!(done["status"]["result"]["milliseconds"].as_u64().unwrap() > 0, "{done:#}");
    assert!(done["status"]["forecast"]["milliseconds"].as_u64().unwrap() > 0, "{done:#}");
    let (now, _) = members(&client).await;
    assert!(now.contains(to) && !now.contains(from), "{now:?}");
    assert!(!has_copy(&client, from).await, "its copy is gone");
    assert_filled(&client).await;
    let table = fleet.ok(&["get", "tcm"]);
    for part in ["KIND", "SHARD", "FROM", "TO", "PHASE", "PROGRESS", "REASON", "MoveReplica", "Completed", "Manual"] {
        assert!(table.contains(part), "{part}: {table}");
    }
    let described = fleet.ok(&["describe", "tcm", "by-hand"]);
    assert!(described.contains("Running") && described.contains("Completed"), "{described}");

    let lead = members(&client).await.0;
    apply(&fleet, "lead", &format!("kind: TransferLeader, shard: {FIRST}, to: {}", lead[1]));
    until_phase(&fleet, "lead", "Completed").await;
    apply(&fleet, "split", &format!("kind: SplitShard, shard: {FIRST}, at: key100"));
    until_phase(&fleet, "split", "Completed").await;
    apply(&fleet, "nowhere", &format!("kind: MoveReplica, shard: {FIRST}, from: {}, to: main-9", lead[0]));
    let waits = until_so(&fleet, "it waits", "nowhere", |status| !status["conditions"].is_null()).await;
    assert_eq!(waits["status"]["phase"], "Pending");
    let why = condition(&waits, "Progressing")["message"].as_str().unwrap().to_owned();
    assert!(why.contains("spec.to"), "{why}");
}

/// Each node's copies of a key: the node's number, and the tiers that have one.
async fn tiers_of(client: &Client, key: &'static str) -> Vec<(usize, Vec<String>)> {
    let mut found = Vec::new();
    for node in 0..client.nodes().len() {
        let Some(mut admin) = client.admin(node) else { continue };
        let told = admin.explain(v1::ExplainRequest { key: key.into() }).await.unwrap().into_inner();
        let tiers: Vec<String> = told.copies.into_iter().map(|copy| copy.tier).collect();
        if !tiers.is_empty() {
            found.push((node, tiers));
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_of_a_shard_goes_to_another_medium_on_every_node_that_has_its_data() {
    let fleet = Fleet::new();
    replicated(&fleet, 3);
    let client = fleet.client().await;
    whole(&client, FIRST).await;
    fill(&client).await;
    let before = tiers_of(&client, "key007").await;
    assert!(before.len() == 2 && before.iter().all(|(_, tiers)| *tiers == ["hot"]), "{before:?}");
    apply(&fleet, "archive", "kind: ChangeTier, range: {prefix: key}, toTier: cold");
    let done = until_phase(&fleet, "archive", "Completed").await;
    assert!(done["status"]["bytesMoved"].as_u64().unwrap() > 0, "{done:#}");
    let after = tiers_of(&client, "key007").await;
    assert!(after.len() == 2 && after.iter().all(|(_, tiers)| *tiers == ["cold"]), "{after:?}");
    assert_filled(&client).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_that_a_person_splits_and_merges_again_loses_nothing_that_is_written_meanwhile() {
    let fleet = Fleet::new();
    replicated(&fleet, 3);
    let client = fleet.client().await;
    whole(&client, FIRST).await;
    fill(&client).await;
    let (stop, told) = tokio::sync::watch::channel(false);
    let writer = client.clone();
    let writing = tokio::spawn(async move {
        let mut written = 0;
        while !*told.borrow() {
            // On both sides of where the shard is split, one after the other.
            let side = if written % 2 == 0 { "key000" } else { "key150" };
            writer.put(format!("{side}-{written:06}"), "value").await.unwrap();
            written += 1;
        }
        written
    });
    apply(&fleet, "split", &format!("kind: SplitShard, shard: {FIRST}, at: key100"));
    until_phase(&fleet, "split", "Completed").await;
    whole(&client, FIRST).await;
    let led = async || {
        let told = statuses(&client).await;
        let led = told.iter().flat_map(|status| &status.shards).filter(|shard| shard.leads && shard.shard != 0);
        led.map(|shard| (shard.shard, shard.start.clone(), shard.frozen)).collect::<Vec<_>>()
    };
    apply(&fleet, "merge", &format!("kind: MergeShards, shard: {FIRST}"));
    let done = until_phase(&fleet, "merge", "Completed").await;
    assert_eq!(condition(&done, "Complete")["message"], "the shards are one");
    let begun = Instant::now();
    while led().await != [(FIRST, Default::default(), false)] {
        assert!(begun.elapsed() < PATIENCE, "there is more than one: {:?}", led().await);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    stop.send(true).unwrap();
    let written = writing.await.unwrap();
    assert!(written > 0);
    assert_filled(&client).await;
    for number in 0..written {
        let side = if number % 2 == 0 { "key000" } else { "key150" };
        assert!(client.get(format!("{side}-{number:06}")).await.unwrap().is_some(), "{number}");
    }
    apply(&fleet, "alone", &format!("kind: MergeShards, shard: {FIRST}"));
    let waits = until_so(&fleet, "it waits", "alone", |status| !status["conditions"].is_null()).await;
    assert_eq!(waits["status"]["phase"], "Pending", "there is no shard behind it but the index");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_planner_proposes_waits_for_approval_and_expires_without_it() {
    let fleet = Fleet::new();
    replicated(&fleet, 4);
    let client = fleet.client().await;
    whole(&client, FIRST).await;
    // What has moved a short while ago would stay for longer than this waits.
    fleet.ok(&["apply", "-f", &fleet.edited("policy.yaml", "minResidency: 10m", "minResidency: 1s")]);
    let (_, without) = members(&client).await;
    apply(&fleet, "one-more", &format!("kind: AddReplica, shard: {FIRST}, to: {}", without[0]));
    until_phase(&fleet, "one-more", "Completed").await;
    let proposed = |not: &str| {
        let name = |object: &Value| {
            let is_open = object["status"]["phase"] == "Proposed" && object["spec"]["kind"] == "RemoveReplica";
            let name = object["metadata"]["name"].as_str().unwrap();
            (is_open && name != not).then(|| name.to_owned())
        };
        until("a replica too many is proposed to go", || fleet.get(&["tcm"]).as_array()?.iter().find_map(name))
    };
    let first = proposed("");
    let object = fleet.get(&["tcm", &first]);
    assert_eq!(object["metadata"]["labels"]["thermocline.dev/made-by"], "planner");
    assert_eq!(condition(&object, "Progressing")["reason"], "NeedsApproval");
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(members(&client).await.0.len(), 4, "nothing is done before it is approved");
    // As if it had been made long ago.
    let file = fleet.layout().objects().join(format!("migration.{first}.yaml"));
    until("it expires", || {
        if fleet.get(&["tcm", &first])["status"]["phase"] == "Expired" {
            return Some(());
        }
        let text = std::fs::read_to_string(&file).ok()?;
        let born = text.lines().find(|line| line.contains("creationTimestamp"))?.trim().to_owned();
        let beside = file.with_extension("aged");
        std::fs::write(&beside, text.replace(&born, "creationTimestamp: '2020-01-01T00:00:00Z'")).ok()?;
        std::fs::rename(&beside, &file).ok()?;
        None
    });
    let second = proposed(&first);
    let text = fleet.ok(&["get", "tcm", &second, "-o", "yaml"]);
    assert!(text.contains("approved: false"), "{text}");
    let approved = fleet.folder.path().join("approved.yaml");
    std::fs::write(&approved, text.replace("approved: false", "approved: true")).unwrap();
    fleet.ok(&["apply", "-f", approved.to_str().unwrap()]);
    until_phase(&fleet, &second, "Completed").await;
    assert_eq!(members(&client).await.0.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_under_way_is_paused_outlives_its_supervisor_and_is_cancelled_without_a_trace() {
    let fleet = Fleet::new();
    replicated(&fleet, 4);
    let client = fleet.client().await;
    whole(&client, FIRST).await;
    fill(&client).await;
    let (before, without) = members(&client).await;
    let target = &without[0];
    let spec = format!("kind: MoveReplica, shard: {FIRST}, from: {}, to: {target}, bytesPerSecond: 1Ki", before[1]);
    let frozen = Frozen::node(&fleet, target);
    apply(&fleet, "held", &spec);
    until_so(&fleet, "its job runs", "held", |status| status["progress"] == 1).await;
    let begun = job(&client).await.unwrap();
    assert_eq!((begun.bytes_per_second, begun.paused), (1 << 10, false));
    let paused = format!("{}, desired: Pause", spec.replace("1Ki", "2Ki"));
    apply(&fleet, "held", &paused);
    until_phase(&fleet, "held", "Paused").await;
    until_job(&client, "another pace", |job| job.is_some_and(|job| job.paused && job.bytes_per_second == 2 << 10))
        .await;

    kill(SupervisorRecord::alive(&fleet.layout()).unwrap().process.pid);
    frozen.goes_on();
    let manifests = fleet.folder.path().join("manifests");
    fleet.ok(&["local", "up", "-f", manifests.to_str().unwrap()]);
    let now = job(&client).await.unwrap();
    assert_eq!((now.job, now.began_at_ms, now.paused), (begun.job, begun.began_at_ms, true), "the same one goes on");

    apply(&fleet, "held", &paused.replace("Pause", "Cancel"));
    let ended = until_phase(&fleet, "held", "Cancelled").await;
    assert_eq!(condition(&ended, "Complete")["status"], "False");
    assert_eq!(members(&client).await.0, before);
    assert!(!has_copy(&client, target).await);
    assert_filled(&client).await;

    // Deleting one that runs cancels it too.
    let frozen = Frozen::node(&fleet, target);
    apply(&fleet, "deleted", &spec);
    until_so(&fleet, "its job runs", "deleted", |status| status["progress"] == 1).await;
    fleet.ok(&["delete", "tcm/deleted"]);
    until_job(&client, "it is cancelled", |job| job.is_none_or(|job| job.cancelled)).await;
    frozen.goes_on();
    until_job(&client, "it ends", |job| job.is_none()).await;
    assert_eq!(members(&client).await.0, before);

    // And what nobody ends comes to its end although its supervisor is killed.
    apply(&fleet, "whole", &spec.replace(", bytesPerSecond: 1Ki", ""));
    kill(SupervisorRecord::alive(&fleet.layout()).unwrap().process.pid);
    fleet.ok(&["local", "up", "-f", manifests.to_str().unwrap()]);
    until_phase(&fleet, "whole", "Completed").await;
    assert!(members(&client).await.0.contains(target));
    assert!(!has_copy(&client, &before[1]).await);
    assert_filled(&client).await;
}
