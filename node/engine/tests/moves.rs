//! Moves against writers, readers and each other: each race is arranged, not hoped for.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]
#![allow(clippy::disallowed_methods)] // threads race in real time

mod support;

use std::time::Duration;

use rand::RngExt;
use support::clock::StopClock;
use support::pause::Pauses;
use support::{audit, move_all, move_to, open, open_with, placed, put, try_move, value};
use thermocline_engine::*;

const FEW: u32 = 200;
/// More than fits a small batch: moves go by file.
const LARGE: usize = 4_000;

fn key(i: u32) -> Vec<u8> {
    format!("key{i:05}").into_bytes()
}

fn fill(engine: &Engine, length: usize) {
    for i in 0..FEW {
        put(engine, &key(i), &vec![1; length]);
    }
}

fn assert_filled(engine: &Engine, length: usize, except: &[u32]) {
    for i in (0..FEW).filter(|i| !except.contains(i)) {
        assert!(value(engine, &key(i)) == Some(vec![1; length]), "key {i}");
    }
}

/// Waits for a thread, at most so long: enough for it to do what it must not do.
fn linger(thread: &std::thread::ScopedJoinHandle<'_, impl Sized>) {
    for _ in 0..50 {
        if thread.is_finished() {
            return;
        }
        support::nap(Duration::from_millis(20));
    }
}

#[test]
fn what_is_written_between_copy_and_drop_survives_the_demotion() {
    for (tiers, length, durability) in [
        (2, 10, Durability::Wal),
        (2, LARGE, Durability::Wal),
        (3, 10, Durability::Sync),
        (3, LARGE, Durability::Buffered),
        (4, LARGE, Durability::Wal),
    ] {
        let (folder, pauses) = (tempfile::tempdir().unwrap(), Pauses::default());
        let engine = open_with(folder.path(), tiers, pauses.environment());
        fill(&engine, length);
        pauses.arm(CrashPoint::DropJournaled);
        std::thread::scope(|scope| {
            let mover = scope.spawn(|| move_all(&engine, "cold"));
            pauses.wait(CrashPoint::DropJournaled);
            let version = engine.put(&key(7), b"newer", durability).unwrap();
            engine.delete(&key(8), durability).unwrap();
            pauses.release(CrashPoint::DropJournaled);
            mover.join().unwrap();
            assert_eq!(engine.get(&key(7)).unwrap().map(|r| r.version), Some(version));
        });
        assert_eq!(value(&engine, &key(7)).unwrap(), b"newer", "{tiers} tiers, {length} bytes, {durability:?}");
        assert_eq!(value(&engine, &key(8)), None);
        assert_filled(&engine, length, &[7, 8]);
        audit(&engine);
        drop(engine);
        let engine = open(folder.path(), tiers);
        assert_eq!(value(&engine, &key(7)).unwrap(), b"newer");
        assert_eq!(value(&engine, &key(8)), None);
    }
}

#[test]
fn what_is_written_between_look_up_and_copy_up_wins() {
    for durability in [Durability::Wal, Durability::Buffered] {
        let (folder, clock) = (tempfile::tempdir().unwrap(), StopClock::default());
        let engine = open_with(folder.path(), 2, clock.environment());
        fill(&engine, 100);
        move_all(&engine, "cold");
        std::thread::scope(|scope| {
            // The first group of keys spends the budget, the second waits for it after it was looked up.
            let mover = scope.spawn(|| {
                clock.stop_me();
                engine.move_range(&MoveRequest {
                    range: KeyRange::all(),
                    to: "hot".to_owned(),
                    bytes_per_second: Some(20_000),
                    cancel: &Cancel::default(),
                    progress: &|_| {},
                })
            });
            clock.wait();
            for i in 0..FEW {
                engine.put(&key(i), b"newer", durability).unwrap();
            }
            engine.delete(&key(100), durability).unwrap();
            clock.release();
            mover.join().unwrap().unwrap();
        });
        for i in (0..FEW).filter(|i| *i != 100) {
            assert_eq!(value(&engine, &key(i)).unwrap(), b"newer", "key {i}, {durability:?}");
        }
        assert_eq!(value(&engine, &key(100)), None);
        audit(&engine);
    }
}

#[test]
fn a_key_that_moves_up_stays_where_it_was_too() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path(), 2);
    put(&engine, b"k", b"v");
    move_all(&engine, "cold");
    move_all(&engine, "hot");
    assert_eq!(
        placed(&engine, b"k"),
        [("hot".to_owned(), RecordKind::CleanCopy), ("cold".to_owned(), RecordKind::Value)]
    );
}

