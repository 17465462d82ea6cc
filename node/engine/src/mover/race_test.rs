//! Races between moves and the steps of a reader or of a copy, taken one by one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;

use crate::format::keys;
use crate::format::record::{self, RecordKind};
use crate::write::stripes::Stripes;
use crate::{
    Batch, Cancel, Clock, Condition, Durability, Engine, EngineOptions, Environment, KeyRange, Medium, MoveRequest,
    SystemClock, TierSpec, WriteOutcome,
};

pub(super) fn open(folder: &Path, tiers: usize) -> Engine {
    let tier = |name: &str, rank, medium| {
        let mut spec = TierSpec::new(name, rank, medium, folder.join(name), 1 << 30);
        spec.settings.reserve_bytes = 1 << 20;
        spec
    };
    let mut all = vec![tier("hot", 0, Medium::Nvme), tier("warm", 10, Medium::Ssd), tier("cold", 20, Medium::Hdd)];
    if tiers == 2 {
        all.remove(1);
    }
    let mut options = EngineOptions::new(all, 64 << 20);
    options.background_moves = false;
    Engine::open(options, Environment::system(7)).unwrap()
}

pub(super) fn move_all(engine: &Engine, to: &str) {
    let (range, to) = (KeyRange::all(), to.to_owned());
    let (cancel, progress) = (&Cancel::default(), &|_| {});
    engine.move_range(&MoveRequest { range, to, bytes_per_second: None, cancel, progress }).unwrap();
}

fn value(engine: &Engine, key: &[u8]) -> Option<Bytes> {
    engine.get(key).unwrap().map(|record| record.value.into())
}

/// Waits for a thread, at most so long: enough for it to do what it must not do.
pub(super) fn linger(thread: &std::thread::ScopedJoinHandle<'_, impl Sized>) {
    for _ in 0..50 {
        if thread.is_finished() {
            return;
        }
        SystemClock::default().sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_reader_between_two_probes_finds_a_key_that_moves_up() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path(), 2);
    engine.put(b"k", b"v", Durability::Wal).unwrap();
    move_all(&engine, "cold");
    let (inner, data_key) = (engine.inner(), keys::encode(b"k"));
    let _reading = inner.readers.enter();
    assert_eq!(inner.find_in_tier(0, b"k", &data_key, false).unwrap(), None);
    move_all(&engine, "hot");
    assert!(inner.find_in_tier(1, b"k", &data_key, false).unwrap().is_some(), "the key vanished between two probes");
}

#[test]
fn a_reader_between_two_probes_finds_a_key_whose_tier_is_emptied() {
    for tiers in [2, 3] {
        let folder = tempfile::tempdir().unwrap();
        let engine = open(folder.path(), tiers);
        engine.put(b"k", b"v", Durability::Wal).unwrap();
        move_all(&engine, "cold");
        let (inner, data_key) = (engine.inner(), keys::encode(b"k"));
        let reading = inner.readers.enter();
        for tier in 0..tiers - 1 {
            assert_eq!(inner.find_in_tier(tier, b"k", &data_key, false).unwrap(), None);
        }
        std::thread::scope(|scope| {
            let emptying = scope.spawn(|| engine.empty_tier("cold", &Cancel::default()).unwrap());
            linger(&emptying);
            let found = inner.find_in_tier(tiers - 1, b"k", &data_key, false).unwrap();
            drop(reading);
            emptying.join().unwrap();
            assert!(found.is_some(), "the key vanished between two probes of {tiers} tiers");
        });
        assert_eq!(value(&engine, b"k").unwrap(), "v");
    }
}

#[test]
fn a_row_read_before_a_write_is_not_cached_after_it() {
    let writes: [fn(&Engine); 4] = [
        |engine| {
            engine.put(b"k", b"new", Durability::Wal).unwrap();
        },
        |engine| {
            engine.put(b"k", b"new", Durability::Buffered).unwrap();
        },
        |engine| {
            let mut batch = Batch::default();
            batch.put("k", "new").unwrap();
            engine.write(&batch, &[], Durability::Wal).unwrap();
        },
        |engine| {
            let mut load = engine.bulk_load(crate::BulkMode::Sorted).unwrap();
            load.put("k", "new").unwrap();
            load.finish().unwrap();
        },
    ];
    for write in writes {
        let folder = tempfile::tempdir().unwrap();
        let engine = open(folder.path(), 2);
        engine.put(b"k", b"old", Durability::Wal).unwrap();
        let inner = engine.inner();
        let before = inner.row_cache.before_read(&inner.stripes, b"k");
        let old = inner.read_tiers(b"k").unwrap().unwrap();
        write(&engine);
        inner.row_cache.insert(&inner.stripes, before, b"k", old.version, &old.value);
        assert_eq!(value(&engine, b"k").unwrap(), "new");
    }
}

/// What happens to a key, how, and what it holds then.
type Change = (&'static str, fn(&Engine), Option<&'static str>);

