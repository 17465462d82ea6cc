//! Wiping a range: it leaves the store, from every tier. Restartable by the journal.

use crate::engine::Inner;
use crate::environment::CrashPoint;
use crate::error::Result;
use crate::lease::RangeLease;
use crate::mover::journal::JournalEntry;

impl Inner {
    /// Removes the leased range. Writers to it are refused meanwhile; readers see a part of it leave before the rest.
    pub(crate) fn wipe(&self, lease: &RangeLease) -> Result<()> {
        self.database.check()?;
        let range = lease.range();
        let _fence = self.fences.raise(&self.stripes, lease.generation(), range, "wiped");
        self.buffered.flush(&self.database)?;
        self.journal(lease.generation(), &JournalEntry::Wiping { range: range.clone() }, true)?;
        self.environment.pass(CrashPoint::WipeJournaled)?;
        // From the slowest up: a reader in between finds the newest record or none, never an older one (I2).
        for tier in (0..self.database.tier_count()).rev() {
            let _effect = lease.effect("wiping a tier")?;
            self.drop_range(tier, range)?;
            if tier + 1 == self.database.tier_count() {
                self.environment.pass(CrashPoint::WipeHalfDone)?;
            }
        }
        self.row_cache.renew(range, lease.generation());
        self.heat.forget(range);
        self.database.sync_wal()?;
        self.journal_done(lease.generation(), true)
    }
}
