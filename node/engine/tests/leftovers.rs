//! What operations that fail, and processes that end or are refused, leave behind for the next ones.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use std::path::{Path, PathBuf};

use support::pause::Pauses;
use support::{audit, move_all, open, open_with, options, put, try_move, value};
use thermocline_engine::*;

const FEW: u32 = 200;
/// More than fits a small batch: moves go by file.
const LARGE: usize = 4_000;

fn key(i: u32) -> Vec<u8> {
    format!("key{i:05}").into_bytes()
}

fn fill(engine: &Engine) {
    for i in 0..FEW {
        put(engine, &key(i), &[1; LARGE]);
    }
}

fn incoming(folder: &Path, tier: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder.join(tier).join("incoming")).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn a_move_that_fails_leaves_no_file_behind() {
    for point in [CrashPoint::FileWritten, CrashPoint::WalSynced, CrashPoint::Ingested] {
        let (folder, pauses) = (tempfile::tempdir().unwrap(), Pauses::default());
        let engine = open_with(folder.path(), 2, pauses.environment());
        fill(&engine);
        pauses.arm(point);
        std::thread::scope(|scope| {
            let mover = scope.spawn(|| try_move(&engine, &KeyRange::all(), "cold"));
            pauses.wait(point);
            if point != CrashPoint::Ingested {
                assert_eq!(incoming(folder.path(), "cold").len(), 1, "the move does not go by file");
            }
            pauses.release(point);
            mover.join().unwrap().unwrap();
        });
        fill(&engine);
        pauses.fail(point);
        assert!(try_move(&engine, &KeyRange::all(), "cold").is_err(), "{point:?} was not passed");
        assert_eq!(incoming(folder.path(), "cold"), Vec::<PathBuf>::new(), "{point:?}");
        move_all(&engine, "cold");
        audit(&engine);
    }
}

#[test]
fn a_first_opening_that_ended_between_two_tiers_is_no_foreign_store() {
    let folder = tempfile::tempdir().unwrap();
    // Where the second tier's identity is written first: the opening ends after that of the first tier.
    let obstacle = folder.path().join("cold/tier.json.new");
    std::fs::create_dir_all(&obstacle).unwrap();
    assert!(Engine::open(options(folder.path(), 2), Environment::system(1)).is_err());
    assert!(folder.path().join("hot/tier.json").exists(), "the case is not there");
    std::fs::remove_dir(&obstacle).unwrap();
    let engine = Engine::open(options(folder.path(), 2), Environment::system(2)).unwrap();
    put(&engine, b"k", b"v");
    engine.close().unwrap();
    assert_eq!(value(&open(folder.path(), 2), b"k").unwrap(), b"v");
}

#[test]
fn an_opening_that_is_refused_takes_nothing_from_a_move_under_way() {
    for point in [CrashPoint::FileWritten, CrashPoint::WalSynced] {
        let (folder, pauses) = (tempfile::tempdir().unwrap(), Pauses::default());
        let engine = open_with(folder.path(), 2, pauses.environment());
        fill(&engine);
        pauses.arm(point);
        let moved = std::thread::scope(|scope| {
            let mover = scope.spawn(|| try_move(&engine, &KeyRange::all(), "cold"));
            pauses.wait(point);
            let second = Engine::open(options(folder.path(), 2), Environment::system(8)).map(drop);
            let left = incoming(folder.path(), "cold").len();
            pauses.release(point);
            assert!(matches!(second, Err(OpenError::InUse { .. })), "{second:?}");
            assert_eq!(left, 1, "the file of the move is gone");
            mover.join().unwrap()
        });
        assert_eq!(moved.unwrap().records, u64::from(FEW), "{point:?}");
        audit(&engine);
    }
}
