//! What a range holds and where its middle is.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use rand::RngExt;
use support::{move_to, open, put, seed};
use thermocline_engine::*;

fn key(i: u32) -> Vec<u8> {
    format!("a common start/{i:08}").into_bytes()
}

/// So many keys with values of so many bytes that do not compress.
fn fill(engine: &Engine, keys: u32, bytes: usize) {
    let (_, mut random) = seed("range_sizes");
    for i in 0..keys {
        let value: Vec<u8> = (0..bytes).map(|_| random.random()).collect();
        put(engine, &key(i), &value);
    }
}

/// The share of the keys below one.
fn share_below(middle: &[u8], keys: u32) -> f64 {
    f64::from((0..keys).filter(|i| key(*i).as_slice() < middle).count() as u32) / f64::from(keys)
}

#[test]
fn the_middle_of_a_small_range_is_the_very_key_that_halves_its_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path(), 3);
    assert_eq!(engine.middle_key(&KeyRange::all()).unwrap(), None);
    fill(&engine, 1, 10);
    assert_eq!(engine.middle_key(&KeyRange::all()).unwrap(), None, "one key cannot be parted");
    fill(&engine, 10, 10);
    assert_eq!(engine.middle_key(&KeyRange::all()).unwrap().unwrap(), key(5));
    put(&engine, &key(8), &[0; 1000]);
    assert_eq!(engine.middle_key(&KeyRange::all()).unwrap().unwrap(), key(8), "bytes count, not keys");
}

#[test]
fn the_middle_of_a_large_range_in_several_tiers_is_found_by_estimates() {
    const KEYS: u32 = 12_000;
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path(), 3);
    fill(&engine, KEYS, 1000);
    move_to(&engine, &KeyRange::new(key(0), key(KEYS / 2)).unwrap(), "cold");
    engine.flush().unwrap();
    let size = engine.range_size(&KeyRange::all()).unwrap();
    assert!(size.bytes() > 8 << 20, "large enough to be estimated: {size:?}");
    assert!(size.tier_bytes[0] > 4 << 20 && size.tier_bytes[2] > 4 << 20, "{size:?}");
    let middle = engine.middle_key(&KeyRange::all()).unwrap().unwrap();
    let share = share_below(&middle, KEYS);
    assert!((0.4..0.6).contains(&share), "{share} of the keys are before {}", middle.escape_ascii());
    // Of a part of the range too, and what is in it is about its share.
    let quarter = KeyRange::new(key(0), key(KEYS / 4)).unwrap();
    let part = engine.range_size(&quarter).unwrap();
    assert!((0.15..0.35).contains(&(part.bytes() as f64 / size.bytes() as f64)), "{part:?} of {size:?}");
    assert!((2000..4000).contains(&part.records), "{part:?}");
}
