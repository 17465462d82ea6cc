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

fn write_by_apply(engine: &Engine) {
    let version = put(engine, b"other", b"v") + 1000;
    let mutations = vec![Mutation::Put { key: Bytes::from_static(b"k"), value: Bytes::from_static(b"new") }];
    let entries = vec![ApplyEntry { version, conditions: Vec::new(), mutations }];
    engine.apply(&ApplyBatch { entries, meta: Vec::new() }, Durability::Wal).unwrap();
}

fn write_by_load(engine: &Engine, mode: BulkMode) {
    let mut load = engine.bulk_load(mode).unwrap();
    load.put("k", "new").unwrap();
    assert_eq!(load.finish().unwrap(), 1);
}

fn write_by_install(engine: &Engine) {
    let (folder, range) = (tempfile::tempdir().unwrap(), KeyRange::single(b"k"));
    put(engine, b"k", b"new");
    engine.export(&range, &folder.path().join("export")).unwrap();
    let lease = engine.lease_range(&range).unwrap();
    engine.install(&lease, &folder.path().join("export"), &[]).unwrap();
}

#[test]
fn a_sorted_load_is_refused_where_something_was_written_since_it_began() {
    let writes: [fn(&Engine); 7] = [
        |engine| assert!(engine.put(b"k", b"new", Durability::Wal).is_ok()),
        |engine| assert!(engine.put(b"k", b"new", Durability::Buffered).is_ok()),
        |engine| {
            let mut batch = Batch::default();
            batch.put("other", "v").unwrap().put("k", "new").unwrap();
            engine.write(&batch, &[], Durability::Wal).unwrap();
        },
        write_by_apply,
        |engine| write_by_load(engine, BulkMode::Sorted),
        |engine| write_by_load(engine, BulkMode::Unlogged),
        write_by_install,
    ];
    for (number, write) in writes.iter().enumerate() {
        let folder = tempfile::tempdir().unwrap();
        let engine = open(folder.path(), 2);
        let load = sorted(&engine, "loaded");
        write(&engine);
        // Wherever the newer record is by now.
        move_all(&engine, "cold");
        let refused = load.finish().unwrap_err().to_string();
        assert!(refused.contains("nothing was loaded"), "write {number}: {refused}");
        assert_eq!(value(&engine, b"k").unwrap(), b"new", "write {number}");
        assert_eq!(value(&engine, b"z"), None, "write {number}");
        assert_eq!(sorted(&engine, "again").finish().unwrap(), 3);
        audit(&engine);
    }
}

/// One of RocksDB's counters.
fn counter(engine: &Engine, name: &str) -> u64 {
    let stats = engine.print_stats();
    let line = stats.lines().find(|line| line.contains(name)).expect("the counter is printed");
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn a_sorted_load_ends_without_reading_what_lies_between_its_keys() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path(), 2);
    for i in 0..2000 {
        put(&engine, format!("b{i:04}").as_bytes(), b"v");
    }
    let load = sorted(&engine, "loaded");
    let read = || counter(&engine, "rocksdb.number.db.next COUNT");
    let before = read();
    assert_eq!(load.finish().unwrap(), 3);
    // Writers are refused meanwhile: of the whole range, however much it holds.
    assert!(read() - before < 100, "{} records were passed", read() - before);
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

impl Free {
    fn open(folder: &Path) -> (Engine, Arc<Self>) {
        let free = Arc::new(Self(AtomicU64::new(1 << 39)));
        let environment = Environment { probe: Arc::clone(&free) as Arc<dyn DeviceProbe>, ..Environment::system(7) };
        (open_with(folder, 2, environment), free)
    }

    fn set(&self, engine: &Engine, bytes: u64) {
        self.0.store(bytes, Ordering::SeqCst);
        engine.refresh_space();
    }
}

#[test]
fn what_a_load_has_taken_outlives_a_refusal_for_want_of_space() {
    // More than a group of an unlogged load, and than a file of a sorted one.
    for (mode, bytes) in [(BulkMode::Unlogged, 64 << 10), (BulkMode::Sorted, 4 << 20)] {
        let folder = tempfile::tempdir().unwrap();
        let (engine, free) = Free::open(folder.path());
        let mut load = engine.bulk_load(mode).unwrap();
        free.set(&engine, 1000);
        let mut refused = 0;
        for i in 0..20_u8 {
            while let Err(error) = load.put(vec![i + 1], vec![i; bytes]) {
                assert!(matches!(error, EngineError::OutOfSpace { .. }), "{mode:?}, record {i}: {error}");
                free.set(&engine, 1 << 39);
                refused += 1;
            }
        }
        assert_eq!(refused, 1, "{mode:?}: the load was to be refused while it went on");
        assert_eq!(load.finish().unwrap(), 20);
        for i in 0..20_u8 {
            assert!(
                value(&engine, &[i + 1]) == Some(vec![i; bytes]),
                "{mode:?}: record {i} was taken and is not there"
            );
        }
    }
}

#[test]
fn a_sorted_load_writes_no_file_under_the_reserve() {
    let folder = tempfile::tempdir().unwrap();
    let (engine, free) = Free::open(folder.path());
    let load = sorted(&engine, "loaded");
    free.set(&engine, 1000);
    assert!(matches!(load.finish(), Err(EngineError::OutOfSpace { .. })));
    free.set(&engine, 1 << 39);
    assert_eq!(value(&engine, b"k"), None);
    assert_eq!(sorted(&engine, "again").finish().unwrap(), 3);
}
