//! Why a transfer stopped, how far it came and how it goes on.

use std::{io, path::PathBuf};

use thermocline_client::Error as ClientError;

use super::record_reader::LineError;
use crate::ExitCode;

/// Why a transfer stopped.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// A line of the file is not usable.
    #[error("the import stopped at line {}: {source}; {records} records, all before line {}, are written; correct the line, then {resume}", source.line(), source.line())]
    Line {
        /// What is wrong with it.
        source: LineError,
        /// Records written.
        records: u64,
        /// How to go on.
        resume: String,
    },
    /// The store did not take a batch.
    #[error(
        "the import stopped: the records from line {from_line} on were not all written; {records} records before it are; {resume}"
    )]
    Store {
        /// The first line that is not acknowledged.
        from_line: u64,
        /// Records written.
        records: u64,
        /// How to go on.
        resume: String,
        /// Why.
        #[source]
        source: Box<ClientError>,
    },
    /// A person stopped it.
    #[error("stopped; {records} records are written; {resume}")]
    Interrupted {
        /// Records written.
        records: u64,
        /// How to go on.
        resume: String,
    },
    /// An internal task ended without a result.
    #[error("the import stopped: a writer ended without an answer; {resume}")]
    Lost {
        /// How to go on.
        resume: String,
    },
    /// An earlier import of this file did not end.
    #[error(
        "an earlier import of this file stopped after {records} records (its progress is in {path:?}); pass --resume to go on, or --restart to begin anew"
    )]
    Unfinished {
        /// The progress file.
        path: PathBuf,
        /// Records written.
        records: u64,
    },
    /// `--resume` without anything to resume.
    #[error("there is nothing to resume: {path:?} does not exist; leave --resume out to begin")]
    NothingToResume {
        /// The progress file.
        path: PathBuf,
    },
    /// The progress belongs to another file or other options.
    #[error("the progress in {path:?} does not fit: {detail}; pass --restart to begin anew")]
    Mismatch {
        /// The progress file.
        path: PathBuf,
        /// What differs.
        detail: String,
    },
    /// The progress file cannot be read or written.
    #[error("{attempted} the progress file {path:?} failed")]
    Progress {
        /// What was attempted.
        attempted: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The output of an export exists.
    #[error("{path:?} exists; pass --resume to go on where it ends, or --overwrite to begin anew")]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The file of an export that is to be resumed is not one.
    #[error("{path:?} is not an export that can be resumed; pass --overwrite to begin anew")]
    NotAnExport {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: LineError,
    },
    /// A record that the file's format cannot hold.
    #[error(
        "the record {key} cannot be written as CSV text because it is not UTF-8; pass --base64, or use --format jsonl"
    )]
    NotText {
        /// The key, as it is shown.
        key: String,
    },
    /// An export that broke off.
    #[error("the export stopped after {records} records; pass --resume to go on")]
    Export {
        /// Records written.
        records: u64,
        /// Why.
        #[source]
        source: Box<ClientError>,
    },
    /// A person stopped an export.
    #[error("stopped; {records} records are written; pass --resume to go on")]
    ExportInterrupted {
        /// Records written.
        records: u64,
    },
    /// The file of an export cannot be written.
    #[error("writing {what} failed after {records} records")]
    Output {
        /// The file, or the output.
        what: String,
        /// Records written.
        records: u64,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl TransferError {
    /// The exit code of this failure.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Line { .. } | Self::Store { .. } | Self::Lost { .. } | Self::Export { .. } => ExitCode::Partial,
            Self::Interrupted { .. } | Self::ExportInterrupted { .. } => ExitCode::Interrupted,
            Self::Unfinished { .. }
            | Self::NothingToResume { .. }
            | Self::Mismatch { .. }
            | Self::Exists { .. }
            | Self::NotAnExport { .. }
            | Self::NotText { .. } => ExitCode::Usage,
            Self::Progress { .. } => ExitCode::Failed,
            Self::Output { source, .. } if source.kind() == io::ErrorKind::BrokenPipe => ExitCode::Success,
            Self::Output { .. } => ExitCode::Partial,
        }
    }
}
