//! What the log store counts.

use std::sync::Arc;

use hdrhistogram::Histogram;

use super::error::StorageFailure;

/// Counters since opening, and what there is now.
#[derive(Debug, Clone)]
pub struct LogStats {
    /// Groups there are.
    pub groups: usize,
    /// Entries there are, in all groups.
    pub entries: u64,
    /// Bytes of recent entries in memory.
    pub tail_bytes: usize,
    /// Requests that wait for the writer.
    pub queued_requests: usize,
    /// Bytes that wait for the writer.
    pub queued_bytes: usize,
    /// Bytes of the write-ahead log on disk.
    pub wal_bytes: u64,
    /// Bytes of table files on disk.
    pub table_bytes: u64,
    /// Requests made durable since opening.
    pub requests: u64,
    /// Entries appended since opening.
    pub appended_entries: u64,
    /// Bytes of entries appended since opening.
    pub appended_bytes: u64,
    /// Batches written since opening.
    pub batches: u64,
    /// Syncs of the write-ahead log since opening, as RocksDB counts them.
    pub fsyncs: u64,
    /// How many entries a synced batch had.
    pub entries_per_fsync: EntriesPerSync,
    /// The storage failure that stopped the store, if one did.
    pub failure: Option<Arc<StorageFailure>>,
}

/// The distribution of entries over the batches that had any.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EntriesPerSync {
    /// Batches with entries.
    pub count: u64,
    /// Mean.
    pub mean: f64,
    /// Median.
    pub p50: u64,
    /// 99th percentile.
    pub p99: u64,
    /// Most.
    pub max: u64,
}

/// What the writer counts.
#[derive(Debug)]
pub(super) struct Counters {
    pub(super) requests: u64,
    pub(super) entries: u64,
    pub(super) bytes: u64,
    pub(super) batches: u64,
    per_sync: Option<Histogram<u64>>,
}

impl Default for Counters {
    fn default() -> Self {
        // Two digits over 1 to 1 Mi entries take 40 KiB; larger batches count as 1 Mi. The bounds are valid, so this is `Some`.
        let per_sync = Histogram::new_with_bounds(1, 1 << 20, 2).ok();
        Self { requests: 0, entries: 0, bytes: 0, batches: 0, per_sync }
    }
}

impl Counters {
    /// Counts a written batch.
    pub(super) fn batch(&mut self, requests: u64, entries: u64, bytes: u64) {
        self.batches += 1;
        self.requests += requests;
        self.entries += entries;
        self.bytes += bytes;
        if let Some(histogram) = self.per_sync.as_mut().filter(|_| entries > 0) {
            histogram.saturating_record(entries);
        }
    }

    /// The distribution so far.
    pub(super) fn entries_per_sync(&self) -> EntriesPerSync {
        self.per_sync.as_ref().map_or(EntriesPerSync { count: 0, mean: 0.0, p50: 0, p99: 0, max: 0 }, |histogram| {
            EntriesPerSync {
                count: histogram.len(),
                mean: histogram.mean(),
                p50: histogram.value_at_quantile(0.5),
                p99: histogram.value_at_quantile(0.99),
                max: histogram.max(),
            }
        })
    }
}
