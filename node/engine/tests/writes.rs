//! Writes against each other, the row cache and the queue of buffered ones; versions; refusals.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use support::{EndOnPanic, eventually, move_all, open, options, put, value};
use thermocline_engine::*;

#[test]
fn a_cached_row_is_gone_when_its_key_is_written_in_any_way() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path(), 2);
    let batch = || {
        let mut batch = Batch::default();
        batch.put("k", "batch").unwrap();
        batch
    };
    let writes: [(&str, &dyn Fn()); 6] = [
        ("put", &|| drop(engine.put(b"k", b"put", Durability::Wal))),
        ("buffered", &|| drop(engine.put(b"k", b"buffered", Durability::Buffered))),
        ("batch", &|| drop(engine.write(&batch(), &[], Durability::Wal))),
        ("batch", &|| drop(engine.write(&batch(), &[Condition::Exists("k".into())], Durability::Wal))),
        ("loaded", &|| {
            let mut load = engine.bulk_load(BulkMode::Sorted).unwrap();
            load.put("k", "loaded").unwrap();
            load.finish().unwrap();
        }),
        ("unlogged", &|| {
            let mut load = engine.bulk_load(BulkMode::Unlogged).unwrap();
            load.put("k", "unlogged").unwrap();
            load.finish().unwrap();
        }),
    ];
    for (expected, write) in writes {
        put(&engine, b"k", b"before");
        engine.get(b"k").unwrap();
        assert!(engine.get_cached(b"k").is_some(), "the row is cached before the write");
        write();
        assert_eq!(value(&engine, b"k").unwrap(), expected.as_bytes());
        engine.get(b"k").unwrap();
        engine.delete(b"k", Durability::Wal).unwrap();
        assert_eq!(value(&engine, b"k"), None);
    }
}

#[test]
fn a_buffered_write_is_seen_at_once_by_every_read() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path(), 2);
    for round in 0..200_u32 {
        let expected = round.to_be_bytes();
        let version = engine.put(b"k", &expected, Durability::Buffered).unwrap();
        let record = engine.get(b"k").unwrap().expect("a buffered write is visible");
        assert_eq!((record.value.as_ref(), record.version), (&expected[..], version));
        let found = engine.multi_get(&[b"k"]).unwrap().remove(0).unwrap();
        assert_eq!(found.version, version);
        assert_eq!(engine.snapshot().unwrap().get(b"k").unwrap().unwrap().version, version);
        let mut batch = Batch::default();
        batch.put("other", "x").unwrap();
        let condition = Condition::VersionEquals("k".into(), version);
        assert!(matches!(engine.write(&batch, &[condition], Durability::Wal).unwrap(), WriteOutcome::Written(_)));
        engine.delete(b"k", Durability::Buffered).unwrap();
        assert_eq!(engine.get(b"k").unwrap(), None, "round {round}");
    }
}

#[test]
fn a_direct_write_is_not_overtaken_by_a_buffered_one_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path(), 2);
    for round in 0..100_u32 {
        engine.put(b"k", b"buffered", Durability::Buffered).unwrap();
        let direct = engine.put(b"k", b"direct", Durability::Wal).unwrap();
        engine.sync().unwrap();
        let stored = engine.snapshot().unwrap().get(b"k").unwrap().unwrap();
        assert_eq!((stored.value.as_ref(), stored.version), (&b"direct"[..], direct), "round {round}");
    }
}

#[test]
fn counters_raised_under_conditions_lose_no_step_while_data_moves() {
    const STEPS: u64 = 3000;
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path(), 3);
    put(&engine, b"counter", &0_u64.to_be_bytes());
    let running = AtomicBool::new(true);
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let _end = EndOnPanic(&running);
                    for step in 0..STEPS {
                        let mut attempts = 0;
                        loop {
                            attempts += 1;
                            assert!(attempts < 20_000, "the version that is read is never the stored one");
                            assert!(running.load(Ordering::SeqCst), "another thread failed");
                            let now = engine.get(b"counter").unwrap().expect("the counter is there");
                            let count = u64::from_be_bytes(now.value.as_ref().try_into().unwrap());
                            let mut batch = Batch::default();
                            batch.put("counter", (count + 1).to_be_bytes().to_vec()).unwrap();
                            let condition = Condition::VersionEquals("counter".into(), now.version);
                            let durability = if step % 5 == 0 { Durability::Buffered } else { Durability::Wal };
                            match engine.write(&batch, &[condition], durability).unwrap() {
                                WriteOutcome::Written(_) => break,
                                WriteOutcome::ConditionFailed { .. } => {}
                            }
                        }
                    }
                })
            })
            .collect();
        let mover = scope.spawn(|| {
            let _end = EndOnPanic(&running);
            while running.load(Ordering::SeqCst) {
                for to in ["warm", "hot", "cold", "warm", "hot"] {
                    move_all(&engine, to);
                }
            }
        });
        for writer in writers {
            writer.join().unwrap();
        }
        running.store(false, Ordering::SeqCst);
        mover.join().unwrap();
    });
    let count = engine.get(b"counter").unwrap().unwrap().value;
    assert_eq!(u64::from_be_bytes(count.as_ref().try_into().unwrap()), 3 * STEPS);
}

