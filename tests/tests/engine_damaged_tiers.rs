//! Tiers whose compactions cannot read a file: the store goes on, says which tier is damaged, and where it can take no
//! more it refuses by name. Nothing waits for a compaction that never succeeds.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::Result;
use thermocline_engine::{
    Cancel, Durability, Engine, EngineError, Environment, Health, KeyRange, MoveRequest, Moved, chain,
};
use thermocline_tests::crash::history::value_of;
use thermocline_tests::crash::store;
use thermocline_tests::devices::{Devices, Kind, on_devices};

const KEYS: usize = 300;
const LENGTH: usize = 2000;
/// Far more than any of it takes.
const LIMIT: Duration = Duration::from_secs(120);

/// A store without caches that would hide what cannot be read.
fn open(devices: &Devices) -> Engine {
    let mut options = store::options(devices.base());
    options.row_cache_bytes = Some(0);
    for tier in &mut options.tiers {
        tier.profile.cache_bytes = 64 << 10;
        tier.settings.size_bytes = 1 << 30;
    }
    Engine::open(options, Environment::system(1)).unwrap_or_else(|error| panic!("{}", chain(&error)))
}

fn key(prefix: &str, index: usize) -> String {
    format!("{prefix}/{index:04}")
}

fn put(engine: &Engine, prefix: &str, index: usize, sequence: u64) -> Result<u64, EngineError> {
    let key = key(prefix, index);
    engine.put(key.as_bytes(), &value_of(&key, sequence, LENGTH), Durability::Wal)
}

fn put_all(engine: &Engine, prefix: &str, sequence: u64) {
    for index in 0..KEYS {
        put(engine, prefix, index, sequence).unwrap();
    }
}

fn check(engine: &Engine, prefix: &str, sequence: u64) {
    for index in 0..KEYS {
        let key = key(prefix, index);
        let found = engine.get(key.as_bytes()).unwrap().unwrap_or_else(|| panic!("{key} is lost"));
        assert_eq!(found.value, value_of(&key, sequence, LENGTH), "{key}");
    }
}

fn move_to(engine: &Engine, prefix: &str, to: &str) -> Result<Moved, EngineError> {
    engine.move_range(&MoveRequest {
        range: KeyRange::prefix(prefix.as_bytes()),
        to: to.to_owned(),
        bytes_per_second: None,
        cancel: &Cancel::default(),
        progress: &|_| {},
    })
}

/// The newest table file of a tier.
fn newest_file(base: &Path, tier: &str) -> PathBuf {
    let files = fs::read_dir(base.join(tier).join("data")).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|e| e == "sst")).max().unwrap()
}

/// What an operation answers; fails where it does not answer.
fn answer<T: Send + 'static>(engine: &Engine, what: &str, operation: impl FnOnce(&Engine) -> T + Send + 'static) -> T {
    let (sender, receiver) = mpsc::channel();
    let engine = engine.clone();
    // Not joined: it may wait for ever, and this process ends with the test.
    std::thread::spawn(move || {
        let answer = operation(&engine);
        // Before it is told: whoever hears it may open the store anew.
        drop(engine);
        drop(sender.send(answer));
    });
    receiver.recv_timeout(LIMIT).unwrap_or_else(|_| panic!("{what} does not answer"))
}

fn eventually(what: &str, holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < LIMIT, "still not: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn damage_of(engine: &Engine, tier: &str) -> Option<String> {
    engine.stats().tiers.into_iter().find(|report| report.name == tier)?.damage
}

/// Overwrites and flushes until a compaction of the fastest tier meets the file; returns the last sequence written.
fn until_damage_is_met(engine: &Engine, file: &Path) -> u64 {
    let start = Instant::now();
    let mut sequence = 1;
    while damage_of(engine, "hot").is_none() {
        assert!(start.elapsed() < LIMIT, "no compaction met the unreadable file");
        sequence += 1;
        let written = sequence;
        answer(engine, "a flush", move |engine| {
            put_all(engine, "hot", written);
            engine.flush().unwrap();
        });
    }
    let damage = damage_of(engine, "hot").unwrap();
    assert!(damage.contains(file.file_name().unwrap().to_str().unwrap()), "{damage}");
    sequence
}

