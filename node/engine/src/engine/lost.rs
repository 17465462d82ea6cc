//! Files without the database they belong to.
//!
//! RocksDB makes a database where it finds none, deletes files that it does not know, and numbers new ones from the
//! start: opened like that, a store would not only look empty, it would lose what is left of it. A first opening may end
//! before there is a database, so it is files that tell, not identities.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use super::open_error::OpenError;
use super::plan::Plan;
use crate::error::{IoContext, Result};
use crate::rocks::Database;
use crate::tier::TierLayout;

/// The column families on disk. Refuses files that none of them knows; behind the locks, before anything is made.
pub(super) fn column_families(plan: &Plan) -> Result<Vec<String>, OpenError> {
    let database = plan.root.database();
    let on_disk = Database::column_families(&database)?;
    if on_disk.is_empty() {
        let data = plan.tiers.iter().map(|(identity, _)| identity).chain(&plan.leaving);
        let folders = data.map(|identity| (TierLayout(identity.path.clone()).data(), "sst"));
        for (folder, extension) in std::iter::once((plan.root.wal(), "log")).chain(folders) {
            if has_files(&folder, extension)? {
                return Err(OpenError::DatabaseLost { database, files: folder });
            }
        }
        return Ok(on_disk);
    }
    // Leaving tiers are not asked: one that was dropped may not have lost all its files yet, and nobody writes there.
    for (identity, _) in plan.tiers.iter().filter(|(identity, _)| !on_disk.contains(&identity.column_family())) {
        let files = TierLayout(identity.path.clone()).data();
        if has_files(&files, "sst")? {
            return Err(OpenError::TierUnknown { tier: identity.name.clone(), files, database });
        }
    }
    Ok(on_disk)
}

fn has_files(folder: &Path, extension: &str) -> Result<bool> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        entries => entries.on("list", folder)?,
    };
    for entry in entries {
        if entry.on("list", folder)?.path().extension().is_some_and(|found| found == extension) {
            return Ok(true);
        }
    }
    Ok(false)
}
