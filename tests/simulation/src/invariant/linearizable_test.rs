#![allow(clippy::unwrap_used)]
use super::*;

const GET: Action = Action::Get;
const DELETE: Action = Action::Delete;

const fn put(value: u64) -> Action {
    Action::Put { value }
}

const fn written(version: u64) -> Outcome {
    Outcome::Written { version }
}

const fn found(version: u64, value: u64) -> Outcome {
    Outcome::Found { version, value }
}

/// One operation after the other.
fn history(operations: &[(Action, Option<Outcome>)]) -> Vec<Operation> {
    let made = operations.iter().zip(1..).map(|((action, outcome), number)| Operation {
        client: number,
        action: *action,
        called: number * 10,
        answered: outcome.map(|outcome| (number * 10 + 5, outcome)),
    });
    made.collect()
}

fn judge(operations: &[(Action, Option<Outcome>)]) -> bool {
    linearizable("key", &history(operations)).is_ok()
}

#[test]
fn what_one_client_after_the_other_sees_passes() {
    assert!(judge(&[
        (GET, Some(Outcome::Absent)),
        (put(1), Some(written(3))),
        (GET, Some(found(3, 1))),
        (Action::PutIf { expected: 3, value: 2 }, Some(written(4))),
        (Action::PutIf { expected: 3, value: 5 }, Some(Outcome::Failed { actual: 4 })),
        (DELETE, Some(written(6))),
        (GET, Some(Outcome::Absent)),
        (Action::PutIf { expected: 0, value: 7 }, Some(written(9))),
    ]));
}

#[test]
fn a_stale_read_is_found() {
    assert!(!judge(&[(put(1), Some(written(1))), (put(2), Some(written(2))), (GET, Some(found(1, 1)))]));
    assert!(!judge(&[(put(1), Some(written(1))), (GET, Some(Outcome::Absent))]));
}

#[test]
fn an_acknowledged_write_that_is_lost_is_found() {
    assert!(!judge(&[(put(1), Some(written(1))), (put(2), Some(written(2))), (GET, Some(found(1, 1)))]));
    assert!(!judge(&[(put(1), Some(written(1))), (DELETE, Some(written(2))), (GET, Some(found(1, 1)))]));
}

#[test]
fn a_version_that_falls_or_is_given_twice_is_found() {
    assert!(!judge(&[(put(1), Some(written(2))), (put(2), Some(written(1)))]));
    assert!(!judge(&[(put(1), Some(written(2))), (put(2), Some(written(2)))]));
}

#[test]
fn a_condition_that_was_not_looked_at_is_found() {
    assert!(!judge(&[(put(1), Some(written(1))), (Action::PutIf { expected: 7, value: 2 }, Some(written(8)))]));
    assert!(!judge(&[
        (put(1), Some(written(1))),
        (Action::PutIf { expected: 1, value: 2 }, Some(Outcome::Failed { actual: 1 }))
    ]));
}

#[test]
fn a_write_that_was_applied_twice_is_found() {
    let twice = [(put(1), Some(written(1))), (put(2), Some(written(2))), (GET, Some(found(3, 1)))];
    assert!(!judge(&twice));
}

#[test]
fn a_write_of_unknown_outcome_may_have_happened_late_or_never_but_not_before_its_call() {
    assert!(judge(&[(put(1), None), (GET, Some(Outcome::Absent)), (GET, Some(found(4, 1)))]));
    assert!(judge(&[(put(1), None), (GET, Some(Outcome::Absent))]));
    assert!(judge(&[(put(1), Some(written(1))), (DELETE, None), (GET, Some(Outcome::Absent))]));
    assert!(!judge(&[(GET, Some(found(4, 1))), (put(1), None)]));
    let unseen = [
        (put(1), None),
        (Action::PutIf { expected: 9, value: 2 }, Some(Outcome::Failed { actual: 4 })),
        (GET, Some(found(4, 1))),
    ];
    assert!(judge(&unseen));
}

#[test]
fn operations_at_the_same_time_may_come_in_either_order() {
    let mut together = history(&[(put(1), Some(written(2))), (put(2), Some(written(1))), (GET, Some(found(2, 1)))]);
    together[1].called = 1;
    linearizable("key", &together).unwrap();
    together[1].called = 16;
    assert!(linearizable("key", &together).is_err());
}
