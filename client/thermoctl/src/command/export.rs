//! `export`: writes records to a file, and goes on after the last whole record of an earlier run.

use std::{
    fs::{self, File, OpenOptions},
    io::{BufReader, BufWriter, Seek, SeekFrom, Write},
    path::Path,
    time::Instant,
};

use bytes::Bytes;
use serde::Serialize;
use thermocline_client::{DisplayKey, KeyRange, ScanOptions, key_after};

use super::{Ended, progress};
use crate::{
    CommandError, ExitCode,
    args::ExportArguments,
    context::{Context, typed_range},
    interrupt::Interrupt,
    output::{Format, count},
    transfer::{FileFormat, Mark, RecordReader, RecordWriter, TransferError},
};

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Exported {
    records: u64,
    seconds: f64,
}

/// What an earlier export left in its file.
#[derive(Debug, PartialEq, Eq)]
struct Kept {
    /// Where its last whole record ends.
    end: Mark,
    /// That record's key; `None` where there is no record yet.
    last_key: Option<Bytes>,
}

pub(super) async fn run(context: &Context, arguments: &ExportArguments) -> Ended {
    let to_stdout = arguments.file.as_os_str() == "-";
    if to_stdout && (arguments.resume || arguments.overwrite) {
        return Err(CommandError::Usage("--resume and --overwrite are for files; name one".to_owned()));
    }
    // What has gone to standard output cannot be gone on with: there Ctrl-C ends the process.
    let interrupt = if to_stdout { Interrupt::never() } else { Interrupt::listen(String::new, String::new)? };
    let format = arguments.format.unwrap_or_else(|| FileFormat::of(&arguments.file));
    let range = typed_range(&arguments.range)?;
    let mut options = ScanOptions { start: range.start().clone(), end: range.end().clone(), ..ScanOptions::default() };
    let client = context.connect_for_load().await?;
    let what = arguments.file.display().to_string();
    let (output, begin): (Box<dyn Write + Send>, bool) = if to_stdout {
        (Box::new(std::io::stdout()), true)
    } else {
        let (file, last_key) = open(arguments, format, &range)?;
        if let Some(key) = &last_key {
            options.start = key_after(key);
        }
        // A resumed CSV file without a record yet may have its header or not: it was cut back to nothing.
        (Box::new(file), last_key.is_none())
    };
    let mut writer = RecordWriter::new(BufWriter::new(output), format, arguments.base64, what);
    if begin {
        writer.begin()?;
    }

    let start = Instant::now();
    let bar = progress::bar(&context.printer, None, false);
    let mut scan = client.scan(options);
    loop {
        let next = tokio::select! {
            () = interrupt.clone().wait() => {
                bar.finish_and_clear();
                return Err(TransferError::ExportInterrupted { records: writer.finish()? }.into());
            }
            next = scan.next_chunk() => next,
        };
        match next {
            Ok(Some(chunk)) => {
                for record in &chunk {
                    if let Err(error) = writer.write(record) {
                        return Err(given_up(arguments, writer, error));
                    }
                }
                bar.inc(chunk.len() as u64);
            }
            Ok(None) => break,
            Err(source) => {
                // What came before the failure is kept, so that it can be resumed.
                let records = writer.finish()?;
                return Err(TransferError::Export { records, source: Box::new(source) }.into());
            }
        }
    }
    let records = writer.finish()?;
    bar.finish_and_clear();
    let seconds = start.elapsed().as_secs_f64();
    if to_stdout {
        if context.printer.format == Format::Table && context.printer.draws_progress() {
            context.printer.remark(&format!("{} records exported in {seconds:.1} s", count(records)));
        }
    } else {
        context.printer.print(&Exported { records, seconds }, |exported| {
            format!("{} records exported in {:.1} s", count(exported.records), exported.seconds)
        })?;
    }
    Ok(ExitCode::Success)
}

/// Ends an export that its format cannot hold. A file that was begun for it is removed: it could not be gone on with.
fn given_up<W: Write>(arguments: &ExportArguments, writer: RecordWriter<W>, error: TransferError) -> CommandError {
    drop(writer);
    if matches!(error, TransferError::NotText { .. }) && !arguments.resume && arguments.file.as_os_str() != "-" {
        // The error to tell is the first one.
        let _ = fs::remove_file(&arguments.file);
    }
    error.into()
}

