use rand::RngExt;

use super::{key, random, seconds};
use crate::heat::{AccessPattern, Decay, PatternSummary, RangeTable, RangeTableConfig};

fn table() -> (RangeTable, Decay) {
    let config = RangeTableConfig { maximum_ranges: 1, ..RangeTableConfig::default() };
    (RangeTable::new(config, random(1), seconds(0)), Decay::from_half_life(seconds(3600)))
}

#[test]
fn nothing_seen_is_rare_write() {
    assert_eq!(AccessPattern::of(&PatternSummary::default()), AccessPattern::RareWrite);
}

#[test]
fn sampled_scans_are_sequential_and_random_reads_are_not() {
    let (mut scans, decay) = table();
    let (mut points, _) = table();
    let mut choice = random(2);
    for step in 0..1000 {
        scans.record(&key(step * 8 % 4000), true, 8, 100, seconds(step / 10), &decay);
        points.record(&key(choice.random_range(0..4000)), true, 8, 100, seconds(step / 10), &decay);
    }
    assert_eq!(scans.heat_at(b"key", seconds(100), &decay).pattern, AccessPattern::Sequential);
    assert_eq!(points.heat_at(b"key", seconds(100), &decay).pattern, AccessPattern::Random);
}

#[test]
fn bursts_with_silence_between_are_a_batch() {
    let (mut table, decay) = table();
    let mut choice = random(3);
    for burst in 0..2 {
        for _ in 0..100 {
            table.record(&key(choice.random_range(0..4000)), true, 8, 100, seconds(burst * 1800), &decay);
        }
    }
    assert_eq!(table.heat_at(b"key", seconds(2000), &decay).pattern, AccessPattern::Batch);
}

#[test]
fn written_now_and_then_and_never_read_is_rare_write() {
    let (mut table, decay) = table();
    for step in 0..4 {
        table.record(&key(step * 7 % 4), false, 8, 100, seconds(step * 600), &decay);
    }
    assert_eq!(table.heat_at(b"key", seconds(2400), &decay).pattern, AccessPattern::RareWrite);
}

#[test]
fn a_pattern_is_forgotten_after_an_hour_of_silence() {
    let (mut table, decay) = table();
    for step in 0..100 {
        table.record(&key(step), true, 8, 100, seconds(1), &decay);
    }
    assert_eq!(table.heat_at(b"key", seconds(2), &decay).pattern, AccessPattern::Sequential);
    assert_eq!(table.heat_at(b"key", seconds(7200), &decay).pattern, AccessPattern::RareWrite);
}
