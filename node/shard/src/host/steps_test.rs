#![allow(clippy::unwrap_used, clippy::panic)]
use std::collections::BTreeMap;

use super::*;
use crate::raft::Member;

const ONE: ReplicaId = ReplicaId(1);
const TWO: ReplicaId = ReplicaId(2);
const WITNESS: ReplicaId = ReplicaId(3);
const NEW: ReplicaId = ReplicaId(9);

fn node(replica: ReplicaId) -> NodeId {
    NodeId(replica.0 + 10)
}

fn member(replica: ReplicaId) -> (ReplicaId, Member) {
    let role = if replica == WITNESS { Role::Witness } else { Role::Data };
    (replica, Member { node: node(replica), role })
}

/// Two data replicas and a witness, led by the first; everybody is near the end of the log.
fn group(leader: ReplicaId, voters: &[ReplicaId], learners: &[ReplicaId]) -> GroupView {
    let members: BTreeMap<_, _> = voters.iter().chain(learners).map(|id| member(*id)).collect();
    let matched = members.keys().map(|id| (*id, Some(1000))).collect();
    let voters = vec![voters.iter().copied().collect()];
    let answered_ago = [ONE, TWO, WITNESS, NEW, NEW_WITNESS].map(|id| (id, Duration::ZERO)).into();
    GroupView {
        answered_ago,
        replica: leader,
        leader: Some(leader),
        members,
        voters,
        last: 1000,
        matched,
        ..GroupView::default()
    }
}

fn move_of(leaving: ReplicaId) -> Job {
    let kind = JobKind::Move { replica: NEW, node: node(NEW), role: Role::Data, leaving, leaving_node: node(leaving) };
    Job { id: 1, kind, bytes_per_second: 0, paused: false, cancelled: false, cut_over: false, begun_at_millis: 0 }
}

fn done() -> Progress {
    Progress { created: [NEW].into(), verified: true, ..Progress::default() }
}

/// What the jobs here bring.
fn new() -> Arrival {
    Arrival { replica: NEW, node: node(NEW), role: Role::Data }
}

const NEW_WITNESS: ReplicaId = ReplicaId(8);

/// A data replica trades places with the witness.
fn exchange_of(leaving: ReplicaId) -> Job {
    let kind = JobKind::Exchange {
        replica: NEW,
        node: node(WITNESS),
        witness: NEW_WITNESS,
        leaving,
        leaving_node: node(leaving),
        leaving_witness: WITNESS,
    };
    Job { kind, ..move_of(leaving) }
}

/// Carries out a job on a group that obeys; the steps it took.
fn play(mut job: Job, mut group: GroupView) -> Vec<Step> {
    let (mut steps, mut progress) = (Vec::new(), Progress::default());
    for _ in 0..30 {
        let step = next_step(&job, &group, &progress);
        steps.push(step.clone());
        match step {
            Step::Create(new) => drop(progress.created.insert(new.replica)),
            Step::Verify(_) => progress.verified = true,
            Step::Clear(gone, _) => drop(progress.cleared.insert(gone)),
            Step::CutOver => job.cut_over = true,
            Step::Learn(Arrival { replica, node, role }) => {
                group.members.insert(replica, Member { node, role });
                group.matched.insert(replica, Some(group.last));
            }
            Step::Voters(voters) => {
                let before = group.wanted_voters();
                group.members.retain(|id, _| voters.contains(id) || !before.contains(id));
                group.voters = vec![voters];
            }
            Step::Forget(learner) => drop(group.members.remove(&learner)),
            Step::HandOver(to) => (group.leader, group.replica) = (Some(to), to),
            Step::End(..) | Step::Wait(_) => return steps,
            other => panic!("{other:?} is of a merge"),
        }
    }
    steps
}

fn set(replicas: &[ReplicaId]) -> BTreeSet<ReplicaId> {
    replicas.iter().copied().collect()
}

#[test]
fn a_move_copies_compares_changes_the_members_and_only_then_removes_the_old_copy() {
    let steps = play(move_of(TWO), group(ONE, &[ONE, TWO, WITNESS], &[]));
    assert_eq!(
        steps,
        [
            Step::Create(new()),
            Step::Learn(new()),
            Step::Verify(new()),
            Step::CutOver,
            Step::Voters(set(&[ONE, WITNESS, NEW])),
            Step::Clear(TWO, node(TWO)),
            Step::End(JobOutcome::Done, "the members changed"),
        ]
    );
}

