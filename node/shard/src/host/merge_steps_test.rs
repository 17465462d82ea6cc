#![allow(clippy::unwrap_used, clippy::panic)]
use thermocline_engine::KeyRange;

use super::super::steps::{Progress, next_step};
use super::*;
use crate::job::JobKind;
use crate::raft::Member;
use crate::{Epoch, ShardDescriptor, ShardId};

const LEADER: ReplicaId = ReplicaId(1);
const DATA: [NodeId; 2] = [NodeId(11), NodeId(12)];

fn member(replica: u64) -> (ReplicaId, Member) {
    let role = if replica == 3 { Role::Witness } else { Role::Data };
    (ReplicaId(replica), Member { node: NodeId(replica + 10), role })
}

/// Two data replicas and a witness; everybody answers and has everything.
fn group() -> GroupView {
    let members: BTreeMap<_, _> = (1..4).map(member).collect();
    GroupView {
        replica: LEADER,
        leader: Some(LEADER),
        voters: vec![members.keys().copied().collect()],
        matched: members.keys().map(|id| (*id, Some(100))).collect(),
        answered_ago: members.keys().map(|id| (*id, Duration::ZERO)).collect(),
        members,
        last: 100,
        ..GroupView::default()
    }
}

fn job() -> Job {
    let kind = JobKind::Merge { right: ShardId(2), left_epoch: Epoch(3), right_epoch: Epoch(4) };
    Job { id: 1, kind, bytes_per_second: 0, paused: false, cancelled: false, cut_over: false, begun_at_millis: 0 }
}

fn frozen() -> FrozenShard {
    let range = KeyRange::new("m", "z").unwrap();
    let descriptor = ShardDescriptor { shard: ShardId(2), range, epoch: Epoch(5), version_base: 0 };
    let members = (1..4).map(|number| (ReplicaId(number + 20), NodeId(number + 10))).collect();
    FrozenShard { descriptor, index: 70, members }
}

fn step(job: Job, group: &GroupView, merging: Merging) -> Step {
    next_step(&job, group, &Progress { merging, ..Progress::default() })
}

fn everywhere() -> Merging {
    Merging { frozen: DATA.iter().map(|node| (*node, frozen())).collect(), ..Merging::default() }
}

#[test]
fn a_neighbour_is_absorbed_once_it_is_frozen_wherever_it_has_data() {
    assert_eq!(step(job(), &group(), Merging::default()), Step::Freeze(DATA.into()));
    let half = Merging { frozen: [(DATA[0], frozen())].into(), ..Merging::default() };
    assert_eq!(step(job(), &group(), half), Step::Freeze([DATA[1]].into()));
    let pairs = (1..4).map(|number| (ReplicaId(number), ReplicaId(number + 20))).collect();
    assert_eq!(step(job(), &group(), everywhere()), Step::Absorb(Box::new(frozen()), pairs));
    let absorbed = Job { cut_over: true, ..job() };
    assert!(matches!(step(absorbed, &group(), Merging::default()), Step::End(JobOutcome::Done, _)));
}

#[test]
fn no_neighbour_is_frozen_while_a_member_does_not_answer_or_lags() {
    for change in [
        |group: &mut GroupView| group.answered_ago.retain(|replica, _| *replica != ReplicaId(3)),
        |group: &mut GroupView| group.answered_ago.extend([(ReplicaId(2), LATELY)]),
        |group: &mut GroupView| (group.last, group.applied) = (100 + NEAR + 1, 100),
    ] {
        let mut group = group();
        change(&mut group);
        assert!(matches!(step(job(), &group, Merging::default()), Step::Wait(_)));
        let late = Merging { waited: PATIENCE, ..Merging::default() };
        assert!(matches!(step(job(), &group, late), Step::Cancel(_)), "not for ever");
    }
}

#[test]
fn what_cannot_be_done_is_cancelled_and_then_thawed_before_the_job_ends() {
    let refused = Merging { refused: Some("other members".to_owned()), ..everywhere() };
    assert!(matches!(step(job(), &group(), refused.clone()), Step::Cancel(_)));
    let late = Merging { waited: PATIENCE, ..Merging::default() };
    assert!(matches!(step(job(), &group(), late), Step::Cancel(_)));
    let cancelled = Job { cancelled: true, ..job() };
    let all: BTreeSet<NodeId> = [11, 12, 13].map(NodeId).into();
    for merging in [Merging::default(), everywhere(), refused.clone()] {
        assert_eq!(step(cancelled, &group(), merging), Step::Thaw(all.clone()));
    }
    let thawed = Merging { thawed: true, ..everywhere() };
    assert!(matches!(step(cancelled, &group(), thawed), Step::End(JobOutcome::Cancelled, _)));
    let failed = Merging { thawed: true, ..refused };
    assert!(matches!(step(cancelled, &group(), failed), Step::End(JobOutcome::Failed, _)));
}

#[test]
fn members_of_the_two_that_differ_are_not_merged() {
    let mut elsewhere = everywhere();
    elsewhere.frozen.values_mut().for_each(|frozen| frozen.members[2].1 = NodeId(99));
    assert!(matches!(step(job(), &group(), elsewhere), Step::Cancel(_)));
    let mut at_odds = everywhere();
    at_odds.frozen.get_mut(&DATA[1]).unwrap().index = 71;
    assert!(matches!(step(job(), &group(), at_odds), Step::Cancel(_)));
    let mut learning = group();
    learning.members.extend([member(9)]);
    assert!(matches!(step(job(), &learning, Merging::default()), Step::Cancel(_)));
}