#[test]
fn only_one_of_many_racing_writers_finds_the_key_absent() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path(), 2);
    let won = AtomicU64::new(0);
    let rounds = 500_u32;
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for round in 0..rounds {
                    let mut batch = Batch::default();
                    batch.put(round.to_be_bytes().to_vec(), "mine").unwrap();
                    let condition = Condition::Absent(round.to_be_bytes().to_vec().into());
                    if let WriteOutcome::Written(_) = engine.write(&batch, &[condition], Durability::Wal).unwrap() {
                        won.fetch_add(1, Ordering::SeqCst);
                    }
                }
            });
        }
    });
    assert_eq!(won.load(Ordering::SeqCst), u64::from(rounds));
}

#[test]
fn versions_of_a_key_never_go_back_under_two_writers() {
    for durability in [Durability::Wal, Durability::Buffered] {
        let folder = tempfile::tempdir().unwrap();
        let engine = open(folder.path(), 2);
        put(&engine, b"k", b"");
        let running = AtomicBool::new(true);
        std::thread::scope(|scope| {
            let writers: Vec<_> = (0..2)
                .map(|writer| {
                    let engine = &engine;
                    scope.spawn(move || {
                        let mut last = 0;
                        for step in 0..8000 {
                            // Both ways of writing, against each other.
                            let durability = if (step + writer) % 7 == 0 { Durability::Wal } else { durability };
                            last = engine.put(b"k", b"", durability).unwrap();
                        }
                        last
                    })
                })
                .collect();
            let reader = scope.spawn(|| {
                let mut seen = 0;
                while running.load(Ordering::SeqCst) {
                    let version = engine.get(b"k").unwrap().unwrap().version;
                    assert!(version >= seen, "version {version} was read after {seen}");
                    seen = version;
                }
            });
            let last = writers.into_iter().map(|writer| writer.join().unwrap()).max().unwrap();
            running.store(false, Ordering::SeqCst);
            reader.join().unwrap();
            assert_eq!(engine.get(b"k").unwrap().unwrap().version, last, "the newest write is not the stored one");
        });
    }
}

#[test]
fn versions_go_on_above_all_earlier_ones_after_an_opening() {
    let folder = tempfile::tempdir().unwrap();
    let mut highest = 0;
    for _ in 0..3 {
        let engine = open(folder.path(), 2);
        for _ in 0..10 {
            let version = put(&engine, b"k", b"v");
            assert!(version > highest, "version {version} was given out before");
            highest = version;
        }
    }
}

#[test]
fn bad_keys_values_and_batches_are_refused_with_their_bound() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path(), 2);
    let long = vec![0; MAX_KEY_BYTES + 1];
    for key in [&b""[..], &long] {
        assert!(matches!(engine.put(key, b"", Durability::Wal), Err(EngineError::KeyLength { .. })));
        assert!(matches!(engine.delete(key, Durability::Wal), Err(EngineError::KeyLength { .. })));
        assert!(matches!(engine.get(key), Err(EngineError::KeyLength { .. })));
        assert!(matches!(engine.multi_get(&[key]), Err(EngineError::KeyLength { .. })));
        assert!(engine.explain(key).is_err());
    }
    let large = vec![0; MAX_VALUE_BYTES + 1];
    assert!(matches!(engine.put(b"k", &large, Durability::Wal), Err(EngineError::ValueLength { .. })));
    put(&engine, &[0xff; MAX_KEY_BYTES], &vec![7; MAX_VALUE_BYTES]);
    move_all(&engine, "cold");
    assert_eq!(value(&engine, &[0xff; MAX_KEY_BYTES]).unwrap().len(), MAX_VALUE_BYTES);
    let mut batch = Batch::default();
    let full = (0..8).all(|i| batch.put(vec![i], vec![0; MAX_VALUE_BYTES - 1]).is_ok());
    assert!(full && matches!(batch.put("one", vec![0; MAX_VALUE_BYTES]), Err(EngineError::BatchLength { .. })));
    assert!(engine.apply(&ApplyBatch::default(), Durability::Buffered).is_err());
}

