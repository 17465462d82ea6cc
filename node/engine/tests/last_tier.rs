//! Stores whose slowest tier is taken away: what the tier above it keeps.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]
#![allow(clippy::disallowed_methods)] // threads race in real time

mod support;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use support::{EndOnPanic, audit, eventually, move_all, open, options, placed, put, value};
use thermocline_engine::*;

/// More than are deleted under one lease.
const KEYS: u32 = 1000;

fn key(i: u32) -> Vec<u8> {
    format!("key{i:05}").into_bytes()
}

/// A store of three tiers in which every second key was deleted while the tiers below had it; the tombstones are in
/// `tier`, and the slowest tier is emptied.
fn with_tombstones(folder: &Path, tier: &str) {
    let engine = open(folder, 3);
    for i in 0..KEYS {
        put(&engine, &key(i), b"old");
    }
    move_all(&engine, "cold");
    for i in (0..KEYS).step_by(2) {
        engine.delete(&key(i), Durability::Wal).unwrap();
    }
    if tier != "hot" {
        move_all(&engine, tier);
    }
    engine.empty_tier("cold", &Cancel::default()).unwrap();
    engine.close().unwrap();
}

/// The same store with its fastest tiers alone.
fn reopen(folder: &Path, tiers: usize, background: bool) -> Engine {
    let mut options = options(folder, 3);
    options.tiers.truncate(tiers);
    options.background_moves = background;
    Engine::open(options, Environment::system(7)).unwrap()
}

fn check(engine: &Engine, except: &[u32]) {
    for i in (0..KEYS).filter(|i| !except.contains(i)) {
        let expected = (i % 2 == 1).then(|| b"old".to_vec());
        assert_eq!(value(engine, &key(i)), expected, "key {i}");
    }
}

#[test]
fn tombstones_of_a_tier_that_has_become_the_last_one_go_by_themselves() {
    let folder = tempfile::tempdir().unwrap();
    with_tombstones(folder.path(), "warm");
    let engine = reopen(folder.path(), 2, false);
    assert_eq!(audit(&engine).last_tier_tombstones, u64::from(KEYS / 2), "the case is not there");
    engine.close().unwrap();

    let engine = reopen(folder.path(), 2, true);
    eventually("the tombstones are gone", || audit(&engine).last_tier_tombstones == 0);
    check(&engine, &[]);
    assert_eq!(audit(&engine).keys, u64::from(KEYS / 2));
    engine.close().unwrap();
    // And stay gone, when nobody looks any more.
    let engine = reopen(folder.path(), 2, false);
    assert_eq!(audit(&engine).last_tier_tombstones, 0);
    check(&engine, &[]);
}

#[test]
fn tombstones_of_a_tier_that_is_left_alone_go_beside_its_writers() {
    let folder = tempfile::tempdir().unwrap();
    with_tombstones(folder.path(), "hot");
    let engine = reopen(folder.path(), 2, false);
    engine.empty_tier("warm", &Cancel::default()).unwrap();
    engine.close().unwrap();
    let engine = reopen(folder.path(), 1, true);
    let writing = Arc::new(AtomicBool::new(true));
    std::thread::scope(|scope| {
        let _end = EndOnPanic(&writing);
        // Keys that were deleted are written again and again while the sweep is on them.
        scope.spawn(|| {
            for round in 0_u32.. {
                if !writing.load(Ordering::SeqCst) {
                    return;
                }
                for i in [0, 400, 998] {
                    put(&engine, &key(i), &round.to_be_bytes());
                    assert_eq!(value(&engine, &key(i)).unwrap(), round.to_be_bytes(), "an acknowledged write is lost");
                }
            }
        });
        let left = || (0..KEYS).filter(|i| i % 2 == 0 && !placed(&engine, &key(*i)).is_empty()).count();
        eventually("only what was written again is left", || left() == 3);
        writing.store(false, Ordering::SeqCst);
    });
    check(&engine, &[0, 400, 998]);
    audit(&engine);
}

#[test]
fn a_sweep_waits_for_a_range_that_somebody_holds_and_then_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    with_tombstones(folder.path(), "warm");
    let engine = reopen(folder.path(), 2, true);
    // Held for a while, taken from the sweep wherever it is.
    for _ in 0..5 {
        let lease = engine.lease_range(&KeyRange::new(key(300), key(700)).unwrap()).unwrap();
        support::nap(std::time::Duration::from_millis(20));
        drop(lease);
    }
    eventually("the tombstones are gone", || audit(&engine).last_tier_tombstones == 0);
    check(&engine, &[]);
}

/// Whether the closed store has a tier written down as one without tombstones.
fn swept(folder: &Path) -> bool {
    let mut options = rocksdb::Options::default();
    options.set_wal_dir(folder.join("root/wal"));
    let names = ["default", "meta"];
    let database = rocksdb::DB::open_cf_for_read_only(&options, folder.join("root/db"), names, false).unwrap();
    database.get_cf(database.cf_handle("meta").unwrap(), [6]).unwrap().is_some()
}

#[test]
fn tombstones_that_came_while_a_slower_tier_was_back_go_too() {
    let folder = tempfile::tempdir().unwrap();
    with_tombstones(folder.path(), "hot");
    // Looked through, the tier that has become the last one has none.
    eventually("the last tier is looked through", || {
        reopen(folder.path(), 2, true).close().unwrap();
        swept(folder.path())
    });
    // The slower tier comes back, nothing moves by itself, and it leaves again.
    with_tombstones(folder.path(), "warm");
    let engine = reopen(folder.path(), 2, true);
    eventually("the tombstones are gone", || audit(&engine).last_tier_tombstones == 0);
    check(&engine, &[]);
}
