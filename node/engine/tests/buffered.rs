//! The queue of buffered writes while it cannot be written: what was accepted stays, what was not is nowhere.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use support::{audit, eventually, hooked, open, open_with, value};
use thermocline_engine::*;

/// Storage that refuses buffered writes while the test says so.
#[derive(Clone, Default)]
struct Storage(Arc<AtomicBool>);

impl Storage {
    fn open(&self, folder: &Path) -> Engine {
        let fails = Arc::clone(&self.0);
        let environment = hooked(move |point| {
            let refused = point == CrashPoint::BufferedFlush && fails.load(Ordering::SeqCst);
            if refused { Err("the test's storage takes nothing".to_owned()) } else { Ok(()) }
        });
        open_with(folder, 2, environment)
    }

    fn fails(&self, fails: bool) {
        self.0.store(fails, Ordering::SeqCst);
    }
}

fn buffer(engine: &Engine, key: &[u8], value: &[u8]) -> Result<u64> {
    engine.put(key, value, Durability::Buffered)
}

fn key(i: u32) -> Vec<u8> {
    format!("key{i:05}").into_bytes()
}

/// Fills the queue up to its bound with large values; returns how many fitted and the refusal of the next.
fn fill(engine: &Engine) -> (u32, EngineError) {
    let more_than_fit = 2 * (MAX_QUEUED_BYTES >> 20) as u32;
    for i in 0..more_than_fit {
        if let Err(refused) = buffer(engine, &key(i), &vec![7; 1 << 20]) {
            return (i, refused);
        }
    }
    panic!("{more_than_fit} MiB are queued");
}

#[test]
fn buffered_writes_that_cannot_be_written_yet_are_accepted_seen_and_written_later_in_order() {
    let (folder, storage) = (tempfile::tempdir().unwrap(), Storage::default());
    let engine = storage.open(folder.path());
    buffer(&engine, b"deleted", b"v").unwrap();
    storage.fails(true);
    // More than a flush takes, so writers try to write the queue themselves.
    for round in 0..3_u32 {
        for i in 0..900 {
            buffer(&engine, &key(i), &round.to_be_bytes()).unwrap();
        }
    }
    engine.delete(b"deleted", Durability::Buffered).unwrap();
    let mut batch = Batch::default();
    batch.put("batch", "v").unwrap().delete(key(1)).unwrap();
    let written = engine.write(&batch, &[Condition::Exists(key(1).into())], Durability::Buffered).unwrap();
    let check = |engine: &Engine| {
        assert_eq!(value(engine, &key(0)).unwrap(), 2_u32.to_be_bytes());
        assert_eq!(value(engine, &key(899)).unwrap(), 2_u32.to_be_bytes());
        assert_eq!((value(engine, b"deleted"), value(engine, &key(1))), (None, None));
        let found = engine.multi_get(&[&b"batch"[..], b"deleted"]).unwrap();
        assert_eq!(WriteOutcome::Written(found[0].as_ref().unwrap().version), written);
        assert_eq!(found[1], None);
    };
    check(&engine);
    // A direct write to a queued key may not overtake it: it is refused, and the key holds what was accepted.
    assert!(engine.put(&key(0), b"direct", Durability::Wal).is_err());
    assert!(engine.snapshot().is_err(), "a snapshot without what was accepted");
    check(&engine);
    engine.put(b"another", b"direct", Durability::Wal).unwrap();

    storage.fails(false);
    eventually("the queue is written", || engine.explain(b"batch").unwrap().copies.len() == 1);
    check(&engine);
    assert_eq!(engine.logical_hash(&KeyRange::all()).unwrap().records, 899 + 2);
    audit(&engine);
    engine.close().unwrap();
    check(&open(folder.path(), 2));
}

