use std::time::Instant;

use rand::RngExt;

use super::{key, random, read, seconds, write};
use crate::heat::{AccessEvent, AccessKind, BYTES_PER_FAST_KEY, HeatConfig, HeatTracker, ServedBy};

fn tracker(keys: usize) -> HeatTracker {
    HeatTracker::new(&HeatConfig { sample_every: 1, ..HeatConfig::for_fast_tier(keys, 1 << 30) }, random(1), seconds(0))
}

#[test]
fn a_key_is_admitted_at_its_second_read_with_both_counted() {
    let mut tracker = tracker(1000);
    tracker.absorb(&[read(b"a")], seconds(1));
    assert!(tracker.key_heat(b"a", seconds(1)).is_none());
    tracker.absorb(&[read(b"a")], seconds(2));
    let heat = tracker.key_heat(b"a", seconds(2)).unwrap();
    assert!((heat.reads_per_day / (2.0 * tracker.decay.per_event()) - 1.0).abs() < 1e-9);
    assert_eq!(heat.read_ago, Some(seconds(0)));
    assert_eq!(tracker.key_heat(b"a", seconds(12)).unwrap().read_ago, Some(seconds(10)));
    assert_eq!(heat.served_by, Some(ServedBy::Tier(1)));
}

#[test]
fn reads_of_absent_keys_heat_the_range_alone() {
    let mut tracker = tracker(1000);
    let absent = AccessEvent { kind: AccessKind::Read(ServedBy::Nothing), ..read(b"a") };
    tracker.absorb(&[absent.clone(), absent.clone(), absent], seconds(1));
    assert!(tracker.key_heat(b"a", seconds(1)).is_none());
    assert!(tracker.range_heat(b"a", seconds(1)).reads_per_day > 0.0);
}

#[test]
fn a_write_says_that_the_key_is_in_the_fastest_tier() {
    let mut tracker = tracker(1000);
    tracker.absorb(&[read(b"a"), read(b"a"), write(b"a", 50)], seconds(1));
    let heat = tracker.key_heat(b"a", seconds(1)).unwrap();
    assert_eq!(heat.served_by, Some(ServedBy::Tier(0)));
    assert!(heat.writes_per_day > 0.0);
    assert_eq!(heat.bytes, 50);
}

#[test]
fn the_hottest_keys_of_a_skewed_load_are_found_in_bounded_memory() {
    let keys = 100_000;
    let mut tracker = tracker(keys);
    let mut choice = random(2);
    let mut events = Vec::new();
    for _ in 0..400_000 {
        // The square of a uniform number twice over: low numbers are far more frequent.
        let uniform: f64 = choice.random();
        let number = (uniform.powi(8) * 1_000_000.0) as u64;
        events.push(read(&key(number)));
    }
    tracker.absorb(&events, seconds(10));
    assert!(tracker.memory_bytes() <= keys * BYTES_PER_FAST_KEY, "{}", tracker.memory_bytes());
    let top = tracker.top_keys(5, seconds(10));
    assert_eq!(top[0].key, key(0));
    assert!(top.iter().all(|heat| heat.key < key(20)), "{top:?}");
    let hottest = tracker.hottest_ranges(3, seconds(10));
    assert!(hottest[0].reads_per_day >= hottest[1].reads_per_day);
    assert!(hottest[0].range.start() < &key(1000)[..]);
}

#[test]
fn a_million_samples_are_absorbed_without_getting_stuck() {
    let mut tracker = tracker(1_000_000);
    let mut choice = random(3);
    let events: Vec<AccessEvent> = (0..1_000_000).map(|_| read(&key(choice.random_range(0..500_000)))).collect();
    let start = Instant::now();
    for (second, batch) in events.chunks(10_000).enumerate() {
        tracker.absorb(batch, seconds(second as u64));
    }
    println!("{:?} for a million samples", start.elapsed());
    assert!(start.elapsed().as_secs() < 120);
    assert!(tracker.memory_bytes() <= 1_000_000 * BYTES_PER_FAST_KEY, "{}", tracker.memory_bytes());
}
