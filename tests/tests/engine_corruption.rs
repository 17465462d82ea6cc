//! Damaged table files: the range they hold answers `Corrupt`, naming tier and key; everything else serves, writes go on
//! and a compaction that meets the damage stops nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use thermocline_engine::{
    Cancel, Durability, Engine, EngineError, Environment, Health, KeyRange, MoveRequest, Moved, ScanOptions,
};
use thermocline_tests::crash::history::value_of;
use thermocline_tests::crash::store;

const KEYS: usize = 300;
const LENGTH: usize = 2000;
/// Far more than any of it takes.
const LIMIT: Duration = Duration::from_secs(60);

fn key(prefix: &str, index: usize) -> String {
    format!("{prefix}/{index:04}")
}

/// A store without caches that would hide the damage: every read goes to a file.
fn open(base: &Path) -> Engine {
    let mut options = store::options(base);
    options.row_cache_bytes = Some(0);
    for tier in &mut options.tiers {
        tier.profile.cache_bytes = 64 << 10;
    }
    Engine::open(options, Environment::system(1)).unwrap()
}

fn move_to(engine: &Engine, prefix: &str, to: &str) -> Result<Moved, EngineError> {
    let range = KeyRange::prefix(prefix.as_bytes());
    let cancel = Cancel::default();
    engine.move_range(&MoveRequest {
        range,
        to: to.to_owned(),
        bytes_per_second: None,
        cancel: &cancel,
        progress: &|_| {},
    })
}

fn put(engine: &Engine, prefix: &str, index: usize, sequence: u64) {
    let key = key(prefix, index);
    engine.put(key.as_bytes(), &value_of(&key, sequence, LENGTH), Durability::Wal).unwrap();
}

/// A range named after each tier, in that tier.
fn filled(base: &Path) -> Engine {
    let engine = open(base);
    for tier in store::TIERS {
        (0..KEYS).for_each(|index| put(&engine, tier, index, 1));
        move_to(&engine, tier, tier).unwrap();
    }
    engine
}

fn table_files(base: &Path, tier: &str) -> Vec<PathBuf> {
    let files = fs::read_dir(base.join(tier).join("data")).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files.filter(|path| path.extension().is_some_and(|e| e == "sst")).collect();
    files.sort();
    files
}

/// Flips bits in a data block, a third into the file: data blocks come first.
fn damage(path: &Path) {
    let file = File::options().read(true).write(true).open(path).unwrap();
    let offset = file.metadata().unwrap().len() / 3;
    let mut bytes = [0; 32];
    file.read_exact_at(&mut bytes, offset).unwrap();
    file.write_all_at(&bytes.map(|byte| byte ^ 0x55), offset).unwrap();
}

/// The keys of a range that cannot be read; all others must be what was written. The errors must say where.
fn unreadable(engine: &Engine, prefix: &str, sequence: impl Fn(usize) -> u64) -> Vec<usize> {
    let mut found = Vec::new();
    for index in 0..KEYS {
        let name = key(prefix, index);
        match engine.get(name.as_bytes()) {
            Ok(record) => {
                let record = record.unwrap_or_else(|| panic!("{name} has vanished"));
                assert_eq!(record.value, value_of(&name, sequence(index), LENGTH), "{name}");
            }
            Err(EngineError::Corrupt { tier, key, detail }) => {
                assert_eq!((tier.as_str(), key), (prefix, name));
                assert!(!detail.is_empty());
                found.push(index);
            }
            Err(other) => panic!("{name}: {other:?}"),
        }
    }
    found
}

/// Scanning the damaged range ends with an error that names tier, place and file; scanning the others does not.
fn check_scans(engine: &Engine, damaged: &str, first_unreadable: usize) {
    let snapshot = engine.snapshot().unwrap();
    for tier in store::TIERS {
        let scan = snapshot.scan(&KeyRange::prefix(tier.as_bytes()), ScanOptions::default());
        let (records, errors): (Vec<_>, Vec<_>) = scan.partition(Result::is_ok);
        if tier != damaged {
            assert_eq!((records.len(), errors.len()), (KEYS, 0), "{tier}");
            continue;
        }
        assert_eq!(errors.len(), 1);
        match errors.into_iter().next().unwrap() {
            Err(EngineError::Corrupt { tier, key: near, detail }) => {
                assert_eq!(tier, damaged);
                assert!(near <= key(damaged, first_unreadable) && near.starts_with(damaged), "{near}");
                assert!(detail.contains(".sst"), "{detail}");
            }
            other => panic!("{other:?}"),
        }
    }
}

