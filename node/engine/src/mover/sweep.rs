//! Tombstones of a tier that has become the last one.
//!
//! They were moved there while a slower tier stood below; that one was emptied and taken away, and nothing would ever
//! move them on. `meta` names the last tier that is known to have none: where it is another one now, the tier is read
//! once beside everything else, and what hides nothing any more is deleted, a few keys at a time under a lease of their
//! range. A crash, or a range that somebody else holds, only delays it.

use std::time::Duration;

use rocksdb::WriteBatch;

use super::chunk::Candidate;
use super::{Cancel, Interrupts};
use crate::engine::Inner;
use crate::error::{EngineError, Result, chain};
use crate::format::record::{self, RecordKind};
use crate::format::{keys, meta};
use crate::lease::{Holder, RangeLease};
use crate::range::KeyRange;
use crate::rocks::Database;
use crate::tier::TierId;

/// Tombstones deleted under one lease.
const GROUP: usize = 256;
/// Records read at a time: what is waited for when the store closes.
const MAX_RECORDS: usize = 16 << 10;
/// ... or bytes.
const MAX_BYTES: u64 = 8 << 20;
/// How long the sweep waits for a range that somebody else holds before it looks whether the store closes.
const PATIENCE: Duration = Duration::from_millis(100);

/// A part of the tier that was read.
struct Part {
    tombstones: Vec<Candidate>,
    bytes: u64,
    rest: Option<KeyRange>,
}

/// Runs until the last tier has no tombstones left over, or the store closes.
pub(crate) fn run_sweep(inner: &Inner) {
    match inner.sweep_last_tier() {
        Ok(0) => {}
        Ok(removed) => tracing::info!(removed, "tombstones that hide nothing are gone from the last tier"),
        Err(_) if inner.is_closing() => {}
        Err(error) => {
            tracing::warn!(error = %chain(&error), "tombstones stay in the last tier until the store opens next");
        }
    }
}

/// Forgets that a tier has no tombstones when it is not the last one any more: they move there again, whatever threads
/// run, and it may become the last one again. Before the first move.
pub(crate) fn forget_swept(database: &Database, last: TierId) -> Result<()> {
    match database.get_meta(meta::SWEPT_TIER)? {
        Some(swept) if swept != last.0.to_be_bytes() => database.delete_meta(meta::SWEPT_TIER, true),
        _ => Ok(()),
    }
}

impl Inner {
    /// Deletes the tombstones of a last tier that has become it since they were moved there; returns how many.
    pub(crate) fn sweep_last_tier(&self) -> Result<u64> {
        let last = self.database.tier_count() - 1;
        let id = self.tiers[last].id().0.to_be_bytes();
        if self.database.get_meta(meta::SWEPT_TIER)?.as_deref() == Some(&id) {
            return Ok(0);
        }
        let cancel = Cancel::default();
        let interrupts = Interrupts { cancel: &cancel, lease: None };
        let (mut removed, mut rest) = (0, Some(KeyRange::all()));
        while let Some(range) = rest {
            self.check_interrupts(&interrupts)?;
            let part = self.tombstones(last, &range)?;
            self.throttle(last, part.bytes, self.policy_pace(), &interrupts)?;
            for group in part.tombstones.chunks(GROUP) {
                removed += self.remove_when_free(last, group)?;
            }
            rest = part.rest;
        }
        // Synced, and with it the deletes before it.
        self.database.put_meta(meta::SWEPT_TIER, &id, true)?;
        Ok(removed)
    }

    /// The tombstones at the start of a range.
    fn tombstones(&self, tier: usize, range: &KeyRange) -> Result<Part> {
        let mut iterator = self.passing(tier, range);
        let mut part = Part { tombstones: Vec::new(), bytes: 0, rest: None };
        let mut records = 0;
        while let (Some(data_key), Some(value)) = (iterator.key(), iterator.value()) {
            let user_key = keys::decode(data_key).unwrap_or(data_key);
            if records == MAX_RECORDS || part.bytes >= MAX_BYTES {
                part.rest = Some(range.from_key(user_key));
                break;
            }
            records += 1;
            part.bytes += (data_key.len() + value.len()) as u64;
            let found = record::decode(value).map_err(|e| self.corrupt(tier, user_key, e.to_string()))?;
            if found.kind == RecordKind::Tombstone {
                let (kind, version) = (found.kind, found.version);
                part.tombstones.push(Candidate { data_key: data_key.to_vec(), kind, version, payload: Vec::new() });
            }
            iterator.next();
        }
        iterator.status().map_err(|error| self.read_error(tier, range.start(), error))?;
        Ok(part)
    }

    /// Deletes tombstones once nobody else holds their range.
    fn remove_when_free(&self, tier: usize, tombstones: &[Candidate]) -> Result<u64> {
        let (Some(first), Some(last)) = (tombstones.first(), tombstones.last()) else {
            return Ok(0);
        };
        let after = KeyRange::single(last.user_key());
        let range = KeyRange::all().from_key(first.user_key()).until_key(after.end().unwrap_or_default());
        loop {
            self.check_open()?;
            let lease = self.leases.acquire(&self.database, &range, Holder::Mover, PATIENCE);
            match lease.and_then(|lease| self.remove_tombstones(&lease, tier, tombstones)) {
                Err(EngineError::RangeHeld { .. } | EngineError::LeaseLost { .. }) => {}
                removed => return removed,
            }
        }
    }

    fn remove_tombstones(&self, lease: &RangeLease, tier: usize, tombstones: &[Candidate]) -> Result<u64> {
        if tier == 0 {
            // The only tier: users write it, so the stripes are what decides.
            let mut removed = 0;
            return self.drop_by_version(lease, tombstones, &mut removed).map(|()| removed);
        }
        let _effect = lease.effect("deleting tombstones from the last tier")?;
        let (mut batch, mut removed) = (WriteBatch::default(), 0);
        for tombstone in tombstones {
            // A value may have been moved over it since it was read.
            if self.header_in_tier(tier, &tombstone.data_key)? == Some((tombstone.kind, tombstone.version)) {
                batch.delete_cf(self.database.tier(tier), &tombstone.data_key);
                removed += 1;
            }
        }
        self.database.write(&batch, &self.database.low_priority, "delete tombstones from the last tier")?;
        Ok(removed)
    }
}
