//! Slow devices, full devices and unreadable files, switched while the tested process runs. Works with and without recorded power loss.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::Command,
};

use thiserror::Error;

use crate::{SHIM_LIBRARY, power_loss::preload};

/// Why a fault cannot be prepared or switched.
#[derive(Debug, Error)]
pub enum FaultError {
    /// A control file cannot be written.
    #[error("failed to write the control file {}", path.display())]
    Control {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The environment's lists know no way to write these.
    #[error("{} cannot be a fault's path: it must be UTF-8 without '=' and ','", path.display())]
    Path {
        /// The path.
        path: PathBuf,
    },
    /// Nothing was prepared under this prefix.
    #[error("no fault was prepared for {}: name it in the constructor", path.display())]
    UnknownPrefix {
        /// The prefix asked for.
        path: PathBuf,
    },
}

/// The mark beside a file whose reads fail ...
const UNREADABLE: &str = ".unreadable";
/// ... and beside a file or folder whose syncs do.
const UNSYNCABLE: &str = ".unsyncable";

/// Folders whose device can be slowed down or filled up at any moment, and whose files can become unreadable. At most 16.
///
/// A slow device serves its reads, writes and syncs one after the other at the given rate; reads that the page cache would have
/// answered wait too. `mmap` is not slowed. A full one refuses writes and reservations with `ENOSPC`; all else goes on.
/// Reading an unreadable file answers `EIO`; opening and writing it do not fail. So do syncs of what is
/// unsyncable.
#[derive(Debug)]
pub struct DeviceFaults {
    rates: PathBuf,
    prefixes: Vec<PathBuf>,
    control: PathBuf,
}

impl DeviceFaults {
    /// Prepares faults for `prefixes`, all off. `control` is a folder for the switches, outside of the prefixes.
    ///
    /// # Errors
    /// A path that the environment cannot carry, or a switch that cannot be written.
    pub fn new(control: &Path, prefixes: &[PathBuf]) -> Result<Self, FaultError> {
        for path in prefixes.iter().map(PathBuf::as_path).chain([control]) {
            if path.to_str().is_none_or(|text| text.contains(['=', ','])) {
                return Err(FaultError::Path { path: path.to_owned() });
            }
        }
        let rates = control.join("throttle-rates");
        let written = fs::create_dir_all(control).and_then(|()| fs::write(&rates, vec![0; prefixes.len() * 8]));
        written.map_err(|source| FaultError::Control { path: rates.clone(), source })?;
        Ok(Self { rates, prefixes: prefixes.to_vec(), control: control.to_owned() })
    }

    /// The switches that [`new`](Self::new) made, for another process: the one under test may switch its own faults.
    #[must_use]
    pub fn attach(control: &Path, prefixes: &[PathBuf]) -> Self {
        Self { rates: control.join("throttle-rates"), prefixes: prefixes.to_vec(), control: control.to_owned() }
    }

    /// Lets `command` and all its children run with the faults.
    pub fn command<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        let list = |value: &dyn Fn(usize) -> String| {
            let pairs =
                self.prefixes.iter().enumerate().map(|(index, path)| format!("{}={}", path.display(), value(index)));
            pairs.collect::<Vec<_>>().join(",")
        };
        command.env("THERMOCLINE_THROTTLE", list(&|_| "0".to_owned()));
        command.env("THERMOCLINE_THROTTLE_RATES", &self.rates);
        command.env("THERMOCLINE_NOSPACE_FLAG", list(&|index| self.flag(index).display().to_string()));
        command.env("THERMOCLINE_MARKS", list(&|_| "on".to_owned()));
        preload(command, SHIM_LIBRARY)
    }

    /// Slows the device of `prefix` down to so many bytes per second; `None` is its full speed. Acts within a few hundredths of a second.
    ///
    /// # Errors
    /// An unknown prefix, or a switch that cannot be written.
    pub fn throttle(&self, prefix: &Path, bytes_per_second: Option<u64>) -> Result<(), FaultError> {
        let rate = bytes_per_second.unwrap_or(0).to_le_bytes();
        let offset = self.index(prefix)? as u64 * 8;
        let written = File::options().write(true).open(&self.rates).and_then(|file| file.write_all_at(&rate, offset));
        written.map_err(|source| FaultError::Control { path: self.rates.clone(), source })
    }

    /// Fills the device of `prefix` up, or gives its space back.
    ///
    /// # Errors
    /// An unknown prefix, or a switch that cannot be written.
    pub fn fill_up(&self, prefix: &Path, full: bool) -> Result<(), FaultError> {
        let flag = self.flag(self.index(prefix)?);
        let switched = match (full, flag.exists()) {
            (true, _) => fs::write(&flag, []),
            (false, true) => fs::remove_file(&flag),
            (false, false) => Ok(()),
        };
        switched.map_err(|source| FaultError::Control { path: flag, source })
    }

    /// Lets every read of a file fail, or succeed again. A mark of its name is put beside it.
    ///
    /// # Errors
    /// A file below no prefix, or a mark that cannot be written.
    pub fn unreadable(&self, file: &Path, unreadable: bool) -> Result<(), FaultError> {
        self.mark(file, UNREADABLE, unreadable)
    }

    /// Lets every sync of a file or folder fail, or succeed again. A mark of its name is put beside it.
    ///
    /// # Errors
    /// A path below no prefix, or a mark that cannot be written.
    pub fn unsyncable(&self, path: &Path, unsyncable: bool) -> Result<(), FaultError> {
        self.mark(path, UNSYNCABLE, unsyncable)
    }

    fn mark(&self, file: &Path, suffix: &str, set: bool) -> Result<(), FaultError> {
        if !self.prefixes.iter().any(|prefix| file.starts_with(prefix)) {
            return Err(FaultError::UnknownPrefix { path: file.to_owned() });
        }
        let mut mark = file.as_os_str().to_owned();
        mark.push(suffix);
        let mark = PathBuf::from(mark);
        let switched = match (set, mark.exists()) {
            (true, _) => fs::write(&mark, []),
            (false, true) => fs::remove_file(&mark),
            (false, false) => Ok(()),
        };
        switched.map_err(|source| FaultError::Control { path: mark, source })
    }

    fn flag(&self, index: usize) -> PathBuf {
        self.control.join(format!("no-space-{index}"))
    }

    fn index(&self, prefix: &Path) -> Result<usize, FaultError> {
        let found = self.prefixes.iter().position(|known| known == prefix);
        found.ok_or_else(|| FaultError::UnknownPrefix { path: prefix.to_owned() })
    }
}