#[test]
fn a_bulk_drop_spares_what_is_demoted_meanwhile() {
    let (folder, pauses) = (tempfile::tempdir().unwrap(), Pauses::default());
    let engine = open_with(folder.path(), 3, pauses.environment());
    fill(&engine, 100);
    move_all(&engine, "warm");
    pauses.arm(CrashPoint::DropJournaled);
    std::thread::scope(|scope| {
        let down = scope.spawn(|| move_all(&engine, "cold"));
        pauses.wait(CrashPoint::DropJournaled);
        for i in 0..FEW {
            put(&engine, &key(i), &[2; 100]);
        }
        let again = scope.spawn(|| move_all(&engine, "warm"));
        // Without leases this one copies into the range that the other is about to drop.
        linger(&again);
        pauses.release(CrashPoint::DropJournaled);
        down.join().unwrap();
        again.join().unwrap();
    });
    for i in 0..FEW {
        assert!(value(&engine, &key(i)) == Some(vec![2; 100]), "key {i} lost its newer value");
    }
    audit(&engine);
}

#[test]
fn what_is_queued_of_a_key_is_written_before_its_copy_leaves_the_fastest_tier() {
    let (folder, pauses) = (tempfile::tempdir().unwrap(), Pauses::default());
    let engine = open_with(folder.path(), 2, pauses.environment_without_flusher());
    put(&engine, b"k", b"old");
    pauses.arm(CrashPoint::DropJournaled);
    std::thread::scope(|scope| {
        let mover = scope.spawn(|| move_all(&engine, "cold"));
        pauses.wait(CrashPoint::DropJournaled);
        let version = engine.put(b"k", b"queued", Durability::Buffered).unwrap();
        pauses.arm(CrashPoint::Dropped);
        pauses.release(CrashPoint::DropJournaled);
        pauses.wait(CrashPoint::Dropped);
        // Written later it could have been met by the delete.
        let copies = engine.explain(b"k").unwrap().copies;
        pauses.release(CrashPoint::Dropped);
        mover.join().unwrap();
        assert_eq!((copies[0].tier.as_str(), copies[0].version), ("hot", version), "{copies:?}");
    });
    assert_eq!(value(&engine, b"k").unwrap(), b"queued");
}

#[test]
fn what_is_queued_of_a_key_is_written_before_its_copy_goes_up_from_a_tier_that_is_emptied() {
    let (folder, pauses) = (tempfile::tempdir().unwrap(), Pauses::default());
    let engine = open_with(folder.path(), 2, pauses.environment_without_flusher());
    put(&engine, b"k", b"old");
    move_all(&engine, "cold");
    let version = engine.put(b"k", b"queued", Durability::Buffered).unwrap();
    engine.empty_tier("cold", &Cancel::default()).unwrap();
    // Written later the copy could have come over it.
    let copies = engine.explain(b"k").unwrap().copies;
    assert_eq!((copies.len(), copies[0].version), (1, version), "{copies:?}");
    assert_eq!(value(&engine, b"k").unwrap(), b"queued");
}

#[test]
fn a_move_that_loses_its_lease_stops_before_its_next_effect() {
    for point in [CrashPoint::FileWritten, CrashPoint::DropJournaled] {
        let (folder, pauses) = (tempfile::tempdir().unwrap(), Pauses::default());
        let engine = open_with(folder.path(), 3, pauses.environment());
        fill(&engine, LARGE);
        move_all(&engine, "warm");
        pauses.arm(point);
        std::thread::scope(|scope| {
            let mover = scope.spawn(|| try_move(&engine, &KeyRange::all(), "cold"));
            pauses.wait(point);
            let taker = scope.spawn(|| engine.lease_range(&KeyRange::all()).unwrap());
            linger(&taker);
            pauses.release(point);
            let moved = mover.join().unwrap();
            assert!(matches!(moved, Err(EngineError::LeaseLost { .. })), "{point:?}: {moved:?}");
            taker.join().unwrap();
        });
        assert_filled(&engine, LARGE, &[]);
        // What the ended move left in the journal must not be carried out on what comes after it.
        for i in 0..FEW {
            put(&engine, &key(i), b"after");
        }
        move_all(&engine, "warm");
        audit(&engine);
        drop(engine);
        let engine = open(folder.path(), 3);
        for i in 0..FEW {
            assert_eq!(value(&engine, &key(i)).unwrap(), b"after", "{point:?}, key {i}");
        }
    }
}

