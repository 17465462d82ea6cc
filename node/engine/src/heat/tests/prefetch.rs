use proptest::prelude::*;
use rand::RngExt;

use super::{key, random, seconds};
use crate::heat::adjacency::is_adjacent;
use crate::heat::{PrefetchChoice, Prefetcher};

proptest! {
    #[test]
    fn a_number_is_adjacent_to_the_next_and_to_no_other(number in 0u64..1 << 40, other in 0u64..1 << 40) {
        prop_assert_eq!(is_adjacent(&number.to_be_bytes(), &other.to_be_bytes()), other == number + 1);
        prop_assert!(is_adjacent(&number.to_be_bytes(), &(number + 1).to_be_bytes()));
        let (row, next, foreign) = (format!("row{number}"), format!("row{}", number + 1), format!("raw{}", number + 1));
        prop_assert!(is_adjacent(row.as_bytes(), next.as_bytes()));
        prop_assert!(!is_adjacent(row.as_bytes(), foreign.as_bytes()));
    }

    #[test]
    fn no_keys_make_it_panic(keys in prop::collection::vec((0u64..3, prop::collection::vec(any::<u8>(), 0..20)), 0..200)) {
        let mut prefetcher = Prefetcher::new();
        for (step, (stream, key)) in keys.iter().enumerate() {
            prefetcher.observe(*stream, key, seconds(step as u64));
        }
    }
}

#[test]
fn the_third_adjacent_key_starts_a_run_and_half_way_comes_more() {
    let mut prefetcher = Prefetcher::new();
    assert_eq!(prefetcher.observe(1, &key(1), seconds(0)), PrefetchChoice::Nothing);
    assert_eq!(prefetcher.observe(1, &key(2), seconds(0)), PrefetchChoice::Nothing);
    let first = prefetcher.observe(1, &key(3), seconds(0));
    assert_eq!(first, PrefetchChoice::Following { after: key(3), count: 8, skip: 0 });
    let mut covered = 11;
    let mut choices = 0;
    for number in 4..200 {
        if let PrefetchChoice::Following { count, skip, .. } = prefetcher.observe(1, &key(number), seconds(0)) {
            assert_eq!(number + u64::from(skip), covered, "no key twice, none left out");
            covered += u64::from(count);
            choices += 1;
        }
        assert!(covered > number, "never behind the reader");
    }
    assert!((3..20).contains(&choices), "{choices}");
}

#[test]
fn readers_in_turn_do_not_disturb_each_others_runs() {
    let mut prefetcher = Prefetcher::new();
    for number in 1..3 {
        prefetcher.observe(1, &key(number), seconds(0));
        prefetcher.observe(2, &key(number * 1000), seconds(0));
    }
    assert!(matches!(prefetcher.observe(1, &key(3), seconds(0)), PrefetchChoice::Following { .. }));
}

#[test]
fn a_successor_seen_twice_is_fetched_and_forgotten_when_it_no_longer_follows() {
    let mut prefetcher = Prefetcher::new();
    for _ in 0..2 {
        prefetcher.observe(1, b"order", seconds(0));
        prefetcher.observe(1, b"customer", seconds(0));
    }
    assert_eq!(prefetcher.observe(1, b"order", seconds(0)), PrefetchChoice::Key(b"customer".to_vec()));
    for _ in 0..4 {
        prefetcher.observe(1, b"basket", seconds(0));
        prefetcher.observe(1, b"order", seconds(0));
    }
    assert_ne!(prefetcher.observe(1, b"order", seconds(0)), PrefetchChoice::Key(b"customer".to_vec()));
}

#[test]
fn useless_prefetching_switches_itself_off_and_tries_again_later() {
    let mut prefetcher = Prefetcher::new();
    for number in 0..100 {
        prefetcher.prefetched(&key(number), 100, seconds(0));
    }
    // Half of it is used, the rest is not read in time.
    for number in 0..50 {
        prefetcher.observe(9, &key(number * 2), seconds(1));
    }
    prefetcher.observe(9, b"x", seconds(40));
    let statistics = prefetcher.statistics();
    assert!(!statistics.enabled, "{statistics:?}");
    assert_eq!((statistics.prefetched_bytes, statistics.used_bytes), (10_000, 5_000));
    for number in 1000..1010 {
        assert_eq!(prefetcher.observe(1, &key(number), seconds(41)), PrefetchChoice::Nothing);
    }
    let later = seconds(40 + 61);
    let chosen = (2000..2010).map(|number| prefetcher.observe(1, &key(number), later));
    assert!(chosen.into_iter().any(|choice| choice != PrefetchChoice::Nothing));
    assert!(prefetcher.statistics().enabled);
}

#[test]
fn useful_prefetching_stays_on() {
    let mut prefetcher = Prefetcher::new();
    for number in 0..2000 {
        if let PrefetchChoice::Following { after, count, skip } =
            prefetcher.observe(1, &key(number), seconds(number / 100))
        {
            assert_eq!(after, key(number));
            for ahead in 0..u64::from(count) {
                prefetcher.prefetched(&key(number + u64::from(skip) + 1 + ahead), 100, seconds(number / 100));
            }
        }
    }
    let statistics = prefetcher.statistics();
    assert!(statistics.enabled);
    assert!(statistics.useful_share.unwrap() > 0.95, "{statistics:?}");
}

#[test]
fn random_reads_prefetch_next_to_nothing() {
    let mut prefetcher = Prefetcher::new();
    let mut choice = random(1);
    let chosen = (0..50_000)
        .filter(|_| prefetcher.observe(1, &key(choice.random_range(0..100_000)), seconds(0)) != PrefetchChoice::Nothing)
        .count();
    assert!(chosen < 50, "{chosen}");
}
