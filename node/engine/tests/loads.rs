//! Bulk loads against writers, deletes, moves and failures.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use support::pause::Pauses;
use support::{audit, move_all, open, open_with, placed, put, value};
use thermocline_engine::*;

fn sorted(engine: &Engine, value: &'static str) -> BulkLoad {
    let mut load = engine.bulk_load(BulkMode::Sorted).unwrap();
    for key in ["a", "k", "z"] {
        load.put(key, value).unwrap();
    }
    load
}

fn delete_by_batch(engine: &Engine) {
    let mut batch = Batch::default();
    batch.put("other", "v").unwrap().delete("k").unwrap();
    engine.write(&batch, &[], Durability::Wal).unwrap();
}

fn delete_by_apply(engine: &Engine) {
    // The caller of `apply` gives the versions; here above those of the store.
    let version = put(engine, b"other", b"v") + 1000;
    let mutations = vec![Mutation::Delete { key: Bytes::from_static(b"k") }];
    let entries = vec![ApplyEntry { version, conditions: Vec::new(), mutations }];
    engine.apply(&ApplyBatch { entries, meta: Vec::new() }, Durability::Wal).unwrap();
}

#[test]
fn a_sorted_load_brings_no_key_back_that_was_deleted_since_it_began() {
    let deletes: [fn(&Engine); 4] = [
        |engine| assert!(engine.delete(b"k", Durability::Wal).is_ok()),
        |engine| assert!(engine.delete(b"k", Durability::Buffered).is_ok()),
        delete_by_batch,
        delete_by_apply,
    ];
    for tiers in [1, 2, 3] {
        for (number, delete) in deletes.iter().enumerate() {
            let folder = tempfile::tempdir().unwrap();
            let engine = open(folder.path(), tiers);
            put(&engine, b"k", b"old");
            let load = sorted(&engine, "loaded");
            delete(&engine);
            if tiers > 1 {
                // In the last tier a tombstone ends.
                move_all(&engine, "cold");
                assert_eq!(placed(&engine, b"k"), []);
            }
            let refused = load.finish().unwrap_err().to_string();
            assert!(refused.contains("nothing was loaded"), "{refused}");
            let left = std::fs::read_dir(folder.path().join("hot/incoming")).unwrap().count();
            assert_eq!(left, 0, "files of a load that was refused");
            for key in [b"a", b"k", b"z"] {
                assert_eq!(value(&engine, key), None, "{tiers} tiers, delete {number}");
            }
            // A load that begins now is newer than the delete.
            assert_eq!(sorted(&engine, "again").finish().unwrap(), 3);
            assert_eq!(value(&engine, b"k").unwrap(), b"again");
            audit(&engine);
        }
    }
}

#[test]
fn of_two_sorted_loads_only_the_one_that_began_before_a_delete_is_refused() {
    for tiers in [1, 3] {
        let folder = tempfile::tempdir().unwrap();
        let engine = open(folder.path(), tiers);
        put(&engine, b"k", b"old");
        let (first, given_up) = (sorted(&engine, "first"), sorted(&engine, "given up"));
        engine.delete(b"k", Durability::Wal).unwrap();
        engine.delete(b"zz", Durability::Wal).unwrap();
        let second = sorted(&engine, "second");
        drop(given_up);
        assert!(first.finish().is_err());
        assert_eq!(second.finish().unwrap(), 3);
        assert_eq!(value(&engine, b"k").unwrap(), b"second");
        drop(engine);
        assert_eq!(value(&open(folder.path(), tiers), b"k").unwrap(), b"second");
    }
}

#[test]
fn a_delete_beside_its_range_does_not_refuse_a_sorted_load() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path(), 1);
    let load = sorted(&engine, "loaded");
    engine.delete(b"0", Durability::Wal).unwrap();
    engine.delete(b"zz", Durability::Wal).unwrap();
    assert_eq!(load.finish().unwrap(), 3);
    assert_eq!(value(&engine, b"k").unwrap(), b"loaded");
}

/// A copy of the store's files as they are now: what a process that is killed now would leave.
fn killed_now(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let (path, name) = entry.map(|entry| (entry.path(), entry.file_name())).unwrap();
        if path.is_dir() {
            killed_now(&path, &to.join(name));
        } else {
            std::fs::copy(&path, to.join(name)).unwrap();
        }
    }
}

#[test]
fn what_an_unlogged_load_that_ended_early_has_shown_is_in_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let (store, copy) = (folder.path().join("store"), folder.path().join("copy"));
    let engine = open(&store, 2);
    let key = |i: u32| format!("key{i:05}");
    let mut load = engine.bulk_load(BulkMode::Unlogged).unwrap();
    for i in 0..400 {
        put(&engine, key(i).as_bytes(), b"old");
        load.put(key(i), vec![b'n'; 5000]).unwrap();
    }
    drop(load);
    let shown: Vec<_> = (0..400).map(|i| value(&engine, key(i).as_bytes())).collect();
    assert!(shown.iter().any(|v| v.as_deref() != Some(b"old")), "nothing was loaded before the end");
    killed_now(&store, &copy);
    let copied = open(&copy, 2);
    for (i, shown) in (0..400).zip(shown) {
        assert!(value(&copied, key(i).as_bytes()) == shown, "key {i}");
    }
}

#[test]
fn a_sorted_load_that_fails_after_its_files_are_in_leaves_no_older_row_in_the_cache() {
    let (folder, pauses) = (tempfile::tempdir().unwrap(), Pauses::default());
    let engine = open_with(folder.path(), 2, pauses.environment());
    put(&engine, b"k", b"old");
    assert_eq!(value(&engine, b"k").unwrap(), b"old");
    assert!(engine.get_cached(b"k").is_some(), "the row is not cached");
    let load = sorted(&engine, "loaded");
    pauses.fail(CrashPoint::Ingested);
    assert!(load.finish().is_err());
    let stored = engine.snapshot().unwrap().get(b"k").unwrap().unwrap();
    assert_eq!(stored.value, "loaded");
    assert_eq!(value(&engine, b"k").unwrap(), b"loaded", "the cache has an older row");
}

/// A probe whose answer the test sets: the free bytes of everything.
struct Free(AtomicU64);

impl DeviceProbe for Free {
    fn space(&self, _: &Path) -> std::io::Result<DeviceSpace> {
        Ok(DeviceSpace { total: 1 << 40, free: self.0.load(Ordering::SeqCst) })
    }
}

#[test]
fn a_sorted_load_writes_no_file_under_the_reserve() {
    let folder = tempfile::tempdir().unwrap();
    let free = Arc::new(Free(AtomicU64::new(1 << 39)));
    let environment = Environment { probe: Arc::clone(&free) as Arc<dyn DeviceProbe>, ..Environment::system(7) };
    let engine = open_with(folder.path(), 2, environment);
    let load = sorted(&engine, "loaded");
    free.0.store(1000, Ordering::SeqCst);
    engine.refresh_space();
    assert!(matches!(load.finish(), Err(EngineError::OutOfSpace { .. })));
    free.0.store(1 << 39, Ordering::SeqCst);
    engine.refresh_space();
    assert_eq!(value(&engine, b"k"), None);
    assert_eq!(sorted(&engine, "again").finish().unwrap(), 3);
}
