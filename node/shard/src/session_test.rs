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
    assert_eq!(admitted, Admitted { admission: Admission::New, forgotten: vec![(client(1), vec![5])] });
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

fn stored(number: u64, sequence: u64, at_millis: u64) -> StoredWrite {
    StoredWrite { client: client(number), sequence, at_millis, outcome: WriteOutcome::Written(sequence) }
}

#[test]
fn of_two_shards_that_become_one_the_later_write_of_a_slot_is_remembered_and_the_earlier_one_refused() {
    let mut left = Sessions::default();
    [stored(1, 5, 10), stored(1, 6, 20)].into_iter().for_each(|write| left.restore(write));
    let theirs = [stored(1, 5 + WINDOW, 9), stored(1, 7, 30), stored(2, 1, 40)];
    let absorbed = left.absorb(theirs.into_iter(), 50);
    assert_eq!(absorbed, Absorbed { taken: theirs.to_vec(), forgotten: Vec::new() });
    let mut admit =
        |number, sequence| left.admit(RequestId { client: client(number), sequence, retry: true }, 60).admission;
    assert_eq!(admit(1, 5), Admission::Expired);
    for (number, sequence) in [(1, 5 + WINDOW), (1, 6), (1, 7), (2, 1)] {
        assert_eq!(admit(number, sequence), Admission::Repeated(WriteOutcome::Written(sequence)));
    }
}

#[test]
fn sessions_of_two_shards_are_the_same_when_they_are_read_back() {
    // The later write is dated earlier: leaders' clocks differ.
    let mut left = Sessions::default();
    [stored(1, 5, 90), stored(2, 1, 50)].into_iter().for_each(|write| left.restore(write));
    left.absorb([stored(1, 5 + WINDOW, 9)].into_iter(), 100);
    let mut again = Sessions::default();
    left.stored().for_each(|write| again.restore(write));
    assert_eq!(again, left);
}

#[test]
fn of_two_shards_that_become_one_only_clients_that_were_silent_for_long_are_forgotten() {
    let most = MAX_CLIENTS as u64;
    let mut left = Sessions::default();
    (0..most).for_each(|number| left.restore(stored(number, 3, 1000 + number)));
    let theirs = (most..most + 10).map(|number| stored(number, 3, FORGET_AFTER_MILLIS));
    let absorbed = left.absorb(theirs, FORGET_AFTER_MILLIS + 1002);
    // As old as that are three of them.
    let forgotten: Vec<_> = (0..3).map(|number| (client(number), vec![3])).collect();
    assert_eq!(absorbed.forgotten, forgotten);
    assert_eq!((absorbed.taken.len(), left.clients()), (10, MAX_CLIENTS + 7));
    let new = RequestId { client: client(99_999), sequence: 1, retry: false };
    let admitted = left.admit(new, FORGET_AFTER_MILLIS * 3);
    assert_eq!((admitted.admission, admitted.forgotten.len()), (Admission::New, 8));
    assert_eq!(left.clients(), MAX_CLIENTS);
}
