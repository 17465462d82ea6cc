//! A group of replicas in one process: real engines, logs and consensus; messages go through a switchboard that can cut them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods, missing_docs)]

mod reading;
mod support;

use std::time::Duration;

use support::{Group, put};
use thermocline_shard::command::{Command, Split};
use thermocline_shard::machine::{Answer, Applied};
use thermocline_shard::raft::Pace;
use thermocline_shard::{Epoch, ReplicaId, Role, ShardId};

const ONE: ReplicaId = ReplicaId(1);
const TWO: ReplicaId = ReplicaId(2);
const WITNESS: ReplicaId = ReplicaId(3);

/// Two data replicas and a witness.
async fn group() -> Group {
    Group::start(&[(ONE, Role::Data), (TWO, Role::Data), (WITNESS, Role::Witness)]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_written_is_on_all_data_replicas_and_not_on_the_witness() {
    let group = group().await;
    for number in 0..20 {
        group.put(&format!("key{number:02}")).await;
    }
    group.settled(&[ONE, TWO, WITNESS]).await;
    assert_eq!(group.hash(ONE), group.hash(TWO));
    assert_eq!(group.hash(ONE).records, 20);
    assert_eq!(group.hash(WITNESS).records, 0);
    group.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_gone_is_replaced_and_nothing_acknowledged_is_lost() {
    let mut group = group().await;
    group.put("before").await;
    let first = group.leader().await;
    group.kill(first).await;
    // Two of three are left, one of them the witness.
    group.put("after").await;
    let second = group.leader().await;
    assert_ne!(second, WITNESS, "it holds no data and leads only to hand over");
    group.restart(first).await;
    group.settled(&[ONE, TWO, WITNESS]).await;
    assert_eq!(group.hash(ONE), group.hash(TWO));
    for key in ["before", "after"] {
        assert!(group.store(first).get(key.as_bytes()).unwrap().is_some(), "{key}");
    }
    group.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_that_only_leader_and_witness_have_reach_the_other_data_replica_when_the_leader_is_gone() {
    let mut group = group().await;
    group.put("before").await;
    let leader = group.leader().await;
    let other = if leader == ONE { TWO } else { ONE };
    group.settled(&[ONE, TWO, WITNESS]).await;
    group.cut(other);
    for number in 0..100 {
        group.put_at(leader, &format!("tail{number:03}")).await;
    }
    group.kill(leader).await;
    group.join(other);
    group.put("after").await;
    assert_eq!(group.leader().await, other);
    group.settled(&[other]).await;
    for number in 0..100 {
        let key = format!("tail{number:03}");
        assert!(group.store(other).get(key.as_bytes()).unwrap().is_some(), "{key} was acknowledged");
    }
    group.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_whose_answers_take_longer_than_between_two_signs_of_life_writes_and_reads() {
    let group = group().await;
    group.put("before").await;
    group.delay(Pace::default().heartbeat * 2 / 3);
    for number in 0..5 {
        group.put(&format!("key{number}")).await;
    }
    // For a while nobody writes: then signs of life alone say who leads.
    tokio::time::sleep(Pace::default().election * 3).await;
    group
        .until("the leader reads", async || {
            let leader = group.leader().await;
            group.replica(leader).read_barrier().await.ok()
        })
        .await;
    group.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_heard_and_hears_nothing_is_replaced() {
    let group = group().await;
    group.put("before").await;
    let first = group.leader().await;
    group.deafen(first);
    // Its entries arrive again and again, and nobody's answer.
    let leader = group.replica(first);
    let unanswered = tokio::spawn(async move { leader.propose(&put("unanswered")).await.map(drop) });
    group.put("after").await;
    assert_ne!(group.leader().await, first);
    group.undeafen(first);
    group.put("at the end").await;
    group.settled(&[ONE, TWO, WITNESS]).await;
    assert_eq!(group.hash(ONE), group.hash(TWO));
    unanswered.abort();
    group.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_cut_off_acknowledges_no_write_and_no_read() {
    let group = group().await;
    group.put("before").await;
    let old = group.leader().await;
    group.settled(&[ONE, TWO, WITNESS]).await;
    group.cut(old);
    let (alone, write) = (group.replica(old), put("lost"));
    let write = tokio::time::timeout(Duration::from_secs(3), alone.propose(&write)).await;
    assert!(!matches!(write, Ok(Ok(_))), "nobody else has it");
    let read = tokio::time::timeout(Duration::from_secs(3), alone.read_barrier()).await;
    assert!(!matches!(read, Ok(Ok(()))), "another one may lead");
    group.put("after").await;
    group.join(old);
    group.settled(&[ONE, TWO, WITNESS]).await;
    assert_eq!(group.hash(ONE), group.hash(TWO));
    assert!(group.store(old).get(b"lost").unwrap().is_none());
    group.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_restarts_does_not_lead_on_in_the_term_that_it_had_won() {
    // Alone, it would be elected at once; with its old term it would give names to entries that it has given before.
    let mut group = Group::start(&[(ONE, Role::Data)]).await;
    group.put("before").await;
    let won = group.replica(ONE).term();
    group.kill(ONE).await;
    group.restart(ONE).await;
    group.put("after").await;
    assert!(group.replica(ONE).term() > won, "{} and before {won}", group.replica(ONE).term());
    group.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_was_made_to_join_takes_no_log_from_its_beginning_but_a_snapshot() {
    let mut group = Group::start(&[(ONE, Role::Data)]).await;
    group.put("before").await;
    group.add_joining(TWO, Role::Data).await;
    group.replica(ONE).add_learner(TWO, Group::member(TWO, Role::Data)).await.unwrap();
    for _ in 0..40 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(group.replica(TWO).applied(), None);
    }
    group.replica(ONE).lose_beginning().await.unwrap();
    group.settled(&[TWO]).await;
    assert_eq!(group.hash(TWO), group.hash(ONE));
    group.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_split_that_was_made_for_other_members_is_refused() {
    let group = Group::start(&[(ONE, Role::Data)]).await;
    let split = |replicas| Split { at: "m".into(), epoch: Epoch(1), right: ShardId(2), replicas };
    for others in [vec![(TWO, ReplicaId(12))], vec![(ONE, ReplicaId(11)), (TWO, ReplicaId(12))]] {
        let applied = group.replica(ONE).propose(&Command::Split(split(others))).await.unwrap();
        assert!(matches!(&applied, Applied::Refused(reason) if reason.contains("other members")), "{applied:?}");
    }
    let applied = group.replica(ONE).propose(&Command::Split(split(vec![(ONE, ReplicaId(11))]))).await.unwrap();
    assert!(matches!(applied, Applied::Split { .. }), "{applied:?}");
    group.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_witness_that_nobody_speaks_to_knows_so_however_often_it_stands_for_election() {
    let group = group().await;
    group.settled(&[WITNESS]).await;
    group.cut(WITNESS);
    let witness = group.replica(WITNESS);
    let long = Pace::default().election * 10;
    group.until("it has heard nobody for long", async || (witness.heard_ago() > long).then_some(())).await;
    group.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leadership_goes_to_the_replica_that_is_asked_for_it() {
    let group = group().await;
    group.put("before").await;
    let leader = group.leader().await;
    let other = if leader == ONE { TWO } else { ONE };
    group.settled(&[ONE, TWO, WITNESS]).await;
    group.replica(leader).transfer_to(other).await.unwrap();
    group.until("the other leads", async || (group.leader().await == other).then_some(())).await;
    group.put("after").await;
    group.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_joins_gets_a_snapshot_when_the_log_no_longer_begins_at_the_start() {
    let mut group = group().await;
    for number in 0..50 {
        group.put(&format!("key{number:02}")).await;
    }
    let new = ReplicaId(4);
    let leader = group.leader().await;
    group.forget_log(leader).await;
    group.add(new, Role::Data).await;
    group.replica(leader).add_learner(new, Group::member(new, Role::Data)).await.unwrap();
    group.settled(&[new]).await;
    assert_eq!(group.hash(new), group.hash(leader));
    // What it did not see logged it remembers all the same: a retry is told what came of the first sending.
    let other = if leader == ONE { TWO } else { ONE };
    group.replica(leader).change_voters(vec![leader, new, WITNESS], false).await.unwrap();
    group.replica(leader).transfer_to(new).await.unwrap();
    group.until("the new one leads", async || (group.leader().await == new).then_some(())).await;
    group.kill(other).await;
    let retry = support::retry_of(0, "key00");
    // It may lose the lead and win it back on a machine that is busy.
    let again = group.until("the retry is answered", async || group.replica(new).propose(&retry).await.ok()).await;
    let Applied::Writes(answers) = again else { panic!("{again:?}") };
    assert_eq!(answers, [Answer::Written { version: group.version_of("key00") }]);
    group.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_witness_that_has_the_end_of_the_log_alone_gives_no_data_replica_its_empty_state() {
    let group = group().await;
    group.put("key").await;
    group.settled(&[ONE, TWO, WITNESS]).await;
    let (vote, meta, snapshot) = group.snapshot_of(WITNESS).await;
    let refused = group.replica(TWO).on_snapshot(vote, meta, snapshot).await.unwrap_err();
    assert!(refused.to_string().contains("witness's snapshot has no data"), "{refused}");
    group.put("still").await;
    group.settled(&[ONE, TWO]).await;
    assert_eq!(group.hash(ONE).records, 2);
    group.stop().await;
}