/// A probe whose answer the test sets: the free bytes of everything.
struct Devices(AtomicU64);

impl DeviceProbe for Devices {
    fn space(&self, _: &Path) -> std::io::Result<DeviceSpace> {
        Ok(DeviceSpace { total: 1 << 40, free: self.0.load(Ordering::SeqCst) })
    }
}

#[test]
fn under_the_reserve_writes_are_refused_reads_go_on_and_writes_resume() {
    let folder = tempfile::tempdir().unwrap();
    let devices = Arc::new(Devices(AtomicU64::new(1 << 39)));
    let environment = Environment { probe: Arc::clone(&devices) as Arc<dyn DeviceProbe>, ..Environment::system(7) };
    let engine = Engine::open(options(folder.path(), 2), environment).unwrap();
    put(&engine, b"k", b"v");
    devices.0.store(1000, Ordering::SeqCst);
    engine.refresh_space();
    let mut batch = Batch::default();
    batch.put("k", "w").unwrap();
    assert!(matches!(engine.put(b"k", b"w", Durability::Wal), Err(EngineError::OutOfSpace { .. })));
    assert!(matches!(engine.delete(b"k", Durability::Buffered), Err(EngineError::OutOfSpace { .. })));
    assert!(matches!(engine.write(&batch, &[], Durability::Sync), Err(EngineError::OutOfSpace { .. })));
    assert!(engine.bulk_load(BulkMode::Sorted).is_err());
    assert!(matches!(engine.health(), Health::ReadOnly { .. }));
    assert_eq!(value(&engine, b"k").unwrap(), b"v");
    devices.0.store(1 << 39, Ordering::SeqCst);
    engine.refresh_space();
    put(&engine, b"k", b"w");
    assert_eq!(engine.health(), Health::Serving);
}

#[test]
fn the_reserve_of_the_log_follows_the_settings_of_the_fastest_tier() {
    let folder = tempfile::tempdir().unwrap();
    let devices = Arc::new(Devices(AtomicU64::new(100 << 20)));
    let environment = Environment { probe: Arc::clone(&devices) as Arc<dyn DeviceProbe>, ..Environment::system(7) };
    let engine = Engine::open(options(folder.path(), 2), environment).unwrap();
    let set = |tier: &str, reserve_bytes| {
        let tiers = engine.stats().tiers;
        let settings = tiers.into_iter().find(|report| report.name == tier).unwrap().settings;
        engine.set_tier_settings(tier, TierSettings { reserve_bytes, ..settings }).unwrap();
        engine.refresh_space();
    };
    put(&engine, b"k", b"v");
    // The log is named first: both devices are short.
    set("hot", 200 << 20);
    let refused = engine.put(b"k", b"w", Durability::Wal);
    assert!(
        matches!(&refused, Err(EngineError::OutOfSpace { device, reserve, .. })
            if device == "log" && *reserve == 200 << 20),
        "{refused:?}"
    );
    set("hot", 1 << 20);
    put(&engine, b"k", b"w");
    // A slower tier's is its own.
    set("cold", 200 << 20);
    put(&engine, b"k", b"x");
}

#[test]
fn after_a_failed_write_to_storage_nothing_is_acknowledged_and_nothing_was_lost() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path(), 3);
    for i in 0..200_u32 {
        put(&engine, &i.to_be_bytes(), &[3; 4000]);
    }
    let (data, aside) = (folder.path().join("hot/data"), folder.path().join("hot/aside"));
    std::fs::rename(&data, &aside).unwrap();
    assert!(engine.flush().is_err());
    std::fs::rename(&aside, &data).unwrap();
    // The device is back, but what it had acknowledged may be gone: only an opening looks.
    eventually("the failure is known", || matches!(engine.health(), Health::Failed { .. }));
    for durability in [Durability::Wal, Durability::Sync] {
        let refused = engine.put(b"k", b"v", durability);
        assert!(matches!(refused, Err(EngineError::StorageFailed { .. })), "{refused:?}");
    }
    assert!(value(&engine, &7_u32.to_be_bytes()).is_some());
    drop(engine);
    let engine = open(folder.path(), 3);
    assert_eq!(engine.logical_hash(&KeyRange::all()).unwrap().records, 200);
    put(&engine, b"k", b"v");
}
