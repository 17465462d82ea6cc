//! Reads records from a file, each with the line it stands on and the place in the file where it ends.
//!
//! A file that was cut off while it was written ("torn") is recognised: in JSONL by a line that is no JSON, in CSV by
//! a last record without a newline, whose value may have lost its end without a trace.

use std::io::{self, BufRead, Read};

use bytes::Bytes;
use serde::Deserialize;

use super::FileFormat;
use crate::output::decode_base64;

/// The longest line that is read: a value of 8 MiB in which every byte is escaped, and its key.
const MAX_LINE_BYTES: u64 = 64 * 1024 * 1024;

/// Why a line is not usable.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// The file ends inside a record.
    #[error("the file ends inside a record: it is torn; complete the record and end it with a newline, or remove it")]
    Torn {
        /// The record's first line.
        line: u64,
    },
    /// The line is no record.
    #[error("{detail}")]
    Bad {
        /// The line.
        line: u64,
        /// What is wrong and what is allowed.
        detail: String,
    },
    /// The file cannot be read.
    #[error("reading failed")]
    Read {
        /// The line that was to come.
        line: u64,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl LineError {
    /// The line, from 1.
    #[must_use]
    pub const fn line(&self) -> u64 {
        match self {
            Self::Torn { line } | Self::Bad { line, .. } | Self::Read { line, .. } => *line,
        }
    }
}

/// A place in a file: everything before it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// Lines before it.
    pub line: u64,
    /// Bytes before it.
    pub offset: u64,
    /// FNV-1a of those bytes: a changed file is noticed when an import is resumed.
    pub hash: u64,
}

impl Mark {
    /// The begin of a file.
    pub const BEGIN: Self = Self { line: 0, offset: 0, hash: 0xcbf2_9ce4_8422_2325 };

    fn advance(&mut self, bytes: &[u8]) {
        self.offset += bytes.len() as u64;
        for byte in bytes {
            self.hash = (self.hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
            self.line += u64::from(*byte == b'\n');
        }
    }
}

/// A record of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRecord {
    /// The key.
    pub key: Bytes,
    /// The value.
    pub value: Bytes,
    /// Its first line, from 1.
    pub line: u64,
    /// Where it ends.
    pub end: Mark,
    /// Whether a newline ends it.
    pub terminated: bool,
}

/// Which columns a CSV file has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Columns {
    key: usize,
    key_base64: bool,
    value_base64: bool,
}

/// Reads the records of one file.
#[derive(Debug)]
pub struct RecordReader<R> {
    input: R,
    format: FileFormat,
    columns: Option<Columns>,
    mark: Mark,
    buffer: Vec<u8>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct JsonRecord {
    key: Option<String>,
    key_base64: Option<String>,
    value: Option<String>,
    value_base64: Option<String>,
    /// An export carries it; the store gives a new one.
    #[serde(rename = "version")]
    _version: Option<u64>,
}

impl<R: BufRead> RecordReader<R> {
    /// Reads from the begin of a file; of CSV, its header is read now.
    ///
    /// # Errors
    /// Where a CSV header is missing or names other columns.
    pub fn new(input: R, format: FileFormat) -> Result<Self, LineError> {
        let mut reader = Self { input, format, columns: None, mark: Mark::BEGIN, buffer: Vec::new() };
        if format == FileFormat::Csv && reader.read_logical_line()? {
            reader.columns = Some(reader.parse_header()?);
        }
        Ok(reader)
    }

    /// Where the reader is.
    #[must_use]
    pub const fn mark(&self) -> Mark {
        self.mark
    }

    /// Passes over what an earlier run has read; `false` where the file is shorter or has other bytes there.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub fn skip_to(&mut self, mark: Mark) -> Result<bool, LineError> {
        let mut chunk = vec![0; 64 * 1024];
        while self.mark.offset < mark.offset {
            let left = usize::try_from(mark.offset - self.mark.offset).unwrap_or(usize::MAX);
            let wanted = left.min(chunk.len());
            let read = self.input.read(&mut chunk[..wanted]).map_err(|source| self.read_error(source))?;
            if read == 0 {
                return Ok(false);
            }
            self.mark.advance(&chunk[..read]);
        }
        Ok(self.mark == mark)
    }

    /// The next record; `None` at the end. Blank lines are passed over.
    ///
    /// # Errors
    /// Where the next line is not usable; then the reader must not be asked again.
    pub fn next_record(&mut self) -> Result<Option<FileRecord>, LineError> {
        loop {
            let line = self.mark.line + 1;
            if !self.read_logical_line()? {
                return Ok(None);
            }
            let terminated = self.buffer.ends_with(b"\n");
            if self.buffer.trim_ascii().is_empty() {
                continue;
            }
            let (key, value) = match self.format {
                FileFormat::Jsonl => self.parse_json(line, terminated)?,
                FileFormat::Csv if !terminated => return Err(LineError::Torn { line }),
                FileFormat::Csv => self.parse_csv(line)?,
            };
            return Ok(Some(FileRecord { key: key.into(), value: value.into(), line, end: self.mark, terminated }));
        }
    }

