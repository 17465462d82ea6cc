//! What becomes of moves between nodes, as values.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use thermocline_crds::v1alpha1::{
    Desired, MADE_BY_LABEL, Migration, MigrationPhase, MigrationStatus, Mode, PLANNER, Planned,
};
use thermocline_crds::{Object, validate};
use thermocline_planner::fleet::{OpenPhase, Role};
use thermocline_planner::{
    Change, Epoch, Forecast, LogId, NodeId, PoolName, Precondition, Priority, Proposal, Reason, ReplicaId, ShardId,
};
use thermocline_proto::v1;
use thermocline_proto::v1::change_shard_request::Change as Ask;

use super::*;
use crate::rebalance::{Heard, Known};

const JOB: u64 = 77;
const NOW: Timestamp = Timestamp::UNIX_EPOCH;

fn later(seconds: i64) -> Timestamp {
    NOW.checked_add(SignedDuration::from_secs(seconds)).unwrap()
}

fn member(replica: u64, node: u64, votes: bool, lag: Option<u64>) -> v1::MemberStatus {
    v1::MemberStatus { replica, node, witness: false, votes, lag }
}

/// Nodes 1 to 4, of which the first leads shard 7 with replica 10, and the second has replica 11.
fn known(told: v1::ShardStatus) -> Known {
    let heard = |node: u64, shards: Vec<v1::ShardStatus>| {
        let status =
            v1::NodeStatus { node: format!("main-{node}"), node_id: node, shards, ..v1::NodeStatus::default() };
        (node, Heard { name: format!("main-{node}"), status, ago: Duration::ZERO, away: None })
    };
    let copy = v1::ShardStatus { shard: 7, replica: 11, ..v1::ShardStatus::default() };
    Known::from([heard(1, vec![told]), heard(2, vec![copy]), heard(3, vec![]), heard(4, vec![])])
}

fn shard() -> v1::ShardStatus {
    v1::ShardStatus {
        shard: 7,
        epoch: 3,
        replica: 10,
        leads: true,
        leader: 1,
        term: 5,
        members: vec![member(10, 1, true, Some(0)), member(11, 2, true, Some(0))],
        members_changed_at: 40,
        ..v1::ShardStatus::default()
    }
}

fn job() -> v1::ShardJob {
    v1::ShardJob {
        job: JOB,
        kind: "MoveReplica".to_owned(),
        from: 2,
        to: 3,
        leaving: 11,
        bytes_per_second: 1024,
        ..v1::ShardJob::default()
    }
}

const MOVE: Change = Change::MoveReplica {
    shard: ShardId(7),
    replica: ReplicaId(11),
    role: Role::Data,
    from: NodeId(2),
    to: NodeId(3),
    exchange: None,
};

fn following(change: &Change, desired: Desired) -> Following<'_> {
    Following { change, desired, bytes_per_second: 1024, job: JOB, epoch: 3, began_ms: 0, asking: AskState::Free }
}

