//! How a store is opened.

use std::path::PathBuf;
use std::time::Duration;

use crate::classify::Policy;
use crate::tier::TierSpec;

/// How safe a write is when it is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// Survives power loss: concurrent writers share one fsync. Others see the write before it is synced.
    Sync,
    /// Survives the process, not the power.
    #[default]
    Wal,
    /// In one ordered queue in memory that reads see; written after 1000 entries, 1 MiB or 5 ms.
    Buffered,
}

/// Everything a store is opened with.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// Where the WAL and the database's own files are; by default a folder `root` in the fastest tier's.
    pub root: Option<PathBuf>,
    /// One to four tiers, in any order; the ranks order them.
    pub tiers: Vec<TierSpec>,
    /// The policy to begin with.
    pub policy: Policy,
    /// What the process may use, in bytes: caches and write buffers are scaled to it.
    pub memory_bytes: u64,
    /// The row cache's part of it; by default a tenth.
    pub row_cache_bytes: Option<u64>,
    /// The bound of the WAL on disk.
    pub max_wal_bytes: u64,
    /// Whether a background thread classifies and moves by the policy. Without it `reclassify` does on demand.
    pub background_moves: bool,
    /// How often free space is asked for.
    pub space_interval: Duration,
    /// One in so many accesses is sampled for heat.
    pub heat_sampling: u32,
}

impl EngineOptions {
    /// The defaults for these tiers, for a process that may use `memory_bytes`.
    #[must_use]
    pub fn new(tiers: Vec<TierSpec>, memory_bytes: u64) -> Self {
        Self {
            root: None,
            tiers,
            policy: Policy::default(),
            memory_bytes,
            row_cache_bytes: None,
            max_wal_bytes: (memory_bytes / 8).clamp(16 << 20, 512 << 20),
            background_moves: true,
            space_interval: Duration::from_secs(1),
            heat_sampling: 8,
        }
    }
}
