//! Clients of a cluster with shards while its nodes are killed, stopped, parted and slowed, their clocks jump and their devices are
//! full, and while its shards split, move, change tiers and are led by others, and nodes are emptied: what clients saw is
//! linearizable, what was begun ends, and everything comes back.
//!
//! `HISTORY_SEED` repeats a schedule of faults, the calls and what is asked of shards; `HISTORY_SECONDS` lengthens each run.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod hand;
mod media;
mod members;
mod stale;
mod stirring;
#[path = "../support/mod.rs"]
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hand::{Hand, PATIENCE};
use members::{Members, NODES};
use stale::FromMemory;
use support::DEVICES;
use support::run::{Run, milliseconds, palette, seed};
use thermocline_faults::Palette;
use thermocline_histories::{Counts, Minimums, Verdict};
use thermocline_proto::v1;
use thermocline_proto::v1::change_shard_request::Change;
use tokio::sync::Mutex;

const CLIENTS: usize = 10;
/// Shards are split between these.
const PREFIXES: [&str; 6] = ["history/a/", "history/b/", "history/c/", "history/d/", "history/e/", "history/f/"];
/// One cluster at a time: two would only take each other's processor.
static ALONE: Mutex<()> = Mutex::const_new(());

/// What may go wrong, one thing after the other; half a minute at most, as a rule a few seconds.
fn faults() -> Palette {
    Palette {
        processes: NODES,
        devices: DEVICES.len(),
        lasting: (milliseconds(500), milliseconds(30_000)),
        quiet: (milliseconds(1000), milliseconds(3000)),
        ..palette()
    }
}

fn run(name: &'static str, seconds: u64, palette: Palette) -> Run {
    Run { prefixes: PREFIXES.map(str::to_owned).to_vec(), ..Run::new(name, seconds, palette) }
}

/// Runs clients, faults and changes of shards beside each other; all must have happened, and hold.
async fn must_hold(number: u8, run: Run) {
    let name = run.name;
    let (members, hosts) = Members::start(number).await;
    let hand = Hand::of(&hosts).await;
    hand.begin(&hosts).await;
    let clients = hand::clients(&hosts, CLIENTS).await;
    let stop = Arc::new(AtomicBool::new(false));
    let watching = tokio::spawn(hand.clone().watch(Arc::clone(&stop)));
    let stirring = tokio::spawn(stirring::stir(hand.clone(), seed(), name, Arc::clone(&stop)));
    let media = tokio::spawn(media::change(hand.clone(), seed(), Arc::clone(&stop)));
    let elections_before = hand.elections();
    let (mut counts, silence, members) = run.must_be_linearizable(clients, members).await;
    let elections = hand.elections() - elections_before;
    stop.store(true, Ordering::SeqCst);
    counts.extend(stirring.await.unwrap());
    counts.extend(media.await.unwrap());
    watching.await.unwrap();
    counts.extend([("elections", elections)]);
    println!("{name}: {counts}");
    let members = members.must_all_serve().await;
    hand.must_come_to_rest().await;
    drop(members);
    let least = [
        ("elections", 3),
        ("moves", 3),
        ("splits", 1),
        ("merges", 1),
        ("changes of tier", 3),
        ("drains", 1),
        ("exchanges", 1),
    ];
    Minimums(Counts::of(least)).check(&counts).unwrap();
    assert!(silence < PATIENCE, "no client was answered for {silence:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_stays_linearizable_while_nodes_are_lost_and_parted_and_its_shards_change() {
    let _alone = ALONE.lock().await;
    let palette = Palette { kills: 2, pauses: 1, pairs: 2, islands: 2, ..faults() };
    must_hold(0, run("cluster-parted", 150, palette)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_stays_linearizable_while_devices_and_clocks_fail_and_its_shards_change() {
    let _alone = ALONE.lock().await;
    let palette = Palette { full: 2, slow: 2, clocks: 1, kills: 1, pairs: 1, ..faults() };
    must_hold(1, run("cluster-devices", 150, palette)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_comes_to_a_full_node_is_there_when_the_node_has_space() {
    let _alone = ALONE.lock().await;
    let (members, hosts) = Members::start(3).await;
    let hand = Hand::of(&hosts).await;
    hand.begin(&hosts).await;
    let client = hand::clients(&hosts, 1).await.remove(0);
    for number in 0..100 {
        client.put(format!("history/a/{number}"), "1").await.unwrap();
    }
    let (full, node) = (3, hand.statuses().await[3].1.node_id);
    members.fill_up(full, 1, true);
    let mover = hand.clone();
    let moving = tokio::spawn(async move {
        let add = |job| Change::AddReplica(v1::AddReplica { job, node, witness: false, bytes_per_second: 0 });
        mover.job(hand::FIRST, add).await
    });
    tokio::time::sleep(milliseconds(8000)).await;
    members.fill_up(full, 1, false);
    assert_eq!(moving.await.unwrap().as_deref(), Some("Done"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_a_cluster_that_reads_what_it_remembers_is_a_violation() {
    let _alone = ALONE.lock().await;
    let (members, hosts) = Members::start(2).await;
    let hand = Hand::of(&hosts).await;
    hand.begin(&hosts).await;
    let clients = hand::clients(&hosts, CLIENTS).await.into_iter().map(FromMemory::new).collect();
    let run = run("cluster-stale", 10, Palette::default());
    let verdict = tokio::time::timeout(Duration::from_secs(600), run.judged(clients, members)).await.unwrap().verdict;
    assert!(matches!(verdict, Verdict::Violation { .. }), "{verdict:?}");
}
