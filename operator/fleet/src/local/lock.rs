//! One supervisor for a state folder.
//!
//! The lock is the kernel's and ends with the process, however that ends; the record beside it says who holds it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::layout::{Layout, write_in_one_step};
use super::process::{self, Started};

/// Who supervises a state folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SupervisorRecord {
    /// Its process.
    pub process: Started,
    /// Whether it has gone once through everything and told it in the objects.
    #[serde(default)]
    pub told: bool,
}

/// A lock that was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another supervisor has it.
    #[error(
        "a supervisor already runs for {}{}; change its fleet with `thermoctl apply -f DIR`, or stop it with `thermoctl local down`",
        folder.display(), process.map_or_else(String::new, |id| format!(" (process {id})"))
    )]
    Held {
        /// The state folder.
        folder: PathBuf,
        /// Its process, where known.
        process: Option<u32>,
    },
    /// The files cannot be read or written.
    #[error("cannot lock {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// The right to supervise a state folder, until dropped.
#[derive(Debug)]
pub struct SupervisorLock {
    layout: Layout,
    _file: File,
}

impl SupervisorLock {
    /// Takes the lock and says so.
    ///
    /// # Errors
    /// That another has it.
    pub fn take(layout: &Layout) -> Result<Self, LockError> {
        let path = layout.supervisor_lock();
        let io = |source| LockError::Io { path: path.clone(), source };
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let process = SupervisorRecord::alive(layout).map(|record| record.process.pid);
                return Err(LockError::Held { folder: layout.root().to_owned(), process });
            }
            Err(TryLockError::Error(source)) => return Err(io(source)),
        }
        let lock = Self { layout: layout.clone(), _file: file };
        lock.record(false)?;
        Ok(lock)
    }

    /// Says how far the supervisor is.
    ///
    /// # Errors
    /// That it cannot be written.
    pub fn record(&self, told: bool) -> Result<(), LockError> {
        let path = self.layout.supervisor_record();
        let io = |source| LockError::Io { path: path.clone(), source };
        let process = process::started(std::process::id()).map_err(io)?;
        let record = SupervisorRecord { process, told };
        let text = serde_json::to_vec(&record).map_err(|error| io(error.into()))?;
        write_in_one_step(&path, &text).map_err(io)
    }
}

impl Drop for SupervisorLock {
    fn drop(&mut self) {
        // The record is for people; the lock itself ends with the file.
        let _ = std::fs::remove_file(self.layout.supervisor_record());
    }
}

impl SupervisorRecord {
    /// The supervisor of a folder, if one runs.
    #[must_use]
    pub fn alive(layout: &Layout) -> Option<Self> {
        let text = std::fs::read(layout.supervisor_record()).ok()?;
        let record: Self = serde_json::from_slice(&text).ok()?;
        process::is_alive(&record.process).then_some(record)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::local::HomeSettings;

    #[test]
    fn a_second_supervisor_is_told_who_is_the_first() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path().join("fleet"));
        layout.create(HomeSettings::default()).unwrap();
        let first = SupervisorLock::take(&layout).unwrap();
        let error = SupervisorLock::take(&layout).unwrap_err();
        assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
        drop(first);
        SupervisorLock::take(&layout).unwrap();
    }
}