fn the_fastest_tier(devices: &Devices) -> Result<()> {
    let engine = open(devices);
    put_all(&engine, "hot", 1);
    engine.flush()?;
    let file = newest_file(devices.base(), "hot");
    devices.unreadable(&file, true)?;
    let mut sequence = until_damage_is_met(&engine, &file);
    // A read that fails is no failed write: the store goes on.
    assert_eq!(engine.health(), Health::Serving);
    assert!(engine.stats().corrupt_compactions > 0);
    check(&engine, "hot", sequence);

    // Until level 0 is full: then writes are refused, by name.
    let refusal = loop {
        let next = sequence + 1;
        let written = answer(&engine, "a write", move |engine| {
            (0..KEYS).try_for_each(|index| put(engine, "hot", index, next).map(|_| ()))?;
            engine.flush()
        });
        match written {
            Ok(()) => sequence = next,
            Err(error) => break error,
        }
        assert!(sequence < 1000, "level 0 is never full");
    };
    match refusal {
        EngineError::TierDamaged { tier, detail, .. } => {
            assert_eq!(tier, "hot");
            assert!(detail.contains("Input/output error"), "{detail}");
        }
        other => panic!("{}", chain(&other)),
    }
    let health = engine.health();
    assert!(matches!(&health, Health::Damaged { tier, .. } if tier == "hot"), "{health:?}");
    // What does not add to it goes on: range operations, and reads.
    answer(&engine, "a wipe", |engine| {
        let lease = engine.lease_range(&KeyRange::prefix(b"other/")).unwrap();
        engine.wipe(&lease).unwrap();
    });
    let checkpoint = devices.base().join("checkpoint");
    println!("checkpoint: {:?}", answer(&engine, "a checkpoint", move |engine| engine.checkpoint(&checkpoint)));

    // The store opens in this state too, and reaches it again.
    drop(engine);
    let engine = open(devices);
    eventually("the damage is known again", || damage_of(&engine, "hot").is_some());
    eventually("writes are refused again", || matches!(engine.health(), Health::Damaged { .. }));
    assert!(matches!(put(&engine, "hot", 0, 0), Err(EngineError::TierDamaged { .. })));

    // The device reads again: so does the compaction.
    devices.unreadable(&file, false)?;
    eventually("writes go on", || engine.health() == Health::Serving && damage_of(&engine, "hot").is_none());
    answer(&engine, "a write", |engine| put_all(engine, "hot", 2000));
    check(&engine, "hot", 2000);
    engine.close()?;
    Ok(())
}

#[test]
fn an_unreadable_file_of_the_fastest_tier_stops_no_write_before_level_0_is_full() {
    let name = "an_unreadable_file_of_the_fastest_tier_stops_no_write_before_level_0_is_full";
    on_devices(name, Kind::Injected, &store::TIERS, the_fastest_tier).unwrap();
}

fn a_slower_tier(devices: &Devices) -> Result<()> {
    let engine = open(devices);
    put_all(&engine, "warm", 1);
    move_to(&engine, "warm", "warm")?;
    let file = newest_file(devices.base(), "warm");
    devices.unreadable(&file, true)?;
    // Within the unreadable file the move cannot see what its own overlaps: an unreadable range, no failed write.
    for index in 100..KEYS - 20 {
        put(&engine, "warm", index, 2)?;
    }
    match move_to(&engine, "warm", "warm") {
        Err(EngineError::Corrupt { tier, detail, .. }) => {
            assert_eq!(tier, "warm");
            assert!(detail.contains("Input/output error"), "{detail}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(engine.health(), Health::Serving);

    // Files above the unreadable one, until their compaction meets it and level 0 is full. The file is readable while
    // others are put above it.
    let mut sequence = 2;
    let refusal = loop {
        devices.unreadable(&file, damage_of(&engine, "warm").is_some() || sequence > 3)?;
        sequence += 1;
        put_all(&engine, "warm", sequence);
        match answer(&engine, "a move", |engine| move_to(engine, "warm", "warm")) {
            Ok(_) => {}
            Err(error) => break error,
        }
        assert!(sequence < 1000, "the tier takes everything");
    };
    match refusal {
        EngineError::TierDamaged { tier, .. } => assert_eq!(tier, "warm"),
        other => panic!("after {sequence} moves: {}", chain(&other)),
    }
    assert!(damage_of(&engine, "warm").is_some());
    assert_eq!(engine.health(), Health::Serving);
    // The mover leaves it out, other tiers go on.
    answer(&engine, "the mover", |engine| engine.reclassify())?;
    check(&engine, "warm", sequence);
    put_all(&engine, "zone", 1);
    assert!(answer(&engine, "a move", |engine| move_to(engine, "zone", "cold"))?.records > 0);
    devices.unreadable(&file, false)?;
    eventually("the tier is compacted again", || damage_of(&engine, "warm").is_none());
    answer(&engine, "a move", |engine| move_to(engine, "warm", "warm"))?;
    check(&engine, "warm", sequence);
    engine.close()?;
    Ok(())
}

#[test]
fn a_slower_tier_that_cannot_be_compacted_refuses_moves_instead_of_holding_them_up() {
    let name = "a_slower_tier_that_cannot_be_compacted_refuses_moves_instead_of_holding_them_up";
    on_devices(name, Kind::Injected, &store::TIERS, a_slower_tier).unwrap();
}
