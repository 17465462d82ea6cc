//! The report that `Engine::stats` gives.

use std::time::Duration;

use super::latency::LatencySummary;
use crate::mover::MoveReason;
use crate::tier::{Medium, TierId, TierSettings};

/// Whether the store serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// Reads and writes.
    Serving,
    /// Reads; writes are refused until space returns on the named device.
    ReadOnly {
        /// `tier NAME` or `log`.
        device: String,
    },
    /// Reads; writes are refused, since compactions of the fastest tier meet damaged blocks and it can take no more.
    Damaged {
        /// The damaged tier.
        tier: String,
        /// What RocksDB found, with the file.
        reason: String,
    },
    /// A write to storage failed: writes stay refused until the store is reopened.
    Failed {
        /// The first failure.
        reason: String,
    },
}

/// One tier in the report.
#[derive(Debug, Clone)]
pub struct TierReport {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: TierId,
    /// Its rank.
    pub rank: u32,
    /// Its medium.
    pub medium: Medium,
    /// What can change of it while the store is open.
    pub settings: TierSettings,
    /// The smaller of its size and what its file system has, in bytes.
    pub capacity_bytes: u64,
    /// Its files and write buffers, in bytes.
    pub used_bytes: u64,
    /// Keys and values before compression, estimated, in bytes.
    pub logical_bytes: u64,
    /// Keys, estimated.
    pub keys: u64,
    /// Reads it answered.
    pub reads: u64,
    /// Its part of the reads that reached a tier, 0 to 1.
    pub read_share: f64,
    /// How fast it answered.
    pub read_latency: LatencySummary,
    /// Logical over stored bytes; 0 while it has no files.
    pub compression_ratio: f64,
    /// Its device is under its reserve.
    pub under_reserve: bool,
    /// What its compactions could not read, with the file: it serves what it can and is no longer compacted there.
    pub damage: Option<String>,
}

/// Moves of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MoveTotal {
    /// From this tier.
    pub from: String,
    /// To this tier.
    pub to: String,
    /// Why.
    pub reason: MoveReason,
    /// How often.
    pub moves: u64,
    /// Records.
    pub records: u64,
    /// Bytes.
    pub bytes: u64,
}

/// Everything the engine counts.
#[derive(Debug, Clone)]
pub struct EngineStats {
    /// Whether it serves.
    pub health: Health,
    /// Its tiers, fastest first.
    pub tiers: Vec<TierReport>,
    /// Moves by kind.
    pub moves: Vec<MoveTotal>,
    /// Reads since it was opened.
    pub reads: u64,
    /// Puts.
    pub writes: u64,
    /// Deletes.
    pub deletes: u64,
    /// Scans.
    pub scans: u64,
    /// Writes refused for want of space.
    pub refused: u64,
    /// Latency of reads that the row cache did not answer.
    pub read_latency: LatencySummary,
    /// Latency of writes.
    pub write_latency: LatencySummary,
    /// Row cache hits.
    pub row_cache_hits: u64,
    /// Row cache misses.
    pub row_cache_misses: u64,
    /// Row cache use, in bytes.
    pub row_cache_used_bytes: u64,
    /// Row cache bound, in bytes.
    pub row_cache_capacity_bytes: u64,
    /// Block cache hits.
    pub block_cache_hits: u64,
    /// Block cache misses.
    pub block_cache_misses: u64,
    /// Block cache use, in bytes.
    pub block_cache_used_bytes: u64,
    /// Block cache bound, in bytes.
    pub block_cache_capacity_bytes: u64,
    /// Reads that a filter answered with "not here".
    pub filter_hits: u64,
    /// Reads that a filter let through for nothing.
    pub filter_misses: u64,
    /// Time writers were held up by RocksDB.
    pub stall: Duration,
    /// Times a column family asked for a slowdown or stop.
    pub stall_events: u64,
    /// Compactions that met blocks they could not read.
    pub corrupt_compactions: u64,
    /// Time the mover waited for its budget or its target.
    pub throttled: Duration,
    /// Bytes of the write-ahead log written.
    pub wal_bytes: u64,
    /// Bytes fetched ahead, and how many of them were used.
    pub prefetched_bytes: u64,
    /// See `prefetched_bytes`.
    pub prefetch_used_bytes: u64,
    /// Whether prefetching is on: it switches itself off under 60 % use.
    pub prefetch_enabled: bool,
    /// Memory of the heat tracker.
    pub heat_bytes: u64,
    /// The policy in force.
    pub policy_generation: u64,
    /// Moves under way.
    pub moves_running: u64,
    /// Since the last classification.
    pub last_classified: Option<Duration>,
}
