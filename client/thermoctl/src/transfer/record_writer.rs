//! Writes records to a file so that an import reads them back.

use std::io::{self, Write};

use base64::{Engine, prelude::BASE64_STANDARD};
use thermocline_client::{DisplayKey, Record};

use super::{FileFormat, TransferError};
use crate::output::record_view;

/// Writes records in one format.
#[derive(Debug)]
pub struct RecordWriter<W: Write> {
    output: W,
    format: FileFormat,
    base64: bool,
    /// For messages.
    what: String,
    records: u64,
}

impl<W: Write> RecordWriter<W> {
    /// Writes to `output`, called `what` in messages. CSV columns are base64 where asked for.
    pub const fn new(output: W, format: FileFormat, base64: bool, what: String) -> Self {
        Self { output, format, base64, what, records: 0 }
    }

    /// Writes what stands before the first record.
    ///
    /// # Errors
    /// That the output cannot be written.
    pub fn begin(&mut self) -> Result<(), TransferError> {
        let header: &[u8] = match (self.format, self.base64) {
            (FileFormat::Jsonl, _) => b"",
            (FileFormat::Csv, false) => b"key,value\n",
            (FileFormat::Csv, true) => b"keyBase64,valueBase64\n",
        };
        let written = self.output.write_all(header);
        written.map_err(|source| self.failed(source))
    }

    /// Writes a record.
    ///
    /// # Errors
    /// That the output cannot be written, or that CSV text cannot hold the record.
    pub fn write(&mut self, record: &Record) -> Result<(), TransferError> {
        let line = match self.format {
            FileFormat::Jsonl => {
                let mut line =
                    serde_json::to_vec(&record_view(record, true, false)).map_err(|error| self.failed(error.into()))?;
                line.push(b'\n');
                line
            }
            FileFormat::Csv => self.csv_line(record)?,
        };
        let written = self.output.write_all(&line);
        written.map_err(|source| self.failed(source))?;
        self.records += 1;
        Ok(())
    }

    fn csv_line(&self, record: &Record) -> Result<Vec<u8>, TransferError> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        let written = if self.base64 {
            writer.write_record([BASE64_STANDARD.encode(&record.key), BASE64_STANDARD.encode(&record.value)])
        } else {
            let is_text = |bytes: &[u8]| std::str::from_utf8(bytes).is_ok();
            if !is_text(&record.key) || !is_text(&record.value) {
                return Err(TransferError::NotText { key: DisplayKey(&record.key).to_string() });
            }
            writer.write_record([&record.key, &record.value])
        };
        written.map_err(|error| self.failed(io::Error::other(error)))?;
        writer.into_inner().map_err(|error| self.failed(io::Error::other(error.to_string())))
    }

    /// Hands everything to the operating system; returns how many records were written.
    ///
    /// # Errors
    /// That the output cannot be written.
    pub fn finish(&mut self) -> Result<u64, TransferError> {
        let flushed = self.output.flush();
        flushed.map_err(|source| self.failed(source))?;
        Ok(self.records)
    }

    fn failed(&self, source: io::Error) -> TransferError {
        TransferError::Output { what: self.what.clone(), records: self.records, source }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::transfer::RecordReader;

    fn written(records: &[Record], format: FileFormat, base64: bool) -> Result<Vec<u8>, TransferError> {
        let mut output = Vec::new();
        let mut writer = RecordWriter::new(&mut output, format, base64, "test".to_owned());
        writer.begin()?;
        for record in records {
            writer.write(record)?;
        }
        writer.finish()?;
        Ok(output)
    }

    fn record(key: impl Into<Bytes>, value: impl Into<Bytes>) -> Record {
        Record { key: key.into(), value: value.into(), version: 1 }
    }

    #[test]
    fn csv_text_refuses_bytes_that_are_no_text() {
        let binary = [record("a", vec![0xff])];
        assert!(matches!(written(&binary, FileFormat::Csv, false), Err(TransferError::NotText { .. })));
        assert!(written(&binary, FileFormat::Csv, true).is_ok());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            pairs in prop::collection::vec((prop::collection::vec(any::<u8>(), 1..8), prop::collection::vec(any::<u8>(), 0..12)), 0..6),
            text in prop::collection::vec(("[a-z\",\r\n é]{1,6}", "[a-z\",\r\n é]{0,6}"), 0..6),
        ) {
            let binary: Vec<Record> = pairs.into_iter().map(|(key, value)| record(key, value)).collect();
            let plain: Vec<Record> = text.into_iter().map(|(key, value)| record(key, value)).collect();
            for (records, format, base64) in [
                (&binary, FileFormat::Jsonl, false),
                (&binary, FileFormat::Csv, true),
                (&plain, FileFormat::Csv, false),
            ] {
                let bytes = written(records, format, base64).unwrap();
                let mut reader = RecordReader::new(bytes.as_slice(), format).unwrap();
                for expected in records {
                    let read = reader.next_record().unwrap().unwrap();
                    prop_assert_eq!(&read.key, &expected.key);
                    prop_assert_eq!(&read.value, &expected.value);
                }
                prop_assert!(reader.next_record().unwrap().is_none());
            }
        }
    }
}
