//! What is done to records: shares of operations, and the replayable stream that follows them.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::distribution::{KeyDistribution, KeySampler};

/// A kind of operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum OperationKind {
    /// Reads a record.
    Read,
    /// Overwrites a record.
    Update,
    /// Writes a new record.
    Insert,
    /// Reads records in order.
    Scan,
    /// Reads a record, then writes it.
    ReadModifyWrite,
}

impl OperationKind {
    /// All kinds.
    pub const ALL: [Self; 5] = [Self::Read, Self::Update, Self::Insert, Self::Scan, Self::ReadModifyWrite];

    /// As it is shown.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Update => "update",
            Self::Insert => "insert",
            Self::Scan => "scan",
            Self::ReadModifyWrite => "read-modify-write",
        }
    }
}

/// One operation on a record number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operation {
    /// What is done.
    pub kind: OperationKind,
    /// The record; of a scan, the first.
    pub record: u64,
    /// Records of a scan; 1 otherwise.
    pub length: u64,
    /// Seeds the bytes of a written value.
    pub value_seed: u64,
}

/// Shares that do not make a mix.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum MixError {
    /// They do not add up.
    #[error("the shares of the operations add up to {sum}; they must be at least 0 and add up to 1")]
    Sum {
        /// What they add up to.
        sum: f64,
    },
}

/// The share of each kind of operation; they add up to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mix {
    shares: [f64; 5],
}

impl Mix {
    /// Shares in the order of [`OperationKind::ALL`].
    ///
    /// # Errors
    /// Where one is negative or they do not add up to 1.
    pub fn new(shares: [f64; 5]) -> Result<Self, MixError> {
        let sum: f64 = shares.iter().sum();
        if (sum - 1.0).abs() > 1e-9 || shares.iter().any(|share| *share < 0.0) {
            return Err(MixError::Sum { sum });
        }
        Ok(Self { shares })
    }

    /// `reads` of 1 are reads, the others updates; kept inside 0..=1.
    #[must_use]
    pub const fn read_update(reads: f64) -> Self {
        let reads = reads.clamp(0.0, 1.0);
        Self { shares: [reads, 1.0 - reads, 0.0, 0.0, 0.0] }
    }

    /// Shares that the built-in workloads state; a test checks that they add up.
    pub(super) const fn stated(shares: [f64; 5]) -> Self {
        Self { shares }
    }

    /// The share of a kind.
    #[must_use]
    pub fn share(&self, kind: OperationKind) -> f64 {
        self.shares[kind as usize]
    }

    fn pick(&self, uniform: f64) -> OperationKind {
        let mut passed = 0.0;
        for kind in OperationKind::ALL {
            passed += self.share(kind);
            if uniform < passed {
                return kind;
            }
        }
        // Rounding may leave the sum a hair below 1.
        OperationKind::ALL.into_iter().rev().find(|kind| self.share(*kind) > 0.0).unwrap_or(OperationKind::Read)
    }
}

/// An endless, replayable stream of operations of one worker.
///
/// The stream of a worker depends on the seed and the worker's number alone, except for the numbers of inserted
/// records, which workers take from one counter.
#[derive(Debug, Clone)]
pub struct OperationStream {
    random: ChaCha8Rng,
    mix: Mix,
    sampler: KeySampler,
    records: u64,
    inserted: Arc<AtomicU64>,
    max_scan: u64,
}

impl OperationStream {
    /// The stream of `worker` of `workers`. `inserted` counts the records inserted after the `records` loaded ones.
    #[must_use]
    pub fn new(
        mix: Mix,
        distribution: KeyDistribution,
        records: u64,
        max_scan: u64,
        seed: u64,
        (worker, workers): (u64, u64),
        inserted: Arc<AtomicU64>,
    ) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(worker);
        Self {
            random,
            mix,
            sampler: KeySampler::new(distribution, records).for_worker(worker, workers),
            records: records.max(1),
            inserted,
            max_scan: max_scan.max(1),
        }
    }

    /// The next operation.
    pub fn next_operation(&mut self) -> Operation {
        let kind = self.mix.pick(self.random.random());
        let record = if kind == OperationKind::Insert {
            self.records + self.inserted.fetch_add(1, Ordering::Relaxed)
        } else {
            let present = self.records + self.inserted.load(Ordering::Relaxed);
            self.sampler.sample(&mut self.random, present)
        };
        let length = if kind == OperationKind::Scan { self.random.random_range(1..=self.max_scan) } else { 1 };
        Operation { kind, record, length, value_seed: self.random.random() }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn stream(mix: Mix, worker: u64, inserted: &Arc<AtomicU64>) -> OperationStream {
        OperationStream::new(mix, KeyDistribution::Uniform, 100, 10, 9, (worker, 2), Arc::clone(inserted))
    }

    #[test]
    fn kinds_come_in_their_shares() {
        const DRAWS: u32 = 50_000;
        let mix = Mix::new([0.5, 0.2, 0.1, 0.15, 0.05]).unwrap();
        let mut operations = stream(mix, 0, &Arc::default());
        let mut counts = [0_u32; 5];
        for _ in 0..DRAWS {
            counts[operations.next_operation().kind as usize] += 1;
        }
        for kind in OperationKind::ALL {
            let drawn = f64::from(counts[kind as usize]) / f64::from(DRAWS);
            assert!((drawn - mix.share(kind)).abs() < 0.01, "{kind:?}: {drawn}");
        }
    }

    #[test]
    fn shares_that_do_not_add_up_are_refused() {
        assert_eq!(Mix::new([0.5, 0.2, 0.0, 0.0, 0.0]), Err(MixError::Sum { sum: 0.7 }));
        assert!(Mix::new([1.5, -0.5, 0.0, 0.0, 0.0]).is_err());
    }

    #[test]
    fn the_same_seed_and_worker_replay_and_other_workers_differ() {
        let mix = Mix::read_update(0.5);
        let take = |worker| {
            let mut operations = stream(mix, worker, &Arc::default());
            (0..50).map(|_| operations.next_operation()).collect::<Vec<_>>()
        };
        assert_eq!(take(0), take(0));
        assert_ne!(take(0), take(1));
    }

    #[test]
    fn two_workers_never_insert_the_same_record() {
        let mix = Mix::new([0.0, 0.0, 1.0, 0.0, 0.0]).unwrap();
        let inserted = Arc::default();
        let mut first = stream(mix, 0, &inserted);
        let mut second = stream(mix, 1, &inserted);
        let drawn: BTreeSet<u64> =
            (0..20).flat_map(|_| [first.next_operation().record, second.next_operation().record]).collect();
        assert_eq!(drawn, (100..140).collect());
    }
}
