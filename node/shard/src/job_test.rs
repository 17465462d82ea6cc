#![allow(clippy::unwrap_used)]
use super::*;

fn job(id: u64) -> Job {
    let kind = JobKind::Move {
        replica: ReplicaId(9),
        node: NodeId(4),
        role: Role::Data,
        leaving: ReplicaId(2),
        leaving_node: NodeId(3),
    };
    Job { id, kind, bytes_per_second: 7, paused: false, cancelled: false, cut_over: false, begun_at_millis: 5 }
}

fn end(job: u64) -> JobChange {
    JobChange::End(JobEnd { job, outcome: JobOutcome::Done, message: "x".to_owned(), at_millis: 9 })
}

fn cancel(job: u64) -> JobChange {
    JobChange::Control(JobControl { job, cancel: true, ..JobControl::default() })
}

#[test]
fn a_shard_has_one_job_at_a_time_and_the_same_one_is_not_begun_twice() {
    let mut jobs = Jobs::default();
    jobs.change(JobChange::Begin(job(1))).unwrap();
    jobs.change(JobChange::Begin(job(1))).unwrap();
    assert_eq!(jobs.change(JobChange::Begin(job(2))), Err(JobRefusal::Running { running: 1 }));
    jobs.change(end(1)).unwrap();
    // Asked for again after its end it does not run a second time.
    jobs.change(JobChange::Begin(job(1))).unwrap();
    assert_eq!(jobs.running(), None);
    jobs.change(JobChange::Begin(job(2))).unwrap();
    assert_eq!(jobs.running().unwrap().id, 2);
}

#[test]
fn of_a_cancellation_and_a_cut_over_the_first_one_holds() {
    let mut jobs = Jobs::default();
    jobs.change(JobChange::Begin(job(1))).unwrap();
    let mut other = jobs.clone();
    jobs.change(cancel(1)).unwrap();
    assert_eq!(jobs.change(JobChange::CutOver(1)), Err(JobRefusal::Cancelled { job: 1 }));
    other.change(JobChange::CutOver(1)).unwrap();
    assert_eq!(other.change(cancel(1)), Err(JobRefusal::CutOver { job: 1 }));
    assert!(!other.running().unwrap().cancelled);
}

#[test]
fn a_control_changes_only_what_it_names() {
    let mut jobs = Jobs::default();
    jobs.change(JobChange::Begin(job(1))).unwrap();
    jobs.change(JobChange::Control(JobControl { job: 1, paused: Some(true), ..JobControl::default() })).unwrap();
    let running = jobs.running().unwrap();
    assert_eq!((running.paused, running.bytes_per_second, running.cancelled), (true, 7, false));
    assert_eq!(jobs.change(cancel(3)), Err(JobRefusal::NotRunning { job: 3 }));
}

#[test]
fn the_ends_that_are_remembered_are_bounded_and_come_back_as_they_were() {
    let mut jobs = Jobs::default();
    for id in 0..20 {
        jobs.change(JobChange::Begin(job(id))).unwrap();
        jobs.change(end(id)).unwrap();
    }
    jobs.change(JobChange::Begin(job(20))).unwrap();
    assert_eq!(jobs.ended().map(|(job, _)| job.id).collect::<Vec<_>>(), (12..20).collect::<Vec<_>>());
    assert_eq!(Jobs::decode(&jobs.encode()).unwrap(), jobs);
}

#[test]
fn an_exchange_comes_back_from_the_log_as_it_was() {
    let kind = JobKind::Exchange {
        replica: ReplicaId(9),
        node: NodeId(4),
        witness: ReplicaId(8),
        leaving: ReplicaId(2),
        leaving_node: NodeId(3),
        leaving_witness: ReplicaId(1),
    };
    let exchange = Job { kind, ..job(1) };
    assert_eq!(Job::of(&wire::Job::from(&exchange)), Some(exchange));
}
