//! A simulated store: keys in tiers, loads over days, the real tracker and classifier in between.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use super::*;
use crate::classify::{ClassifierInput, MoveChoice, classify};
use crate::heat::{AccessEvent, AccessKind, HeatConfig, HeatTracker, ServedBy};

const KEYS: usize = 20_000;
const KEY_BYTES: u64 = 1024;
const ROUND: Duration = Duration::from_secs(3600);

/// Every key's fastest tier, the mover as the invariants have it: copies up leave the lower copy.
struct Store {
    copies: Vec<[bool; 3]>,
    tracker: HeatTracker,
    random: ChaCha8Rng,
    now: Duration,
    capacity: [u64; 3],
    policy: ValidPolicy,
    moved_bytes: u64,
    reads: u64,
    fast_reads: u64,
}

impl Store {
    fn new(seed: u64, in_fast: impl Fn(usize) -> bool) -> Self {
        println!("seed {seed}");
        let policy = policy();
        let config = HeatConfig {
            sample_every: 8,
            half_life: policy.half_life(),
            ..HeatConfig::for_fast_tier(KEYS * 4, 16 * MIB)
        };
        let copies =
            (0..KEYS).map(|number| if in_fast(number) { [true, false, false] } else { [false, false, true] }).collect();
        Self {
            copies,
            tracker: HeatTracker::new(&config, ChaCha8Rng::seed_from_u64(seed), Duration::ZERO),
            random: ChaCha8Rng::seed_from_u64(seed + 1),
            now: Duration::from_secs(1),
            // The fastest holds a fifth of the data up to its low watermark.
            capacity: [KEYS as u64 * KEY_BYTES / 5 * 4 / 3, KEYS as u64 * KEY_BYTES * 2, KEYS as u64 * KEY_BYTES * 4],
            policy,
            moved_bytes: 0,
            reads: 0,
            fast_reads: 0,
        }
    }

    fn name(number: usize) -> Vec<u8> {
        format!("key{number:06}").into_bytes()
    }

    fn number(key: &[u8]) -> usize {
        std::str::from_utf8(&key[3..]).unwrap().parse().unwrap()
    }

    fn fastest(&self, number: usize) -> usize {
        self.copies[number].iter().position(|there| *there).unwrap()
    }

    /// One interval of `samples` sampled reads (each stands for eight), then a classification and its moves.
    fn round(&mut self, samples: usize, mut pick: impl FnMut(&mut ChaCha8Rng) -> usize) {
        (self.moved_bytes, self.reads, self.fast_reads) = (0, 0, 0);
        for _ in 0..6 {
            let mut events = Vec::new();
            for _ in 0..samples / 6 {
                let number = pick(&mut self.random);
                let tier = self.fastest(number);
                self.reads += 1;
                self.fast_reads += u64::from(tier == 0);
                events.push(AccessEvent {
                    key: Self::name(number).into(),
                    bytes: KEY_BYTES as u32,
                    kind: AccessKind::Read(ServedBy::Tier(tier as u8)),
                    weight: 8,
                });
            }
            self.now += ROUND / 6;
            self.tracker.absorb(&events, self.now);
        }
        self.classify();
    }

    fn classify(&mut self) {
        let heats = self.tracker.ranges(self.now);
        let mut number = 0;
        let mut used = [0; 3];
        let ranges: Vec<RangeInput> = heats
            .into_iter()
            .map(|heat| {
                let (mut bytes, mut clean, mut keys) = (vec![0; 3], vec![0; 3], 0);
                while number < KEYS && heat.range.contains(&Self::name(number)) {
                    let fastest = self.fastest(number);
                    for tier in 0..3 {
                        if self.copies[number][tier] {
                            bytes[tier] += KEY_BYTES;
                            used[tier] += KEY_BYTES;
                        }
                    }
                    if self.copies[number].iter().filter(|there| **there).count() > 1 {
                        clean[fastest] += KEY_BYTES;
                    }
                    keys += 1;
                    number += 1;
                }
                RangeInput { heat, bytes, clean_bytes: clean, keys }
            })
            .collect();
        assert_eq!(number, KEYS, "the ranges cover every key");
        let keys: Vec<KeyInput> = self
            .tracker
            .admitted_keys(self.now)
            .into_iter()
            .map(|heat| KeyInput { tier: self.fastest(Self::number(&heat.key)), heat, moved_ago: None })
            .collect();
        let tiers = tiers(self.capacity, used);
        let decision = classify(&ClassifierInput { tiers: &tiers, policy: &self.policy, ranges: &ranges, keys: &keys });
        for choice in decision.moves {
            self.carry_out(&choice);
        }
    }

