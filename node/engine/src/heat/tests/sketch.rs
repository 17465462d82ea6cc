use proptest::prelude::*;
use xxhash_rust::xxh3::xxh3_64;

use crate::heat::{BYTES_PER_FAST_KEY, FrequencySketch, HeatConfig};

proptest! {
    #[test]
    fn an_estimate_is_never_under_the_true_count(keys in prop::collection::vec(0u64..200, 0..2000)) {
        let mut sketch = FrequencySketch::new(512, u64::MAX);
        let mut truth = std::collections::HashMap::new();
        for key in keys {
            let hash = xxh3_64(&key.to_le_bytes());
            sketch.increment(hash);
            *truth.entry(hash).or_insert(0u32) += 1;
        }
        for (hash, count) in truth {
            prop_assert!(u32::from(sketch.estimate(hash)) >= count.min(15));
        }
    }
}

#[test]
fn counters_are_halved_after_the_set_number_of_bytes_and_not_before() {
    let mut sketch = FrequencySketch::new(1024, 1000);
    for _ in 0..12 {
        sketch.increment(7);
    }
    assert!(!sketch.bytes_read(999));
    assert_eq!(sketch.estimate(7), 12);
    assert!(sketch.bytes_read(1));
    assert_eq!(sketch.estimate(7), 6);
    assert!(!sketch.bytes_read(999));
}

#[test]
fn a_full_counter_does_not_spill_into_its_neighbours() {
    let mut sketch = FrequencySketch::new(64, u64::MAX);
    for _ in 0..1000 {
        sketch.increment(99);
    }
    assert_eq!(sketch.estimate(99), 15);
    let untouched =
        (0..10_000u64).map(|key| sketch.estimate(xxh3_64(&key.to_le_bytes()))).filter(|count| *count == 0).count();
    assert!(untouched > 9000, "{untouched}");
}

#[test]
fn keys_seen_once_are_seldom_taken_for_keys_seen_twice() {
    let config = HeatConfig::for_fast_tier(100_000, 1 << 30);
    let mut sketch = FrequencySketch::new(config.sketch_bytes, u64::MAX);
    let hashes: Vec<u64> = (0..100_000u64).map(|key| xxh3_64(&key.to_le_bytes())).collect();
    for hash in &hashes {
        sketch.increment(*hash);
    }
    let wrong = hashes.iter().filter(|hash| sketch.estimate(**hash) > 1).count();
    assert!(wrong < 5_000, "{wrong} of 100,000");
}

#[test]
fn a_million_keys_take_at_most_twelve_bytes_each() {
    let config = HeatConfig::for_fast_tier(1_000_000, 1 << 30);
    assert!(config.maximum_memory_bytes() <= 1_000_000 * BYTES_PER_FAST_KEY, "{}", config.maximum_memory_bytes());
    assert_eq!(FrequencySketch::new(config.sketch_bytes, 1).memory_bytes(), config.sketch_bytes / 8 * 8);
}
