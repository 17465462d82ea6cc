//! Two shards become one, whatever happens meanwhile: neither is left frozen, lost or doubled.

use std::time::Duration;

use bytes::Bytes;
use thermocline_engine::Mutation;
use thermocline_shard::command::Write;
use thermocline_shard::host::{Consistency, Index, Indexed};
use thermocline_shard::job::{JobControl, JobKind, JobOutcome};
use thermocline_shard::machine::Answer;
use thermocline_shard::session::{ClientId, RequestId};
use thermocline_shard::{NodeId, ReplicaId, Role, ShardId};

use super::fleet::{Fleet, range};
use super::{FOUR, ONE, SHARD, THREE, TWO, grown};

const RIGHT: ShardId = ShardId(2);
/// What splits off later.
const LATER: ShardId = ShardId(3);
const BOTH: [ShardId; 2] = [SHARD, RIGHT];
/// A replica that heard nobody for longer may have been let go.
const ALONE: Duration = Duration::from_secs(11);

/// What a leader has written down of the shard that has all keys.
struct Told(Indexed);

impl Index for Told {
    async fn indexed(&self, _: &[u8]) -> Option<Indexed> {
        Some(self.0.clone())
    }
}

async fn told(fleet: &Fleet, shard: ShardId) -> Told {
    let (node, replica) = fleet.leader(shard).await;
    let resident = fleet.host(node).resident(replica).unwrap();
    let (group, descriptor) = (resident.replica().group(), resident.descriptor().unwrap());
    let members = group.members.keys().copied().collect();
    let members_changed_at = group.members_changed_at;
    Told(Indexed { shard, epoch: descriptor.epoch, members, members_changed_at })
}

/// Two neighbours, each with two data replicas and a witness on the same nodes, and 25 records in each.
async fn neighbours() -> Fleet {
    let fleet = grown().await;
    fleet.split(SHARD, "key025", RIGHT, 100).await;
    for shard in BOTH {
        fleet.settled(shard).await;
    }
    fleet
}

/// The data node that does not lead a shard.
async fn follower(fleet: &Fleet, shard: ShardId) -> NodeId {
    if fleet.leader(shard).await.0 == ONE { TWO } else { ONE }
}

/// One shard has all keys, on the same nodes as before, and all of its copies are the same.
async fn is_one(fleet: &Fleet, records: u64) {
    fleet.gone(RIGHT).await;
    for key in ["key000-later", "key049-later"] {
        fleet.put(key).await;
    }
    fleet.settled(SHARD).await;
    assert_eq!(fleet.hash(ONE), fleet.hash(TWO));
    assert_eq!((fleet.hash(ONE).records, fleet.hash(THREE).records), (records + 2, 0));
    let (leader, _) = fleet.leader(SHARD).await;
    let owner = fleet.host(leader).owner(b"key049").unwrap();
    assert_eq!(owner.shard(), SHARD);
    owner.begin_read(&range("", ""), Consistency::Leader).await.unwrap().confirm().unwrap();
}

/// Merges the two; of a node all that arrives is that the right one is frozen.
async fn merged_without(fleet: &Fleet, away: NodeId) {
    fleet.silence(away, true);
    fleet.begin_merge(3, SHARD, RIGHT).await;
    fleet.frozen(RIGHT, &[ONE, TWO]).await;
    fleet.stick(away, true);
    fleet.silence(away, false);
    fleet.ended(SHARD, 3, JobOutcome::Done).await;
}