#[test]
fn a_move_that_fails_at_any_step_loses_nothing_now_or_at_the_next_opening() {
    use CrashPoint::{DropJournaled, Dropped, EmptyCopied, FileWritten, Ingested, MoveDone, MoveJournaled, WalSynced};
    for point in [MoveJournaled, FileWritten, WalSynced, Ingested, DropJournaled, Dropped, MoveDone, EmptyCopied] {
        for reopen in [false, true] {
            let (folder, pauses) = (tempfile::tempdir().unwrap(), Pauses::default());
            let mut engine = open_with(folder.path(), 3, pauses.environment());
            fill(&engine, LARGE);
            if point == EmptyCopied {
                move_all(&engine, "cold");
            } else {
                move_all(&engine, "warm");
            }
            put(&engine, &key(3), b"newer");
            engine.delete(&key(4), Durability::Wal).unwrap();
            pauses.fail(point);
            let failed = match point {
                EmptyCopied => engine.empty_tier("cold", &Cancel::default()),
                _ => try_move(&engine, &KeyRange::all(), "cold"),
            };
            assert!(failed.is_err(), "{point:?} was not passed");
            if reopen {
                drop(engine);
                engine = open(folder.path(), 3);
            }
            let check = |engine: &Engine| {
                assert_filled(engine, LARGE, &[3, 4]);
                assert_eq!(value(engine, &key(3)).unwrap(), b"newer");
                assert_eq!(value(engine, &key(4)), None);
                audit(engine);
            };
            check(&engine);
            move_all(&engine, "cold");
            check(&engine);
        }
    }
}

#[test]
fn a_deleted_key_does_not_come_back_from_the_tiers_below() {
    for tiers in [2, 3, 4] {
        let folder = tempfile::tempdir().unwrap();
        let engine = open(folder.path(), tiers);
        fill(&engine, 100);
        move_all(&engine, "cold");
        engine.delete(&key(1), Durability::Wal).unwrap();
        for to in support::names(tiers).iter().skip(1) {
            move_all(&engine, to);
            assert_eq!(value(&engine, &key(1)), None, "{tiers} tiers, tombstone moved to {to}");
            audit(&engine);
        }
        // At the bottom it is gone, and so is what it hid.
        assert_eq!(placed(&engine, &key(1)), []);
        assert_eq!(audit(&engine).last_tier_tombstones, 0);
    }
}

#[test]
fn a_clean_copy_leaves_without_a_byte_written_below() {
    for tiers in [2, 3] {
        let folder = tempfile::tempdir().unwrap();
        let engine = open(folder.path(), tiers);
        fill(&engine, 100);
        move_all(&engine, "cold");
        assert_eq!(move_all(&engine, "hot").records, u64::from(FEW));
        audit(&engine);
        let down = move_all(&engine, "cold");
        assert_eq!((down.records, down.bytes), (u64::from(FEW), 0));
        assert_filled(&engine, 100, &[]);
        assert_eq!(placed(&engine, &key(0)), [("cold".to_owned(), RecordKind::Value)]);
    }
}

#[test]
fn a_scan_sees_the_newest_version_wherever_the_older_ones_are() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path(), 3);
    for (value, to) in [(b"oldest", "cold"), (b"middle", "warm")] {
        put(&engine, b"k", value);
        move_all(&engine, to);
    }
    put(&engine, b"k", b"newest");
    assert_eq!(placed(&engine, b"k").len(), 3);
    for reverse in [false, true] {
        let snapshot = engine.snapshot().unwrap();
        let options = ScanOptions { reverse, ..ScanOptions::default() };
        let found: Vec<_> = snapshot.scan(&KeyRange::all(), options).map(|item| item.unwrap().1.value).collect();
        assert_eq!(found, ["newest"]);
    }
}

#[test]
fn a_scan_of_a_snapshot_sees_nothing_of_what_came_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path(), 3);
    fill(&engine, LARGE);
    let hash = engine.logical_hash(&KeyRange::all()).unwrap();
    let snapshot = engine.snapshot().unwrap();
    move_all(&engine, "warm");
    put(&engine, &key(0), b"newer");
    put(&engine, b"another", b"");
    engine.delete(&key(1), Durability::Wal).unwrap();
    move_all(&engine, "cold");
    move_to(&engine, &KeyRange::all(), "hot");
    let found: Vec<_> = snapshot.scan(&KeyRange::all(), ScanOptions::default()).map(|item| item.unwrap().0).collect();
    assert_eq!(found.len() as u64, hash.records);
    assert!(found.iter().all(|found| found.as_ref() != b"another"));
    assert!(snapshot.get(&key(1)).unwrap().is_some());
}

