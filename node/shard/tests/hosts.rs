//! Nodes in one process: each with an engine, a log store and the replicas that are on it; messages go through wires.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods, missing_docs)]

mod crashes;
mod fleet;
mod half_installed;
mod logs;
mod merging;
mod pitfalls;
mod revival;
mod witness_matrix;

use std::collections::BTreeSet;
use std::time::Duration;

use fleet::{Fleet, range};
use thermocline_shard::host::{Consistency, LogBounds, ReadError};
use thermocline_shard::job::{JobControl, JobKind, JobOutcome};
use thermocline_shard::{NodeId, ReplicaId, Role, ShardId};

const ONE: NodeId = NodeId(1);
const TWO: NodeId = NodeId(2);
const THREE: NodeId = NodeId(3);
const FOUR: NodeId = NodeId(4);
const SHARD: ShardId = ShardId(1);

/// A shard on three nodes: two data replicas and a witness, grown from one.
async fn grown() -> Fleet {
    grown_with(LogBounds::default()).await
}

async fn grown_with(log_bounds: LogBounds) -> Fleet {
    let fleet = Fleet::start_with(&[ONE, TWO, THREE, FOUR], log_bounds).await;
    fleet.begin(ONE, ReplicaId(10), SHARD).await;
    for number in 0..50 {
        fleet.put(&format!("key{number:03}")).await;
    }
    let add = |replica, node, role| JobKind::Add { replica: ReplicaId(replica), node, role };
    fleet.job(SHARD, 1, add(11, TWO, Role::Data)).await;
    fleet.job(SHARD, 2, add(12, THREE, Role::Witness)).await;
    fleet
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_grows_from_one_replica_to_two_and_a_witness() {
    let fleet = grown().await;
    fleet.put("after").await;
    fleet.settled(SHARD).await;
    assert_eq!(fleet.nodes_of(SHARD).await, BTreeSet::from([ONE, TWO, THREE]));
    assert_eq!(fleet.hash(ONE), fleet.hash(TWO));
    assert_eq!((fleet.hash(ONE).records, fleet.hash(THREE).records), (51, 0));
    assert_eq!(fleet.copies_left(ONE), Vec::<std::path::PathBuf>::new(), "each is as large as the shard");
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_of_the_leaders_replica_leaves_nothing_on_its_node_and_loses_nothing_meanwhile() {
    let fleet = grown().await;
    let leaving = fleet.leader(SHARD).await;
    let writing = fleet.write_until_told("during");
    let kind = JobKind::Move {
        replica: ReplicaId(20),
        node: FOUR,
        role: Role::Data,
        leaving: leaving.1,
        leaving_node: leaving.0,
    };
    fleet.job(SHARD, 3, kind).await;
    let written = writing.stop().await;
    assert!(written > 0);
    fleet.settled(SHARD).await;
    let other = if leaving.0 == ONE { TWO } else { ONE };
    assert_eq!(fleet.nodes_of(SHARD).await, BTreeSet::from([other, THREE, FOUR]));
    assert_eq!(fleet.hash(other), fleet.hash(FOUR));
    assert_eq!(fleet.hash(FOUR).records, 50 + written);
    fleet.until("the old copy is wiped", async || (fleet.hash(leaving.0).records == 0).then_some(())).await;
    assert!(fleet.host(leaving.0).resident(leaving.1).is_none());
    // A number is not used twice.
    assert!(fleet.host(leaving.0).create(leaving.1, SHARD, Role::Data, None).await.is_err());
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_is_finished_by_the_next_leader_where_its_own_is_lost() {
    let fleet = grown().await;
    let leader = fleet.leader(SHARD).await;
    let other = if leader.0 == ONE { TWO } else { ONE };
    // It cannot go on while its target is away, so it is certainly not done when its leader goes.
    fleet.cut(FOUR);
    let kind = JobKind::Add { replica: ReplicaId(21), node: FOUR, role: Role::Data };
    fleet.begin_job(SHARD, 3, kind).await;
    fleet.cut(leader.0);
    fleet.until("another one leads", async || (fleet.leader(SHARD).await.0 == other).then_some(())).await;
    fleet.join(FOUR);
    fleet.ended(SHARD, 3, JobOutcome::Done).await;
    fleet.join(leader.0);
    fleet.settled(SHARD).await;
    assert_eq!(fleet.hash(FOUR), fleet.hash(other));
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_move_leaves_members_and_nodes_as_they_were() {
    let fleet = grown().await;
    let (leaving_node, leaving) = fleet.leader(SHARD).await;
    fleet.cut(FOUR);
    let kind = JobKind::Move { replica: ReplicaId(22), node: FOUR, role: Role::Data, leaving, leaving_node };
    fleet.begin_job(SHARD, 3, kind).await;
    fleet.control(SHARD, JobControl { job: 3, cancel: true, ..JobControl::default() }).await;
    fleet.join(FOUR);
    fleet.ended(SHARD, 3, JobOutcome::Cancelled).await;
    assert_eq!(fleet.nodes_of(SHARD).await, BTreeSet::from([ONE, TWO, THREE]));
    assert!(fleet.host(FOUR).all().is_empty());
    fleet.put("after").await;
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_that_splits_serves_both_halves_and_comes_back_as_two_after_a_restart() {
    let fleet = grown().await;
    fleet.split(SHARD, "key025", ShardId(2), 100).await;
    for key in ["key000x", "key040x"] {
        fleet.put(key).await;
    }
    fleet.settled(SHARD).await;
    fleet.settled(ShardId(2)).await;
    assert_eq!(fleet.hash(ONE), fleet.hash(TWO));
    for node in [ONE, TWO, THREE, FOUR] {
        fleet.restart(node).await;
    }
    for key in ["key001x", "key041x"] {
        fleet.put(key).await;
    }
    let leader = fleet.leader(ShardId(2)).await;
    let host = fleet.host(leader.0);
    assert_eq!(host.owner(b"key041x").unwrap().shard(), ShardId(2));
    let reading = host.owner(b"key041x").unwrap();
    reading.begin_read(&range("key025", ""), Consistency::Leader).await.unwrap().confirm().unwrap();
    assert!(
        reading.begin_read(&range("key024", "key026"), Consistency::Leader).await.is_err(),
        "a part of it is the other shard's"
    );
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_missed_a_split_is_removed_with_all_the_keys_it_knew_of_and_both_shards_serve_on() {
    let fleet = grown().await;
    let (leader, _) = fleet.leader(SHARD).await;
    let other = if leader == ONE { TWO } else { ONE };
    fleet.settled(SHARD).await;
    let missed = fleet.host(other).of_shard(SHARD).unwrap().replica().id();
    fleet.cut(other);
    fleet.split(SHARD, "key025", ShardId(2), 100).await;
    // Removed behind its back, it still believes that all keys are its own.
    let kind = JobKind::Remove { leaving: missed, leaving_node: other };
    fleet.job(SHARD, 3, kind).await;
    fleet.join(other);
    fleet.host(other).remove(missed).await.unwrap();
    assert_eq!(fleet.hash(other).records, 0, "it knew of no other shard here");
    for key in ["key010x", "key040x"] {
        fleet.put(key).await;
    }
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_data_replica_and_the_witness_trade_places_while_writes_go_on() {
    let fleet = grown().await;
    let (leaving_node, leaving) = fleet.leader(SHARD).await;
    let writing = fleet.write_until_told("during");
    let kind = JobKind::Exchange {
        replica: ReplicaId(30),
        node: THREE,
        witness: ReplicaId(31),
        leaving,
        leaving_node,
        leaving_witness: ReplicaId(12),
    };
    fleet.job(SHARD, 3, kind).await;
    let written = writing.stop().await;
    fleet.settled(SHARD).await;
    let other = if leaving_node == ONE { TWO } else { ONE };
    assert_eq!(fleet.nodes_of(SHARD).await, BTreeSet::from([ONE, TWO, THREE]));
    assert_eq!(fleet.hash(THREE), fleet.hash(other));
    assert_eq!(fleet.hash(THREE).records, 50 + written);
    fleet.until("the old data is wiped", async || (fleet.hash(leaving_node).records == 0).then_some(())).await;
    let there =
        |node| fleet.host(node).all().iter().map(|one| (one.replica().id(), one.replica().role())).collect::<Vec<_>>();
    assert_eq!(there(leaving_node), [(ReplicaId(31), Role::Witness)]);
    assert_eq!(there(THREE), [(ReplicaId(30), Role::Data)]);
    // Each of the two is enough beside the one that stayed.
    fleet.cut(THREE);
    fleet.put("with the witness").await;
    fleet.join(THREE);
    fleet.settled(SHARD).await;
    fleet.cut(other);
    fleet.put("with the new one").await;
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_joins_after_a_split_does_not_write_what_the_other_half_has_long_written_over() {
    let fleet = Fleet::start_with(&[ONE, TWO], LogBounds::default()).await;
    fleet.begin(ONE, ReplicaId(10), SHARD).await;
    for key in ["key010", "key040"] {
        fleet.put(key).await;
    }
    let right = ShardId(2);
    fleet.split(SHARD, "key025", right, 100).await;
    let add = |replica| JobKind::Add { replica: ReplicaId(replica), node: TWO, role: Role::Data };
    fleet.job(right, 1, add(200)).await;
    fleet.put("key040").await;
    fleet.settled(right).await;
    // Its log begins with a write of `key040`, which was its own then.
    fleet.job(SHARD, 2, add(201)).await;
    fleet.settled(SHARD).await;
    assert_eq!(fleet.hash(ONE), fleet.hash(TWO));
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_missed_a_split_and_gets_a_snapshot_has_its_neighbour_too() {
    let fleet = grown().await;
    let (leader, _) = fleet.leader(SHARD).await;
    let other = if leader == ONE { TWO } else { ONE };
    fleet.settled(SHARD).await;
    fleet.cut(other);
    fleet.split(SHARD, "key025", ShardId(2), 100).await;
    fleet.put("key010x").await;
    fleet.put("key040x").await;
    fleet.forget_log(leader, SHARD).await;
    fleet.join(other);
    fleet.until("the neighbour is there", async || fleet.host(other).of_shard(ShardId(2)).map(drop)).await;
    fleet.settled(SHARD).await;
    fleet.settled(ShardId(2)).await;
    assert_eq!(fleet.hash(other), fleet.hash(leader));
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_is_taken_away_answers_no_read_of_a_state_that_it_still_knew_to_be_new() {
    let fleet = grown().await;
    let leader = fleet.leader(SHARD).await;
    let node = if leader.0 == ONE { TWO } else { ONE };
    let resident = fleet.host(node).of_shard(SHARD).unwrap();
    let (all, hour) = (range("", ""), Consistency::Stale(Duration::from_secs(3600)));
    let reading = fleet.until("it is read", async || resident.begin_read(&all, hour).await.ok()).await;
    reading.confirm().unwrap();
    assert!(reading.staleness().is_some());
    let kind = JobKind::Remove { leaving: resident.replica().id(), leaving_node: node };
    fleet.job(SHARD, 3, kind).await;
    fleet.until("its copy is wiped", async || (fleet.hash(node).records == 0).then_some(())).await;
    assert!(matches!(reading.confirm(), Err(ReadError::Replaced { .. })), "what it read may be of the time after");
    let read = resident.begin_read(&all, hour).await.err().unwrap();
    assert!(matches!(read, ReadError::Replaced { .. }), "{read:?}");
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_whose_shard_has_split_answers_for_what_it_has_left() {
    let fleet = grown().await;
    let leader = fleet.leader(SHARD).await;
    let node = if leader.0 == ONE { TWO } else { ONE };
    let resident = fleet.host(node).of_shard(SHARD).unwrap();
    fleet.split(SHARD, "key025", ShardId(2), 100).await;
    // Behind the split, since it was asked for after it.
    let read = async |keys: &thermocline_engine::KeyRange| resident.begin_read(keys, Consistency::Follower).await;
    let left = range("", "key025");
    fleet.until("its own keys are read", async || read(&left).await.ok()).await.confirm().unwrap();
    fleet
        .until("the others are refused", async || {
            matches!(read(&range("key025", "key026")).await, Err(ReadError::OutOfRange { .. })).then_some(())
        })
        .await;
    fleet.stop().await;
}
