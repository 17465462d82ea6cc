//! Wiping a range: it leaves the store, from every tier. Restartable by the journal.

use rocksdb::WriteBatch;

use crate::engine::Inner;
use crate::environment::CrashPoint;
use crate::error::{EngineError, Result};
use crate::format::keys;
use crate::lease::RangeLease;
use crate::mover::journal::JournalEntry;
use crate::range::KeyRange;

impl Inner {
    /// Removes the leased range. Writers to it are refused meanwhile, and after a failure until the store opens next;
    /// readers see a part of it leave before the rest.
    pub(crate) fn wipe(&self, lease: &RangeLease) -> Result<()> {
        self.database.check()?;
        self.check_own(lease)?;
        let _operation = lease.begin_operation();
        let fence = self.fences.raise(&self.stripes, lease.range(), "wiped");
        let wiped = self.wipe_fenced(lease);
        if wiped.is_ok() {
            drop(fence);
            self.fences.lift(lease.range());
            // Bytes that a dropped range hides count as used: a node that gave its shards away would give away more and more.
            (0..self.database.tier_count()).try_for_each(|tier| self.compact(tier, lease.range()))
        } else {
            fence.stay();
            wiped
        }
    }

    /// Refuses the lease of another store: nobody here keeps out of its range.
    pub(super) fn check_own(&self, lease: &RangeLease) -> Result<()> {
        if lease.is_of(&self.leases) {
            return Ok(());
        }
        Err(EngineError::Invalid(format!(
            "the lease on {:?} is one of another store; take one from the store that is to change",
            lease.range()
        )))
    }

    fn wipe_fenced(&self, lease: &RangeLease) -> Result<()> {
        let range = lease.range();
        self.buffered.flush(&self.database)?;
        self.journal(lease.generation(), &JournalEntry::Wiping { range: range.clone() }, true)?;
        self.environment.pass(CrashPoint::WipeJournaled)?;
        // From the slowest up: a reader in between finds the newest record or none, never an older one (I2).
        for tier in (0..self.database.tier_count()).rev() {
            let _effect = lease.effect("wiping a tier")?;
            self.drop_range(tier, range)?;
            self.drop_files(tier, range)?;
            if tier + 1 == self.database.tier_count() {
                self.environment.pass(CrashPoint::WipeHalfDone)?;
            }
        }
        self.row_cache.renew(range);
        self.heat.forget(range);
        self.database.sync_wal()?;
        let mut batch = WriteBatch::default();
        self.close_journal(lease, &mut batch)?;
        self.database.write(&batch, &self.database.sync, "finish a wipe")
    }

    /// Gives back the files of a dropped range that hold nothing else, without reading them. What hides the range goes with them
    /// where it has been flushed already, so the range is dropped once more: files at its ends may hold older records of it.
    fn drop_files(&self, tier: usize, range: &KeyRange) -> Result<()> {
        let (start, end) = keys::bounds(range);
        let place = self.database.tier(tier);
        let dropped = self.database.raw().delete_file_in_range_cf(place, &start, &keys::before(&end));
        self.database.judge(dropped, "give back the files of a wiped range")?;
        self.drop_range(tier, range)
    }
}
