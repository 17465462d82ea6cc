//! Installing an export into a wiped range. Until it is whole the journal says so, and recovery wipes the range.

use std::fs;
use std::path::Path;

use bytes::Bytes;
use rocksdb::WriteBatch;
use xxhash_rust::xxh3::xxh3_64;

use super::export::read_manifest;
use super::manifest::{ExportFile, ExportManifest, HEAT_FILE};
use crate::engine::Inner;
use crate::environment::CrashPoint;
use crate::error::{EngineError, IoContext, Result};
use crate::format::meta;
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
        meta_records: &[(Bytes, Option<Bytes>)],
    ) -> Result<ExportManifest> {
        self.database.check()?;
        let manifest = read_manifest(folder)?;
        if !lease.covers(&manifest.range) {
            return Err(EngineError::Invalid(format!(
                "the export has {:?}, the lease covers {:?}",
                manifest.range,
                lease.range()
            )));
        }
        check_version(manifest.highest_version)?;
        for file in &manifest.files {
            verify(folder, file)?;
        }
        let fence = self.fences.raise(&self.stripes, lease.generation(), lease.range(), "installed");
        match self.install_fenced(lease, folder, &manifest, meta_records) {
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
        meta_records: &[(Bytes, Option<Bytes>)],
    ) -> Result<()> {
        let range = lease.range();
        self.buffered.flush(&self.database)?;
        self.journal(lease.generation(), &JournalEntry::Installing { range: range.clone() }, true)?;
        self.environment.pass(CrashPoint::InstallJournaled)?;
        for tier in (0..self.database.tier_count()).rev() {
            let _effect = lease.effect("clearing a range before an install")?;
            self.drop_range(tier, range)?;
        }
        self.row_cache.renew(range, lease.generation());
        for (number, file) in manifest.files.iter().enumerate() {
            let tier = self.tier_for_rank(file.rank);
            let incoming = self.incoming_file(tier, lease.generation());
            let source = folder.join(&file.name);
            fs::copy(&source, &incoming).on("copy an export file to its tier", &incoming)?;
            fs::File::open(&incoming).and_then(|f| f.sync_all()).on("sync", &incoming)?;
            self.tiers[tier].medium_write(&*self.environment.clock, file.bytes);
            self.ingest_synced(lease, tier, vec![incoming])?;
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
        for (key, value) in meta_records {
            match value {
                Some(value) => batch.put_cf(self.database.meta(), meta::caller(key), value),
                None => batch.delete_cf(self.database.meta(), meta::caller(key)),
            }
        }
        self.close_journal(lease, &mut batch)?;
        self.database.write(&batch, &self.database.sync, "finish an install")
    }

    /// The tier of a rank, or the nearest slower one, or the slowest.
    fn tier_for_rank(&self, rank: u32) -> usize {
        self.tiers.iter().position(|t| t.identity.rank >= rank).unwrap_or(self.tiers.len() - 1)
    }
}

fn verify(folder: &Path, file: &ExportFile) -> Result<()> {
    let path = folder.join(&file.name);
    let content = fs::read(&path).on("read an export file", &path)?;
    if xxh3_64(&content) == file.checksum {
        return Ok(());
    }
    Err(EngineError::Invalid(format!(
        "the export file {} is damaged: its checksum is not the manifest's; export it again",
        path.display()
    )))
}