    fn carry_out(&mut self, choice: &MoveChoice) {
        match choice {
            MoveChoice::Promote { keys, to, .. } => {
                for key in keys {
                    self.copies[Self::number(key)][*to] = true;
                    self.moved_bytes += KEY_BYTES;
                }
            }
            MoveChoice::PromoteRange { range, to, .. } => {
                for number in (0..KEYS).filter(|number| range.contains(&Self::name(*number))) {
                    if !self.copies[number][*to] {
                        self.copies[number][*to] = true;
                        self.moved_bytes += KEY_BYTES;
                    }
                }
                self.tracker.note_moved(range, self.now);
            }
            MoveChoice::DemoteRange { range, from, to, keep, .. } => {
                for number in (0..KEYS).filter(|number| range.contains(&Self::name(*number))) {
                    if !self.copies[number][*from] || keep.binary_search(&Self::name(number)).is_ok() {
                        continue;
                    }
                    self.copies[number][*from] = false;
                    if !self.copies[number].contains(&true) {
                        self.copies[number][*to] = true;
                        self.moved_bytes += KEY_BYTES;
                    }
                }
                self.tracker.note_moved(range, self.now);
            }
        }
    }

    fn hit_ratio(&self) -> f64 {
        self.fast_reads as f64 / self.reads as f64
    }
}

/// Scattered hot keys: a twentieth of the keys, spread over the key space, gets nine tenths of the reads.
fn scattered(shift: usize) -> impl FnMut(&mut ChaCha8Rng) -> usize {
    move |random| {
        let hot = random.random_range(0..10) < 9;
        let number = if hot { random.random_range(0..KEYS / 20) * 20 + shift } else { random.random_range(0..KEYS) };
        number % KEYS
    }
}

fn zipf(random: &mut ChaCha8Rng) -> usize {
    // The inverse of the distribution function of an exponent near 1; ranks are scattered over the key space.
    let uniform: f64 = random.random();
    let rank = ((KEYS as f64).powf(uniform) - 1.0) as usize;
    (rank * 7919) % KEYS
}

#[test]
fn a_uniform_load_moves_next_to_nothing() {
    // Thresholds of the default policy with 5, 50 and 500 reads per key and hour: under, near and over them.
    for (samples, seed) in [(12_000, 1), (60_000, 2), (240_000, 3)] {
        let mut store = Store::new(seed, |number| number % 6 == 0);
        let mut moved = 0;
        let mut read = 0;
        for round in 0..24 {
            store.round(samples, |random| random.random_range(0..KEYS));
            if round > 0 {
                moved += store.moved_bytes;
                read += store.reads * 8 * KEY_BYTES;
            }
        }
        assert!(moved * 100 < read, "{samples}: moved {moved} of {read} bytes read");
    }
}

#[test]
fn a_skewed_load_settles_with_its_hot_keys_fast_and_then_rests() {
    // All hot keys of the first load fit; of the second, the keys that reach 1000 reads per day carry two thirds of the reads.
    for (seed, least) in [(4, 0.85), (5, 0.6)] {
        let mut store = Store::new(seed, |_| false);
        for round in 0..20 {
            if seed == 4 {
                store.round(60_000, scattered(0));
            } else {
                store.round(60_000, zipf);
            }
            if round >= 14 {
                assert!(store.moved_bytes < KEYS as u64 * KEY_BYTES / 50, "round {round} moved {}", store.moved_bytes);
            }
        }
        assert!(store.hit_ratio() > least, "seed {seed}: {}", store.hit_ratio());
    }
}

#[test]
fn a_hot_spot_that_shifts_is_followed() {
    let mut store = Store::new(6, |_| false);
    for _ in 0..12 {
        store.round(60_000, scattered(0));
    }
    let steady = store.hit_ratio();
    store.round(60_000, scattered(5));
    let shifted = store.hit_ratio();
    assert!(shifted < steady / 2.0, "{steady} {shifted}");
    for _ in 0..24 {
        store.round(60_000, scattered(5));
    }
    assert!(store.hit_ratio() > 0.9 * steady, "{} after {steady}", store.hit_ratio());
}

#[test]
fn a_load_that_swings_does_not_make_data_swing() {
    let mut store = Store::new(7, |_| false);
    let half = KEYS / 2;
    let mut moved_late = 0;
    for round in 0..40 {
        // Each hour another half of the hot keys.
        let base = if round % 2 == 0 { 0 } else { half };
        store.round(60_000, move |random| {
            if random.random_range(0..10) < 9 {
                base + random.random_range(0..half / 10) * 10
            } else {
                random.random_range(0..KEYS)
            }
        });
        if round >= 20 {
            moved_late += store.moved_bytes;
        }
    }
    // Twenty swings of a tenth of the data each, were it to follow them.
    let swinging = 20 * KEYS as u64 * KEY_BYTES / 10;
    assert!(moved_late * 20 < swinging, "{moved_late} of {swinging}");
}

#[test]
fn data_that_nobody_reads_ends_in_the_slowest_tier() {
    let mut store = Store::new(8, |_| true);
    store.capacity[0] = KEYS as u64 * KEY_BYTES * 2;
    for _ in 0..4 {
        store.round(0, |_| 0);
    }
    assert!((0..KEYS).all(|number| store.fastest(number) == 2));
}
