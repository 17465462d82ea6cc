//! Identity files: what store a folder belongs to.
//!
//! Written once, whole or not at all: a temporary file, fsync, rename, fsync of the folder.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{Medium, TierId};
use crate::error::{EngineError, IoContext, Result};

/// The version of the layout on disk.
pub(crate) const FORMAT: u32 = 1;

/// `ROOT/store.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoreIdentity {
    pub(crate) format: u32,
    /// Random; the same in every tier's identity file.
    pub(crate) store: TierId,
    pub(crate) tiers: Vec<TierIdentity>,
}

/// One tier in `ROOT/store.json`, and `TIER/tier.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TierIdentity {
    pub(crate) format: u32,
    pub(crate) store: TierId,
    pub(crate) id: TierId,
    pub(crate) name: String,
    pub(crate) rank: u32,
    pub(crate) medium: Medium,
    pub(crate) path: PathBuf,
}

impl TierIdentity {
    /// The name of its column family: by id, so that renames and new ranks cost nothing.
    pub(crate) fn column_family(&self) -> String {
        format!("tier-{}", self.id)
    }
}

/// Reads an identity; `None` where there is none.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).on("read the identity file", path),
    };
    serde_json::from_slice(&bytes).map(Some).map_err(|error| {
        EngineError::Invalid(format!(
            "the identity file {} is damaged ({error}); restore it from store.json of the store's root folder",
            path.display()
        ))
    })
}

/// Writes an identity so that after a power loss either the old or the new one is there.
pub(crate) fn write<T: Serialize>(path: &Path, identity: &T) -> Result<()> {
    let bytes = serde_json::to_vec_pretty(identity)
        .map_err(|error| EngineError::Invalid(format!("encode an identity: {error}")))?;
    replace(path, &bytes)
}

/// Writes a file so that after a power loss either the old or the new one is there.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let temporary = PathBuf::from(temporary);
    let written = File::create(&temporary).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    if written.is_err() {
        // On a full device it would be in the way.
        let _ = fs::remove_file(&temporary);
    }
    written.on("write and sync", &temporary)?;
    fs::rename(&temporary, path).on("rename to", path)?;
    sync_parent(path)
}

/// Makes the names in the folder of `path` durable.
pub(crate) fn sync_parent(path: &Path) -> Result<()> {
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    sync_folder(folder)
}

/// Makes the names in `folder` durable.
pub(crate) fn sync_folder(folder: &Path) -> Result<()> {
    File::open(folder).and_then(|folder| folder.sync_all()).on("sync the folder", folder)
}

/// Creates a folder, its parents too, and makes their names durable.
pub(crate) fn create_folder(folder: &Path) -> Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    if let Some(parent) = folder.parent().filter(|p| !p.as_os_str().is_empty()) {
        create_folder(parent)?;
        match fs::create_dir(folder) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                return Err(error).on("create the folder", folder);
            }
            _ => {}
        }
        return sync_folder(parent);
    }
    fs::create_dir_all(folder).on("create the folder", folder)
}
