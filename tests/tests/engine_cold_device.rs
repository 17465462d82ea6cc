//! A cold device of 1 MB/s: while data moves down onto it no write waits for it, the log stays in its bound, and what was
//! moved away does not slow seeks down.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use thermocline_engine::{
    Cancel, Durability, Engine, EngineError, EngineStats, Environment, KeyRange, MoveRequest, ScanOptions, chain,
};
use thermocline_tests::crash::history::value_of;
use thermocline_tests::crash::store;
use thermocline_tests::devices::{Devices, Kind, on_devices};

const RATE: u64 = 1_000_000;
const LENGTH: usize = 1000;
/// What is moved onto the slow device: some seconds of its time.
const MOVED_KEYS: usize = 5000;
/// A write that waited for the device would wait for a flush or a compaction there: seconds. On a busy machine an
/// ordinary one takes far less than this.
const SLOWEST: Duration = Duration::from_secs(4);

fn open(devices: &Devices) -> Engine {
    let mut options = store::options(devices.base());
    for tier in &mut options.tiers {
        tier.settings.size_bytes = 1 << 30;
    }
    Engine::open(options, Environment::system(1)).unwrap_or_else(|error| panic!("{}", chain(&error)))
}

fn key(index: usize) -> String {
    format!("down/{index:06}")
}

fn move_range(engine: &Engine, range: KeyRange, to: &str) -> Result<u64, EngineError> {
    let cancel = Cancel::default();
    let request = MoveRequest { range, to: to.to_owned(), bytes_per_second: None, cancel: &cancel, progress: &|_| {} };
    engine.move_range(&request).map(|moved| moved.records)
}

fn put(engine: &Engine, key: &str, sequence: u64) {
    engine.put(key.as_bytes(), &value_of(key, sequence, LENGTH), Durability::Wal).unwrap();
}

/// The bytes of log files that hold records. Blocks reserved ahead of the end do not count.
fn log_bytes(base: &Path) -> u64 {
    let files = fs::read_dir(base.join("hot").join("root").join("wal")).unwrap();
    // A file may leave between the listing and the look at it.
    files.filter_map(|entry| entry.ok()?.metadata().ok()).map(|metadata| metadata.len()).sum()
}

/// Its figures once filling has no consequences any more: the flush of the last buffer may pass a limit after the last write.
fn at_rest(engine: &Engine) -> EngineStats {
    let mut last = engine.stats();
    loop {
        std::thread::sleep(Duration::from_secs(1));
        let now = engine.stats();
        let figures = |of: &EngineStats| (of.stall, of.stall_events);
        if figures(&now) == figures(&last) {
            return now;
        }
        last = now;
    }
}

