//! Every phase that a move can come to.

use super::*;

fn parts(all: &[(&str, Part)]) -> BTreeMap<String, Part> {
    all.iter().map(|(name, part)| ((*name).to_owned(), part.clone())).collect()
}

const RUNNING: Part = Part::Running { bytes: 10, percent: 50 };
const DONE: Part = Part::Done { bytes: 30 };

#[test]
fn a_move_begins_where_it_has_not_and_completes_when_all_have() {
    let now = step(Desired::Run, &parts(&[("a", Part::Waiting), ("b", RUNNING)]));
    assert_eq!((now.begin.as_slice(), now.phase), (["a".to_owned()].as_slice(), MigrationPhase::Running));
    assert_eq!((now.progress, now.bytes), (25, 10));
    let now = step(Desired::Run, &parts(&[("a", DONE), ("b", DONE)]));
    assert_eq!((now.phase, now.progress, now.bytes), (MigrationPhase::Completed, 100, 60));
    assert!(now.outcome.is_some());
}

#[test]
fn a_pause_ends_what_runs_and_run_begins_it_again() {
    let now = step(Desired::Pause, &parts(&[("a", RUNNING), ("b", DONE)]));
    assert_eq!((now.cancel.as_slice(), now.phase), (["a".to_owned()].as_slice(), MigrationPhase::Running));
    let held = parts(&[("a", Part::Cancelled { bytes: 10 }), ("b", DONE)]);
    assert_eq!(step(Desired::Pause, &held).phase, MigrationPhase::Paused);
    assert_eq!(step(Desired::Run, &held).begin, ["a"]);
}

#[test]
fn a_cancel_is_over_when_nothing_runs_any_more() {
    let now = step(Desired::Cancel, &parts(&[("a", RUNNING)]));
    assert_eq!((now.cancel.as_slice(), now.phase), (["a".to_owned()].as_slice(), MigrationPhase::Running));
    assert_eq!(step(Desired::Cancel, &parts(&[("a", Part::Waiting)])).phase, MigrationPhase::Cancelled);
    let late = step(Desired::Cancel, &parts(&[("a", DONE)]));
    assert_eq!(late.phase, MigrationPhase::Completed, "it came too late");
}

#[test]
fn a_move_that_is_held_up_is_neither_over_nor_begun_at_once_and_says_why() {
    let held = parts(&[("a", Part::Held { reason: "the range is held".to_owned() }), ("b", DONE)]);
    let now = step(Desired::Run, &held);
    assert_eq!((now.phase, now.begin.len()), (MigrationPhase::Running, 0));
    assert_eq!((now.outcome, now.held.as_deref()), (None, Some("a: the range is held")));
    assert_eq!(step(Desired::Cancel, &held).phase, MigrationPhase::Cancelled);
    assert_eq!(step(Desired::Pause, &held).phase, MigrationPhase::Paused);
}

#[test]
fn a_failure_waits_for_the_other_nodes_and_names_its_own() {
    let failed = Part::Failed { reason: "no tier".to_owned() };
    let now = step(Desired::Run, &parts(&[("a", failed.clone()), ("b", RUNNING)]));
    assert_eq!((now.phase, now.begin.len()), (MigrationPhase::Running, 0));
    let now = step(Desired::Run, &parts(&[("a", failed), ("b", DONE)]));
    assert_eq!((now.phase, now.outcome.as_deref()), (MigrationPhase::Failed, Some("a: no tier")));
}

#[test]
fn only_nodes_with_a_key_of_the_range_take_part() {
    let owned = |start: &str, end: &str| OwnedRange { start: start.to_owned(), end: end.to_owned() };
    let range = |start: &str, end: Option<&str>| ValidatedKeyRange {
        start: start.as_bytes().to_vec(),
        end: end.map(|end| end.as_bytes().to_vec()),
    };
    assert!(overlaps(&owned("g", "p"), &range("a", Some("h"))));
    assert!(!overlaps(&owned("g", "p"), &range("a", Some("g"))), "an end is not part of a range");
    assert!(!overlaps(&owned("g", "p"), &range("p", None)));
    assert!(overlaps(&owned("", ""), &range("", None)));
    assert!(overlaps(&owned("p", ""), &range("z", None)));
}
