//! Import and export: files of records in, files of records out, both resumable.
//!
//! Contract: an import acknowledges records in the order of the file, so "written up to line N" is true of every line
//! before; a later line with the same key wins, as it would one by one. A batch is sent again only if it was certainly
//! not written; else the import stops. A resumed run writes the batches that were under way again, whatever became of
//! them.

mod error;
mod import;
mod progress_file;
mod record_reader;
mod record_writer;
mod store_sink;
mod streamed_input;

pub use error::TransferError;
pub use import::{BatchSink, ImportPlan, ImportSummary, Importer};
pub use progress_file::ProgressFile;
pub use record_reader::{LineError, Mark, RecordReader};
pub use record_writer::RecordWriter;
pub use store_sink::StoreSink;
pub use streamed_input::StreamedInput;

use std::path::Path;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// How records stand in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FileFormat {
    /// One JSON object a line: `{"key": ..., "value": ...}`, with `keyBase64` and `valueBase64` for other bytes.
    Jsonl,
    /// A header `key,value` (or `keyBase64`, `valueBase64`), then a record a line, quoted as RFC 4180 says.
    Csv,
}

impl FileFormat {
    /// The format that a file's name tells; JSONL for any other.
    #[must_use]
    pub fn of(path: &Path) -> Self {
        match path.extension() {
            Some(extension) if extension.eq_ignore_ascii_case("csv") => Self::Csv,
            _ => Self::Jsonl,
        }
    }
}
