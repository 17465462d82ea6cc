//! A replica whose node was killed in the middle of installing a snapshot: it has log and vote, and no data.

use std::time::Duration;

use thermocline_engine::KeyRange;
use thermocline_shard::host::{Consistency, LogBounds, ReadError};
use thermocline_shard::raft::ReadIndexError;
use thermocline_shard::{NodeId, ReplicaId};

use super::fleet::Fleet;
use super::{ONE, SHARD, TWO, grown_with};

/// The leader, and the other data replica with its node, which is left without data.
async fn half_installed(fleet: &Fleet) -> (NodeId, NodeId, ReplicaId) {
    let leader = fleet.leader(SHARD).await.0;
    let other = if leader == ONE { TWO } else { ONE };
    fleet.settled(SHARD).await;
    let replica = fleet.host(other).of_shard(SHARD).unwrap().replica().id();
    fleet.end(other).await;
    fleet.leave_half_installed(other, replica);
    (leader, other, replica)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_whose_snapshot_was_installed_by_half_gets_another_one_while_writes_go_on() {
    let fleet = grown_with(LogBounds { stuck: Duration::from_secs(2), ..LogBounds::default() }).await;
    let (leader, other, replica) = half_installed(&fleet).await;
    fleet.run(other).await;
    assert_eq!(fleet.host(other).failed(), []);
    let writing = fleet.write_until_told("during");
    let whole = async || (!fleet.host(other).resident(replica)?.replica().awaits_snapshot()).then_some(());
    fleet.until("it has its data again", whole).await;
    assert!(writing.stop().await > 0);
    fleet.settled(SHARD).await;
    assert_eq!(fleet.hash(other), fleet.hash(leader));
    // It is a whole one again: it may lead.
    fleet.cut(leader);
    fleet.put("after").await;
    assert_eq!(fleet.leader(SHARD).await.0, other);
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_whose_snapshot_was_installed_by_half_does_not_lead_even_where_nobody_else_can() {
    let fleet = grown_with(LogBounds::default()).await;
    let (leader, other, replica) = half_installed(&fleet).await;
    fleet.run(other).await;
    let resident = fleet.host(other).resident(replica).unwrap();
    let follows = async || resident.replica().group().leader.filter(|leader| *leader != replica);
    fleet.until("it has heard the leader", follows).await;
    // Its log is as long as the leader's, which would do for handing over to it.
    fleet.host(leader).of_shard(SHARD).unwrap().replica().transfer_to(replica).await.unwrap();
    // It counts entries as applied that it drops.
    for consistency in [Consistency::Follower, Consistency::Stale(Duration::from_secs(3600))] {
        let read = resident.begin_read(&KeyRange::all(), consistency).await.err().unwrap();
        assert!(matches!(read, ReadError::Unproven { source: ReadIndexError::NoData { .. }, .. }), "{read:?}");
    }
    for _ in 0..40 {
        assert!(!resident.replica().group().leads(), "it was asked to, and has no data to lead with");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // It would be the first to ask for votes; and then the witness, which has nobody else to hand over to, asks it to lead.
    fleet.cut(leader);
    for _ in 0..100 {
        assert!(!resident.replica().group().leads(), "it has no data to lead with");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    fleet.join(leader);
    fleet.put("after").await;
    assert_eq!(fleet.leader(SHARD).await.0, leader);
    fleet.stop().await;
}
