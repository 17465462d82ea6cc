//! Scans: one snapshot, an iterator per tier, a merge (rule 6 of docs/architecture.md).
//!
//! A snapshot pins versions that compaction would drop, so its life is bounded: a scan that outlives it answers
//! [`EngineError::ScanExpired`] and is resumed from the last key.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rocksdb::{ReadOptions, SnapshotWithThreadMode};

use super::merge::{MergeError, Merged, TierMerge};
use super::point::Record;
use crate::engine::Inner;
use crate::error::{EngineError, Result};
use crate::format::keys;
use crate::format::record::{RecordKind, RecordRef, decode};
use crate::guard::Guard;
use crate::limits::READAHEAD_BYTES;
use crate::mover::Cancel;
use crate::range::KeyRange;
use crate::replica::{ExportManifest, LogicalHash};

/// How a scan goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScanOptions {
    /// From the end of the range to its start.
    pub reverse: bool,
    /// At most so many records.
    pub limit: Option<u64>,
    /// Leave values empty.
    pub keys_only: bool,
    /// After so long the scan ends with [`EngineError::ScanExpired`].
    pub max_lifetime: Duration,
}

impl Default for ScanOptions {
    fn default() -> Self {
        Self { reverse: false, limit: None, keys_only: false, max_lifetime: Duration::from_secs(300) }
    }
}

/// How far a merge goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// As far as its user wants, mostly not far: readahead begins after some blocks in a row and grows from there.
    Scan,
    /// A few records that are not to stay in the cache.
    Few,
    /// To the end of the range: the slowest tier is read in large pieces from the start.
    Whole,
}

/// The store as it was at one moment.
pub struct Snapshot<'a> {
    inner: &'a Inner,
    snapshot: SnapshotWithThreadMode<'a, rocksdb::DB>,
    taken: Duration,
}

/// Records of a range in order.
pub struct Scan<'a> {
    inner: &'a Inner,
    merge: TierMerge<'a>,
    options: ScanOptions,
    left: u64,
    deadline: Duration,
    cancel: Option<Arc<Cancel>>,
    ended: bool,
}

impl Inner {
    /// The store as it is now, buffered writes included.
    pub(crate) fn snapshot(&self) -> Result<Snapshot<'_>> {
        self.buffered.flush(&self.database)?;
        Ok(Snapshot {
            inner: self,
            snapshot: self.database.raw().snapshot(),
            taken: self.environment.clock.monotonic(),
        })
    }

    pub(crate) fn merge_error(&self, error: MergeError) -> EngineError {
        match error {
            MergeError::Rocks { tier, near, source } => {
                self.read_error(tier, keys::decode(&near).unwrap_or(&near), source)
            }
            MergeError::Record { tier, data_key, source } => {
                let key = keys::decode(&data_key).unwrap_or(&data_key);
                self.corrupt(tier, key, source.to_string())
            }
        }
    }
}

impl<'a> Snapshot<'a> {
    /// Reads one key as it was.
    ///
    /// # Errors
    /// When its tier cannot be read.
    pub fn get(&self, key: &[u8]) -> Result<Option<Record>> {
        let data_key = keys::encode(key);
        for tier in 0..self.inner.database.tier_count() {
            let found = self
                .snapshot
                .get_pinned_cf(self.inner.database.tier(tier), &data_key)
                .map_err(|error| self.inner.read_error(tier, key, error))?;
            if let Some(bytes) = found {
                let RecordRef { kind, version, payload } =
                    decode(&bytes).map_err(|error| self.inner.corrupt(tier, key, error.to_string()))?;
                return Ok((kind != RecordKind::Tombstone)
                    .then(|| Record { value: Bytes::copy_from_slice(payload).into(), version }));
            }
        }
        Ok(None)
    }

