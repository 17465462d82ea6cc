//! How long logs become, and who is waited for.

use std::time::Duration;

use bytes::Bytes;
use thermocline_shard::host::LogBounds;
use thermocline_shard::{NodeId, ShardId};

use super::fleet::Fleet;
use super::{ONE, SHARD, THREE, TWO, grown_with};

const KIB: u64 = 1 << 10;
/// Bounds that a test reaches.
const SMALL: LogBounds = LogBounds {
    step_bytes: 64 * KIB,
    step_entries: 50,
    lag_bytes: 256 * KIB,
    kept_bytes: 512 * KIB,
    patience: Duration::from_secs(1),
    stuck: Duration::from_secs(600),
};

fn value() -> Bytes {
    vec![7; 32 << 10].into()
}

/// The leader, and the data replica that is none.
async fn leader_and_other(fleet: &Fleet) -> (NodeId, NodeId) {
    let leader = fleet.leader(SHARD).await.0;
    (leader, if leader == ONE { TWO } else { ONE })
}

fn log_bytes(fleet: &Fleet, node: NodeId) -> u64 {
    fleet.host(node).of_shard(SHARD).unwrap().replica().log_bytes()
}

fn purged(fleet: &Fleet, node: NodeId) -> u64 {
    fleet.host(node).of_shard(SHARD).unwrap().replica().purged()
}

fn last(fleet: &Fleet, node: NodeId) -> u64 {
    fleet.host(node).of_shard(SHARD).unwrap().replica().group().last
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_replica_stops_no_write_and_no_log_goes_on_growing_for_it() {
    let fleet = grown_with(SMALL).await;
    let (leader, other) = leader_and_other(&fleet).await;
    fleet.cut(other);
    // Four times what is kept for it.
    for number in 0..64 {
        fleet.put_value(&format!("large{number:03}"), value()).await;
    }
    for node in [leader, THREE] {
        let short = async || (log_bytes(&fleet, node) <= SMALL.kept_bytes).then_some(());
        fleet.until("the log is short again", short).await;
    }
    // Told a moment after the log is short.
    let marked = async || (purged(&fleet, leader) > last(&fleet, other)).then_some(());
    fleet.until("it was marked: what it lacks is in no log", marked).await;
    fleet.join(other);
    fleet.put("after").await;
    fleet.settled(SHARD).await;
    assert_eq!(fleet.hash(other), fleet.hash(leader));
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_witness_keeps_what_a_data_replica_lacks_as_long_as_there_is_room_for_it() {
    let fleet = grown_with(LogBounds { kept_bytes: 1 << 30, ..SMALL }).await;
    let (leader, other) = leader_and_other(&fleet).await;
    fleet.settled(SHARD).await;
    fleet.cut(other);
    for number in 0..64 {
        fleet.put_value(&format!("large{number:03}"), value()).await;
    }
    // Time for many looks at the logs.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(purged(&fleet, THREE) <= last(&fleet, other), "nobody else would have it if the leader went");
    // Now the tail is on the witness alone, and whoever has the data gets it from there.
    fleet.cut(leader);
    fleet.join(other);
    fleet.put("after").await;
    assert_eq!(fleet.leader(SHARD).await.0, other);
    assert_eq!(fleet.hash(other).records, 50 + 64 + 1);
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_wait_for_a_live_replica_that_lags_and_go_on_when_it_has_caught_up() {
    let fleet = grown_with(LogBounds { patience: Duration::from_secs(600), ..SMALL }).await;
    let (_, other) = leader_and_other(&fleet).await;
    let writing = fleet.write_values("large", value());
    fleet.stick(other, true);
    let mut before = u64::MAX;
    fleet
        .until("no write is acknowledged", async || {
            let unchanged = writing.acknowledged() == before;
            before = writing.acknowledged();
            tokio::time::sleep(Duration::from_secs(1)).await;
            (unchanged && before > 0).then_some(())
        })
        .await;
    fleet.stick(other, false);
    fleet.until("writes go on", async || (writing.acknowledged() > before + 5).then_some(())).await;
    writing.stop().await;
    fleet.settled(SHARD).await;
    assert_eq!(fleet.hash(ONE), fleet.hash(TWO));
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_answers_but_takes_no_entries_is_given_a_snapshot() {
    let fleet = grown_with(LogBounds { stuck: Duration::from_secs(2), ..SMALL }).await;
    let (leader, other) = leader_and_other(&fleet).await;
    fleet.settled(SHARD).await;
    fleet.stick(other, true);
    fleet.put("unseen").await;
    let got = async || fleet.host(other).store().get(b"unseen").unwrap();
    fleet.until("it has what no entry brought", got).await;
    fleet.stick(other, false);
    fleet.put("after").await;
    fleet.settled(SHARD).await;
    assert_eq!(fleet.hash(other), fleet.hash(leader));
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_all_replicas_have_goes_from_every_log() {
    let fleet = grown_with(SMALL).await;
    for number in 0..32 {
        fleet.put_value(&format!("large{number:03}"), value()).await;
    }
    for node in [ONE, TWO, THREE] {
        let short = async || (log_bytes(&fleet, node) <= 4 * SMALL.step_bytes).then_some(());
        fleet.until("the log is short again", short).await;
    }
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_missed_a_split_and_got_a_snapshot_has_its_neighbour_made_too() {
    let fleet = grown_with(SMALL).await;
    let (leader, other) = leader_and_other(&fleet).await;
    fleet.settled(SHARD).await;
    fleet.cut(other);
    fleet.split(SHARD, "key025", ShardId(2), 100).await;
    fleet.put("key040x").await;
    for number in 0..64 {
        fleet.put_value(&format!("key001-{number:03}"), value()).await;
    }
    let gone = async || (purged(&fleet, leader) > last(&fleet, other)).then_some(());
    fleet.until("no log has what it lacks", gone).await;
    fleet.join(other);
    fleet.settled(SHARD).await;
    fleet.settled(ShardId(2)).await;
    assert_eq!(fleet.hash(other), fleet.hash(leader));
    fleet.stop().await;
}
