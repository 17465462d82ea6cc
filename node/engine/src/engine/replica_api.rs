//! The seam for replicas: what a replicated shard asks of its store.

use std::path::Path;

use bytes::Bytes;

use super::Engine;
use super::api::PATIENCE;
use crate::error::Result;
use crate::lease::{Holder, RangeLease};
use crate::options::Durability;
use crate::range::KeyRange;
use crate::replica::{ApplyBatch, ApplyEntry, CallerRecord, ExportManifest, LogicalHash};
use crate::write::batch::WriteOutcome;

impl Engine {
    /// Applies replicated entries and the caller's own records, atomically.
    ///
    /// # Errors
    /// When versions do not ascend, the range is fenced, or writes are refused.
    pub fn apply(&self, batch: &ApplyBatch, durability: Durability) -> Result<Vec<WriteOutcome>> {
        self.apply_with(&batch.entries, |_| batch.meta.clone(), durability)
    }

    /// As [`apply`](Self::apply), with records that depend on what came of the entries: `records` is called once, when that is
    /// known and nothing is written yet.
    ///
    /// # Errors
    /// As there.
    pub fn apply_with(
        &self,
        entries: &[ApplyEntry],
        records: impl FnOnce(&[WriteOutcome]) -> Vec<CallerRecord>,
        durability: Durability,
    ) -> Result<Vec<WriteOutcome>> {
        self.inner.apply(entries, records, durability)
    }

    /// One of the caller's own records.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn caller_meta(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.inner.caller_meta(key)
    }

    /// All of the caller's own records whose keys begin with `prefix`, in the order of their keys.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn caller_records(&self, prefix: &[u8]) -> Result<Vec<(Bytes, Bytes)>> {
        self.inner.caller_records(prefix)
    }

    /// Takes a range for a wipe or an install; the mover leaves it.
    ///
    /// # Errors
    /// When another range operation holds it.
    pub fn lease_range(&self, range: &KeyRange) -> Result<RangeLease> {
        self.inner.leases.acquire(&self.inner.database, range, Holder::RangeOperation, PATIENCE)
    }

    /// Removes the leased range from every tier.
    ///
    /// # Errors
    /// When the lease is another store's, or storage fails; the journal then finishes it when the store opens next.
    pub fn wipe(&self, lease: &RangeLease) -> Result<()> {
        self.inner.wipe(lease)
    }

    /// Writes what a range holds into a new folder: SST files of plain values with tier hints, and its heat.
    ///
    /// # Errors
    /// When the folder exists or cannot be written.
    pub fn export(&self, range: &KeyRange, folder: &Path) -> Result<ExportManifest> {
        self.inner.export(range, folder)
    }

    /// Replaces the leased range by an export, with the caller's records, atomically.
    ///
    /// # Errors
    /// When the lease is another store's, the export is damaged, or the range is a part of one whose wipe or install
    /// failed: nothing was changed then. When storage fails; the range is then empty once the store opens next.
    pub fn install(&self, lease: &RangeLease, folder: &Path, meta: &[CallerRecord]) -> Result<ExportManifest> {
        self.inner.install(lease, folder, meta)
    }

    /// The hash of what a range holds, whatever tier it is in.
    ///
    /// # Errors
    /// When a tier cannot be read.
    pub fn logical_hash(&self, range: &KeyRange) -> Result<LogicalHash> {
        self.inner.logical_hash(range)
    }

    /// The last version that survives a power loss for certain, as of the last [`sync`](Self::sync).
    #[must_use]
    pub fn synced_version(&self) -> u64 {
        self.inner.synced_version.load(std::sync::atomic::Ordering::SeqCst)
    }
}