fn writes_do_not_wait(devices: &Devices) -> Result<()> {
    let engine = open(devices);
    for round in 0..2 {
        (0..MOVED_KEYS).for_each(|index| put(&engine, &key(index), round));
    }
    // Filling at full speed may stall a store this small on its own flushes; what counts is what the slow device adds.
    let filled = at_rest(&engine);
    devices.throttle("cold", Some(RATE))?;
    let (done, puts, slowest, widest) =
        (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let took = std::thread::scope(|scope| -> Result<Duration> {
        for writer in 0..2 {
            let (engine, done, puts, slowest) = (&engine, &done, &puts, &slowest);
            scope.spawn(move || {
                for sequence in 0.. {
                    if done.load(Ordering::SeqCst) {
                        return;
                    }
                    let start = Instant::now();
                    put(engine, &format!("load/{writer}/{:05}", sequence % 4000), sequence);
                    slowest.fetch_max(start.elapsed().as_millis() as u64, Ordering::SeqCst);
                    puts.fetch_add(1, Ordering::SeqCst);
                    // Some hundred writes a second: enough to fill write buffers and the log many times over, and so
                    // few that their own flushes keep up on a machine that is busy with other tests.
                    std::thread::sleep(Duration::from_millis(1));
                }
            });
        }
        scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                widest.fetch_max(log_bytes(devices.base()), Ordering::SeqCst);
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        let start = Instant::now();
        let moved = move_range(&engine, KeyRange::prefix(b"down/"), "cold");
        let took = start.elapsed();
        done.store(true, Ordering::SeqCst);
        assert_eq!(moved?, MOVED_KEYS as u64);
        Ok(took)
    })?;
    let stats = engine.stats();
    let puts = puts.into_inner();
    println!("{puts} puts while the move took {took:?}, slowest {slowest:?} ms, log at most {widest:?} bytes");
    // The move had to wait for the device, or nothing was shown; the writers had not.
    assert!(took > Duration::from_secs(MOVED_KEYS as u64 * LENGTH as u64 / RATE / 2), "the device was not slow");
    assert!(puts > 1000, "only {puts} writes went on");
    assert!(Duration::from_millis(slowest.into_inner()) < SLOWEST);
    assert_eq!((stats.stall, stats.stall_events), (filled.stall, filled.stall_events));
    let bound = store::MAX_WAL_BYTES + store::MAX_WAL_BYTES / 5;
    assert!(widest.load(Ordering::SeqCst) <= bound, "the log took {widest:?} bytes, its bound is {bound}");
    devices.throttle("cold", None)?;
    for index in (0..MOVED_KEYS).step_by(97) {
        let key = key(index);
        assert_eq!(engine.get(key.as_bytes())?.unwrap().value, value_of(&key, 1, LENGTH));
    }
    engine.close()?;
    Ok(())
}

#[test]
fn no_write_waits_for_a_slow_device_that_data_moves_onto() {
    let name = "no_write_waits_for_a_slow_device_that_data_moves_onto";
    on_devices(name, Kind::Injected, &store::TIERS, writes_do_not_wait).unwrap();
}

/// What RocksDB stepped over on the way to the records that it returned.
fn skipped(engine: &Engine) -> u64 {
    let text = engine.print_stats();
    let line =
        text.lines().find(|line| line.contains("rocksdb.number.iter.skip ")).expect("the ticker of skipped keys");
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

fn move_part(engine: &Engine, from: usize, end: usize, to: &str) -> u64 {
    move_range(engine, KeyRange::new(key(from), key(end)).unwrap(), to).unwrap()
}

/// The record after each key asked for; the seeks before and after a move find the same.
fn seek(engine: &Engine, keys: usize) -> Vec<Vec<u8>> {
    let snapshot = engine.snapshot().unwrap();
    let seek = |index: usize| {
        let range = KeyRange::new(key(index * 13 % keys), "").unwrap();
        let options = ScanOptions { limit: Some(1), ..ScanOptions::default() };
        let (key, _) = snapshot.scan(&range, options).next().unwrap().unwrap();
        key.to_vec()
    };
    (0..500).map(seek).collect()
}

/// Moves everything, in as many steps, each a part of the range.
fn seeks_after(steps: usize) {
    let scratch = tempfile::tempdir().unwrap();
    let mut options = store::options(scratch.path());
    for tier in &mut options.tiers {
        tier.settings.size_bytes = 1 << 30;
    }
    let engine = Engine::open(options, Environment::system(1)).unwrap();
    let keys = 40_000;
    for index in 0..keys {
        let key = key(index);
        engine.put(key.as_bytes(), &value_of(&key, 1, 100), Durability::Wal).unwrap();
    }
    let work = |engine: &Engine| {
        let before = skipped(engine);
        let found = seek(engine, keys);
        (found, skipped(engine) - before)
    };
    let (found, before) = work(&engine);
    for to in ["warm", "cold"] {
        let moved: u64 =
            (0..steps).map(|step| move_part(&engine, keys * step / steps, keys * (step + 1) / steps, to)).sum();
        assert_eq!(moved, keys as u64);
        let (found_after, after) = work(&engine);
        assert_eq!(found_after, found);
        println!("500 seeks stepped over {before} keys before and {after} after {steps} moves to {to}");
        // One deleted record per seek is nothing; a pile of them is what the compaction after a mass demotion is for.
        assert!(after <= before * 2 + 500, "{after} keys stepped over, {before} before the move to {to}");
    }
}

#[test]
fn seeks_after_a_mass_demotion_step_over_no_more_than_before() {
    seeks_after(1);
}

#[test]
fn seeks_after_many_small_demotions_step_over_no_more_than_before() {
    seeks_after(20);
}