#[test]
fn a_leader_that_leaves_hands_over_before_the_members_change() {
    let steps = play(move_of(ONE), group(ONE, &[ONE, TWO, WITNESS], &[]));
    let handed = steps.iter().position(|step| *step == Step::HandOver(TWO)).unwrap();
    let changed = steps.iter().position(|step| *step == Step::Voters(set(&[TWO, WITNESS, NEW]))).unwrap();
    assert!(handed < changed, "{steps:?}");
    assert_eq!(steps.last(), Some(&Step::End(JobOutcome::Done, "the members changed")));
}

#[test]
fn the_only_replica_of_a_shard_moves_by_voting_together_with_the_new_one_for_a_while() {
    let steps = play(move_of(ONE), group(ONE, &[ONE], &[]));
    let expected =
        [Step::Voters(set(&[ONE, NEW])), Step::HandOver(NEW), Step::Voters(set(&[NEW])), Step::Clear(ONE, node(ONE))];
    let places: Vec<_> = expected.iter().map(|step| steps.iter().position(|found| found == step).unwrap()).collect();
    assert!(places.is_sorted(), "{steps:?}");
}

#[test]
fn a_learner_that_is_far_behind_or_not_compared_does_not_vote() {
    let mut far = group(ONE, &[ONE, TWO, WITNESS], &[NEW]);
    far.matched.insert(NEW, Some(1000 - NEAR - 1));
    assert_eq!(next_step(&move_of(TWO), &far, &done()), Step::Wait("copying"));
    far.matched.insert(NEW, None);
    assert_eq!(next_step(&move_of(TWO), &far, &done()), Step::Wait("copying"));
    let near = group(ONE, &[ONE, TWO, WITNESS], &[NEW]);
    let unverified = Progress { verified: false, ..done() };
    assert_eq!(next_step(&Job { cut_over: true, ..move_of(TWO) }, &near, &unverified), Step::Verify(new()));
}

#[test]
fn a_cancelled_move_leaves_the_members_as_they_were() {
    for progress in [Progress::default(), done()] {
        let cancelled = Job { cancelled: true, ..move_of(TWO) };
        let learning = group(ONE, &[ONE, TWO, WITNESS], &[NEW]);
        assert_eq!(next_step(&cancelled, &learning, &progress), Step::Forget(NEW));
        let steps = play(cancelled, learning);
        let end = Step::End(JobOutcome::Cancelled, "cancelled before the members changed");
        assert_eq!(steps, [Step::Forget(NEW), Step::Clear(NEW, node(NEW)), end]);
    }
}

#[test]
fn a_paused_move_does_nothing_and_one_that_was_cut_over_goes_on() {
    let paused = Job { paused: true, ..move_of(TWO) };
    assert_eq!(next_step(&paused, &group(ONE, &[ONE, TWO, WITNESS], &[]), &done()), Step::Wait("paused"));
    let late = Job { cut_over: true, ..paused };
    let voters = Step::Voters(set(&[ONE, WITNESS, NEW]));
    assert_eq!(next_step(&late, &group(ONE, &[ONE, TWO, WITNESS], &[NEW]), &done()), voters);
}

#[test]
fn members_that_were_left_changing_are_changed_to_the_end() {
    let mut joint = group(TWO, &[ONE, TWO, WITNESS], &[]);
    joint.voters.push(set(&[TWO, WITNESS, NEW]));
    assert_eq!(next_step(&move_of(ONE), &joint, &Progress::default()), Step::Voters(set(&[TWO, WITNESS, NEW])));
}

#[test]
fn a_replica_that_alone_has_the_data_is_not_removed() {
    let kind = JobKind::Remove { leaving: ONE, leaving_node: node(ONE) };
    let remove = Job { kind, ..move_of(ONE) };
    let steps = play(remove, group(ONE, &[ONE, WITNESS], &[]));
    assert_eq!(steps.last(), Some(&Step::End(JobOutcome::Failed, "no other replica of the shard has its data")));
    let witness = Job { kind: JobKind::Remove { leaving: WITNESS, leaving_node: node(WITNESS) }, ..move_of(ONE) };
    assert!(play(witness, group(ONE, &[ONE, WITNESS], &[])).contains(&Step::Voters(set(&[ONE]))));
}

#[test]
fn a_learner_is_removed_without_a_change_of_voters() {
    let kind = JobKind::Remove { leaving: NEW, leaving_node: node(NEW) };
    let steps = play(Job { kind, ..move_of(ONE) }, group(ONE, &[ONE, TWO, WITNESS], &[NEW]));
    assert!(steps.contains(&Step::Forget(NEW)) && !steps.iter().any(|step| matches!(step, Step::Voters(_))));
}