#[test]
fn a_scan_that_is_cancelled_ends_among_tombstones_too() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path(), 2);
    fill(&engine, 10);
    for i in 1..FEW {
        engine.delete(&key(i), Durability::Wal).unwrap();
    }
    let snapshot = engine.snapshot().unwrap();
    let cancel = std::sync::Arc::new(Cancel::default());
    let mut scan = snapshot.scan(&KeyRange::all(), ScanOptions::default()).cancelled_by(cancel.clone());
    assert_eq!(scan.next().unwrap().unwrap().0, key(0));
    cancel.cancel();
    let ended = scan.next();
    assert!(matches!(ended, Some(Err(EngineError::Cancelled))), "{ended:?}");
    assert!(scan.next().is_none());
}

#[test]
fn a_scan_that_outlived_its_bound_is_resumed_from_its_last_key() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path(), 3);
    fill(&engine, 10);
    move_to(&engine, &KeyRange::new(key(0), key(FEW / 2)).unwrap(), "cold");
    let (mut found, mut range) = (Vec::new(), KeyRange::all());
    for _ in 0..1000 {
        let snapshot = engine.snapshot().unwrap();
        // One record a scan, then the bound is over.
        let options = ScanOptions { max_lifetime: Duration::from_millis(20), ..ScanOptions::default() };
        let mut ended = None;
        for item in snapshot.scan(&range, options) {
            match item {
                Ok((key, _)) => {
                    found.push(key.to_vec());
                    if found.len().is_multiple_of(50) {
                        support::nap(Duration::from_millis(30));
                    }
                }
                Err(error) => ended = Some(error),
            }
        }
        match ended {
            None => break,
            Some(error) => assert!(matches!(error, EngineError::ScanExpired), "{error}"),
        }
        if let Some(last) = found.last() {
            range = range.from_key(KeyRange::single(last).end().unwrap());
        }
    }
    assert_eq!(found, (0..FEW).map(key).collect::<Vec<_>>());
}

#[test]
fn a_tier_in_the_middle_and_the_slowest_are_emptied_with_everything_kept() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path(), 4);
    fill(&engine, LARGE);
    move_all(&engine, "cold");
    move_to(&engine, &KeyRange::new(key(0), key(100)).unwrap(), "warm");
    move_to(&engine, &KeyRange::new(key(50), key(150)).unwrap(), "hot");
    put(&engine, &key(60), b"newer");
    engine.delete(&key(61), Durability::Wal).unwrap();
    for tier in ["warm", "cold", "cool"] {
        engine.empty_tier(tier, &Cancel::default()).unwrap();
        assert_filled(&engine, LARGE, &[60, 61]);
        assert_eq!(value(&engine, &key(60)).unwrap(), b"newer");
        assert_eq!(value(&engine, &key(61)), None);
        for i in 0..FEW {
            assert!(placed(&engine, &key(i)).iter().all(|(place, _)| place != tier), "key {i} is still in {tier}");
        }
        audit(&engine);
    }
    assert!(engine.empty_tier("hot", &Cancel::default()).is_err());
}

#[test]
fn a_cancelled_move_leaves_every_record_readable() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path(), 3);
    fill(&engine, LARGE);
    let cancel = Cancel::default();
    cancel.cancel();
    let request = MoveRequest {
        range: KeyRange::all(),
        to: "cold".to_owned(),
        bytes_per_second: None,
        cancel: &cancel,
        progress: &|_| {},
    };
    assert!(matches!(engine.move_range(&request), Err(EngineError::Cancelled)));
    assert_filled(&engine, LARGE, &[]);
    audit(&engine);
}

#[test]
fn a_move_tells_part_by_part_how_far_it_is() {
    const RECORDS: u32 = 40;
    let (folder, (_, mut random)) = (tempfile::tempdir().unwrap(), support::seed("a_move_tells"));
    let engine = open(folder.path(), 3);
    for i in 0..RECORDS {
        let mut value = vec![0; 1 << 20];
        random.fill(&mut value[..]);
        put(&engine, &key(i), &value);
    }
    // Down in one go, then up again: a part holds at most 8 MiB.
    for to in ["cold", "hot"] {
        let steps = std::cell::RefCell::new(Vec::new());
        let request = MoveRequest {
            range: KeyRange::all(),
            to: to.to_owned(),
            bytes_per_second: None,
            cancel: &Cancel::default(),
            progress: &|step: MoveStep| steps.borrow_mut().push(step),
        };
        let moved = engine.move_range(&request).unwrap();
        let steps = steps.into_inner();
        let told: Vec<u8> = steps.iter().map(|step| step.percent).collect();
        assert!(told.is_sorted() && told.iter().all(|percent| *percent < 100), "to {to}: {told:?}");
        assert!(told.iter().filter(|percent| (5..=95).contains(*percent)).count() >= 3, "to {to}: {told:?}");
        assert_eq!(steps.iter().map(|step| step.moved.bytes).sum::<u64>(), moved.bytes);
        assert_eq!(moved.records, u64::from(RECORDS));
    }
}
