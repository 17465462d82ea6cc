#![allow(clippy::unwrap_used, clippy::panic)]
use proptest::prelude::*;

use super::*;

fn client(number: u64) -> ClientId {
    ClientId(u128::from(number).to_be_bytes())
}

fn request(of: u64, sequence: u64) -> RequestId {
    RequestId { client: client(of), sequence, retry: false }
}

fn retry(of: u64, sequence: u64) -> RequestId {
    RequestId { retry: true, ..request(of, sequence) }
}

fn apply(sessions: &mut Sessions, request: RequestId, now: u64, version: u64) -> Admission {
    let admission = sessions.admit(request, now).admission;
    if admission == Admission::New {
        sessions.settle(request, WriteOutcome::Written(version)).unwrap();
    }
    admission
}

#[test]
fn a_retry_is_told_what_came_of_the_first_sending() {
    let mut sessions = Sessions::default();
    assert_eq!(apply(&mut sessions, request(1, 1), 0, 10), Admission::New);
    assert_eq!(apply(&mut sessions, retry(1, 1), 5, 11), Admission::Repeated(WriteOutcome::Written(10)));
    // The network may send the first one twice too.
    assert_eq!(apply(&mut sessions, request(1, 1), 5, 11), Admission::Repeated(WriteOutcome::Written(10)));
    let failed = WriteOutcome::ConditionFailed { index: 2, actual: Some(7) };
    assert_eq!(sessions.admit(request(1, 2), 6).admission, Admission::New);
    sessions.settle(request(1, 2), failed);
    assert_eq!(sessions.admit(retry(1, 2), 7).admission, Admission::Repeated(failed));
}

#[test]
fn a_write_whose_outcome_is_not_told_yet_is_not_applied_beside_itself() {
    let mut sessions = Sessions::default();
    assert_eq!(sessions.admit(request(1, 1), 0).admission, Admission::New);
    assert_eq!(sessions.admit(retry(1, 1), 0).admission, Admission::Undecided);
}

#[test]
fn a_write_that_was_forgotten_is_refused_and_one_that_was_late_is_not() {
    let mut sessions = Sessions::default();
    for sequence in [1, 3, WINDOW] {
        assert_eq!(apply(&mut sessions, request(1, sequence), 0, sequence), Admission::New);
    }
    // The second was on its way for longer than the third.
    assert_eq!(apply(&mut sessions, request(1, 2), 0, 99), Admission::New);
    assert_eq!(apply(&mut sessions, request(1, WINDOW + 1), 0, 100), Admission::New);
    assert_eq!(apply(&mut sessions, retry(1, 1), 0, 101), Admission::Expired);
    assert_eq!(apply(&mut sessions, request(1, 1), 0, 101), Admission::Expired);
}

#[test]
fn a_retry_of_a_client_that_nobody_remembers_is_refused() {
    let mut sessions = Sessions::default();
    assert_eq!(apply(&mut sessions, retry(1, 1), 0, 1), Admission::Expired);
    assert_eq!(sessions, Sessions::default());
}

#[test]
fn where_there_is_no_room_a_client_is_forgotten_only_after_a_long_silence() {
    let mut sessions = Sessions::default();
    for number in 0..MAX_CLIENTS as u64 {
        assert_eq!(apply(&mut sessions, request(number, 5), number, number), Admission::New);
    }
    let newcomer = request(1 << 40, 1);
    assert_eq!(apply(&mut sessions, newcomer, FORGET_AFTER_MILLIS - 1, 1), Admission::NoRoom);
    // The first one writes again, so the second is the oldest.
    apply(&mut sessions, request(0, 6), 2, 2);
    let admitted = sessions.admit(newcomer, FORGET_AFTER_MILLIS + 1);
    assert_eq!(admitted, Admitted { admission: Admission::New, forgotten: Some((client(1), vec![5])) });
    assert_eq!(sessions.clients(), MAX_CLIENTS);
    assert_eq!(apply(&mut sessions, retry(1, 5), FORGET_AFTER_MILLIS + 2, 3), Admission::Expired);
}

proptest! {
    /// The rule itself: of one name at most one sending is applied, whatever is sent and in whatever order.
    #[test]
    fn no_write_is_applied_twice(sendings in prop::collection::vec((0..3_u64, 0..200_u64, any::<bool>()), 1..400)) {
        let mut sessions = Sessions::default();
        let mut applied = BTreeMap::new();
        for (version, (of, sequence, retry)) in sendings.into_iter().enumerate() {
            let version = version as u64;
            match apply(&mut sessions, RequestId { retry, ..request(of, sequence) }, version, version) {
                Admission::New => prop_assert_eq!(applied.insert((of, sequence), version), None),
                Admission::Repeated(outcome) => {
                    prop_assert_eq!(Some(outcome), applied.get(&(of, sequence)).map(|v| WriteOutcome::Written(*v)));
                }
                Admission::Expired => {}
                other => prop_assert!(false, "{other:?}"),
            }
        }
    }

    /// A replica that opens again or joins decides as the one it has its state from.
    #[test]
    fn what_is_stored_is_all_there_is(sendings in prop::collection::vec((0..3_u64, 0..200_u64, 0..1000_u64), 1..200)) {
        let mut sessions = Sessions::default();
        for (version, (of, sequence, now)) in sendings.into_iter().enumerate() {
            apply(&mut sessions, request(of, sequence), now, version as u64);
        }
        let mut restored = Sessions::default();
        sessions.stored().for_each(|write| restored.restore(write));
        prop_assert_eq!(restored, sessions);
    }
}
