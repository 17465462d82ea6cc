//! A process whose wall clock jumps while its monotonic clock does not, by libfaketime (Debian's package `faketime`).
//!
//! The library is preloaded and reads the offset from a file each time the clock is read, so a jump takes effect at once.
//! The program must be linked dynamically with the C library, as a node is.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

const LIBRARY: &str = "faketime/libfaketimeMT.so.1";

/// A clock that was not faked.
#[derive(Debug, thiserror::Error)]
pub enum ClockError {
    /// The library is not there.
    #[error("{LIBRARY} is not in /usr/lib, a folder of it, or /usr/lib64: install the package `faketime`")]
    NoLibrary,
    /// The offset cannot be written.
    #[error("writing the clock's offset to {} failed", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// The wall clock of one process.
#[derive(Debug)]
pub struct FakeClock {
    library: PathBuf,
    file: PathBuf,
}

impl FakeClock {
    /// A clock that is right as yet; its offset is kept in `folder`.
    ///
    /// # Errors
    /// That the library is missing, or the folder cannot be written.
    pub fn new(folder: &Path) -> Result<Self, ClockError> {
        let of_architectures = fs::read_dir("/usr/lib").into_iter().flatten().flatten().map(|entry| entry.path());
        let folders = of_architectures.chain(["/usr/lib", "/usr/lib64"].map(PathBuf::from));
        let library = folders.map(|folder| folder.join(LIBRARY)).find(|path| path.is_file());
        let clock = Self { library: library.ok_or(ClockError::NoLibrary)?, file: folder.join("clock-offset") };
        clock.jump(0)?;
        Ok(clock)
    }

    /// Starts a command under this clock.
    pub fn arrange(&self, command: &mut Command) {
        command
            .env("LD_PRELOAD", &self.library)
            .env("FAKETIME_TIMESTAMP_FILE", &self.file)
            .env("FAKETIME_NO_CACHE", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    }

    /// Puts the clock this many seconds off the machine's, from now on.
    ///
    /// # Errors
    /// That the file cannot be written.
    pub fn jump(&self, seconds: i64) -> Result<(), ClockError> {
        // In one step: the process may read the file at any moment.
        let new = self.file.with_extension("new");
        let written = fs::write(&new, format!("{seconds:+}\n")).and_then(|()| fs::rename(&new, &self.file));
        written.map_err(|source| ClockError::Write { path: self.file.clone(), source })
    }
}
