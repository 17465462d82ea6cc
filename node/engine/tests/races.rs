//! Writers, readers and movers at once, at random: nothing stale, vanished, lost or revived.
//!
//! Each key has one writer, which notes every version before it is written (`begun`) and after (`done`). Whatever a
//! reader finds must be at least what was done before its read began and at most what was begun when it ended.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]
#![allow(clippy::disallowed_methods)] // threads race in real time

mod support;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rand::RngExt;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use support::{EndOnPanic, audit, move_to, names, open, options, put, seed};
use thermocline_engine::*;

const KEYS: usize = 48;
const TIME: Duration = Duration::from_secs(8);

fn key(i: usize) -> Vec<u8> {
    format!("key{i:03}").into_bytes()
}

/// A step of a key: odd steps are values that hold the step, even ones deletes.
#[derive(Default)]
struct Steps {
    begun: AtomicU64,
    done: AtomicU64,
}

struct Table(Vec<Steps>);

impl Table {
    fn new() -> Self {
        Self((0..KEYS).map(|_| Steps::default()).collect())
    }

    fn write(&self, engine: &Engine, i: usize, random: &mut ChaCha8Rng) {
        let steps = &self.0[i];
        let step = steps.begun.fetch_add(1, Ordering::SeqCst) + 1;
        let durability = if random.random_range(0..3) == 0 { Durability::Buffered } else { Durability::Wal };
        if step.is_multiple_of(2) {
            engine.delete(&key(i), durability).unwrap();
        } else {
            let mut value = step.to_be_bytes().to_vec();
            value.resize(random.random_range(8..12_000), 0);
            engine.put(&key(i), &value, durability).unwrap();
        }
        steps.done.fetch_add(1, Ordering::SeqCst);
    }

    /// Checks what a read of a key that began when `done` steps were done has found.
    fn check(&self, i: usize, done: u64, found: Option<&[u8]>, how: &str) {
        let begun = self.0[i].begun.load(Ordering::SeqCst);
        match found {
            Some(value) => {
                let step = u64::from_be_bytes(value[..8].try_into().unwrap());
                assert!(step >= done, "{how} of key {i} is stale: step {step}, {done} were done");
                assert!(step <= begun, "{how} of key {i} is from nowhere: step {step} of {begun}");
            }
            // A delete between them, or nothing written yet: an even step lies in the window.
            None => assert!(done.is_multiple_of(2) || begun > done, "{how} of key {i} vanished at step {done}"),
        }
    }

    fn done(&self, i: usize) -> u64 {
        self.0[i].done.load(Ordering::SeqCst)
    }
}

fn read(table: &Table, engine: &Engine, random: &mut ChaCha8Rng) {
    match random.random_range(0..10_u32) {
        0..=5 => {
            let i = random.random_range(0..KEYS);
            let done = table.done(i);
            let found = engine.get(&key(i)).unwrap();
            table.check(i, done, found.as_ref().map(|r| r.value.as_ref()), "a get");
        }
        6 | 7 => {
            let some: Vec<usize> = (0..8).map(|_| random.random_range(0..KEYS)).collect();
            let done: Vec<u64> = some.iter().map(|i| table.done(*i)).collect();
            let keys: Vec<Vec<u8>> = some.iter().map(|i| key(*i)).collect();
            for ((i, done), found) in some.iter().zip(done).zip(engine.multi_get(&keys).unwrap()) {
                table.check(*i, done, found.as_ref().map(|r| r.value.as_ref()), "a multi_get");
            }
        }
        _ => {
            let done: Vec<u64> = (0..KEYS).map(|i| table.done(i)).collect();
            let options = ScanOptions { reverse: random.random_range(0..2) == 0, ..ScanOptions::default() };
            let snapshot = engine.snapshot().unwrap();
            let mut found: Vec<Option<Vec<u8>>> = vec![None; KEYS];
            for item in snapshot.scan(&KeyRange::all(), options) {
                let (key, record) = item.unwrap();
                let number: usize = std::str::from_utf8(&key[3..]).unwrap().parse().unwrap();
                found[number] = Some(record.value.to_vec());
            }
            for (i, done) in done.into_iter().enumerate() {
                table.check(i, done, found[i].as_deref(), "a scan");
            }
        }
    }
}

