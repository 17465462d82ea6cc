//! What moves tell of themselves when they end early.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use parking_lot::Mutex;
use support::{audit, open_with, options, placed, put, try_move};
use thermocline_engine::*;

/// Two chunks of a move and a bit, and in the first one as many deletes as are compacted.
const KEYS: u32 = 20_000;
const LENGTH: usize = 900;

fn key(i: u32) -> Vec<u8> {
    format!("key{i:05}").into_bytes()
}

/// Fails when it comes to a point for the second time; counts how often deletes are compacted.
fn fails_at_the_second(point: CrashPoint, compactions: &Arc<AtomicU32>) -> Environment {
    let (passed, compactions) = (AtomicU32::new(0), Arc::clone(compactions));
    support::hooked(move |at| {
        if at == CrashPoint::DeletesDue {
            compactions.fetch_add(1, Ordering::SeqCst);
        }
        let second = at == point && passed.fetch_add(1, Ordering::SeqCst) == 1;
        if second { Err("the test asked for it".to_owned()) } else { Ok(()) }
    })
}

/// Records and bytes of all moves between two tiers.
fn counted(engine: &Engine, from: &str, to: &str) -> (u64, u64) {
    let moves = engine.stats().moves;
    let moves = moves.iter().filter(|m| m.from == from && m.to == to);
    moves.fold((0, 0), |sum, m| (sum.0 + m.records, sum.1 + m.bytes))
}

fn in_tier(engine: &Engine, tier: &str) -> u64 {
    (0..KEYS).filter(|i| placed(engine, &key(*i)).iter().any(|(place, _)| place == tier)).count() as u64
}

fn filled(environment: Environment) -> (tempfile::TempDir, Engine) {
    let folder = tempfile::tempdir().unwrap();
    let engine = open_with(folder.path(), 3, environment);
    for i in 0..KEYS {
        put(&engine, &key(i), &[1; LENGTH]);
    }
    (folder, engine)
}

#[test]
fn a_move_that_ends_early_is_counted_and_compacted_for_what_it_did() {
    // Before the second chunk is copied; copied, but nothing of it dropped; dropped.
    for (point, copied, dropped) in
        [(CrashPoint::MoveJournaled, 1, 1), (CrashPoint::DropJournaled, 2, 1), (CrashPoint::Dropped, 2, 2)]
    {
        let compactions = Arc::new(AtomicU32::new(0));
        let (_folder, engine) = filled(fails_at_the_second(point, &compactions));
        let steps = Mutex::new(Moved::default());
        let failed = engine.move_range(&MoveRequest {
            range: KeyRange::all(),
            to: "warm".to_owned(),
            bytes_per_second: None,
            cancel: &Cancel::default(),
            progress: &|step| *steps.lock() += step.moved,
        });
        assert!(failed.is_err(), "{point:?} was not passed twice");
        let (records, bytes) = counted(&engine, "hot", "warm");
        let gone = u64::from(KEYS) - in_tier(&engine, "hot");
        assert_eq!(records, gone, "{point:?}");
        assert_eq!(*steps.lock(), Moved { records, bytes });
        // A chunk has about nine thousand of these records.
        let (chunk, record) = (9_000_u64, LENGTH as u64);
        assert!(records > dropped * chunk && records < (dropped + 1) * chunk, "{point:?}: {records}");
        assert!(bytes > copied * chunk * record && bytes < (copied + 1) * chunk * record, "{point:?}: {bytes}");
        assert_eq!(compactions.load(Ordering::SeqCst), 1, "{point:?}: the deletes of the part that was done stay");
        audit(&engine);
    }
}

#[test]
fn a_tier_whose_emptying_ends_early_is_counted_for_what_went_up() {
    let (folder, engine) = filled(Environment::system(7));
    try_move(&engine, &KeyRange::all(), "cold").unwrap();
    engine.close().unwrap();
    let compactions = Arc::default();
    let environment = fails_at_the_second(CrashPoint::EmptyCopied, &compactions);
    let engine = Engine::open(options(folder.path(), 3), environment).unwrap();
    assert!(engine.empty_tier("cold", &Cancel::default()).is_err());
    let (records, bytes) = counted(&engine, "cold", "warm");
    assert_eq!(records, in_tier(&engine, "warm"));
    assert!(bytes > records * LENGTH as u64);
    audit(&engine);
}
