//! How much memory heat may take, and how it is shared out.

use std::time::Duration;

use super::range_table::RangeTableConfig;

/// The budget: bytes of heat for each key of the fastest tier.
pub const BYTES_PER_FAST_KEY: usize = 12;
/// What a small store gets however few keys it has: a table needs some keys to be of use.
pub const LEAST_MEMORY_BYTES: usize = 1 << 20;
/// Memory of one range's fixed part, as the table counts it.
const RANGE_COST: usize = 1280;

/// Sizes and times of a [`super::HeatTracker`].
#[derive(Debug, Clone, PartialEq)]
pub struct HeatConfig {
    /// Memory of the sketch.
    pub sketch_bytes: usize,
    /// The sketch halves its counters after so many bytes of sampled reads; about the size of the fastest tier.
    pub halve_every_bytes: u64,
    /// Memory of the admitted keys.
    pub admitted_bytes: usize,
    /// Bounds of the range table.
    pub ranges: RangeTableConfig,
    /// Rates halve in this long without accesses.
    pub half_life: Duration,
    /// One sample stands for so many accesses; the recorder's `sample_every`.
    pub sample_every: u32,
    /// A key is admitted at its so-manyth sampled read.
    pub admit_at: u8,
}

impl HeatConfig {
    /// Sized for a fastest tier of `capacity_bytes` with about `keys` keys: at most 12 bytes a key (1 MiB at least).
    #[must_use]
    pub fn for_fast_tier(keys: usize, capacity_bytes: u64) -> Self {
        let budget = keys.saturating_mul(BYTES_PER_FAST_KEY).max(LEAST_MEMORY_BYTES);
        let ranges = budget / 4;
        let maximum_ranges = (ranges / 2 / RANGE_COST).clamp(16, 4096);
        Self {
            sketch_bytes: budget / 3,
            halve_every_bytes: (capacity_bytes / 10 * 7).max(1 << 20),
            admitted_bytes: budget - budget / 3 - ranges,
            ranges: RangeTableConfig {
                maximum_ranges,
                maximum_key_bytes: ranges - maximum_ranges * RANGE_COST,
                target_bytes: (capacity_bytes / 64).clamp(64 << 10, 256 << 20),
                ..RangeTableConfig::default()
            },
            half_life: Duration::from_secs(12 * 3600),
            sample_every: super::HeatRecorder::DEFAULT_SAMPLE_EVERY,
            admit_at: 2,
        }
    }

    /// The most memory a tracker of this configuration holds.
    #[must_use]
    pub fn maximum_memory_bytes(&self) -> usize {
        self.sketch_bytes
            + self.admitted_bytes
            + self.ranges.maximum_ranges * RANGE_COST
            + self.ranges.maximum_key_bytes
    }
}
