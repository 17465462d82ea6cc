//! What a seed makes of a run, before it begins.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::flaw::Flaw;
use crate::network::Weather;

/// A run.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// What everything is drawn from.
    pub seed: u64,
    /// How long things go wrong, in milliseconds.
    pub trouble: u64,
    /// A bug that the run is to find.
    pub flaw: Option<Flaw>,
    /// Nodes there are.
    pub nodes: u64,
    /// Clients there are.
    pub clients: u64,
    /// What a client waits between two calls, in milliseconds at most.
    pub pause: u64,
    /// The network where nothing is wrong with it.
    pub weather: Weather,
    /// Between two faults, in milliseconds at most.
    pub calm: u64,
    /// Between two changes that are asked for, in milliseconds at most.
    pub leisure: u64,
}

impl Plan {
    /// The run of a seed.
    #[must_use]
    pub fn drawn(seed: u64, seconds: u64) -> Self {
        let mut chance = generator(seed, "plan");
        let fast = chance.random_range(1..=2);
        let weather = Weather {
            delay: (fast, fast + chance.random_range(0..=8)),
            slow: chance.random_range(0.0..0.02),
            slow_millis: chance.random_range(50..400),
            lost: if chance.random_bool(0.5) { 0.0 } else { chance.random_range(0.0..0.02) },
            doubled: if chance.random_bool(0.5) { 0.0 } else { chance.random_range(0.0..0.02) },
        };
        Self {
            seed,
            trouble: seconds * 1000,
            flaw: None,
            nodes: chance.random_range(4..=5),
            clients: chance.random_range(4..=8),
            pause: chance.random_range(20..=80),
            weather,
            calm: chance.random_range(1000..=4000),
            leisure: chance.random_range(800..=3000),
        }
    }
}

/// A generator of its own for each part of a run, so that one that draws more does not change the others.
#[must_use]
pub fn generator(seed: u64, part: &str) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed ^ xxhash_rust::xxh3::xxh3_64(part.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_makes_the_same_run_each_time_and_another_one_another() {
        assert_eq!(Plan::drawn(7, 30), Plan::drawn(7, 30));
        assert_ne!(Plan::drawn(7, 30).weather, Plan::drawn(8, 30).weather);
    }
}
