//! Installing an export into a wiped range. Until it is whole the journal says so, and recovery wipes the range.

use std::fs;
use std::path::Path;

use rocksdb::WriteBatch;

use super::apply::CallerRecord;
use super::export::read_manifest;
use super::manifest::{ExportManifest, HEAT_FILE};
use super::stage::Staged;
use crate::engine::Inner;
use crate::environment::CrashPoint;
use crate::error::{EngineError, Result};
use crate::lease::RangeLease;
use crate::mover::journal::JournalEntry;
use crate::write::versions::check_version;

impl Inner {
    /// Brings an export into the leased range, which it replaces, with the caller's records, atomically: after a crash
    /// either everything is there or the range is empty and the caller's records are the old ones.
    pub(crate) fn install(
        &self,
        lease: &RangeLease,
        folder: &Path,
        meta_records: &[CallerRecord],
    ) -> Result<ExportManifest> {
        self.database.check()?;
        self.check_own(lease)?;
        let manifest = read_manifest(folder)?;
        if !lease.covers(&manifest.range) {
            return Err(EngineError::Invalid(format!(
                "the export has {:?}, the lease covers {:?}",
                manifest.range,
                lease.range()
            )));
        }
        check_version(manifest.highest_version)?;
        let staged = self.stage_export(lease, folder, &manifest)?;
        let _operation = lease.begin_operation();
        self.fences.admit(lease.range(), true)?;
        let fence = self.fences.raise(&self.stripes, lease.range(), "installed");
        match self.install_fenced(lease, folder, &manifest, staged, meta_records) {
            Ok(()) => {
                drop(fence);
                self.fences.lift(lease.range());
                Ok(manifest)
            }
            Err(error) => {
                fence.stay();
                Err(error)
            }
        }
    }

    fn install_fenced(
        &self,
        lease: &RangeLease,
        folder: &Path,
        manifest: &ExportManifest,
        staged: Vec<Staged>,
        meta_records: &[CallerRecord],
    ) -> Result<()> {
        let range = lease.range();
        self.buffered.flush(&self.database)?;
        self.journal(lease.generation(), &JournalEntry::Installing { range: range.clone() }, true)?;
        self.environment.pass(CrashPoint::InstallJournaled)?;
        for tier in (0..self.database.tier_count()).rev() {
            let _effect = lease.effect("clearing a range before an install")?;
            self.drop_range(tier, range)?;
        }
        self.row_cache.renew(range);
        self.loads.note_range(range, manifest.highest_version);
        for (number, file) in staged.into_iter().enumerate() {
            self.ingest_synced(lease, file.tier, vec![file.path.clone()])?;
            if number == 0 {
                self.environment.pass(CrashPoint::InstallHalfDone)?;
            }
        }
        let heat = folder.join(HEAT_FILE);
        if let Ok(digest) = fs::read(&heat) {
            self.heat.import(&digest);
        }
        self.versions.observe(&self.database, manifest.highest_version)?;
        let mut batch = WriteBatch::default();
        self.stage_records(&mut batch, meta_records);
        self.close_journal(lease, &mut batch)?;
        self.database.write(&batch, &self.database.sync, "finish an install")
    }
}