#[test]
fn a_queue_at_its_bound_refuses_by_name_and_nothing_of_what_it_refuses_is_seen() {
    let (folder, storage) = (tempfile::tempdir().unwrap(), Storage::default());
    let engine = storage.open(folder.path());
    storage.fails(true);
    let (taken, refused) = fill(&engine);
    assert!(matches!(refused, EngineError::BufferFull { bytes, .. } if bytes <= MAX_QUEUED_BYTES), "{refused:?}");
    let text = refused.to_string();
    assert!(text.contains(&MAX_QUEUED_BYTES.to_string()) && text.contains("takes nothing"), "{text}");
    assert!(taken >= 60, "{taken}");
    assert_eq!(value(&engine, &key(taken)), None);
    // A batch is refused as a whole, though a part of it would fit.
    let mut batch = Batch::default();
    batch.put("small", "v").unwrap().put("large", vec![7; 2 << 20]).unwrap();
    assert!(matches!(engine.write(&batch, &[], Durability::Buffered), Err(EngineError::BufferFull { .. })));
    assert_eq!(engine.multi_get(&["small", "large"]).unwrap(), [None, None]);
    assert!(value(&engine, &key(taken - 1)).is_some());

    storage.fails(false);
    eventually("the queue takes writes again", || buffer(&engine, b"small", b"v").is_ok());
    engine.close().unwrap();
    let engine = open(folder.path(), 2);
    assert_eq!(engine.logical_hash(&KeyRange::all()).unwrap().records, u64::from(taken) + 1);
}

#[test]
fn the_queue_is_bounded_by_entries_too() {
    let (folder, storage) = (tempfile::tempdir().unwrap(), Storage::default());
    let engine = storage.open(folder.path());
    storage.fails(true);
    let mut taken = 0;
    let refused = loop {
        match engine.delete(b"k", Durability::Buffered) {
            Ok(_) => taken += 1,
            Err(refused) => break refused,
        }
        assert!(taken <= MAX_QUEUED_ENTRIES, "no bound");
    };
    assert!(refused.to_string().contains(&MAX_QUEUED_ENTRIES.to_string()), "{refused}");
    assert_eq!(taken, MAX_QUEUED_ENTRIES);
    storage.fails(false);
    engine.close().unwrap();
}

#[test]
fn an_empty_queue_takes_a_batch_of_any_size() {
    let (folder, storage) = (tempfile::tempdir().unwrap(), Storage::default());
    let engine = storage.open(folder.path());
    let mut batch = Batch::default();
    for i in 0..MAX_QUEUED_ENTRIES as u32 + 1 {
        batch.put(i.to_be_bytes().to_vec(), "v").unwrap();
    }
    for _ in 0..3 {
        engine.write(&batch, &[], Durability::Buffered).unwrap();
    }
    engine.close().unwrap();
}

#[test]
fn closing_tells_how_many_buffered_writes_could_not_be_written() {
    let (folder, storage) = (tempfile::tempdir().unwrap(), Storage::default());
    let engine = storage.open(folder.path());
    engine.put(b"logged", b"v", Durability::Wal).unwrap();
    storage.fails(true);
    for i in 0..7 {
        buffer(&engine, &key(i), b"v").unwrap();
    }
    let closed = engine.close().unwrap_err();
    assert!(matches!(closed, EngineError::BufferLost { entries: 7, .. }), "{closed:?}");
    assert!(chain(&closed).contains("takes nothing"), "{}", chain(&closed));
    // Dropping the last handle, which closing did, writes nothing that was told to be lost.
    storage.fails(false);
    let engine = open(folder.path(), 2);
    assert_eq!(engine.logical_hash(&KeyRange::all()).unwrap().records, 1);
}

#[test]
fn what_closing_told_to_be_lost_is_not_written_after_all() {
    let folder = tempfile::tempdir().unwrap();
    // The flusher's tries all fail; of the others the first.
    let failures = AtomicUsize::new(1);
    let environment = hooked(move |point| {
        let flusher = std::thread::current().name() == Some("buffered-flush");
        let left = |left: usize| left.checked_sub(1);
        let refused = point == CrashPoint::BufferedFlush
            && (flusher || failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, left).is_ok());
        if refused { Err("the test's storage takes nothing".to_owned()) } else { Ok(()) }
    });
    let engine = open_with(folder.path(), 2, environment);
    buffer(&engine, b"k", b"v").unwrap();
    assert!(engine.close().is_err());
    assert_eq!(value(&open(folder.path(), 2), b"k"), None);
}

#[test]
fn closing_one_of_two_handles_leaves_the_queue_to_the_other() {
    let (folder, storage) = (tempfile::tempdir().unwrap(), Storage::default());
    let engine = storage.open(folder.path());
    storage.fails(true);
    buffer(&engine, b"k", b"v").unwrap();
    let other = engine.clone();
    assert!(engine.close().is_err());
    assert_eq!(value(&other, b"k").unwrap(), b"v");
    storage.fails(false);
    other.close().unwrap();
    assert_eq!(value(&open(folder.path(), 2), b"k").unwrap(), b"v");
}
