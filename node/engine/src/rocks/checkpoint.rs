//! Copying the open database into a new one, hard-linked where the file system allows.
//!
//! RocksDB's own checkpoint refuses column families with paths of their own, and its export looks for their files in the
//! wrong folder; linking them ourselves and importing them works.

use std::fs;
use std::path::{Path, PathBuf};

use rocksdb::{
    ColumnFamilyDescriptor, DB, ExportImportFilesMetaData, ImportColumnFamilyOptions, IteratorMode, LiveFile, Options,
};

use super::database::{Database, META, TierHandle};
use super::tuning;
use crate::environment::{CrashPoint, Environment};
use crate::error::{IoContext, Result, RocksContext};
use crate::tier::identity;

/// The files of one column family, exported.
pub(crate) struct Exported {
    files: ExportImportFilesMetaData,
    folder: PathBuf,
}

/// The files of one column family at one moment. RocksDB deletes none of them until this is dropped.
pub(crate) struct Kept<'a> {
    database: &'a Database,
    files: Vec<LiveFile>,
}

impl Drop for Kept<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.database.raw().enable_file_deletions() {
            tracing::error!(%error, "files that nothing uses stay until the store is reopened");
        }
    }
}

impl Database {
    /// Flushes a tier and keeps its files as they are now. Short: the caller may hold up writers meanwhile.
    pub(crate) fn keep_tier(&self, tier: usize) -> Result<Kept<'_>> {
        self.raw().disable_file_deletions().attempting("keep files for a checkpoint")?;
        let mut kept = Kept { database: self, files: Vec::new() };
        let flushed = self.raw().flush_cf(self.tier(tier));
        self.judge(flushed, "flush a tier for a checkpoint")?;
        let name = self.tier_name(tier);
        kept.files = self.raw().live_files().attempting("list a tier's files")?;
        kept.files.retain(|file| file.column_family_name == name);
        Ok(kept)
    }
}

impl Kept<'_> {
    /// Links the files into a new folder; to another file system it copies them.
    pub(crate) fn export(mut self, folder: PathBuf, environment: &Environment) -> Result<Exported> {
        environment.pass(CrashPoint::CheckpointCopying)?;
        fs::create_dir_all(&folder).on("create the export folder", &folder)?;
        self.link_files(&folder)?;
        let mut files = ExportImportFilesMetaData::default();
        // RocksDB's name of the byte order, the only one we use.
        files.set_db_comparator_name("leveldb.BytewiseComparator");
        files.set_files(&self.files).attempting("describe the files of a checkpoint")?;
        Ok(Exported { files, folder })
    }

    fn link_files(&mut self, folder: &Path) -> Result<()> {
        for file in &mut self.files {
            let source = Path::new(&file.directory).join(file.name.trim_start_matches('/'));
            let target = folder.join(file.name.trim_start_matches('/'));
            // Another file system cannot be linked to.
            if fs::hard_link(&source, &target).is_err() {
                fs::copy(&source, &target).on("copy a checkpoint's file to", &target)?;
                fs::File::open(&target).and_then(|f| f.sync_all()).on("sync", &target)?;
            }
            file.directory = folder.to_string_lossy().into_owned();
        }
        Ok(())
    }
}

impl Database {
    /// The records of `meta`: few and small.
    pub(crate) fn meta_records(&self) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let iterator = self.raw().iterator_cf(self.meta(), IteratorMode::Start);
        let records: std::result::Result<Vec<_>, _> = iterator.map(|r| r.map(|(k, v)| (k.into(), v.into()))).collect();
        records.attempting("read meta")
    }

    /// Makes a database of exported tiers and these records of `meta`.
    pub(crate) fn assemble(
        &self,
        database: &Path,
        wal: &Path,
        tiers: Vec<(TierHandle, Exported)>,
        meta: &[(Vec<u8>, Vec<u8>)],
    ) -> Result<()> {
        let mut options = Options::default();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        options.set_wal_dir(wal);
        let families = ["default", META].map(|name| ColumnFamilyDescriptor::new(name, tuning::meta()));
        let mut db = DB::open_cf_descriptors(&options, database, families).attempting("create the copy's database")?;
        for (index, (handle, exported)) in tiers.into_iter().enumerate() {
            let TierHandle { column_family, data, profile } = handle;
            let column = tuning::tier(&profile, index == 0, &data, self.cache())?;
            let mut import = ImportColumnFamilyOptions::default();
            import.set_move_files(true);
            if exported.files.get_files().is_empty() {
                db.create_cf(&column_family, &column).attempting("create a tier of the copy")?;
            } else {
                db.create_column_family_with_import(&column, &column_family, &import, &exported.files)
                    .attempting("import a tier into the copy")?;
            }
            // RocksDB syncs its own folder, not the tier's: the names must be durable before the checkpoint says it is whole.
            identity::sync_folder(&data)?;
            // Moved files were linked: the export folder has nothing of its own.
            let _ = std::fs::remove_dir_all(&exported.folder);
        }
        for (key, value) in meta {
            let Some(family) = db.cf_handle(META) else { continue };
            db.put_cf(family, key, value).attempting("write the copy's meta")?;
        }
        db.flush_wal(true).attempting("sync the copy")
    }
}
