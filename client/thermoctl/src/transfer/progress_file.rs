//! How far an import came, in a small file next to its input.
//!
//! It is replaced as a whole (written aside, then renamed), so a crash leaves the old or the new one; it is removed
//! when the import ends.

use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{FileFormat, TransferError, record_reader::Mark};

/// What the file holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Progress {
    format: FileFormat,
    prefix: String,
    records: u64,
    line: u64,
    offset: u64,
    /// Hexadecimal: JSON numbers of 64 bits do not survive every reader.
    hash: String,
}

/// The progress of one import.
#[derive(Debug, Clone)]
pub struct ProgressFile {
    path: PathBuf,
    format: FileFormat,
    prefix: String,
}

impl ProgressFile {
    /// The progress of an import of `format` with `prefix`, kept in `path`.
    #[must_use]
    pub const fn new(path: PathBuf, format: FileFormat, prefix: String) -> Self {
        Self { path, format, prefix }
    }

    /// Where the progress of importing `input` is kept when nothing else is said.
    #[must_use]
    pub fn beside(input: &Path) -> PathBuf {
        let mut name: OsString = input.as_os_str().to_owned();
        name.push(".progress");
        name.into()
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where an earlier run stopped and how many records it wrote; `None` where there is no file.
    ///
    /// # Errors
    /// Where it cannot be read or belongs to an import with other options.
    pub fn load(&self) -> Result<Option<(Mark, u64)>, TransferError> {
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(self.failed("reading", source)),
        };
        let progress: Progress = serde_json::from_str(&text)
            .map_err(|error| self.mismatch(format!("it is not a progress file: {error}")))?;
        if progress.format != self.format {
            return Err(self.mismatch("the file was imported with another --format".to_owned()));
        }
        if progress.prefix != self.prefix {
            return Err(self.mismatch(format!("the file was imported with --prefix {:?}", progress.prefix)));
        }
        let hash = u64::from_str_radix(&progress.hash, 16)
            .map_err(|error| self.mismatch(format!("its hash is not a number: {error}")))?;
        let mark = Mark { line: progress.line, offset: progress.offset, hash };
        Ok(Some((mark, progress.records)))
    }

    /// Notes that everything before `mark` is written.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn save(&self, mark: Mark, records: u64) -> Result<(), TransferError> {
        let progress = Progress {
            format: self.format,
            prefix: self.prefix.clone(),
            records,
            line: mark.line,
            offset: mark.offset,
            hash: format!("{:016x}", mark.hash),
        };
        let text = serde_json::to_string(&progress).map_err(|error| self.failed("writing", error.into()))?;
        let mut aside = self.path.as_os_str().to_owned();
        aside.push(".new");
        fs::write(&aside, text)
            .and_then(|()| fs::rename(&aside, &self.path))
            .map_err(|source| self.failed("writing", source))
    }

    /// Forgets the progress: the import ended, or begins anew.
    ///
    /// # Errors
    /// Where it cannot be removed.
    pub fn remove(&self) -> Result<(), TransferError> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.failed("removing", error)),
            _ => Ok(()),
        }
    }

    /// The refusal of a progress that does not fit the file.
    #[must_use]
    pub fn mismatch(&self, detail: String) -> TransferError {
        TransferError::Mismatch { path: self.path.clone(), detail }
    }

    fn failed(&self, attempted: &'static str, source: io::Error) -> TransferError {
        TransferError::Progress { attempted, path: self.path.clone(), source }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_found_again_and_refused_for_other_options() {
        let folder = tempfile::tempdir().unwrap();
        let path = ProgressFile::beside(&folder.path().join("data.jsonl"));
        let file = ProgressFile::new(path.clone(), FileFormat::Jsonl, "a/".to_owned());
        assert_eq!(file.load().unwrap(), None);
        let mark = Mark { line: 3, offset: 40, hash: u64::MAX };
        file.save(mark, 2).unwrap();
        assert_eq!(file.load().unwrap(), Some((mark, 2)));

        let other_prefix = ProgressFile::new(path.clone(), FileFormat::Jsonl, "b/".to_owned());
        assert!(matches!(other_prefix.load(), Err(TransferError::Mismatch { .. })));
        let other_format = ProgressFile::new(path, FileFormat::Csv, "a/".to_owned());
        assert!(matches!(other_format.load(), Err(TransferError::Mismatch { .. })));

        file.remove().unwrap();
        file.remove().unwrap();
        assert_eq!(file.load().unwrap(), None);
    }
}