/// Both shards are there and take writes.
async fn are_two(fleet: &Fleet) {
    for key in ["key000-later", "key049-later"] {
        fleet.put(key).await;
    }
    for shard in BOTH {
        fleet.settled(shard).await;
    }
    assert_eq!(fleet.hash(ONE), fleet.hash(TWO));
    let (leader, _) = fleet.leader(RIGHT).await;
    assert_eq!(fleet.host(leader).owner(b"key049").unwrap().shard(), RIGHT);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_neighbours_become_one_while_writes_go_on_and_after_a_restart_there_is_one() {
    let fleet = neighbours().await;
    let (left, right) = (fleet.write_until_told("during"), fleet.write_until_told("zduring"));
    fleet.begin_merge(3, SHARD, RIGHT).await;
    fleet.ended(SHARD, 3, JobOutcome::Done).await;
    fleet.gone(RIGHT).await;
    let written = left.stop().await + right.stop().await;
    assert!(written > 0);
    is_one(&fleet, 50 + written).await;
    for node in [ONE, TWO, THREE] {
        fleet.restart(node).await;
    }
    fleet.put("key049-restarted").await;
    assert!(fleet.host(ONE).of_shard(RIGHT).is_none());
    assert!(
        fleet.host(ONE).create(ReplicaId(100), RIGHT, Role::Data, None).await.is_err(),
        "a number is not used twice"
    );
    // One that joins gets the keys of both.
    fleet.job(SHARD, 4, JobKind::Add { replica: ReplicaId(40), node: FOUR, role: Role::Data }).await;
    fleet.settled(SHARD).await;
    assert_eq!(fleet.hash(FOUR), fleet.hash(ONE));
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_to_the_right_shard_that_is_sent_again_to_the_merged_one_is_applied_once() {
    let fleet = neighbours().await;
    let write = async |value: &'static str, retry| {
        fleet
            .until("the write is answered", async || {
                let (leader, _) = fleet.leader(fleet.host(ONE).owner(b"key040")?.shard()).await;
                let owner = fleet.host(leader).owner(b"key040")?;
                let (key, value) = (Bytes::from_static(b"key040"), Bytes::from_static(value.as_bytes()));
                let request = Some(RequestId { client: ClientId([9; 16]), sequence: 4, retry });
                let epoch = owner.descriptor()?.epoch;
                let mutations = vec![Mutation::Put { key, value }];
                match owner.write(Write { request, epoch, conditions: Vec::new(), mutations }).await {
                    Ok(Answer::Written { version }) => Some(version),
                    _ => None,
                }
            })
            .await
    };
    let first = write("once", false).await;
    fleet.begin_merge(3, SHARD, RIGHT).await;
    fleet.ended(SHARD, 3, JobOutcome::Done).await;
    fleet.gone(RIGHT).await;
    assert_eq!(write("twice", true).await, first);
    let found = fleet.host(ONE).store().get(b"key040").unwrap().unwrap();
    assert_eq!((found.value.as_ref(), found.version), (&b"once"[..], first));
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_merge_whose_leaders_are_lost_at_any_step_is_finished_or_undone_by_the_next_ones() {
    for step in ["begun", "frozen", "absorbed", "right leader"] {
        let fleet = neighbours().await;
        let lost = match step {
            "right leader" => fleet.leader(RIGHT).await.0,
            _ => fleet.leader(SHARD).await.0,
        };
        for node in [ONE, TWO] {
            fleet.silence(node, matches!(step, "frozen" | "right leader"));
        }
        fleet.begin_merge(3, SHARD, RIGHT).await;
        match step {
            "frozen" | "right leader" => fleet.frozen(RIGHT, &[ONE, TWO]).await,
            "absorbed" => {
                let absorbed =
                    async || fleet.host(lost).owner(b"key049").filter(|owner| owner.shard() == SHARD).map(drop);
                fleet.until("the neighbour is absorbed", absorbed).await;
            }
            _ => {}
        }
        fleet.cut(lost);
        for node in [ONE, TWO] {
            fleet.silence(node, false);
        }
        let other = if lost == ONE { TWO } else { ONE };
        fleet.until("another one leads", async || (fleet.leader(SHARD).await.0 == other).then_some(())).await;
        fleet.join(lost);
        let outcome = fleet.outcome(SHARD, 3).await;
        println!("{step}: {outcome:?}");
        if outcome == JobOutcome::Done {
            is_one(&fleet, 50).await;
        } else {
            assert_ne!(step, "absorbed");
            are_two(&fleet).await;
        }
        fleet.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_is_thawed_where_its_merge_is_cancelled_or_a_data_replica_does_not_follow() {
    let fleet = neighbours().await;
    // It answers, but the entry that freezes the shard does not come to it.
    let stuck = follower(&fleet, RIGHT).await;
    fleet.stick(stuck, true);
    fleet.begin_merge(3, SHARD, RIGHT).await;
    assert_ne!(fleet.outcome(SHARD, 3).await, JobOutcome::Done);
    for key in ["key000x", "key049x"] {
        fleet.put(key).await;
    }
    fleet.stick(stuck, false);
    are_two(&fleet).await;
    // Frozen everywhere, and cancelled before anybody hears of it.
    [ONE, TWO].into_iter().for_each(|node| fleet.silence(node, true));
    fleet.begin_merge(4, SHARD, RIGHT).await;
    fleet.frozen(RIGHT, &[ONE, TWO]).await;
    fleet.control(SHARD, JobControl { job: 4, cancel: true, ..JobControl::default() }).await;
    assert_eq!(fleet.outcome(SHARD, 4).await, JobOutcome::Cancelled);
    are_two(&fleet).await;
    [ONE, TWO].into_iter().for_each(|node| fleet.silence(node, false));
    fleet.begin_merge(5, SHARD, RIGHT).await;
    fleet.ended(SHARD, 5, JobOutcome::Done).await;
    is_one(&fleet, 52).await;
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_was_away_when_its_neighbour_was_absorbed_catches_up_by_log_or_by_snapshot() {
    for by_snapshot in [false, true] {
        let fleet = neighbours().await;
        let (leader, away) = (fleet.leader(SHARD).await.0, follower(&fleet, SHARD).await);
        merged_without(&fleet, away).await;
        for key in ["key010x", "key040x"] {
            fleet.put(key).await;
        }
        if by_snapshot {
            fleet.forget_log(leader, SHARD).await;
        } else {
            // Nobody speaks to the neighbour any more, but its data is what the shard goes on from.
            let beside = fleet.host(away).of_shard(RIGHT).unwrap();
            let alone = async || (beside.replica().heard_ago() > ALONE).then_some(());
            fleet.until("nobody speaks to it", alone).await;
            fleet.host(away).sweep(&told(&fleet, SHARD).await).await.unwrap();
            assert!(fleet.host(away).of_shard(RIGHT).is_some());
        }
        fleet.stick(away, false);
        is_one(&fleet, 52).await;
        fleet.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_goes_whose_shard_was_absorbed_and_split_off_again_before_its_node_heard_of_either() {
    let fleet = neighbours().await;
    let (leader, away) = (fleet.leader(SHARD).await.0, follower(&fleet, SHARD).await);
    merged_without(&fleet, away).await;
    fleet.split(SHARD, "key010", LATER, 200).await;
    fleet.forget_log(leader, SHARD).await;
    fleet.stick(away, false);
    // What it installs does not reach to the keys of the shard that was absorbed.
    fleet.settled(SHARD).await;
    fleet
        .until("nothing is left of it", async || {
            fleet.host(away).sweep(&told(&fleet, LATER).await).await.unwrap();
            fleet.host(away).of_shard(RIGHT).is_none().then_some(())
        })
        .await;
    for key in ["key000-later", "key049-later"] {
        fleet.put(key).await;
    }
    fleet.settled(LATER).await;
    assert_eq!(fleet.hash(ONE), fleet.hash(TWO));
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_was_removed_while_it_was_away_and_whose_shard_was_then_absorbed_goes_by_the_index() {
    let fleet = neighbours().await;
    let away = follower(&fleet, SHARD).await;
    fleet
        .until("it leads neither", async || {
            let (node, leading) = fleet.leader(RIGHT).await;
            let other = if away == ONE { TWO } else { ONE };
            let to = fleet.host(other).of_shard(RIGHT)?.replica().id();
            if node == away {
                fleet.host(away).resident(leading)?.replica().transfer_to(to).await.ok()?;
                return None;
            }
            Some(())
        })
        .await;
    let stale = fleet.host(away).of_shard(RIGHT).unwrap().replica().id();
    fleet.cut(away);
    for shard in BOTH {
        let leaving = fleet.host(away).of_shard(shard).unwrap().replica().id();
        fleet.job(shard, 3, JobKind::Remove { leaving, leaving_node: away }).await;
    }
    fleet.begin_merge(4, SHARD, RIGHT).await;
    fleet.ended(SHARD, 4, JobOutcome::Done).await;
    let told = told(&fleet, SHARD).await;
    fleet.join(away);
    fleet
        .until("nothing is left of it", async || {
            fleet.host(away).sweep(&told).await.unwrap();
            fleet.host(away).resident(stale).is_none().then_some(())
        })
        .await;
    fleet
        .until("nor of the other", async || {
            fleet.host(away).sweep(&told).await.unwrap();
            fleet.host(away).all().is_empty().then_some(())
        })
        .await;
    assert_eq!(fleet.hash(away).records, 0);
    fleet.put("key049x").await;
    fleet.stop().await;
}
