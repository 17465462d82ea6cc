//! What the classifier is told. Indexes of tiers: 0 is the fastest.

use std::time::Duration;

use crate::heat::{KeyHeat, RangeHeat};

use super::policy::ValidPolicy;

/// A tier as it is now.
#[derive(Debug, Clone, PartialEq)]
pub struct TierState {
    /// The tier's name.
    pub name: String,
    /// What it may hold.
    pub capacity_bytes: u64,
    /// What it holds.
    pub used_bytes: u64,
    /// Over this share of its capacity data moves down (0 to 1).
    pub high_watermark: f64,
    /// Down to this share (0 to 1).
    pub low_watermark: f64,
    /// False while nothing may be moved there: under its reserve, stalled by damage, emptied to be taken away.
    pub accepts_moves: bool,
}

impl TierState {
    pub(super) fn high_bytes(&self) -> u64 {
        (self.capacity_bytes as f64 * self.high_watermark) as u64
    }

    pub(super) fn low_bytes(&self) -> u64 {
        (self.capacity_bytes as f64 * self.low_watermark) as u64
    }

    /// Halfway from the high watermark to full: from here on space goes before residency.
    pub(super) fn critical_bytes(&self) -> u64 {
        self.high_bytes() + (self.capacity_bytes.saturating_sub(self.high_bytes())) / 2
    }
}

/// A range: its heat and what of it is in which tier.
#[derive(Debug, Clone, PartialEq)]
pub struct RangeInput {
    /// Its heat, with the time since it was last moved as a range.
    pub heat: RangeHeat,
    /// Bytes in each tier, fastest first; copies count in each tier that has one.
    pub bytes: Vec<u64>,
    /// Of these, bytes whose removal writes nothing: clean copies. Empty: none known.
    pub clean_bytes: Vec<u64>,
    /// Number of keys, estimated; 0: unknown, then a key is taken to have 1 KiB.
    pub keys: u64,
}

/// An admitted key: its heat and the fastest tier that has it.
#[derive(Debug, Clone, PartialEq)]
pub struct KeyInput {
    /// Its heat.
    pub heat: KeyHeat,
    /// Index of the fastest tier that has it.
    pub tier: usize,
    /// Time since it was last moved by itself, where that is known; its range's last move counts as well.
    pub moved_ago: Option<Duration>,
}

/// Everything a classification is made from. All ages are as of the moment of the call.
#[derive(Debug, Clone)]
pub struct ClassifierInput<'a> {
    /// The tiers, fastest first.
    pub tiers: &'a [TierState],
    /// The policy in force.
    pub policy: &'a ValidPolicy,
    /// All ranges in key order, without overlap.
    pub ranges: &'a [RangeInput],
    /// The admitted keys, in any order.
    pub keys: &'a [KeyInput],
}
