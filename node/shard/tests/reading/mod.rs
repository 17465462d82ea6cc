//! Reads of replicas that do not lead: what they show, and when they are refused.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use thermocline_shard::ReplicaId;
use thermocline_shard::raft::{RaftReplica, ReadIndexError};

use super::support::Group;
use super::{ONE, TWO, WITNESS, group};

const HOUR: Duration = Duration::from_secs(3600);

type Replica = Arc<RaftReplica<thermocline_engine::Engine>>;

/// A group whose other data replica has heard who leads.
async fn with_follower() -> (Group, ReplicaId, Replica) {
    let group = group().await;
    group.put("before").await;
    group.settled(&[ONE, TWO, WITNESS]).await;
    let leader = group.leader().await;
    let follower = group.replica(if leader == ONE { TWO } else { ONE });
    group.until("it follows", async || (follower.leader().await == Some(leader)).then_some(())).await;
    (group, leader, follower)
}

/// As often as it takes: a machine that is busy may change who leads.
async fn answered<T>(group: &Group, read: impl AsyncFn() -> Result<T, ReadIndexError>) -> T {
    group.until("the read is answered", async || read().await.ok()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_shows_everything_that_was_acknowledged_before_it_was_asked() {
    let (group, _, follower) = with_follower().await;
    for number in 0..100 {
        let key = format!("key{number:03}");
        group.put(&key).await;
        answered(&group, async || follower.follower_barrier().await).await;
        assert!(group.store(follower.id()).get(key.as_bytes()).unwrap().is_some(), "{key}");
    }
    group.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_is_cut_off_refuses_what_it_is_too_old_for() {
    let (group, _, follower) = with_follower().await;
    let minute = Duration::from_secs(60);
    answered(&group, async || follower.fresh_within(minute).await).await;
    group.cut(follower.id());
    group.put("after").await;
    let known = follower.fresh_within(HOUR).await.unwrap();
    group.pass(minute);
    assert!(follower.since(known) >= minute, "it has heard of nothing since");
    assert_eq!(follower.fresh_within(HOUR).await.unwrap(), known, "what is asked for it has");
    let refused = follower.fresh_within(minute).await.unwrap_err();
    assert!(
        matches!(refused, ReadIndexError::Unanswered { .. } | ReadIndexError::NoLeader { .. }),
        "it lacks what was acknowledged a minute ago: {refused}"
    );
    assert!(follower.follower_barrier().await.is_err());
    group.join(follower.id());
    let again = answered(&group, async || follower.fresh_within(minute).await).await;
    assert!(again > known);
    assert!(group.store(follower.id()).get(b"after").unwrap().is_some());
    group.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_is_as_old_as_the_question_and_not_as_the_answer() {
    let (group, _, follower) = with_follower().await;
    // The answer is on its way for so long, or the follower is paused before it reads it.
    let late = Duration::from_secs(30);
    group.answer_late(late);
    let known = answered(&group, async || follower.follower_barrier().await).await;
    group.answer_late(Duration::ZERO);
    assert!(follower.since(known) >= late, "{:?}", follower.since(known));
    let asked = group.asked();
    assert_eq!(follower.fresh_within(HOUR).await.unwrap(), known);
    assert_eq!(group.asked(), asked);
    let newer = answered(&group, async || follower.fresh_within(Duration::from_secs(10)).await).await;
    assert!(newer > known && group.asked() > asked, "what it knew was too old");
    group.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_asked_where_nobody_reads_and_one_question_does_for_many() {
    let (group, _, follower) = with_follower().await;
    for number in 0..20 {
        group.put(&format!("key{number:03}")).await;
    }
    assert_eq!(group.asked(), 0);
    answered(&group, async || follower.fresh_within(HOUR).await).await;
    let once = group.asked();
    for _ in 0..100 {
        follower.fresh_within(HOUR).await.unwrap();
    }
    assert_eq!(group.asked(), once, "it knows that it is new enough");
    let many = join_all((0..100).map(|_| follower.follower_barrier())).await;
    assert!(many.iter().any(Result::is_ok));
    let asked = group.asked() - once;
    assert!(asked <= 10, "{asked} questions for reads that came together");
    group.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_nobody_follows_any_more_tells_nobody_how_far_reads_have_to_see() {
    let (group, leader, _) = with_follower().await;
    group.cut(leader);
    let old = group.replica(leader);
    let told = tokio::time::timeout(Duration::from_secs(60), old.on_read_index()).await.unwrap();
    assert!(told.is_err(), "another one may lead, and have acknowledged more");
    let own = old.fresh_within(Duration::from_millis(1)).await;
    assert!(own.is_err(), "nor itself: {own:?}");
    group.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leader_and_a_witness_are_asked_too_and_the_one_answers_and_the_other_has_no_data() {
    let (group, leader, _) = with_follower().await;
    group.put("key").await;
    let leading = group.replica(leader);
    answered(&group, async || leading.follower_barrier().await).await;
    assert!(group.store(leader).get(b"key").unwrap().is_some());
    let witness = group.replica(WITNESS);
    assert!(matches!(witness.fresh_within(HOUR).await, Err(ReadIndexError::NoData { .. })));
    assert!(matches!(witness.follower_barrier().await, Err(ReadIndexError::NoData { .. })));
    group.stop().await;
}
