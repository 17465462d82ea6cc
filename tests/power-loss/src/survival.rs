//! What survives of that which was not synced.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// What survives of that which was not synced. Both are things that real power losses do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Survival {
    /// Every byte and entry that was not synced is lost.
    Nothing,
    /// Of each file a random number of its first unsynced changes survives, the next write perhaps in part; of each folder a
    /// random number of its first unsynced entry changes. The same log and seed give the same image.
    Random(u64),
}

/// Draws how much survives, in an order fixed by the log.
pub(crate) enum Draw {
    Nothing,
    Random(Box<ChaCha8Rng>),
}

impl Draw {
    pub(crate) fn new(survival: Survival) -> Self {
        match survival {
            Survival::Nothing => Self::Nothing,
            Survival::Random(seed) => Self::Random(Box::new(ChaCha8Rng::seed_from_u64(seed))),
        }
    }

    /// How many of `changes` survive, the first ones.
    pub(crate) fn kept(&mut self, changes: usize) -> usize {
        match self {
            Self::Nothing => 0,
            Self::Random(random) => random.random_range(0..=changes),
        }
    }

    /// How many bytes survive of a write of `length` bytes that is not kept as a whole.
    pub(crate) fn kept_bytes(&mut self, length: u64) -> u64 {
        match self {
            Self::Nothing => 0,
            Self::Random(random) => random.random_range(0..=length),
        }
    }
}