fn open(
    arguments: &ExportArguments,
    format: FileFormat,
    range: &KeyRange,
) -> Result<(File, Option<Bytes>), CommandError> {
    let path = &arguments.file;
    let failed = |source| CommandError::Write { what: path.display().to_string(), source };
    if arguments.resume {
        let kept = kept(path, format)?;
        in_range(path, kept.last_key.as_deref(), range)?;
        let mut file = OpenOptions::new().write(true).open(path).map_err(failed)?;
        file.set_len(kept.end.offset).map_err(failed)?;
        file.seek(SeekFrom::End(0)).map_err(failed)?;
        return Ok((file, kept.last_key));
    }
    let file = OpenOptions::new().write(true).create(true).create_new(!arguments.overwrite).truncate(true).open(path);
    match file {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            Err(TransferError::Exists { path: path.clone() }.into())
        }
        other => Ok((other.map_err(failed)?, None)),
    }
}

/// An export of other keys is not gone on with: what lies between them would be written too, or left out.
fn in_range(path: &Path, last_key: Option<&[u8]>, range: &KeyRange) -> Result<(), CommandError> {
    match last_key {
        Some(key) if !range.contains(key) => Err(CommandError::Usage(format!(
            "{} ends with the key {}, which is not among the keys asked for: resume with the range it was begun with, or export to another file",
            path.display(),
            DisplayKey(key)
        ))),
        _ => Ok(()),
    }
}

/// Reads an earlier export up to its last whole record; what follows it is torn.
fn kept(path: &Path, format: FileFormat) -> Result<Kept, CommandError> {
    let file = File::open(path).map_err(|source| CommandError::Read { path: path.to_owned(), source })?;
    let mut kept = Kept { end: Mark::BEGIN, last_key: None };
    let mut reader = match RecordReader::new(BufReader::new(file), format) {
        Ok(reader) => reader,
        Err(source) => {
            return Err(TransferError::NotAnExport { path: path.to_owned(), source }.into());
        }
    };
    loop {
        match reader.next_record() {
            Ok(Some(record)) if record.terminated => {
                kept.end = record.end;
                kept.last_key = Some(record.key);
            }
            Ok(_) | Err(crate::transfer::LineError::Torn { .. }) => return Ok(kept),
            Err(source) => {
                return Err(TransferError::NotAnExport { path: path.to_owned(), source }.into());
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_export_is_kept_up_to_its_last_whole_record() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.jsonl");
        let whole = "{\"key\":\"a\",\"value\":\"1\"}\n{\"key\":\"b\",\"value\":\"2\"}\n";
        for torn in ["", "{\"key\":\"c\",\"va", "{\"key\":\"c\",\"value\":\"3\"}"] {
            fs::write(&path, format!("{whole}{torn}")).unwrap();
            let kept = kept(&path, FileFormat::Jsonl).unwrap();
            assert_eq!(kept.end.offset, whole.len() as u64, "{torn}");
            assert_eq!(kept.last_key.as_deref(), Some(b"b".as_slice()));
        }
        fs::write(&path, "").unwrap();
        assert_eq!(kept(&path, FileFormat::Jsonl).unwrap(), Kept { end: Mark::BEGIN, last_key: None });
    }

    #[test]
    fn an_export_of_other_keys_is_not_gone_on_with() {
        let range = KeyRange::new("g", "h").unwrap();
        let check = |last: Option<&str>| in_range(Path::new("out.jsonl"), last.map(str::as_bytes), &range);
        assert!(check(None).is_ok());
        assert!(check(Some("gz")).is_ok());
        for other in ["a", "h", "z"] {
            assert!(check(Some(other)).is_err(), "{other}");
        }
    }

    #[test]
    fn a_file_that_is_no_export_is_not_cut() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("letter.jsonl");
        fs::write(&path, "dear reader,\n").unwrap();
        assert!(kept(&path, FileFormat::Jsonl).is_err());
    }
}
