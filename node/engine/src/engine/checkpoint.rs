//! Checkpoints: a store of its own in a new folder, hard-linked where the file system allows.
//!
//! RocksDB puts a checkpoint's files into one folder; here they are sorted into a folder per tier again, so that the
//! result opens like any store: `FOLDER/root` and `FOLDER/tiers/NAME`.

use std::fs;
use std::path::Path;

use rocksdb::checkpoint::Checkpoint;
use rocksdb::{DB, Options};

use super::Inner;
use crate::error::{EngineError, IoContext, Result, RocksContext};
use crate::tier::identity::{self, FORMAT};
use crate::tier::{RootLayout, StoreIdentity, TierIdentity, TierLayout};

impl Inner {
    pub(crate) fn checkpoint(&self, folder: &Path) -> Result<()> {
        if folder.exists() {
            return Err(EngineError::Invalid(format!(
                "{} exists already; a checkpoint goes to a new folder",
                folder.display()
            )));
        }
        self.buffered.flush(&self.database)?;
        let root = RootLayout(folder.join("root"));
        identity::create_folder(&root.0)?;
        Checkpoint::new(self.database.raw())
            .and_then(|checkpoint| checkpoint.create_checkpoint(root.database()))
            .attempting("make a checkpoint")?;
        let tiers: Vec<TierIdentity> = self
            .tiers
            .iter()
            .map(|t| TierIdentity { path: folder.join("tiers").join(t.name()), ..t.identity.clone() })
            .collect();
        sort_files(&root, &tiers)?;
        let store =
            StoreIdentity { format: FORMAT, store: tiers.first().map_or(crate::tier::TierId(0), |t| t.store), tiers };
        for tier in &store.tiers {
            identity::write(&TierLayout(tier.path.clone()).identity(), tier)?;
        }
        identity::write(&root.identity(), &store)
    }
}

/// Moves each tier's files to its folder and the log to its own.
fn sort_files(root: &RootLayout, tiers: &[TierIdentity]) -> Result<()> {
    let database = root.database();
    let options = Options::default();
    let families = DB::list_cf(&options, &database).attempting("list the checkpoint's column families")?;
    let files = {
        let opened =
            DB::open_cf_for_read_only(&options, &database, families, false).attempting("look into the checkpoint")?;
        opened.live_files().attempting("list the checkpoint's files")?
    };
    for tier in tiers {
        let data = TierLayout(tier.path.clone()).data();
        identity::create_folder(&data)?;
        for file in files.iter().filter(|f| f.column_family_name == tier.column_family()) {
            let name = file.name.trim_start_matches('/');
            fs::rename(database.join(name), data.join(name)).on("sort a checkpoint's file into", &data)?;
        }
        identity::sync_folder(&data)?;
    }
    identity::create_folder(&root.wal())?;
    for entry in fs::read_dir(&database).on("list", &database)? {
        let path = entry.on("list", &database)?.path();
        if path.extension().is_some_and(|e| e == "log")
            && let Some(name) = path.file_name()
        {
            fs::rename(&path, root.wal().join(name)).on("sort a checkpoint's log into", &root.wal())?;
        }
    }
    identity::sync_folder(&root.wal())?;
    identity::sync_folder(&database)
}
