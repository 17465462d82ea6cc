//! Staging an export: its files are copied to the devices of their tiers and looked through before anything is touched.
//!
//! What is checked is the copy that is ingested. Its checksum is the manifest's, every key lies in the manifest's range,
//! and every record is a value of a version that the manifest admits: a file that broke one of these would overwrite
//! records beside the range, or hide later writes below higher versions.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_64;

use super::manifest::{ExportFile, ExportManifest};
use crate::engine::Inner;
use crate::error::{EngineError, IoContext, Result, printable_key};
use crate::format::keys;
use crate::format::record::{self, RecordKind};
use crate::lease::RangeLease;
use crate::rocks::TableFile;

/// A checked file on its tier's device, removed when dropped. Ingested, it has left this name.
pub(super) struct Staged {
    pub(super) tier: usize,
    pub(super) path: PathBuf,
}

impl Drop for Staged {
    fn drop(&mut self) {
        // What is left goes when the store opens next.
        let _ = fs::remove_file(&self.path);
    }
}

impl Inner {
    /// Brings the files of an export to their tiers.
    pub(super) fn stage_export(
        &self,
        lease: &RangeLease,
        folder: &Path,
        manifest: &ExportManifest,
    ) -> Result<Vec<Staged>> {
        self.admit_export(folder, manifest)?;
        manifest.files.iter().map(|file| self.stage_file(lease, folder, manifest, file)).collect()
    }

    /// Refuses an export for which a tier has no room: all of it stands beside the old range until that is dropped.
    fn admit_export(&self, folder: &Path, manifest: &ExportManifest) -> Result<()> {
        let mut needed = vec![0_u64; self.tiers.len()];
        for file in &manifest.files {
            // What is copied counts, whatever the manifest says.
            let source = source(folder, file)?;
            let bytes = fs::metadata(&source).on("look at the export file", &source)?.len();
            let tier = &mut needed[self.tier_for_rank(file.rank)];
            *tier = tier.saturating_add(bytes);
        }
        self.refresh_space();
        let mut tiers = needed.into_iter().enumerate().filter(|(_, bytes)| *bytes > 0);
        tiers.try_for_each(|(tier, bytes)| self.space.admit_files(tier, bytes))
    }

    fn stage_file(
        &self,
        lease: &RangeLease,
        folder: &Path,
        manifest: &ExportManifest,
        file: &ExportFile,
    ) -> Result<Staged> {
        let source = source(folder, file)?;
        let tier = self.tier_for_rank(file.rank);
        let staged = Staged { tier, path: self.incoming_file(tier, lease.generation()) };
        fs::copy(&source, &staged.path).on("copy an export file to its tier", &staged.path)?;
        fs::File::open(&staged.path).and_then(|f| f.sync_all()).on("sync", &staged.path)?;
        self.tiers[tier].medium_write(&*self.environment.clock, file.bytes);
        let content = fs::read(&staged.path).on("read an export file", &staged.path)?;
        if xxh3_64(&content) != file.checksum {
            return Err(EngineError::Invalid(format!(
                "the export file {} is damaged: its checksum is not the manifest's; export it again",
                source.display()
            )));
        }
        drop(content);
        look_through(&staged.path, manifest, file).map_err(|error| match error {
            Unfit::Is(what) => EngineError::Invalid(format!(
                "the export file {} {what}; nothing was installed, export it again",
                source.display()
            )),
            Unfit::Unknown(error) => error,
        })?;
        Ok(staged)
    }

    /// The tier of a rank, or the nearest slower one, or the slowest.
    fn tier_for_rank(&self, rank: u32) -> usize {
        self.tiers.iter().position(|t| t.identity.rank >= rank).unwrap_or(self.tiers.len() - 1)
    }
}

/// Where a file of an export is.
fn source(folder: &Path, file: &ExportFile) -> Result<PathBuf> {
    if Path::new(&file.name).file_name() != Some(OsStr::new(&file.name)) {
        return Err(EngineError::Invalid(format!("the export names the file {:?} outside its folder", file.name)));
    }
    Ok(folder.join(&file.name))
}

/// Why a file is not installed.
enum Unfit {
    /// What is wrong with it.
    Is(String),
    /// It could not be read.
    Unknown(EngineError),
}

impl From<EngineError> for Unfit {
    fn from(error: EngineError) -> Self {
        Self::Unknown(error)
    }
}

fn look_through(path: &Path, manifest: &ExportManifest, file: &ExportFile) -> std::result::Result<(), Unfit> {
    let table = TableFile::open(path, path.with_extension("look"))?;
    let (start, end) = keys::bounds(&manifest.range);
    let outside = |data_key: &[u8]| {
        let key = printable_key(keys::decode(data_key).unwrap_or(data_key));
        Unfit::Is(format!("has key {key}, outside of the export's range {:?}", manifest.range))
    };
    let mut entries = 0;
    if let Some(facts) = table.facts()? {
        entries = facts.entries;
        for key in [&facts.first, &facts.last] {
            // The end of a range deletion is not deleted by it, so it may be the range's end.
            if *key < start || *key > end {
                return Err(outside(key));
            }
        }
    }
    let mut unfit = None;
    let records = table.records(|data_key, bytes| {
        if unfit.is_none() {
            unfit = if data_key < start.as_slice() || data_key >= end.as_slice() {
                Some(outside(data_key))
            } else {
                check_record(data_key, bytes, manifest.highest_version).err()
            };
        }
    })?;
    if let Some(unfit) = unfit {
        return Err(unfit);
    }
    if records != file.records || records != entries {
        return Err(Unfit::Is(format!(
            "has {records} records among {entries} entries, the manifest says {} and nothing else",
            file.records
        )));
    }
    Ok(())
}

fn check_record(data_key: &[u8], bytes: &[u8], highest_version: u64) -> std::result::Result<(), Unfit> {
    let key = || printable_key(keys::decode(data_key).unwrap_or(data_key));
    let record =
        record::decode(bytes).map_err(|error| Unfit::Is(format!("has a bad record of key {}: {error}", key())))?;
    if record.kind != RecordKind::Value {
        return Err(Unfit::Is(format!("has a record of key {} that is no plain value", key())));
    }
    if record.version > highest_version {
        return Err(Unfit::Is(format!(
            "has version {} of key {}, the manifest says at most {highest_version}",
            record.version,
            key()
        )));
    }
    Ok(())
}