fn control(step: &Step) -> v1::ControlJob {
    match step.ask.clone().unwrap().change {
        Some(Ask::ControlJob(control)) => control,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_move_that_no_leader_knows_is_begun_under_its_own_number() {
    let step = following(&MOVE, Desired::Run).next(&known(shard()));
    let request = step.ask.unwrap();
    assert_eq!((request.shard, request.epoch), (7, 3));
    let expected = v1::MoveReplica { job: JOB, from: 2, to: 3, bytes_per_second: 1024 };
    assert_eq!(request.change, Some(Ask::MoveReplica(expected)));
    let asked = Following { asking: AskState::UnderWay, ..following(&MOVE, Desired::Run) };
    assert_eq!(asked.next(&known(shard())).ask, None, "not twice at once");
    let refused = Following { asking: AskState::Refused("no".to_owned()), ..following(&MOVE, Desired::Run) };
    assert_eq!(refused.next(&known(shard())).phase, MigrationPhase::Failed);
}

#[test]
fn a_job_is_followed_through_its_stages_and_progress_only_grows() {
    let mut told = shard();
    let mut seen = Vec::new();
    let mut look = |told: &v1::ShardStatus| {
        let step = following(&MOVE, Desired::Run).next(&known(told.clone()));
        assert_eq!(step.ask, None, "{}", step.words);
        seen.push((step.phase, step.progress));
    };
    told.job = Some(job());
    look(&told);
    told.members.push(member(12, 3, false, None));
    look(&told);
    told.job = Some(v1::ShardJob { copied_bytes: 50, copy_bytes: 100, ..job() });
    look(&told);
    told.members[2].lag = Some(100);
    look(&told);
    told.job = Some(v1::ShardJob { cut_over: true, ..job() });
    look(&told);
    told.members[2].votes = true;
    look(&told);
    told.members.remove(1);
    look(&told);
    use MigrationPhase::{Running, Verifying};
    let phases: Vec<MigrationPhase> = seen.iter().map(|(phase, _)| *phase).collect();
    assert_eq!(phases, [Running, Running, Running, Verifying, Running, Running, Running]);
    let progress: Vec<i32> = seen.iter().map(|(_, progress)| *progress).collect();
    assert_eq!(progress, [1, 5, 42, 85, 90, 95, 97]);
}

#[test]
fn a_move_is_completed_only_once_the_copy_that_was_replaced_is_gone() {
    let mut told = shard();
    told.ended = vec![v1::ShardJob { outcome: "Done".to_owned(), ..job() }];
    let mut nodes = known(told);
    let step = following(&MOVE, Desired::Run).next(&nodes);
    assert_eq!((step.phase, step.ask), (MigrationPhase::Running, None));
    nodes.get_mut(&2).unwrap().status.shards.clear();
    assert_eq!(following(&MOVE, Desired::Run).next(&nodes).phase, MigrationPhase::Completed);
    nodes.get_mut(&2).unwrap().ago = Duration::from_secs(60);
    let away = following(&MOVE, Desired::Run).next(&nodes);
    assert_eq!(away.phase, MigrationPhase::Completed, "nobody speaks to what is on a node that is away");
    assert!(away.words.contains("away"), "{}", away.words);
}

#[test]
fn pause_rate_and_cancel_reach_the_job_and_each_is_asked_once() {
    let mut told = shard();
    told.job = Some(job());
    let nodes = known(told.clone());
    assert_eq!(control(&following(&MOVE, Desired::Pause).next(&nodes)).paused, Some(true));
    assert!(control(&following(&MOVE, Desired::Cancel).next(&nodes)).cancel);
    let faster = Following { bytes_per_second: 0, ..following(&MOVE, Desired::Run) };
    assert_eq!(control(&faster.next(&nodes)).bytes_per_second, Some(0));
    told.job = Some(v1::ShardJob { paused: true, ..job() });
    let nodes = known(told.clone());
    let paused = following(&MOVE, Desired::Pause).next(&nodes);
    assert_eq!((paused.phase, paused.ask), (MigrationPhase::Paused, None));
    assert_eq!(control(&following(&MOVE, Desired::Run).next(&nodes)).paused, Some(false));
    told.job = Some(v1::ShardJob { cancelled: true, ..job() });
    assert_eq!(following(&MOVE, Desired::Cancel).next(&known(told.clone())).ask, None);
    told.job = None;
    told.ended = vec![v1::ShardJob { outcome: "Cancelled".to_owned(), ..job() }];
    assert_eq!(following(&MOVE, Desired::Cancel).next(&known(told.clone())).phase, MigrationPhase::Cancelled);
    let by_itself = following(&MOVE, Desired::Run).next(&known(told));
    assert_eq!(by_itself.phase, MigrationPhase::Failed, "the leader gave up a copy that differs");
}

#[test]
fn a_move_to_a_node_that_is_lost_is_undone_unless_the_members_have_changed() {
    let mut told = shard();
    told.job = Some(job());
    let lost = |mut nodes: Known, node: u64| {
        nodes.get_mut(&node).unwrap().ago = Duration::from_secs(31);
        nodes
    };
    let undone = following(&MOVE, Desired::Run).next(&lost(known(told.clone()), 3));
    assert!(control(&undone).cancel);
    assert_eq!(undone.words, "node 3 is lost: what was begun is undone");
    assert_eq!(following(&MOVE, Desired::Run).next(&lost(known(told.clone()), 2)).ask, None, "it is being replaced");
    let mut heard = lost(known(told.clone()), 3);
    heard.get_mut(&1).unwrap().status.round_trips = vec![v1::RoundTrip { node: 3, micros: 100, heard_ms_ago: 500 }];
    assert_eq!(following(&MOVE, Desired::Run).next(&heard).ask, None, "the other nodes hear it");
    // One that came back without its disks is another one under its name.
    let mut replaced = known(told.clone());
    replaced.get_mut(&3).unwrap().ago = Duration::from_secs(10);
    replaced.get_mut(&4).unwrap().name = "main-3".to_owned();
    assert!(control(&following(&MOVE, Desired::Run).next(&replaced)).cancel);

    told.job = Some(v1::ShardJob { leaving_witness: 12, ..job() });
    assert!(control(&following(&MOVE, Desired::Run).next(&lost(known(told.clone()), 2))).cancel, "for its new witness");
    told.job = Some(v1::ShardJob { cut_over: true, ..job() });
    assert_eq!(following(&MOVE, Desired::Run).next(&lost(known(told.clone()), 3)).ask, None);
    told.job = None;
    told.ended = vec![v1::ShardJob { outcome: "Cancelled".to_owned(), ..job() }];
    let ended = following(&MOVE, Desired::Run).next(&lost(known(told), 3));
    assert_eq!(
        (ended.phase, ended.words.as_str()),
        (MigrationPhase::Failed, "node 3 was lost; what was begun is undone")
    );
}

#[test]
fn after_the_cut_over_cancel_and_pause_are_refused_and_the_move_goes_on() {
    let mut told = shard();
    told.job = Some(v1::ShardJob { cut_over: true, ..job() });
    for desired in [Desired::Cancel, Desired::Pause] {
        let step = following(&MOVE, desired).next(&known(told.clone()));
        assert_eq!((step.phase, step.ask.clone()), (MigrationPhase::Running, None));
        assert!(step.refused.unwrap().contains("too late"));
    }
}

#[test]
fn a_job_that_the_leader_may_have_forgotten_is_not_begun_anew() {
    let mut told = shard();
    let other = |number: u64| v1::ShardJob { job: number, began_at_ms: 9, outcome: "Done".to_owned(), ..job() };
    told.ended = (1..=8).map(other).collect();
    let step = following(&MOVE, Desired::Run).next(&known(told.clone()));
    assert_eq!((step.phase, step.ask), (MigrationPhase::Failed, None));
    told.ended[0].began_at_ms = 0;
    assert!(following(&MOVE, Desired::Run).next(&known(told)).ask.is_some());
}

#[test]
fn a_merge_is_a_job_of_the_left_shard_and_is_told_by_how_it_ended() {
    let merge = Change::MergeShards { left: ShardId(7), right: ShardId(8) };
    let step = following(&merge, Desired::Run).next(&known(shard()));
    let ask = v1::MergeShard { job: JOB, right: 8, right_epoch: 0 };
    assert_eq!(step.ask.unwrap().change, Some(Ask::Merge(ask)));
    let job = v1::ShardJob { job: JOB, kind: "MergeShards".to_owned(), right: 8, ..v1::ShardJob::default() };
    let next = |desired, job: &v1::ShardJob| {
        let mut told = shard();
        if job.outcome.is_empty() {
            told.job = Some(job.clone())
        } else {
            told.ended = vec![job.clone()]
        }
        let slow = Following { bytes_per_second: 0, ..following(&merge, desired) };
        slow.next(&known(told))
    };
    let step = next(Desired::Run, &job);
    assert_eq!((step.phase, step.ask), (MigrationPhase::Running, None));
    assert_eq!(next(Desired::Pause, &job).ask, None, "it is a matter of seconds");
    assert!(
        matches!(next(Desired::Cancel, &job).ask.unwrap().change, Some(Ask::ControlJob(control)) if control.cancel)
    );
    let absorbed = v1::ShardJob { cut_over: true, ..job.clone() };
    let late = next(Desired::Cancel, &absorbed);
    assert!(late.ask.is_none() && late.refused.unwrap().contains("too late"));
    let ended = |outcome: &str| v1::ShardJob { outcome: outcome.to_owned(), message: "why".to_owned(), ..job.clone() };
    assert_eq!(next(Desired::Run, &ended("Done")).phase, MigrationPhase::Completed);
    assert_eq!(next(Desired::Cancel, &ended("Cancelled")).phase, MigrationPhase::Cancelled);
    let failed = next(Desired::Run, &ended("Failed"));
    assert_eq!((failed.phase, failed.words.as_str()), (MigrationPhase::Failed, "why"));
    assert_eq!(next(Desired::Run, &ended("Cancelled")).phase, MigrationPhase::Failed);
}

#[test]
fn a_merge_names_no_shard_that_there_is_until_one_is_behind_and_then_the_one_that_was_asked_for() {
    let merge = Change::MergeShards { left: ShardId(7), right: ShardId(8) };
    let objects = made(&propose(&[proposal(merge.clone(), Priority::Low, Reason::Rebalance, false)], &[], NOW));
    let item = items(&objects).remove(0);
    let told = |told: v1::ShardStatus| change(&item, &known(told));
    assert_eq!(told(shard()), Change::MergeShards { left: ShardId(7), right: ShardId(u64::MAX) });
    let job = v1::ShardJob { job: item.job(), right: 8, ..v1::ShardJob::default() };
    assert_eq!(told(v1::ShardStatus { job: Some(job.clone()), ..shard() }), merge);
    assert_eq!(told(v1::ShardStatus { ended: vec![job], ..shard() }), merge);
}

#[test]
fn a_leader_is_handed_over_and_a_shard_split_until_it_shows() {
    let lead = Change::TransferLeader { shard: ShardId(7), from: NodeId(1), to: NodeId(2) };
    let step = following(&lead, Desired::Run).next(&known(shard()));
    assert_eq!(step.ask.unwrap().change, Some(Ask::TransferLeader(v1::TransferLeader { node: 2 })));
    assert_eq!(following(&lead, Desired::Cancel).next(&known(shard())).phase, MigrationPhase::Cancelled);
    let led = v1::ShardStatus { leader: 2, ..shard() };
    assert_eq!(following(&lead, Desired::Cancel).next(&known(led)).phase, MigrationPhase::Completed, "too late");

    let split = |at: &[u8]| Change::SplitShard { shard: ShardId(7), at: at.to_vec() };
    let step = following(&split(b"m"), Desired::Run).next(&known(shard()));
    let request = step.ask.unwrap();
    assert_eq!((request.epoch, request.change), (3, Some(Ask::Split(v1::SplitShard { at: b"m".to_vec().into() }))));
    let mut after = known(v1::ShardStatus { epoch: 4, ..shard() });
    assert_eq!(following(&split(b""), Desired::Run).next(&after).phase, MigrationPhase::Completed, "in the middle");
    assert_ne!(following(&split(b"m"), Desired::Run).next(&after).phase, MigrationPhase::Completed, "elsewhere");
    let new = v1::ShardStatus { shard: 8, start: b"m".to_vec().into(), ..v1::ShardStatus::default() };
    after.get_mut(&1).unwrap().status.shards.push(new);
    assert_eq!(following(&split(b"m"), Desired::Run).next(&after).phase, MigrationPhase::Completed);
}

#[test]
fn while_nobody_leads_the_shard_nothing_is_asked() {
    let mut nodes = known(shard());
    nodes.get_mut(&1).unwrap().ago = Duration::from_secs(60);
    let step = following(&MOVE, Desired::Cancel).next(&nodes);
    assert_eq!((step.phase, step.ask), (MigrationPhase::Running, None));
}

const WAITING: Waiting = Waiting {
    planner_made: true,
    approved: false,
    needs_approval: true,
    unwanted: false,
    desired: Desired::Run,
    age: Duration::ZERO,
};

fn unasked() -> Result<(), Held> {
    panic!("it could not begin anyway")
}

#[test]
fn what_is_proposed_waits_for_approval_and_expires() {
    assert!(matches!(WAITING.next(unasked), Verdict::Propose(_)));
    let old = Waiting { age: PROPOSAL_LIFE, ..WAITING };
    assert!(matches!(old.next(unasked), Verdict::Expire(_)));
    let approved = Waiting { approved: true, needs_approval: false, ..old };
    assert_eq!(approved.next(|| Ok(())), Verdict::Begin, "what was approved does not expire by age");
    assert_eq!(Waiting { desired: Desired::Cancel, ..WAITING }.next(unasked), Verdict::Cancel);
    assert!(matches!(Waiting { unwanted: true, ..WAITING }.next(unasked), Verdict::Expire(_)));
}

#[test]
fn what_was_planned_for_something_that_is_no_longer_so_expires_and_what_a_person_asks_for_waits() {
    let planned = Waiting { needs_approval: false, ..WAITING };
    let gone = || Err(Held::ForGood("gone".to_owned()));
    let later = || Err(Held::ForNow("later".to_owned()));
    assert_eq!(planned.next(gone), Verdict::Expire("gone".to_owned()));
    assert_eq!(planned.next(later), Verdict::Wait("later".to_owned()));
    let person = Waiting { planner_made: false, age: PROPOSAL_LIFE * 9, ..planned };
    assert_eq!(person.next(gone), Verdict::Wait("gone".to_owned()));
    assert_eq!(Waiting { desired: Desired::Pause, ..person }.next(unasked), Verdict::Pause);
}

fn proposal(change: Change, priority: Priority, reason: Reason, needs_approval: bool) -> Proposal {
    Proposal {
        pool: PoolName::from("main"),
        change,
        priority,
        reason,
        forecast: Forecast { bytes: 9, duration: Duration::from_secs(2), cost: 27, effects: Vec::new() },
        precondition: Precondition { epoch: Epoch(3), membership: LogId { term: 5, index: 40 } },
        needs_approval,
    }
}

fn normal() -> Proposal {
    proposal(MOVE, Priority::Normal, Reason::Rebalance, true)
}

/// Objects as they stand once they were made, at the beginning.
fn made(proposed: &Proposed) -> Vec<Object> {
    let stored = |migration: &Migration| {
        let mut object = Object::Migration(migration.clone());
        object.metadata_mut().creation_timestamp = Some(Time(NOW));
        object.metadata_mut().uid = Some(format!("uid-{}", object.name()));
        object
    };
    proposed.new.iter().map(stored).collect()
}

fn ended(objects: &mut [Object], phase: MigrationPhase, at: Timestamp) {
    for object in objects {
        let Object::Migration(migration) = object else { continue };
        let status = migration.status.get_or_insert_default();
        (status.phase, status.ended_at) = (phase, Some(Time(at)));
    }
}

fn propose(proposals: &[Proposal], objects: &[Object], now: Timestamp) -> Proposed {
    proposed(proposals, &items(objects), &known(shard()), "demo", now)
}

#[test]
fn a_proposal_becomes_a_valid_object_that_says_who_made_it_and_what_it_will_do() {
    let first = propose(&[normal()], &[], NOW);
    let [migration] = first.new.as_slice() else { panic!("{first:?}") };
    let object = Object::Migration(migration.clone());
    validate::with_defaults(&object).unwrap();
    assert_eq!(migration.metadata.labels.as_ref().unwrap()[MADE_BY_LABEL], PLANNER);
    assert_eq!((migration.spec.from.as_deref(), migration.spec.to.as_deref()), (Some("main-2"), Some("main-3")));
    let status = migration.status.as_ref().unwrap();
    assert_eq!(status.phase, MigrationPhase::Proposed);
    assert_eq!(status.planned, Some(Planned { epoch: 3, members_changed_at: 40, replica: Some(11) }));
    assert_eq!(status.forecast.as_ref().map(|forecast| (forecast.bytes, forecast.milliseconds)), Some((9, 2000)));
    let item = &items(&made(&first))[0];
    assert_eq!(change(item, &known(shard())), MOVE, "it says what was proposed");
    let auto = propose(&[Proposal { needs_approval: false, ..normal() }], &[], NOW);
    assert_eq!(auto.new[0].status.as_ref().unwrap().phase, MigrationPhase::Approved);
}

#[test]
fn the_same_proposal_is_made_once_and_under_another_name_when_it_comes_again() {
    let first = propose(&[normal()], &[], NOW);
    let mut objects = made(&first);
    assert_eq!(propose(&[normal()], &objects, NOW), Proposed::default());
    ended(&mut objects, MigrationPhase::Expired, NOW);
    let again = propose(&[normal()], &objects, NOW);
    assert_ne!(again.new[0].metadata.name, first.new[0].metadata.name);
    ended(&mut objects, MigrationPhase::Cancelled, NOW);
    assert_eq!(propose(&[normal()], &objects, later(3599)), Proposed::default(), "a person did not want it");
    assert_eq!(propose(&[normal()], &objects, later(3600)).new.len(), 1);
    ended(&mut objects, MigrationPhase::Failed, NOW);
    assert_eq!(propose(&[normal()], &objects, later(299)), Proposed::default());
    assert_eq!(propose(&[normal()], &objects, later(300)).new.len(), 1);
}

#[test]
fn what_waits_gives_way_to_what_is_more_urgent_for_its_shard_and_what_runs_does_not() {
    let mut objects = made(&propose(&[normal()], &[], NOW));
    let urgent = proposal(MOVE, Priority::Critical, Reason::NodeFailure, false);
    let proposed = propose(std::slice::from_ref(&urgent), &objects, NOW);
    assert_eq!((proposed.new.len(), proposed.overtaken.len()), (1, 1));
    assert_eq!(proposed.overtaken[0].0, objects[0].name());
    let Object::Migration(migration) = &mut objects[0] else { panic!() };
    migration.status.get_or_insert_default().started_at = Some(Time(NOW));
    assert_eq!(propose(&[urgent], &objects, NOW), Proposed::default());
}

#[test]
fn the_planner_sees_one_open_move_a_shard_and_those_that_have_ended() {
    let two = [normal(), proposal(MOVE, Priority::High, Reason::NodeOverload, true)];
    let mut objects = made(&propose(&two[..1], &[], NOW));
    objects.extend(made(&propose(&two[1..], &[], NOW)));
    let open = |objects: &[Object], mode| {
        let seen = moves(&items(objects), &known(shard()), |_| mode);
        seen.open.iter().map(|open| (open.reason, open.phase)).collect::<Vec<_>>()
    };
    assert_eq!(open(&objects, Mode::Propose), [(Reason::NodeOverload, OpenPhase::Proposed)]);
    assert_eq!(open(&objects, Mode::Auto), [(Reason::NodeOverload, OpenPhase::Approved)]);
    let declared = made(&propose(&[proposal(MOVE, Priority::High, Reason::Drain, false)], &[], NOW));
    assert_eq!(open(&declared, Mode::Propose), [(Reason::Drain, OpenPhase::Approved)], "a person asked for it");
    let Object::Migration(first) = &mut objects[0] else { panic!() };
    first.status.get_or_insert_default().started_at = Some(Time(NOW));
    assert_eq!(open(&objects, Mode::Propose), [(Reason::Rebalance, OpenPhase::Running)]);
    ended(&mut objects[..1], MigrationPhase::Completed, later(5));
    let seen = moves(&items(&objects), &known(shard()), |_| Mode::Propose);
    let (job, record) = &seen.ended[0];
    assert_eq!((*job, record.reason, record.completed), (items(&objects)[0].job(), Reason::Rebalance, true));
    assert_eq!(seen.open.len(), 1);
}

#[test]
fn a_node_that_lost_its_disks_is_told_from_the_one_that_has_its_name_now() {
    let mut nodes = known(shard());
    // Number 5 is main-2 again; what number 2 had is gone with it.
    let mut again = nodes[&2].clone();
    (again.status.node_id, again.status.shards) = (5, Vec::new());
    nodes.insert(5, again);
    nodes.get_mut(&2).unwrap().ago = Duration::from_secs(60);
    let replaced = Change::MoveReplica {
        shard: ShardId(7),
        replica: ReplicaId(11),
        role: Role::Data,
        from: NodeId(2),
        to: NodeId(5),
        exchange: None,
    };
    let lost = proposal(replaced.clone(), Priority::Critical, Reason::NodeFailure, false);
    let proposed = proposed(&[lost], &[], &nodes, "demo", NOW);
    let spec = &proposed.new[0].spec;
    assert_eq!((spec.from.as_deref(), spec.to.as_deref()), (Some("main-2"), Some("main-2")));
    assert_eq!(change(&items(&made(&proposed))[0], &nodes), replaced);
}

#[test]
fn a_data_replica_that_moves_to_the_node_of_the_witness_trades_places_with_it() {
    let mut told = shard();
    told.members.push(v1::MemberStatus { witness: true, ..member(12, 3, true, Some(0)) });
    let nodes = known(told);
    let exchange = Change::MoveReplica {
        shard: ShardId(7),
        replica: ReplicaId(11),
        role: Role::Data,
        from: NodeId(2),
        to: NodeId(3),
        exchange: Some(ReplicaId(12)),
    };
    let wished = proposal(exchange.clone(), Priority::Normal, Reason::Rebalance, false);
    let proposed = proposed(&[wished], &[], &nodes, "demo", NOW);
    assert_eq!(change(&items(&made(&proposed))[0], &nodes), exchange);
    let step = following(&exchange, Desired::Run).next(&nodes);
    let expected = v1::ExchangeReplica { job: JOB, data: 2, witness: 3, bytes_per_second: 1024 };
    assert_eq!(step.ask.unwrap().change, Some(Ask::ExchangeReplica(expected)));
}

#[test]
fn objects_of_the_planners_go_by_age_and_number_and_a_persons_stay() {
    let one = made(&propose(&[normal()], &[], NOW)).remove(0);
    let copy = |number: i64| {
        let mut object = one.clone();
        object.metadata_mut().name = Some(format!("m-{number}"));
        ended(std::slice::from_mut(&mut object), MigrationPhase::Completed, later(number));
        object
    };
    let many: Vec<Object> = (0..70).map(copy).collect();
    let gone = superfluous(&items(&many), later(100));
    assert_eq!(gone, ["m-5", "m-4", "m-3", "m-2", "m-1", "m-0"]);
    let mut few = many[..2].to_vec();
    assert_eq!(superfluous(&items(&few), later(24 * 3600)), ["m-0"]);
    few[0].metadata_mut().labels = None;
    assert_eq!(superfluous(&items(&few), later(24 * 3600)), Vec::<String>::new());
}

#[test]
fn seconds_that_count_down_are_no_news_and_other_words_are() {
    let mut status = MigrationStatus::default();
    let mut tell = |words: &str| {
        conditions(&mut status.conditions, MigrationPhase::Approved, words, Some(1), NOW);
        status.conditions[0].message.clone()
    };
    assert_eq!(tell("main-1 is left alone for 59 s more"), "main-1 is left alone for 59 s more");
    assert_eq!(tell("main-1 is left alone for 58 s more"), "main-1 is left alone for 59 s more");
    assert_eq!(tell("main-2 is left alone for 58 s more"), "main-2 is left alone for 58 s more");
}