#[test]
fn an_exchange_with_the_witness_is_one_change_of_the_members_and_never_puts_two_voters_on_a_node() {
    for leader in [ONE, TWO] {
        let steps = play(exchange_of(TWO), group(leader, &[ONE, TWO, WITNESS], &[]));
        let voters: Vec<_> = steps.iter().filter(|step| matches!(step, Step::Voters(_))).collect();
        assert_eq!(voters, [&Step::Voters(set(&[ONE, NEW, NEW_WITNESS]))], "{steps:?}");
        let verified = steps.iter().position(|step| matches!(step, Step::Verify(_))).unwrap();
        assert!(verified < steps.iter().position(|step| step == voters[0]).unwrap());
        assert_eq!(steps.contains(&Step::HandOver(ONE)), leader == TWO, "{steps:?}");
        let cleared = [Step::Clear(TWO, node(TWO)), Step::Clear(WITNESS, node(WITNESS))];
        let end = Step::End(JobOutcome::Done, "the members changed");
        assert_eq!(steps[steps.len() - 3..], [&cleared[..], &[end]].concat());
    }
}

#[test]
fn a_leader_that_leaves_does_not_wait_for_a_lost_replica_to_take_over_but_has_the_new_one_vote_first() {
    for silent in [Some(Duration::from_secs(11)), None] {
        let mut group = group(ONE, &[ONE, TWO, WITNESS], &[]);
        group.answered_ago.retain(|id, _| *id != TWO);
        group.answered_ago.extend(silent.map(|ago| (TWO, ago)));
        let exchanged = play(exchange_of(ONE), group.clone());
        let is_change = |step: &&Step| matches!(step, Step::Voters(_) | Step::HandOver(_) | Step::End(..));
        assert_eq!(
            exchanged.iter().filter(is_change).collect::<Vec<_>>(),
            [
                // Instead of the witness that is on its node, so that there are never two.
                &Step::Voters(set(&[ONE, TWO, NEW])),
                &Step::HandOver(NEW),
                &Step::Voters(set(&[TWO, NEW, NEW_WITNESS])),
                &Step::End(JobOutcome::Done, "the members changed"),
            ]
        );
        let moved = play(move_of(ONE), group);
        assert_eq!(
            moved.iter().filter(is_change).collect::<Vec<_>>(),
            [
                &Step::Voters(set(&[ONE, TWO, WITNESS, NEW])),
                &Step::HandOver(NEW),
                &Step::Voters(set(&[TWO, WITNESS, NEW])),
                &Step::End(JobOutcome::Done, "the members changed"),
            ]
        );
    }
}

#[test]
fn a_leader_that_leaves_goes_on_leading_while_whoever_is_next_does_not_answer() {
    let mut group = group(ONE, &[ONE, TWO, WITNESS], &[]);
    group.answered_ago.insert(TWO, Duration::from_secs(2));
    let kind = JobKind::Remove { leaving: ONE, leaving_node: node(ONE) };
    for job in [move_of(ONE), Job { kind, ..move_of(ONE) }] {
        let steps = play(job, group.clone());
        assert!(matches!(steps.last(), Some(Step::Wait(_))), "{steps:?}");
        assert!(!steps.iter().any(|step| matches!(step, Step::HandOver(_))), "{steps:?}");
    }
}

#[test]
fn a_cancelled_exchange_takes_back_both_new_replicas() {
    let mut learning = group(ONE, &[ONE, TWO, WITNESS], &[NEW]);
    learning.members.insert(NEW_WITNESS, Member { node: node(TWO), role: Role::Witness });
    let steps = play(Job { cancelled: true, ..exchange_of(TWO) }, learning);
    let expected = [
        Step::Forget(NEW),
        Step::Forget(NEW_WITNESS),
        Step::Clear(NEW, node(WITNESS)),
        Step::Clear(NEW_WITNESS, node(TWO)),
        Step::End(JobOutcome::Cancelled, "cancelled before the members changed"),
    ];
    assert_eq!(steps, expected);
}

#[test]
fn the_only_data_replica_is_not_exchanged() {
    let steps = play(exchange_of(ONE), group(ONE, &[ONE, WITNESS], &[]));
    assert!(matches!(steps[..], [Step::End(JobOutcome::Failed, _)]), "{steps:?}");
}
