//! Exporting a range: SST files of plain values with tier hints, and the range's heat.

use std::fs;
use std::path::Path;

use rocksdb::SstFileWriter;
use xxhash_rust::xxh3::xxh3_64;

use super::hash::RangeHasher;
use super::manifest::{ExportFile, ExportManifest, FILE, FORMAT, HEAT_FILE};
use crate::engine::Inner;
use crate::error::{EngineError, IoContext, Result, RocksContext};
use crate::format::keys;
use crate::format::record::{self, RecordKind};
use crate::range::KeyRange;
use crate::read::scan::{Reach, Snapshot};
use crate::tier::identity;

/// A file of an export is closed after so many bytes, so that a transfer can resume by file.
const FILE_BYTES: u64 = 64 << 20;

/// The open file of one tier.
struct Open<'a> {
    writer: SstFileWriter<'a>,
    name: String,
    records: u64,
    bytes: u64,
}

impl Inner {
    /// Writes what the range holds at this moment into a new folder.
    pub(crate) fn export(&self, range: &KeyRange, folder: &Path) -> Result<ExportManifest> {
        self.export_at(&self.snapshot()?, range, folder)
    }

    /// Writes what the range held at the moment of a snapshot into a new folder.
    pub(crate) fn export_at(&self, snapshot: &Snapshot<'_>, range: &KeyRange, folder: &Path) -> Result<ExportManifest> {
        fs::create_dir(folder).on("create the export folder", folder)?;
        let mut merge = snapshot.merge(range, false, Reach::Whole);
        let tiers = self.database.tier_count();
        let mut open: Vec<Option<Open<'_>>> = (0..tiers).map(|_| None).collect();
        let (mut files, mut hasher) = (Vec::new(), RangeHasher::default());
        let (mut records, mut highest_version) = (0, 0);
        let mut buffer = Vec::new();
        while let Some(merged) = merge.next(true).map_err(|error| self.merge_error(error))? {
            if merged.kind == RecordKind::Tombstone {
                continue;
            }
            let key = keys::decode(&merged.data_key).unwrap_or(&merged.data_key);
            hasher.add(key, merged.version, &merged.payload);
            records += 1;
            highest_version = highest_version.max(merged.version);

            record::encode_into(RecordKind::Value, merged.version, &merged.payload, &mut buffer);
            let slot = &mut open[merged.tier];
            let file = match slot {
                Some(file) => file,
                None => slot.insert(self.begin_file(folder, merged.tier, files.len() + records as usize)?),
            };
            file.writer.put(&merged.data_key, &buffer).attempting("write an export file")?;
            file.records += 1;
            file.bytes += buffer.len() as u64;
            if file.bytes >= FILE_BYTES
                && let Some(full) = slot.take()
            {
                files.push(self.finish_file(folder, merged.tier, full)?);
            }
        }
        for (tier, slot) in open.into_iter().enumerate() {
            if let Some(file) = slot {
                files.push(self.finish_file(folder, tier, file)?);
            }
        }
        let heat = folder.join(HEAT_FILE);
        fs::write(&heat, self.heat.export(range)).on("write the heat of an export", &heat)?;
        let manifest = ExportManifest {
            format: FORMAT,
            range: range.clone(),
            files,
            logical_hash: hasher.finish(),
            highest_version,
        };
        identity::write(&folder.join(FILE), &manifest)?;
        Ok(manifest)
    }

    fn begin_file(&self, folder: &Path, tier: usize, number: usize) -> Result<Open<'_>> {
        let name = format!("{:04}-{number:012}.sst", self.tiers[tier].identity.rank);
        let mut writer = SstFileWriter::create(self.database.tier_options(tier));
        writer.open(folder.join(&name)).attempting("create an export file")?;
        Ok(Open { writer, name, records: 0, bytes: 0 })
    }

    fn finish_file(&self, folder: &Path, tier: usize, mut file: Open<'_>) -> Result<ExportFile> {
        file.writer.finish().attempting("sync an export file")?;
        let path = folder.join(&file.name);
        let content = fs::read(&path).on("read back an export file", &path)?;
        Ok(ExportFile {
            name: file.name,
            rank: self.tiers[tier].identity.rank,
            records: file.records,
            bytes: content.len() as u64,
            checksum: xxh3_64(&content),
        })
    }
}

/// Reads an export's manifest.
pub(super) fn read_manifest(folder: &Path) -> Result<ExportManifest> {
    let manifest: Option<ExportManifest> = identity::read(&folder.join(FILE))?;
    let manifest = manifest
        .ok_or_else(|| EngineError::Invalid(format!("{} has no {FILE}: it is no finished export", folder.display())))?;
    if manifest.format != FORMAT {
        return Err(EngineError::Invalid(format!(
            "the export has format {}, this version reads {FORMAT}",
            manifest.format
        )));
    }
    Ok(manifest)
}
