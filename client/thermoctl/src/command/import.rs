//! `import`: writes the records of a file, and goes on where an earlier run stopped.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use serde::Serialize;

use super::{Ended, progress};
use crate::{
    CommandError, ExitCode,
    args::ImportArguments,
    context::{Context, typed_durability},
    interrupt::Interrupt,
    output::count,
    transfer::{
        FileFormat, ImportPlan, ImportSummary, Importer, LineError, Mark, ProgressFile, RecordReader, StoreSink,
        StreamedInput, TransferError,
    },
};

/// The progress file is replaced at most this often: often enough that little is written twice.
const SAVE_INTERVAL: Duration = Duration::from_millis(500);
const READ_BUFFER: usize = 256 * 1024;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Imported {
    records: u64,
    lines: u64,
    seconds: f64,
}

pub(super) async fn run(context: &Context, arguments: &ImportArguments) -> Ended {
    let interrupt = Interrupt::listen(
        || "ending after what is under way; Ctrl-C again does not wait for it".to_owned(),
        || "ended at once: the last batches may or may not be written".to_owned(),
    )?;
    let format = arguments.format.unwrap_or_else(|| FileFormat::of(&arguments.file));
    let (input, length) = open(&arguments.file, &interrupt)?;
    let progress_file = progress_file(arguments, length.is_none(), format);
    let begun = starting_point(arguments, progress_file.as_ref())?;

    let records_before = begun.map_or(0, |(_, records)| records);
    let line_error = |source: LineError| {
        if interrupt.asked() {
            let resume = resume_hint(progress_file.as_ref());
            return TransferError::Interrupted { records: records_before, resume };
        }
        let resume = "run the same command again".to_owned();
        TransferError::Line { source, records: records_before, resume }
    };
    let mut reader = RecordReader::new(input, format).map_err(line_error)?;
    if let Some((mark, _)) = begun
        && !reader.skip_to(mark).map_err(line_error)?
        && let Some(file) = &progress_file
    {
        let detail = "the part that was imported has changed since".to_owned();
        return Err(file.mismatch(detail).into());
    }

    let client = context.connect_for_load().await?.with_durability(typed_durability(arguments.durability));
    let bar = progress::bar(&context.printer, length, true);
    bar.set_position(reader.mark().offset);
    let plan = ImportPlan {
        prefix: arguments.prefix.clone().into(),
        batch_records: arguments.batch as usize,
        concurrency: arguments.concurrency as usize,
        resume_hint: resume_hint(progress_file.as_ref()),
    };
    let sink = Arc::new(StoreSink::new(client, arguments.patience, interrupt.clone()));
    let first = reader.mark();
    let mut importer = Importer::new(sink, reader, plan, interrupt.clone(), records_before);

    let start = Instant::now();
    let mut latest: Option<ImportSummary> = None;
    let mut saved = start;
    let result = importer
        .run(|step| {
            bar.set_position(step.mark.offset);
            bar.set_message(format!("{} records", count(step.records)));
            latest = Some(step);
            match &progress_file {
                Some(file) if saved.elapsed() >= SAVE_INTERVAL => {
                    saved = Instant::now();
                    file.save(step.mark, step.records)
                }
                _ => Ok(()),
            }
        })
        .await;
    bar.finish_and_clear();
    match (result, &progress_file) {
        (Ok(summary), file) => {
            if let Some(file) = file {
                file.remove()?;
            }
            report(context, summary, start.elapsed())?;
            // It came too late to end anything, and whoever asked is answered so.
            Ok(if interrupt.asked() { ExitCode::Interrupted } else { ExitCode::Success })
        }
        (Err(error), Some(file)) => {
            // Also where nothing is written yet: the message says that --resume goes on.
            let (mark, records) = latest.map_or((first, records_before), |step| (step.mark, step.records));
            file.save(mark, records)?;
            Err(error.into())
        }
        (Err(error), None) => Err(error.into()),
    }
}

fn report(context: &Context, summary: ImportSummary, elapsed: Duration) -> Result<(), CommandError> {
    let imported = Imported { records: summary.records, lines: summary.mark.line, seconds: elapsed.as_secs_f64() };
    context.printer.print(&imported, |imported| {
        format!("{} records imported in {:.1} s", count(imported.records), imported.seconds)
    })
}

/// The input, and its length where it is a file. What else it may be, standard input, a pipe, a device, can wait for ever, and
/// is interrupted then.
fn open(path: &Path, interrupt: &Interrupt) -> Result<(Box<dyn BufRead>, Option<u64>), CommandError> {
    let streamed = |input| -> (Box<dyn BufRead>, _) { (Box::new(BufReader::with_capacity(READ_BUFFER, input)), None) };
    if path.as_os_str() == "-" {
        return Ok(streamed(StreamedInput::stdin(interrupt.clone())));
    }
    let failed = |source| CommandError::Read { path: path.to_owned(), source };
    let metadata = fs::metadata(path).map_err(failed)?;
    if metadata.is_dir() {
        return Err(CommandError::Usage(format!("{} is a folder; name a JSONL or CSV file", path.display())));
    }
    if !metadata.is_file() {
        return Ok(streamed(StreamedInput::file(path.to_owned(), interrupt.clone())));
    }
    let file = File::open(path).map_err(failed)?;
    Ok((Box::new(BufReader::with_capacity(READ_BUFFER, file)), Some(metadata.len())))
}

fn progress_file(arguments: &ImportArguments, streamed: bool, format: FileFormat) -> Option<ProgressFile> {
    let path = match (&arguments.progress_file, streamed) {
        (Some(path), _) => path.clone(),
        (None, false) => ProgressFile::beside(&arguments.file),
        (None, true) => return None,
    };
    Some(ProgressFile::new(path, format, arguments.prefix.clone()))
}

/// Where to begin: at the begin of the file (`None`), or where an earlier run stopped.
fn starting_point(
    arguments: &ImportArguments,
    file: Option<&ProgressFile>,
) -> Result<Option<(Mark, u64)>, CommandError> {
    let Some(file) = file else {
        return if arguments.resume {
            Err(CommandError::Usage(
                "--resume of standard input or a pipe needs --progress-file FILE, as the stopped import had".to_owned(),
            ))
        } else {
            Ok(None)
        };
    };
    if arguments.restart {
        file.remove()?;
        return Ok(None);
    }
    match (file.load()?, arguments.resume) {
        (Some(earlier), true) => Ok(Some(earlier)),
        // Of an import that wrote nothing there is nothing to decide.
        (Some((_, 0)), false) => Ok(None),
        (Some((_, records)), false) => Err(TransferError::Unfinished { path: file.path().to_owned(), records }.into()),
        (None, true) => Err(TransferError::NothingToResume { path: file.path().to_owned() }.into()),
        (None, false) => Ok(None),
    }
}

fn resume_hint(file: Option<&ProgressFile>) -> String {
    match file {
        Some(_) => "run the same command with --resume to go on".to_owned(),
        None => "run it again from there (with --progress-file FILE it could be resumed)".to_owned(),
    }
}