    /// The records of a range as they were.
    #[must_use]
    pub fn scan(&self, range: &KeyRange, options: ScanOptions) -> Scan<'_> {
        self.inner.stats.scanned();
        Scan {
            inner: self.inner,
            merge: self.merge(range, options.reverse, Reach::Scan),
            left: options.limit.unwrap_or(u64::MAX),
            deadline: self.taken.saturating_add(options.max_lifetime),
            options,
            cancel: None,
            ended: false,
        }
    }

    /// The caller's own records whose keys begin with `prefix`, as they were, in the order of their keys.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn caller_records(&self, prefix: &[u8]) -> Result<Vec<(Bytes, Bytes)>> {
        let records = self.snapshot.raw_iterator_cf(self.inner.database.meta());
        crate::replica::caller_records(records, prefix)
    }

    /// Writes what the range held into a new folder, as [`Engine::export`](crate::Engine::export) does.
    ///
    /// # Errors
    /// When the folder exists or cannot be written.
    pub fn export(&self, range: &KeyRange, folder: &Path) -> Result<ExportManifest> {
        self.inner.export_at(self, range, folder)
    }

    /// The hash of what the range held, as [`Engine::logical_hash`](crate::Engine::logical_hash).
    ///
    /// # Errors
    /// When a tier cannot be read.
    pub fn logical_hash(&self, range: &KeyRange) -> Result<LogicalHash> {
        self.inner.logical_hash_at(self, range)
    }

    /// The merged view of a range, tombstones included.
    pub(crate) fn merge(&self, range: &KeyRange, reverse: bool, reach: Reach) -> TierMerge<'_> {
        let tiers = self.inner.database.tier_count();
        let iterators = (0..tiers).map(|tier| {
            let mut read = ReadOptions::default();
            let (start, end) = keys::bounds(range);
            read.set_iterate_lower_bound(start);
            read.set_iterate_upper_bound(end);
            // Cold blocks would push hot ones out of the one cache.
            read.fill_cache(reach == Reach::Scan && tier == 0);
            if reach == Reach::Whole && tier + 1 == tiers && tiers > 1 {
                read.set_readahead_size(READAHEAD_BYTES);
            } else {
                // What was learned of one file is used in the next.
                read.set_adaptive_readahead(true);
            }
            if Guard::ScanSnapshot.on() {
                self.snapshot.raw_iterator_cf_opt(self.inner.database.tier(tier), read)
            } else {
                self.inner.database.raw().raw_iterator_cf_opt(self.inner.database.tier(tier), read)
            }
        });
        TierMerge::new(iterators.collect(), reverse)
    }
}

impl Scan<'_> {
    /// Ends the scan with [`EngineError::Cancelled`] once this is asked for, also between two records far apart.
    #[must_use]
    pub fn cancelled_by(mut self, cancel: Arc<Cancel>) -> Self {
        self.cancel = Some(cancel);
        self
    }

    /// Fails where the scan must not go on.
    fn check(&self) -> Result<()> {
        if let Some(cancel) = &self.cancel {
            cancel.check()?;
        }
        if self.inner.environment.clock.monotonic() > self.deadline {
            return Err(EngineError::ScanExpired);
        }
        Ok(())
    }
}

impl Iterator for Scan<'_> {
    type Item = Result<(Bytes, Record)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended || self.left == 0 {
            return None;
        }
        loop {
            if let Err(error) = self.check() {
                self.ended = true;
                return Some(Err(error));
            }
            match self.merge.next(!self.options.keys_only) {
                Ok(None) => {
                    self.ended = true;
                    return None;
                }
                Ok(Some(merged)) if merged.kind == RecordKind::Tombstone => {}
                Ok(Some(Merged { data_key, version, payload, tier, kind: _ })) => {
                    self.left -= 1;
                    let key = Bytes::copy_from_slice(keys::decode(&data_key).unwrap_or(&data_key));
                    self.inner.heat.record_scanned(&key, payload.len(), tier);
                    let value = Bytes::from(payload);
                    return Some(Ok((key, Record { value: value.into(), version })));
                }
                Err(error) => {
                    self.ended = true;
                    return Some(Err(self.inner.merge_error(error)));
                }
            }
        }
    }
}
