//! Rounds of the mover: what they are decided from, and what of them is carried out.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::Path;
use std::time::Duration;

use super::race_test::{move_all, open};
use crate::classify::{MoveChoice, MoveReason};
use crate::heat::{AccessEvent, AccessKind, ServedBy};
use crate::{Cancel, Durability, Engine, EngineError, KeyRange};

/// Longer than a survey takes.
const LONG: Duration = Duration::from_secs(600);

/// Makes a key hot that was read from a tier, whether or not it is there.
fn heat(engine: &Engine, key: &[u8], tier: u8) {
    let event = AccessEvent { key: key.into(), bytes: 100, kind: AccessKind::Read(ServedBy::Tier(tier)), weight: 1 };
    engine.inner().heat.with(|tracker, now| tracker.absorb(&vec![event; 10], now));
}

fn surveyed(engine: &Engine, look_up_for: Duration) -> Vec<(Vec<u8>, usize)> {
    let (_, keys) = engine.inner().survey(look_up_for).unwrap();
    keys.into_iter().map(|key| (key.heat.key, key.tier)).collect()
}

#[test]
fn a_survey_without_time_reads_no_key_and_takes_them_to_be_where_they_were_last_seen() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path(), 3);
    heat(&engine, b"ghost", 1);
    assert_eq!(surveyed(&engine, Duration::ZERO), [(b"ghost".to_vec(), 1)]);
    assert_eq!(surveyed(&engine, LONG), []);
}

#[test]
fn what_a_survey_has_seen_the_next_one_knows_without_a_look() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path(), 3);
    engine.put(b"k", b"v", Durability::Wal).unwrap();
    move_all(&engine, "cold");
    heat(&engine, b"k", 1);
    assert_eq!(surveyed(&engine, LONG), [(b"k".to_vec(), 2)]);
    assert_eq!(surveyed(&engine, Duration::ZERO), [(b"k".to_vec(), 2)]);
}

#[test]
fn a_survey_ends_when_the_store_takes_no_more_work() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path(), 3);
    heat(&engine, b"k", 0);
    // As closing does.
    engine.inner().database.events.failure.set("the test asked for it".to_owned());
    let ended = engine.inner().survey(LONG);
    assert!(matches!(ended, Err(EngineError::StorageFailed { .. })), "{ended:?}");
}

/// So much that it is copied as a file.
fn fill(engine: &Engine, prefix: &str) {
    for i in 0..400 {
        engine.put(format!("{prefix}{i:03}").as_bytes(), &[1; 1000], Durability::Wal).unwrap();
    }
}

fn down(start: &str, end: &str, to: usize) -> MoveChoice {
    MoveChoice::DemoteRange {
        range: KeyRange::new(start, end).unwrap(),
        from: 0,
        to,
        keep: Vec::new(),
        bytes: u64::MAX,
        reason: MoveReason::Cold,
    }
}

fn tier_of(engine: &Engine, key: &str) -> String {
    engine.explain(key.as_bytes()).unwrap().copies[0].tier.clone()
}

/// Takes away the folder in which files for a tier are made.
fn break_incoming(folder: &Path, tier: &str) {
    std::fs::remove_dir_all(folder.join(tier).join("incoming")).unwrap();
}

#[test]
fn a_move_that_fails_does_not_end_the_moves_after_it_and_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path(), 3);
    fill(&engine, "a");
    fill(&engine, "b");
    break_incoming(folder.path(), "warm");
    let told = engine.inner().carry_out_all(&[down("a", "b", 1), down("b", "c", 2)]);
    assert_eq!(tier_of(&engine, "b000"), "cold");
    assert_eq!(tier_of(&engine, "a000"), "hot");
    assert!(matches!(told, Err(EngineError::Rocks { attempt: "create a file for a slower tier", .. })), "{told:?}");
}

#[test]
fn a_move_that_was_chosen_before_its_target_was_emptied_does_not_happen() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path(), 3);
    fill(&engine, "a");
    let chosen = down("a", "b", 2);
    engine.empty_tier("cold", &Cancel::default()).unwrap();
    engine.inner().carry_out_all(&[chosen]).unwrap();
    assert_eq!(tier_of(&engine, "a000"), "hot");
}

#[test]
fn a_tier_whose_emptying_failed_takes_moves_again() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path(), 3);
    fill(&engine, "a");
    move_all(&engine, "warm");
    let cancel = Cancel::default();
    cancel.cancel();
    assert!(matches!(engine.empty_tier("warm", &cancel), Err(EngineError::Cancelled)));
    assert!(engine.inner().tier_states()[1].accepts_moves);
    engine.empty_tier("warm", &Cancel::default()).unwrap();
    assert!(!engine.inner().tier_states()[1].accepts_moves);
}
