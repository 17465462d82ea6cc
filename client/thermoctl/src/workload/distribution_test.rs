//! Drawn shares against expected ones; every test names its seed.
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::*;

const SEED: u64 = 0x7E47;
const DRAWS: usize = 100_000;

fn draw(distribution: KeyDistribution, records: u64) -> HashMap<u64, usize> {
    let mut random = ChaCha8Rng::seed_from_u64(SEED);
    let mut sampler = KeySampler::new(distribution, records);
    let mut counts = HashMap::new();
    for _ in 0..DRAWS {
        let record = sampler.sample(&mut random, records);
        assert!(record < records, "{distribution}: record {record} of {records}, seed {SEED}");
        *counts.entry(record).or_default() += 1;
    }
    counts
}

fn share(counts: &HashMap<u64, usize>, record: u64) -> f64 {
    counts.get(&record).copied().unwrap_or_default() as f64 / DRAWS as f64
}

#[test]
fn uniform_draws_every_record_about_alike() {
    let counts = draw(KeyDistribution::Uniform, 100);
    for record in 0..100 {
        let drawn = share(&counts, record);
        assert!((0.008..0.012).contains(&drawn), "record {record}: {drawn}, seed {SEED}");
    }
}

#[test]
fn sequential_draws_go_around_and_workers_share_them_without_overlap() {
    let mut random = ChaCha8Rng::seed_from_u64(SEED);
    let mut alone = KeySampler::new(KeyDistribution::Sequential, 3);
    let drawn: Vec<u64> = (0..5).map(|_| alone.sample(&mut random, 3)).collect();
    assert_eq!(drawn, [0, 1, 2, 0, 1]);

    let mut seen: Vec<u64> = (0..2)
        .flat_map(|worker| {
            let mut sampler = KeySampler::new(KeyDistribution::Sequential, 6).for_worker(worker, 2);
            (0..3).map(|_| sampler.sample(&mut random, 6)).collect::<Vec<_>>()
        })
        .collect();
    seen.sort_unstable();
    assert_eq!(seen, [0, 1, 2, 3, 4, 5]);
}

#[test]
fn zipf_is_most_popular_at_the_first_record() {
    let counts = draw(KeyDistribution::Zipf { theta: 0.99 }, 1000);
    let expected = Zipf::new(1000, 0.99).share(0);
    assert!((share(&counts, 0) - expected).abs() < 0.005, "seed {SEED}");
    assert!(share(&counts, 0) > share(&counts, 10));
}

#[test]
fn scrambled_zipf_keeps_the_popularity_but_not_the_place() {
    const RECORDS: u64 = 1000;
    let counts = draw(KeyDistribution::ScrambledZipf, RECORDS);
    let most_popular = fnv1a_64(0) % RECORDS;
    // Rank 0 of ten billion has a share of 1 / zeta; collisions of the hash add a little.
    let expected = 1.0 / SCRAMBLED_ZETA;
    let drawn = share(&counts, most_popular);
    assert!((expected - 0.005..expected + 0.01).contains(&drawn), "{drawn} for {expected}, seed {SEED}");
    assert_ne!(most_popular, 0);
    assert!(counts.len() as u64 > RECORDS * 9 / 10, "the tail is spread over the records");
}

#[test]
fn latest_is_most_popular_at_the_newest_record_also_after_inserts() {
    let mut random = ChaCha8Rng::seed_from_u64(SEED);
    let mut sampler = KeySampler::new(KeyDistribution::Latest, 100);
    let newest = (0..10_000).filter(|_| sampler.sample(&mut random, 150) == 149).count();
    let oldest = (0..10_000).filter(|_| sampler.sample(&mut random, 150) == 50).count();
    assert!(newest > 10 * oldest.max(1), "{newest} and {oldest}, seed {SEED}");
}

#[test]
fn a_hotspot_takes_its_share_of_the_operations() {
    let distribution = KeyDistribution::Hotspot { records: 0.1, operations: 0.9 };
    let counts = draw(distribution, 1000);
    let hot: usize = (0..100).map(|index| counts.get(&(index * 10)).copied().unwrap_or_default()).sum();
    let drawn = hot as f64 / DRAWS as f64;
    assert!((0.89..0.91).contains(&drawn), "{drawn}, seed {SEED}");
}

#[test]
fn a_hotspot_of_a_count_that_does_not_divide_stays_in_bounds() {
    for records in [1, 2, 3, 7, 999] {
        draw(KeyDistribution::Hotspot { records: 0.3, operations: 0.5 }, records);
    }
}

#[test]
fn the_same_seed_draws_the_same_records() {
    for distribution in [KeyDistribution::Uniform, KeyDistribution::ScrambledZipf, KeyDistribution::Latest] {
        assert_eq!(draw(distribution, 77), draw(distribution, 77));
    }
}
