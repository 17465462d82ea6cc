//! Tiers that are too full, and what is left of what moved out of them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use std::path::Path;

use rand::RngExt;
use support::{audit, move_all, options, placed, put};
use thermocline_engine::*;

const MIB: u64 = 1 << 20;
/// Large enough that few of them are much.
const VALUE: usize = 512 << 10;

fn key(i: u32) -> Vec<u8> {
    format!("key{i:05}").into_bytes()
}

/// A store whose tiers have 64 MiB each.
fn open(folder: &Path, tiers: usize) -> Engine {
    let mut options = options(folder, tiers);
    options.tiers.iter_mut().for_each(|tier| tier.settings.size_bytes = 64 * MIB);
    options.heat_sampling = 1;
    Engine::open(options, Environment::system(7)).unwrap()
}

/// Values that compression leaves as large as they are.
fn fill(engine: &Engine, keys: std::ops::Range<u32>) {
    let (_, mut random) = support::seed("relief");
    for i in keys {
        let mut value = vec![0; VALUE];
        random.fill(&mut value[..]);
        put(engine, &key(i), &value);
    }
}

fn used(engine: &Engine, tier: &str) -> u64 {
    engine.stats().tiers.iter().find(|report| report.name == tier).unwrap().used_bytes
}

fn count_in(engine: &Engine, tier: &str, keys: u32) -> u32 {
    (0..keys).map(|i| u32::from(placed(engine, &key(i)).iter().any(|(place, _)| place == tier))).sum()
}

#[test]
fn a_tier_has_its_space_back_when_few_large_records_have_left_it() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path(), 3);
    fill(&engine, 0..32);
    for (from, to) in [("hot", "warm"), ("warm", "cold")] {
        let before = used(&engine, from);
        assert!(before >= 16 * MIB, "{from} has {before} bytes");
        move_all(&engine, to);
        let after = used(&engine, from);
        assert!(after < 4 * MIB, "{from} still has {after} of {before} bytes");
    }
    audit(&engine);
}

#[test]
fn a_wiped_range_gives_its_space_back_and_nothing_of_its_neighbours_goes_with_it() {
    const KEYS: u32 = 48;
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path(), 3);
    fill(&engine, 0..KEYS);
    move_all(&engine, "cold");
    // Older copies below, and a part of each above.
    fill(&engine, 0..KEYS);
    let range = |from, to| KeyRange::new(key(from), key(to)).unwrap();
    support::move_to(&engine, &range(10, 30), "warm");
    let tiers = ["hot", "warm", "cold"];
    let all = || tiers.iter().map(|tier| used(&engine, tier)).sum::<u64>();
    let (before, wiped) = (all(), range(1, KEYS - 1));
    engine.wipe(&engine.lease_range(&wiped).unwrap()).unwrap();
    let after = all();
    assert!(before >= 36 * MIB && after < 4 * MIB, "{after} of {before} bytes are left");
    for number in 0..KEYS {
        let is_there = support::value(&engine, &key(number)).is_some();
        assert_eq!(is_there, number == 0 || number == KEYS - 1, "key {number}");
    }
    audit(&engine);
}

#[test]
fn a_full_tier_has_its_space_back_after_one_round_and_is_not_emptied_further() {
    const KEYS: u32 = 124;
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path(), 2);
    fill(&engine, 0..KEYS);
    engine.reclassify().unwrap();
    // 85 % of 64 MiB, which is where it stops as everything is young, and what estimates are wrong by.
    let after = used(&engine, "hot");
    assert!(after < 56 * MIB, "{after} bytes are still used");
    for _ in 0..3 {
        assert_eq!(engine.reclassify().unwrap(), Moved::default());
    }
    let left = count_in(&engine, "hot", KEYS);
    assert!((80..=110).contains(&left), "{left} of {KEYS} records of half a MiB are left in 64 MiB");
    audit(&engine);
}

#[test]
fn a_tier_that_was_emptied_is_not_filled_again() {
    const KEYS: u32 = 124;
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path(), 2);
    fill(&engine, 0..KEYS / 2);
    move_all(&engine, "cold");
    fill(&engine, KEYS / 2..KEYS);
    // Together it is more than the tier above should have.
    engine.empty_tier("cold", &Cancel::default()).unwrap();
    for _ in 0..2 {
        engine.reclassify().unwrap();
    }
    assert_eq!(count_in(&engine, "cold", KEYS), 0);
    engine.close().unwrap();
    let mut options = options(folder.path(), 2);
    options.tiers.truncate(1);
    let engine = Engine::open(options, Environment::system(7)).unwrap();
    assert_eq!(count_in(&engine, "hot", KEYS), KEYS);
}

#[test]
fn a_tier_that_was_emptied_takes_data_again_when_somebody_moves_some_there() {
    const KEYS: u32 = 124;
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path(), 2);
    fill(&engine, 0..KEYS);
    engine.empty_tier("cold", &Cancel::default()).unwrap();
    engine.reclassify().unwrap();
    assert_eq!(count_in(&engine, "cold", KEYS), 0);
    support::move_to(&engine, &KeyRange::single(&key(0)), "cold");
    engine.reclassify().unwrap();
    assert!(count_in(&engine, "cold", KEYS) > 1);
}

fn keys_told(engine: &Engine, tier: &str) -> u64 {
    engine.stats().tiers.iter().find(|report| report.name == tier).unwrap().keys
}

#[test]
fn a_tier_that_holds_records_is_never_told_empty_whatever_was_deleted_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let engine = support::open(folder.path(), 1);
    // What is left of these in the file are the deletes, and each counts for less than nothing.
    for i in 0..5000 {
        put(&engine, &key(i), b"v");
        engine.delete(&key(i), Durability::Wal).unwrap();
    }
    engine.flush().unwrap();
    assert_eq!(keys_told(&engine, "hot"), 0);
    (10_000..11_000).for_each(|i| _ = put(&engine, &key(i), b"v"));
    engine.flush().unwrap();
    assert!(keys_told(&engine, "hot") > 0);
}

#[test]
fn a_tier_is_told_empty_when_it_was_emptied_by_moves_that_somebody_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let engine = support::open(folder.path(), 3);
    for _ in 0..2 {
        // Twice the same keys: the second copies hide the first.
        (0..3000).for_each(|i| _ = put(&engine, &key(i), b"v"));
        move_all(&engine, "warm");
    }
    assert!(keys_told(&engine, "warm") > 0);
    assert_eq!(keys_told(&engine, "hot"), 0);
    move_all(&engine, "cold");
    assert_eq!(keys_told(&engine, "warm"), 0);
    assert!(keys_told(&engine, "cold") > 0);
    audit(&engine);
}
