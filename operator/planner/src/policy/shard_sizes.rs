//! When shards are split and merged.

use std::time::Duration;

use super::defaults;
use crate::fleet::Shard;

/// Sizes and loads; each one's default and source is in [`defaults`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ShardSizes {
    /// The size of a shard, in bytes.
    pub target: u64,
    /// Requests a second that split a shard, with `split_cpu`.
    pub split_operations: f64,
    /// Processor time, in cores, that splits a shard, with `split_operations`.
    pub split_cpu: f64,
    /// For how long it must have been so busy.
    pub split_after: Duration,
    /// A shard with fewer requests a second is idle.
    pub merge_operations: f64,
    /// How long after a split neighbours may be merged, and how long both must have been idle.
    pub merge_after: Duration,
}

impl Default for ShardSizes {
    fn default() -> Self {
        Self {
            target: defaults::SHARD_TARGET,
            split_operations: defaults::SPLIT_OPERATIONS,
            split_cpu: defaults::SPLIT_CPU,
            split_after: defaults::SPLIT_AFTER,
            merge_operations: defaults::MERGE_OPERATIONS,
            merge_after: defaults::MERGE_AFTER,
        }
    }
}

impl ShardSizes {
    /// Whether a shard of so many bytes is too large.
    #[must_use]
    pub fn is_large(&self, bytes: u64) -> bool {
        bytes as f64 > self.target as f64 * defaults::SPLIT_OVER
    }

    /// Whether a shard is so busy that it is split, once it has been for `split_after`.
    #[must_use]
    pub fn is_busy(&self, shard: &Shard) -> bool {
        shard.operations() > self.split_operations && shard.load.cpu > self.split_cpu
    }

    /// Whether a shard is so small and so little asked that it is merged, once it has been for `merge_after`.
    #[must_use]
    pub fn is_idle(&self, shard: &Shard) -> bool {
        self.is_small(shard.size()) && shard.operations() < self.merge_operations
    }

    /// Whether a shard of so many bytes is small.
    #[must_use]
    pub fn is_small(&self, bytes: u64) -> bool {
        (bytes as f64) < self.target as f64 * defaults::MERGE_UNDER
    }
}
