//! Locks on folders: one opening at a time works in a store's root and in each of its tiers.
//!
//! RocksDB's own lock comes too late: the identity files, which decide what a folder is, are written before it.

use std::fs::File;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::error::{IoContext, Result};

/// A locked folder. The system lets go when this is dropped, or with the process.
#[derive(Debug)]
pub(crate) struct FolderLock {
    _file: File,
}

impl FolderLock {
    /// Locks by this file, which is made where there is none and stays. `None`: somebody else has it.
    pub(crate) fn take(path: &Path) -> Result<Option<Self>> {
        let opened = File::options().create(true).truncate(false).write(true).open(path);
        let file = opened.on("open the lock file", path)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Self { _file: file })),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(std::io::Error::from(error)).on("lock", path),
        }
    }
}