fn check_damaged(engine: &Engine, damaged: &str) {
    let bad = unreadable(engine, damaged, |_| 1);
    assert!(!bad.is_empty(), "the damage of {damaged} was not noticed");
    assert!(
        bad.len() < KEYS,
        "a damaged block made the whole file of {damaged} unreadable: {:?}",
        engine.get(key(damaged, 0).as_bytes())
    );
    for tier in store::TIERS.into_iter().filter(|tier| *tier != damaged) {
        assert_eq!(unreadable(engine, tier, |_| 1), Vec::<usize>::new());
    }
    check_scans(engine, damaged, bad[0]);
    assert_eq!(engine.health(), Health::Serving);
    // A key that cannot be read can be written, and is readable from then on.
    put(engine, damaged, bad[0], 1);
    assert_eq!(unreadable(engine, damaged, |_| 1), bad[1..]);
}

#[test]
fn a_file_damaged_while_the_store_was_closed_makes_only_its_range_unreadable() {
    for damaged in ["warm", "cold"] {
        let scratch = tempfile::tempdir().unwrap();
        filled(scratch.path()).close().unwrap();
        damage(&table_files(scratch.path(), damaged)[0]);
        let engine = open(scratch.path());
        check_damaged(&engine, damaged);
        engine.close().unwrap();
    }
}

#[test]
fn a_file_damaged_while_the_store_is_open_makes_only_its_range_unreadable() {
    for damaged in ["warm", "cold"] {
        let scratch = tempfile::tempdir().unwrap();
        let engine = filled(scratch.path());
        assert_eq!(unreadable(&engine, damaged, |_| 1), Vec::<usize>::new());
        damage(&table_files(scratch.path(), damaged)[0]);
        check_damaged(&engine, damaged);
        engine.close().unwrap();
    }
}

#[test]
fn a_damaged_file_of_the_fastest_tier_leaves_the_others_and_writes() {
    let scratch = tempfile::tempdir().unwrap();
    let engine = filled(scratch.path());
    // The checkpoint flushes what the fastest tier has in memory.
    engine.checkpoint(&scratch.path().join("checkpoint")).unwrap();
    engine.close().unwrap();
    let holds = |path: &&PathBuf| {
        let bytes = fs::read(path).unwrap();
        bytes.windows(8).any(|window| window == b"hot/0100")
    };
    let files = table_files(scratch.path(), "hot");
    damage(files.iter().find(holds).expect("a file with the range"));
    let engine = open(scratch.path());
    check_damaged(&engine, "hot");
    engine.close().unwrap();
}

#[test]
fn a_move_of_a_damaged_range_says_where_and_other_ranges_move() {
    let scratch = tempfile::tempdir().unwrap();
    let engine = filled(scratch.path());
    damage(&table_files(scratch.path(), "warm")[0]);
    match move_to(&engine, "warm", "cold") {
        Err(EngineError::Corrupt { tier, key, .. }) => {
            assert_eq!(tier, "warm");
            assert!(key.starts_with("warm/"), "{key}");
        }
        other => panic!("{other:?}"),
    }
    assert!(move_to(&engine, "hot", "cold").unwrap().records > 0);
    engine.reclassify().unwrap();
    let bad = unreadable(&engine, "warm", |_| 1);
    assert!(!bad.is_empty() && bad.len() < KEYS);
}

#[test]
fn a_compaction_that_meets_the_damage_stops_nothing() {
    let scratch = tempfile::tempdir().unwrap();
    let engine = filled(scratch.path());
    damage(&table_files(scratch.path(), "warm")[0]);
    let bad = unreadable(&engine, "warm", |_| 1);
    // Files over the damaged one, until RocksDB compacts them with it. The damaged keys stay as they are.
    let start = Instant::now();
    let mut round = 1;
    while engine.stats().corrupt_compactions == 0 {
        assert!(start.elapsed() < LIMIT, "no compaction met the damage");
        round += 1;
        for index in (0..KEYS).filter(|index| !bad.contains(index)) {
            put(&engine, "warm", index, round);
        }
        move_to(&engine, "warm", "warm").unwrap();
    }
    assert_eq!(engine.health(), Health::Serving);
    let version_of = |index: usize| if bad.contains(&index) { 1 } else { round };
    assert_eq!(unreadable(&engine, "warm", version_of), bad);
    // Enough to fill write buffers of the fastest tier and move them down: flushes, compactions and ingests go on.
    for sequence in 2..6 {
        (0..KEYS).for_each(|index| put(&engine, "hot", index, sequence));
        move_to(&engine, "hot", "cold").unwrap();
    }
    assert_eq!(unreadable(&engine, "hot", |_| 5).len(), 0);
    assert_eq!(engine.health(), Health::Serving);
    engine.close().unwrap();
    let engine = open(scratch.path());
    assert_eq!(unreadable(&engine, "warm", version_of), bad);
}
