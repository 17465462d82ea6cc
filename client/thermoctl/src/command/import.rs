//! `import`: writes the records of a file, and goes on where an earlier run stopped.

use std::{
    fs::File,
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
        FileFormat, ImportPlan, ImportSummary, Importer, LineError, Mark, ProgressFile, RecordReader, StandardInput,
        StoreSink, TransferError,
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
    let interrupt = Interrupt::listen()?;
    let from_stdin = arguments.file.as_os_str() == "-";
    let format = arguments.format.unwrap_or_else(|| FileFormat::of(&arguments.file));
    let (input, length) = open(&arguments.file, from_stdin.then(|| interrupt.clone()))?;
    let progress_file = progress_file(arguments, from_stdin, format);
    let begun = starting_point(arguments, progress_file.as_ref())?;

    let line_error = |source: LineError| TransferError::Line {
        source,
        records: begun.map_or(0, |(_, records)| records),
        resume: "run the same command again".to_owned(),
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
    let records_before = begun.map_or(0, |(_, records)| records);
    let mut importer = Importer::new(sink, reader, plan, interrupt, records_before);

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
            report(context, summary, start.elapsed())
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

fn report(context: &Context, summary: ImportSummary, elapsed: Duration) -> Ended {
    let imported = Imported { records: summary.records, lines: summary.mark.line, seconds: elapsed.as_secs_f64() };
    context.printer.print(&imported, |imported| {
        format!("{} records imported in {:.1} s", count(imported.records), imported.seconds)
    })?;
    Ok(ExitCode::Success)
}

/// Of standard input, what interrupts it.
fn open(path: &Path, stdin: Option<Interrupt>) -> Result<(Box<dyn BufRead>, Option<u64>), CommandError> {
    if let Some(interrupt) = stdin {
        return Ok((Box::new(BufReader::with_capacity(READ_BUFFER, StandardInput::new(interrupt))), None));
    }
    let failed = |source| CommandError::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if metadata.is_dir() {
        return Err(CommandError::Usage(format!("{} is a folder; name a JSONL or CSV file", path.display())));
    }
    let length = metadata.len();
    Ok((Box::new(BufReader::with_capacity(READ_BUFFER, file)), Some(length)))
}

fn progress_file(arguments: &ImportArguments, from_stdin: bool, format: FileFormat) -> Option<ProgressFile> {
    let path = match (&arguments.progress_file, from_stdin) {
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
                "--resume of standard input needs --progress-file FILE, as the stopped import had".to_owned(),
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
