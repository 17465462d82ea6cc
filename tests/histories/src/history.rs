//! A history: its operations, and its file of one JSON object a line.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::operation::Operation;

/// Everything that clients asked and were told in one recording.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// In no order that matters.
    pub operations: Vec<Operation>,
}

/// A history that cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The file cannot be written.
    #[error("writing the history {} failed", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file cannot be read.
    #[error("reading the history {} failed", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A line is no operation.
    #[error("line {line} of the history {} is no operation", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

impl History {
    /// Operations with an answer.
    #[must_use]
    pub fn completed(&self) -> usize {
        self.operations.iter().filter(|operation| operation.result.is_some()).count()
    }

    /// Operations whose outcome is unknown.
    #[must_use]
    pub fn open(&self) -> usize {
        self.operations.len() - self.completed()
    }

    /// The longest time in which no operation was answered, between two that were, in nanoseconds.
    #[must_use]
    pub fn longest_silence_ns(&self) -> u64 {
        let mut told: Vec<u64> = self.operations.iter().filter_map(|operation| operation.ret_ns).collect();
        told.sort_unstable();
        told.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0)
    }

    /// Writes the file.
    ///
    /// # Errors
    /// That it cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), HistoryError> {
        let failed = |source| HistoryError::Write { path: path.to_owned(), source };
        let mut file = BufWriter::new(File::create(path).map_err(failed)?);
        for operation in &self.operations {
            serde_json::to_writer(&mut file, operation).map_err(|error| failed(error.into()))?;
            file.write_all(b"\n").map_err(failed)?;
        }
        file.flush().map_err(failed)
    }

    /// Reads a file.
    ///
    /// # Errors
    /// That it cannot be read, or the line that is no operation.
    pub fn read(path: &Path) -> Result<Self, HistoryError> {
        let failed = |source| HistoryError::Read { path: path.to_owned(), source };
        let file = BufReader::new(File::open(path).map_err(failed)?);
        let mut operations = Vec::new();
        for (index, line) in file.lines().enumerate() {
            let operation = serde_json::from_str(&line.map_err(failed)?);
            operations.push(operation.map_err(|source| HistoryError::Parse {
                path: path.to_owned(),
                line: index + 1,
                source,
            })?);
        }
        Ok(Self { operations })
    }
}
