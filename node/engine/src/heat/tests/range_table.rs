use proptest::prelude::*;
use rand::RngExt;

use super::{key, random, seconds};
use crate::heat::{Decay, RangeHeat, RangeTable, RangeTableConfig};
use crate::range::KeyRange;

fn decay() -> Decay {
    Decay::from_half_life(seconds(3600))
}

fn assert_partition(ranges: &[RangeHeat]) {
    assert!(ranges[0].range.start().is_empty());
    assert_eq!(ranges[ranges.len() - 1].range.end(), None);
    for pair in ranges.windows(2) {
        assert_eq!(pair[0].range.end(), Some(pair[1].range.start()));
        assert!(pair[0].range.start() < pair[1].range.start());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn ranges_cover_every_key_exactly_once_within_their_bounds(
        seed in any::<u64>(), keys in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 1..2000),
    ) {
        let config = RangeTableConfig { maximum_ranges: 12, maximum_key_bytes: 2000, target_bytes: 20_000, maximum_share: 0.05 };
        let mut table = RangeTable::new(config, random(seed), seconds(0));
        for (step, key) in keys.iter().enumerate() {
            let now = seconds(step as u64 * 30);
            table.record(key, step % 3 != 0, 8, 100, now, &decay());
            if step % 100 == 99 {
                table.maintain(now, &decay());
            }
            prop_assert!(table.range_count() <= 12);
        }
        let ranges = table.all(seconds(0), &decay());
        assert_partition(&ranges);
        let held: usize = ranges.iter().map(|heat| heat.range.start().len()).sum();
        prop_assert!(held <= 2000);
        prop_assert!(table.memory_bytes() <= 12 * 1280 + 2000, "{}", table.memory_bytes());
        for key in &keys {
            prop_assert_eq!(ranges.iter().filter(|heat| heat.range.contains(key)).count(), 1);
            prop_assert!(table.heat_at(key, seconds(0), &decay()).range.contains(key));
        }
    }
}

#[test]
fn splitting_and_merging_keep_the_sum_of_heat() {
    let mut table =
        RangeTable::new(RangeTableConfig { maximum_ranges: 64, ..RangeTableConfig::default() }, random(1), seconds(0));
    let mut choice = random(2);
    for _ in 0..20_000 {
        table.record(&key(choice.random_range(0..5000)), true, 1, 100, seconds(10), &decay());
    }
    assert!(table.range_count() > 32, "{}", table.range_count());
    let sum =
        |table: &RangeTable| -> f64 { table.all(seconds(10), &decay()).iter().map(|heat| heat.reads_per_day).sum() };
    let expected = 20_000.0 * decay().per_event();
    assert!((sum(&table) / expected - 1.0).abs() < 1e-6);
    table.maintain(seconds(10), &decay());
    assert!((sum(&table) / expected - 1.0).abs() < 1e-6);
}

#[test]
fn a_hot_spot_gets_ranges_of_its_own() {
    let mut table = RangeTable::new(RangeTableConfig::default(), random(3), seconds(0));
    let mut choice = random(4);
    for _ in 0..100_000 {
        let number = if choice.random_range(0..10) < 9 {
            choice.random_range(40_000..41_000)
        } else {
            choice.random_range(0..100_000)
        };
        table.record(&key(number), true, 1, 100, seconds(1), &decay());
    }
    let ranges = table.all(seconds(1), &decay());
    let hot = KeyRange::new(key(39_000), key(42_000)).unwrap();
    let inside = ranges.iter().filter(|heat| {
        heat.range.start() >= hot.start() && heat.range.end().is_some_and(|end| end <= &key(42_000)[..])
    });
    let share: f64 =
        inside.map(|heat| heat.reads_per_day).sum::<f64>() / ranges.iter().map(|heat| heat.reads_per_day).sum::<f64>();
    assert!(share > 0.8, "ranges near the hot spot carry {share}");
}

#[test]
fn written_bytes_split_a_range_that_nobody_reads() {
    let config = RangeTableConfig { target_bytes: 1 << 20, maximum_share: 1.0, ..RangeTableConfig::default() };
    let mut table = RangeTable::new(config, random(5), seconds(0));
    for number in 0..20_000 {
        table.record(&key(number), false, 1, 1000, seconds(1), &decay());
    }
    assert!((10..100).contains(&table.range_count()), "{}", table.range_count());
}

#[test]
fn one_hot_key_does_not_split_without_end() {
    let mut table = RangeTable::new(RangeTableConfig::default(), random(6), seconds(0));
    for _ in 0..100_000 {
        table.record(b"the one", true, 8, 100, seconds(1), &decay());
    }
    assert_eq!(table.range_count(), 1);
}

#[test]
fn cold_neighbours_merge_and_keep_when_they_were_moved() {
    let config = RangeTableConfig { maximum_share: 0.02, ..RangeTableConfig::default() };
    let mut table = RangeTable::new(config, random(7), seconds(0));
    let mut choice = random(8);
    for _ in 0..50_000 {
        table.record(&key(choice.random_range(0..1000)), true, 1, 100, seconds(1), &decay());
    }
    let before = table.range_count();
    table.note_moved(&KeyRange::all(), seconds(2));
    // The load goes elsewhere; in 20 half lives the old ranges are cold.
    let later = seconds(72_000);
    for _ in 0..50_000 {
        table.record(b"zzz", true, 1, 100, later, &decay());
    }
    table.maintain(later, &decay());
    assert!(table.range_count() < before / 4, "{} of {before}", table.range_count());
    assert_eq!(table.heat_at(&key(5), later, &decay()).moved_ago, Some(later - seconds(2)));
    assert_partition(&table.all(later, &decay()));
}

#[test]
fn a_full_table_makes_room_for_a_new_hot_spot() {
    let config = RangeTableConfig { maximum_ranges: 64, maximum_share: 0.01, ..RangeTableConfig::default() };
    let mut table = RangeTable::new(config, random(9), seconds(0));
    let mut choice = random(10);
    for _ in 0..50_000 {
        table.record(&key(choice.random_range(0..1000)), true, 1, 100, seconds(1), &decay());
    }
    let later = seconds(72_000);
    for _ in 0..200_000 {
        table.record(&key(choice.random_range(5000..6000)), true, 1, 100, later, &decay());
    }
    let new = table.all(later, &decay()).iter().filter(|heat| heat.range.start() >= &key(5000)[..]).count();
    assert!(new >= 16, "{new}");
}

#[test]
fn boundaries_from_elsewhere_respect_the_bound_on_key_bytes() {
    let config = RangeTableConfig { maximum_key_bytes: 110, ..RangeTableConfig::default() };
    let mut table = RangeTable::new(config, random(11), seconds(0));
    for number in 0..50 {
        table.ensure_boundary(&key(number));
    }
    assert_eq!(table.range_count(), 11, "ten starts of eleven bytes, and the first range");
}