fn move_something(engine: &Engine, tiers: usize, random: &mut ChaCha8Rng) {
    let (a, b) = (random.random_range(0..KEYS), random.random_range(0..KEYS));
    let range = KeyRange::new(key(a.min(b)), key(a.max(b) + 1)).unwrap();
    let names = names(tiers);
    if random.random_range(0..12) == 0 {
        let tier = names[random.random_range(1..tiers)];
        engine.empty_tier(tier, &Cancel::default()).unwrap();
    } else {
        move_to(engine, &range, names[random.random_range(0..tiers)]);
    }
}

/// Two writers, each with keys of its own, three readers and two movers.
fn nothing_is_stale_or_vanishes(tiers: usize, row_cache_bytes: Option<u64>) {
    let (seed, _) = seed(&format!("{tiers} tiers"));
    let folder = tempfile::tempdir().unwrap();
    let mut options = options(folder.path(), tiers);
    options.row_cache_bytes = row_cache_bytes;
    let engine = Engine::open(options, Environment::system(seed)).unwrap();
    let (table, running) = (Table::new(), AtomicBool::new(true));
    let thread = |number: u64, body: &dyn Fn(&mut ChaCha8Rng)| {
        let mut random = ChaCha8Rng::seed_from_u64(seed ^ (number << 32));
        let _end = EndOnPanic(&running);
        while running.load(Ordering::SeqCst) {
            body(&mut random);
        }
    };
    std::thread::scope(|scope| {
        let (engine, table, thread) = (&engine, &table, &thread);
        for writer in 0..2_usize {
            scope.spawn(move || {
                thread(writer as u64, &|random| {
                    let i = random.random_range(0..KEYS / 2) * 2 + writer;
                    table.write(engine, i, random);
                    // Else the movers would never meet a key at rest.
                    support::nap(Duration::from_micros(random.random_range(0..300)));
                });
            });
        }
        for reader in 2..5 {
            scope.spawn(move || thread(reader, &|random| read(table, engine, random)));
        }
        for mover in 5..7 {
            scope.spawn(move || thread(mover, &|random| move_something(engine, tiers, random)));
        }
        scope.spawn(|| {
            support::nap(TIME);
            running.store(false, Ordering::SeqCst);
        });
    });
    audit(&engine);
    let check = |engine: &Engine| {
        for i in 0..KEYS {
            let done = table.done(i);
            table.check(i, done, engine.get(&key(i)).unwrap().as_ref().map(|r| r.value.as_ref()), "the last read");
        }
    };
    check(&engine);
    engine.close().unwrap();
    let engine = open(folder.path(), tiers);
    check(&engine);
    audit(&engine);
}

#[test]
fn two_tiers_show_nothing_stale_or_vanished_under_writers_and_movers() {
    nothing_is_stale_or_vanishes(2, None);
}

#[test]
fn three_tiers_show_nothing_stale_or_vanished_under_writers_and_movers() {
    nothing_is_stale_or_vanishes(3, Some(4 << 20));
}

#[test]
fn four_tiers_show_nothing_stale_or_vanished_without_a_row_cache_to_speak_of() {
    nothing_is_stale_or_vanishes(4, Some(1 << 10));
}

#[test]
fn every_scan_sees_whole_batches_while_data_moves() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path(), 3);
    let write = |round: u64| {
        let mut batch = Batch::default();
        for i in 0..KEYS {
            let mut value = round.to_be_bytes().to_vec();
            value.resize(if i % 3 == 0 { 9000 } else { 20 }, 0);
            batch.put(key(i), value).unwrap();
        }
        engine.write(&batch, &[], Durability::Wal).unwrap();
    };
    write(0);
    let running = AtomicBool::new(true);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in (1..400).take_while(|_| running.load(Ordering::SeqCst)) {
                write(round);
                support::nap(Duration::from_millis(5));
            }
            running.store(false, Ordering::SeqCst);
        });
        scope.spawn(|| {
            let _end = EndOnPanic(&running);
            let mut random = ChaCha8Rng::seed_from_u64(1);
            while running.load(Ordering::SeqCst) {
                move_something(&engine, 3, &mut random);
            }
        });
        scope.spawn(|| {
            let _end = EndOnPanic(&running);
            let mut last = 0;
            while running.load(Ordering::SeqCst) {
                let snapshot = engine.snapshot().unwrap();
                for reverse in [false, true] {
                    let options = ScanOptions { reverse, ..ScanOptions::default() };
                    let rounds: Vec<u64> = snapshot
                        .scan(&KeyRange::all(), options)
                        .map(|item| u64::from_be_bytes(item.unwrap().1.value[..8].try_into().unwrap()))
                        .collect();
                    assert_eq!(rounds.len(), KEYS, "a scan missed keys");
                    assert!(rounds.iter().all(|round| *round == rounds[0]), "a scan saw half a batch: {rounds:?}");
                    assert!(rounds[0] >= last, "a later snapshot is older");
                    last = rounds[0];
                }
            }
        });
    });
    audit(&engine);
}

