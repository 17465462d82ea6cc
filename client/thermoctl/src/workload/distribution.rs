//! Which record an operation touches.

use std::fmt;

use rand::{Rng, RngExt};

use super::zipf::{Zipf, fnv1a_64};

/// Items behind YCSB's scrambled generator: ranks are drawn of so many and hashed onto the records.
const SCRAMBLED_ITEMS: u64 = 10_000_000_000;
/// The sum of the series over them, YCSB's own constant (a test of [`Zipf`] computes it).
const SCRAMBLED_ZETA: f64 = 26.469_028_201_783_02;

/// How the records of a workload share its operations.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum KeyDistribution {
    /// One after the other, from the first, around and around.
    Sequential,
    /// All alike.
    Uniform,
    /// Zipf over the records in key order: record 0 is the most popular, its neighbours follow.
    Zipf {
        /// The skew; 0.99 is usual.
        theta: f64,
    },
    /// YCSB's scrambled Zipf (theta 0.99): popular records lie anywhere in the key space.
    ScrambledZipf,
    /// Zipf (theta 0.99) backwards from the newest record. YCSB lets the number of ranks grow with inserts; here it
    /// stays that of the loaded records, counted from the newest.
    Latest,
    /// A few hot records, spread evenly over the key space, take most operations; uniform within both groups.
    Hotspot {
        /// Share of the records that is hot.
        records: f64,
        /// Share of the operations that goes to them.
        operations: f64,
    },
}

impl fmt::Display for KeyDistribution {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sequential => write!(formatter, "sequential"),
            Self::Uniform => write!(formatter, "uniform"),
            Self::Zipf { theta } => write!(formatter, "zipf(theta {theta}, in key order)"),
            Self::ScrambledZipf => write!(formatter, "YCSB scrambled zipf(theta 0.99)"),
            Self::Latest => write!(formatter, "latest: zipf(theta 0.99) from the newest record"),
            Self::Hotspot { records, operations } => write!(
                formatter,
                "hotspot: {:.0} % of the operations on {:.0} % of the records",
                operations * 100.0,
                records * 100.0
            ),
        }
    }
}

/// Draws record numbers.
#[derive(Debug, Clone)]
pub struct KeySampler {
    distribution: KeyDistribution,
    records: u64,
    zipf: Option<Zipf>,
    next: u64,
    step: u64,
}

impl KeySampler {
    /// Draws of `records` (at least 1).
    #[must_use]
    pub fn new(distribution: KeyDistribution, records: u64) -> Self {
        let records = records.max(1);
        let zipf = match distribution {
            KeyDistribution::Zipf { theta } => Some(Zipf::new(records, theta)),
            KeyDistribution::Latest => Some(Zipf::new(records, Zipf::YCSB_THETA)),
            KeyDistribution::ScrambledZipf => Some(Zipf::with_zeta(SCRAMBLED_ITEMS, Zipf::YCSB_THETA, SCRAMBLED_ZETA)),
            KeyDistribution::Sequential | KeyDistribution::Uniform | KeyDistribution::Hotspot { .. } => None,
        };
        Self { distribution, records, zipf, next: 0, step: 1 }
    }

    /// One of `workers` samplers that together walk a sequence: this one takes every `workers`-th from `worker` on.
    #[must_use]
    pub const fn for_worker(mut self, worker: u64, workers: u64) -> Self {
        self.next = worker % self.records;
        self.step = if workers == 0 { 1 } else { workers };
        self
    }

    /// Draws a record. `present` is how many there are now, with those inserted since the load; only
    /// [`KeyDistribution::Latest`] looks beyond the loaded ones.
    pub fn sample(&mut self, random: &mut impl Rng, present: u64) -> u64 {
        match (&self.zipf, self.distribution) {
            (Some(zipf), KeyDistribution::ScrambledZipf) => fnv1a_64(zipf.sample(random)) % self.records,
            (Some(zipf), KeyDistribution::Latest) => {
                let newest = present.max(self.records) - 1;
                newest - zipf.sample(random)
            }
            (Some(zipf), _) => zipf.sample(random),
            (None, KeyDistribution::Sequential) => {
                let drawn = self.next;
                self.next = (self.next + self.step) % self.records;
                drawn
            }
            (None, KeyDistribution::Hotspot { records, operations }) => {
                self.sample_hotspot(random, records, operations)
            }
            (None, _) => random.random_range(0..self.records),
        }
    }

    fn sample_hotspot(&self, random: &mut impl Rng, hot_records: f64, hot_operations: f64) -> u64 {
        let hot = ((self.records as f64 * hot_records) as u64).clamp(1, self.records);
        let is_hot = random.random_bool(hot_operations.clamp(0.0, 1.0));
        if is_hot || hot == self.records {
            // Every (records / hot)-th record is hot.
            return random.random_range(0..hot) * (self.records / hot);
        }
        loop {
            let drawn = random.random_range(0..self.records);
            let spacing = self.records / hot;
            let in_hot_set = drawn.is_multiple_of(spacing) && drawn / spacing < hot;
            if !in_hot_set {
                return drawn;
            }
        }
    }
}

#[cfg(test)]
#[path = "distribution_test.rs"]
mod tests;