#[test]
fn a_copy_up_that_was_looked_up_before_its_key_changed_does_not_happen() {
    let changes: [Change; 6] = [
        (
            "overwritten",
            |engine| {
                engine.put(b"k", b"new", Durability::Wal).unwrap();
            },
            Some("new"),
        ),
        (
            "overwritten in the queue",
            |engine| {
                engine.put(b"k", b"new", Durability::Buffered).unwrap();
            },
            Some("new"),
        ),
        (
            "deleted",
            |engine| {
                engine.delete(b"k", Durability::Wal).unwrap();
            },
            None,
        ),
        (
            "deleted, and the tombstone gone",
            |engine| {
                engine.delete(b"k", Durability::Wal).unwrap();
                move_all(engine, "cold");
            },
            None,
        ),
        (
            "overwritten, and the newer value moved down",
            |engine| {
                engine.put(b"k", b"new", Durability::Wal).unwrap();
                move_all(engine, "cold");
            },
            Some("new"),
        ),
        (
            "wiped",
            |engine| {
                let lease = engine.lease_range(&KeyRange::all()).unwrap();
                engine.wipe(&lease).unwrap();
            },
            None,
        ),
    ];
    for (change, make, expected) in changes {
        let folder = tempfile::tempdir().unwrap();
        let engine = open(folder.path(), 3);
        engine.put(b"k", b"old", Durability::Wal).unwrap();
        move_all(&engine, "cold");
        let inner = engine.inner();
        let rising = inner.look_up_below(&Bytes::from_static(b"k")).unwrap().unwrap();
        make(&engine);
        inner.raise(vec![rising]).unwrap();
        assert_eq!(value(&engine, b"k").as_deref(), expected.map(str::as_bytes), "{change}");
        engine.sync().unwrap();
        assert_eq!(
            engine.snapshot().unwrap().get(b"k").unwrap().map(|r| r.value).as_deref(),
            expected.map(str::as_bytes)
        );
        assert_eq!(engine.audit(&KeyRange::all()).unwrap().violations, Vec::<String>::new(), "{change}");
    }
}

#[test]
fn a_clean_copy_without_its_source_is_written_down_before_it_leaves() {
    for to in ["warm", "cold"] {
        let folder = tempfile::tempdir().unwrap();
        let engine = open(folder.path(), 3);
        let inner = engine.inner();
        let version = engine.put(b"k", b"v", Durability::Wal).unwrap();
        // No operation leaves this; a device that lost what it had acknowledged might.
        let mut buffer = Vec::new();
        record::encode_into(RecordKind::CleanCopy, version, b"v", &mut buffer);
        inner.database.raw().put_cf(inner.database.tier(0), keys::encode(b"k"), &buffer).unwrap();
        assert_eq!(engine.audit(&KeyRange::all()).unwrap().violation_count, 1, "the audit sees a missing source");
        move_all(&engine, to);
        assert_eq!(value(&engine, b"k").unwrap(), "v");
        assert_eq!(engine.audit(&KeyRange::all()).unwrap().violation_count, 0);
    }
}

#[test]
fn an_audit_sees_a_faster_tier_that_is_older() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path(), 3);
    let inner = engine.inner();
    engine.put(b"k", b"old", Durability::Wal).unwrap();
    let mut buffer = Vec::new();
    record::encode_into(RecordKind::Value, u64::MAX, b"newer", &mut buffer);
    inner.database.raw().put_cf(inner.database.tier(2), keys::encode(b"k"), &buffer).unwrap();
    let report = engine.audit(&KeyRange::all()).unwrap();
    assert_eq!((report.keys, report.copies, report.violation_count), (1, 2, 1));
    assert!(report.violations[0].contains("(I2)"), "{report:?}");
}

#[test]
fn a_conditional_write_waits_for_the_writer_in_its_stripe() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path(), 2);
    let writer = engine.inner().stripes.write_one(Stripes::of(b"k"));
    std::thread::scope(|scope| {
        let conditional = scope.spawn(|| {
            let mut batch = Batch::default();
            batch.put("k", "v").unwrap();
            engine.write(&batch, &[Condition::Absent("k".into())], Durability::Wal).unwrap()
        });
        linger(&conditional);
        let overtook = conditional.is_finished();
        drop(writer);
        assert!(matches!(conditional.join().unwrap(), WriteOutcome::Written(_)));
        assert!(!overtook, "a condition was decided while a write to its key was under way");
    });
}

#[test]
fn the_synced_version_covers_no_write_that_is_still_under_way() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path(), 2);
    let inner = engine.inner();
    let writer = inner.stripes.write_one(Stripes::of(b"k"));
    let version = inner.versions.next(&inner.database).unwrap();
    std::thread::scope(|scope| {
        let syncing = scope.spawn(|| engine.sync().unwrap());
        linger(&syncing);
        let claimed = engine.synced_version();
        drop(writer);
        syncing.join().unwrap();
        assert!(claimed < version, "version {version} is claimed to be safe and was not written yet");
    });
}

#[test]
fn what_is_queued_of_a_key_is_written_before_a_copy_up_decides() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path(), 2);
    let inner = engine.inner();
    let mut met = 0;
    for round in 0..50 {
        engine.put(b"k", b"old", Durability::Wal).unwrap();
        move_all(&engine, "cold");
        let version = engine.put(b"k", b"queued", Durability::Buffered).unwrap();
        // The flusher may have been quicker: then there is nothing to decide in this round.
        if let Some(rising) = inner.look_up_below(&Bytes::from_static(b"k")).unwrap() {
            inner.raise(vec![rising]).unwrap();
            met += 1;
        }
        let copies = engine.explain(b"k").unwrap().copies;
        assert_eq!((copies[0].version, copies[0].kind), (version, RecordKind::Value), "round {round}");
    }
    assert!(met > 0, "the flusher was quicker every time");
}
