//! Races of fences, versions and syncs with what goes on beside them, taken one by one.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use rocksdb::WriteBatch;

use super::race_test::{linger, move_all, open};
use crate::format::keys;
use crate::write::stripes::Stripes;
use crate::{BulkMode, Durability, KeyRange};

#[test]
fn a_copy_up_that_was_looked_up_behind_a_fence_happens_neither_behind_it_nor_after() {
    for behind in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let engine = open(folder.path(), 2);
        engine.put(b"k", b"v", Durability::Wal).unwrap();
        move_all(&engine, "cold");
        let (inner, all) = (engine.inner(), KeyRange::all());
        // A wipe: its fence rises, the key is looked up, the range is cleared.
        let fence = inner.fences.raise(&inner.stripes, &all, "wiped");
        let rising = inner.look_up_below(&Bytes::from_static(b"k")).unwrap().unwrap();
        for tier in 0..2 {
            inner.drop_range(tier, &all).unwrap();
        }
        inner.row_cache.renew(&all);
        if behind {
            inner.raise(vec![rising]).unwrap();
            drop(fence);
        } else {
            drop(fence);
            inner.raise(vec![rising]).unwrap();
        }
        assert_eq!(engine.get(b"k").unwrap(), None, "a wiped key came back, behind the fence: {behind}");
    }
}

/// A write of `k` that has entered its stripe and takes its version when the other one waits there.
fn written_later_than(other: &(dyn Fn(&crate::Engine) + Sync)) {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path(), 2);
    let inner = engine.inner();
    let writer = inner.stripes.write_one(Stripes::of(b"k"));
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| other(&engine));
        linger(&waiting);
        assert!(!waiting.is_finished(), "two writers are in one stripe");
        let version = inner.versions.next(&inner.database).unwrap();
        let (mut batch, mut buffer) = (WriteBatch::default(), Vec::new());
        inner.database.stage(&mut batch, &keys::encode(b"k"), version, Some(b"first"), &mut buffer);
        inner.database.write(&batch, &inner.database.wal, "write a record").unwrap();
        drop(writer);
        waiting.join().unwrap();
        engine.sync().unwrap();
        let stored = engine.snapshot().unwrap().get(b"k").unwrap().unwrap();
        assert!(stored.version > version, "version {} was written over version {version}", stored.version);
        assert_eq!(stored.value.as_ref(), b"second");
    });
}

#[test]
fn whoever_waits_for_a_stripe_takes_its_version_after_the_one_before() {
    let mut batch = crate::Batch::default();
    batch.put("k", "second").unwrap();
    for durability in [Durability::Wal, Durability::Sync, Durability::Buffered] {
        written_later_than(&|engine| assert!(engine.put(b"k", b"second", durability).is_ok()));
        written_later_than(&|engine| assert!(engine.write(&batch, &[], durability).is_ok()));
    }
    written_later_than(&|engine| {
        let mut load = engine.bulk_load(BulkMode::Unlogged).unwrap();
        load.put("k", "second").unwrap();
        load.finish().unwrap();
    });
}

#[test]
fn no_sync_claims_a_version_that_is_being_written() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path(), 2);
    let inner = engine.inner();
    let running = AtomicBool::new(true);
    let writing: [AtomicU64; 3] = std::array::from_fn(|_| AtomicU64::new(0));
    let mut met = 0;
    std::thread::scope(|scope| {
        for (writer, writing) in (0_u32..).zip(&writing) {
            let running = &running;
            scope.spawn(move || {
                while running.load(Ordering::Relaxed) {
                    let _in = inner.stripes.write_one(writer * 1000);
                    writing.store(inner.versions.next(&inner.database).unwrap(), Ordering::SeqCst);
                    std::thread::yield_now();
                    writing.store(0, Ordering::SeqCst);
                }
            });
        }
        for _ in 0..200 {
            let before: Vec<u64> = writing.iter().map(|version| version.load(Ordering::SeqCst)).collect();
            met += before.iter().filter(|version| **version != 0).count();
            let synced = engine.sync().unwrap();
            let claimed = |version: &AtomicU64| (1..=synced).contains(&version.load(Ordering::SeqCst));
            let early = writing.iter().any(claimed);
            if early {
                running.store(false, Ordering::Relaxed);
                panic!("up to version {synced} everything is claimed to be synced, and one of these is being written");
            }
        }
        running.store(false, Ordering::Relaxed);
    });
    assert!(met > 0, "nobody was ever writing");
}