    /// Reads a line into the buffer; of CSV, as many as an open quote spans. `false` at the end of the file.
    fn read_logical_line(&mut self) -> Result<bool, LineError> {
        self.buffer.clear();
        let first = self.mark.line + 1;
        let mut quotes = 0;
        loop {
            let before = self.buffer.len();
            let allowed = MAX_LINE_BYTES.saturating_sub(before as u64) + 1;
            let read = (&mut self.input)
                .take(allowed)
                .read_until(b'\n', &mut self.buffer)
                .map_err(|source| LineError::Read { line: first, source })?;
            if self.buffer.len() as u64 > MAX_LINE_BYTES {
                return Err(bad(first, format!("the record is longer than {MAX_LINE_BYTES} bytes")));
            }
            let added = &self.buffer[before..];
            self.mark.advance(added);
            if self.format == FileFormat::Jsonl {
                return Ok(read > 0);
            }
            quotes += added.iter().filter(|byte| **byte == b'"').count();
            if quotes.is_multiple_of(2) {
                return Ok(!self.buffer.is_empty());
            }
            if read == 0 {
                return Err(LineError::Torn { line: first });
            }
        }
    }

    fn read_error(&self, source: io::Error) -> LineError {
        LineError::Read { line: self.mark.line + 1, source }
    }

    fn parse_json(&self, line: u64, terminated: bool) -> Result<(Vec<u8>, Vec<u8>), LineError> {
        // Editors on Windows begin a file with a byte order mark; in CSV it is passed over too.
        let mark = if line == 1 { "\u{feff}".as_bytes() } else { b"" };
        let text = self.buffer.strip_prefix(mark).unwrap_or(&self.buffer);
        let record: JsonRecord = serde_json::from_slice(text).map_err(|error| {
            if terminated {
                // Each line is read by itself, so that the parser's own line is always the first.
                let error = error.to_string().replace(" at line 1 column ", " at column ");
                bad(line, format!(
                    "this is not a record: {error}; a line holds one object such as {{\"key\": \"a\", \"value\": \"b\"}}, with keyBase64 and valueBase64 for bytes that are no text"
                ))
            } else {
                LineError::Torn { line }
            }
        })?;
        let key = one_of(record.key, record.key_base64, "key", line)?;
        let value = one_of(record.value, record.value_base64, "value", line)?;
        Ok((key, value))
    }

    fn csv_fields(&self, line: u64) -> Result<csv::ByteRecord, LineError> {
        let mut fields = csv::ByteRecord::new();
        csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .from_reader(self.buffer.as_slice())
            .read_byte_record(&mut fields)
            .map_err(|error| bad(line, format!("this is not CSV: {error}")))?;
        Ok(fields)
    }

    fn parse_header(&self) -> Result<Columns, LineError> {
        let fields = self.csv_fields(1)?;
        let names: Vec<&[u8]> = fields.iter().map(<[u8]>::trim_ascii).collect();
        let place = |name: &str| names.iter().position(|field| *field == name.as_bytes());
        let key = place("key").or_else(|| place("keyBase64"));
        let value = place("value").or_else(|| place("valueBase64"));
        match (key, value) {
            (Some(key), Some(_)) if names.len() == 2 => Ok(Columns {
                key,
                key_base64: place("keyBase64").is_some(),
                value_base64: place("valueBase64").is_some(),
            }),
            _ => Err(bad(
                1,
                "the first line of a CSV file must name its two columns: key,value (keyBase64 and valueBase64 for bytes that are no text)".to_owned(),
            )),
        }
    }

    fn parse_csv(&self, line: u64) -> Result<(Vec<u8>, Vec<u8>), LineError> {
        let Some(columns) = self.columns else {
            return Err(bad(line, "the header key,value is missing".to_owned()));
        };
        let fields = self.csv_fields(line)?;
        if fields.len() != 2 {
            return Err(bad(
                line,
                format!(
                    "{} fields stand here, two are expected; quote a field that holds a comma, a quote or a newline",
                    fields.len()
                ),
            ));
        }
        let key = decode(&fields[columns.key], columns.key_base64, "key", line)?;
        let value = decode(&fields[1 - columns.key], columns.value_base64, "value", line)?;
        Ok((key, value))
    }
}

fn bad(line: u64, detail: String) -> LineError {
    LineError::Bad { line, detail }
}

fn decode(field: &[u8], base64: bool, name: &str, line: u64) -> Result<Vec<u8>, LineError> {
    let text = std::str::from_utf8(field)
        .map_err(|_| bad(line, format!("the {name} is not UTF-8; give it as base64 in a column {name}Base64")))?;
    if base64 {
        decode_base64(text)
            .map_err(|error| bad(line, format!("{name}Base64 is not base64 (standard alphabet, padded): {error}")))
    } else {
        Ok(text.as_bytes().to_vec())
    }
}

fn one_of(text: Option<String>, base64: Option<String>, name: &str, line: u64) -> Result<Vec<u8>, LineError> {
    match (text, base64) {
        (Some(text), None) => Ok(text.into_bytes()),
        (None, Some(encoded)) => decode(encoded.as_bytes(), true, name, line),
        (None, None) => Err(bad(line, format!("the record has no {name}; give either {name} or {name}Base64"))),
        (Some(_), Some(_)) => Err(bad(line, format!("the record has two of them; give either {name} or {name}Base64"))),
    }
}

#[cfg(test)]
#[path = "record_reader_test.rs"]
mod tests;