#[test]
fn wipes_and_installs_hold_against_movers_writers_and_copies_up() {
    let (seed, mut random) = seed("wipes and installs");
    let folder = tempfile::tempdir().unwrap();
    let mut options = options(folder.path(), 3);
    // Copies up by the policy take no lease: they are the ones that could revive a wiped key.
    options.heat_sampling = 1;
    options.policy.min_residency = Duration::ZERO;
    let engine = Engine::open(options, Environment::system(seed)).unwrap();
    let half = KeyRange::new(key(0), key(KEYS / 2)).unwrap();
    for i in 0..KEYS {
        put(&engine, &key(i), &[1; 6000]);
    }
    let export = folder.path().join("export");
    let manifest = engine.export(&half, &export).unwrap();
    let running = AtomicBool::new(true);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let _end = EndOnPanic(&running);
            let mut random = ChaCha8Rng::seed_from_u64(seed ^ 1);
            while running.load(Ordering::SeqCst) {
                let (a, b) = (random.random_range(0..KEYS), random.random_range(0..KEYS));
                let range = KeyRange::new(key(a.min(b)), key(a.max(b) + 1)).unwrap();
                let moved = support::try_move(&engine, &range, names(3)[random.random_range(0..3)]);
                let fine = matches!(moved, Ok(_) | Err(EngineError::LeaseLost { .. } | EngineError::RangeHeld { .. }));
                assert!(fine, "{moved:?}");
            }
        });
        scope.spawn(|| {
            while running.load(Ordering::SeqCst) {
                for i in 0..KEYS {
                    engine.get(&key(i)).unwrap();
                }
                engine.reclassify().unwrap();
            }
        });
        scope.spawn(|| {
            let mut random = ChaCha8Rng::seed_from_u64(seed ^ 2);
            while running.load(Ordering::SeqCst) {
                let i = random.random_range(KEYS / 2..KEYS);
                put(&engine, &key(i), &vec![2; random.random_range(1..6000)]);
                support::nap(Duration::from_millis(1));
            }
        });
        let _end = EndOnPanic(&running);
        for round in 0..40 {
            let lease = engine.lease_range(&half).unwrap();
            if random.random_range(0..2) == 0 {
                engine.wipe(&lease).unwrap();
                drop(lease);
                support::nap(Duration::from_millis(20));
                let left: Vec<usize> = (0..KEYS / 2).filter(|i| engine.get(&key(*i)).unwrap().is_some()).collect();
                assert_eq!(left, Vec::<usize>::new(), "keys came back after a wipe, round {round}");
                assert_eq!(engine.logical_hash(&half).unwrap().records, 0);
            } else {
                engine.install(&lease, &export, &[]).unwrap();
                drop(lease);
                support::nap(Duration::from_millis(20));
                assert_eq!(engine.logical_hash(&half).unwrap(), manifest.logical_hash, "round {round}");
                for i in 0..KEYS / 2 {
                    assert_eq!(engine.get(&key(i)).unwrap().unwrap().value.len(), 6000);
                }
            }
        }
        running.store(false, Ordering::SeqCst);
    });
    let hash = engine.logical_hash(&KeyRange::all()).unwrap();
    audit(&engine);
    drop(engine);
    assert_eq!(open(folder.path(), 3).logical_hash(&KeyRange::all()).unwrap(), hash);
}
