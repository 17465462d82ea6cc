//! The pipeline of an import: read, gather into batches, write several at once, acknowledge in order.
//!
//! Invariants: what is acknowledged is a beginning of the file; two batches in flight never hold the same key, so a
//! later line wins over an earlier one.

use std::{
    collections::{HashSet, VecDeque},
    io::BufRead,
    sync::Arc,
};

use bytes::Bytes;
use thermocline_client::Error as ClientError;
use thermocline_proto::{MAX_KEY_BYTES, MAX_VALUE_BYTES};
use tokio::task::JoinHandle;

use super::{
    TransferError,
    record_reader::{FileRecord, LineError, Mark, RecordReader},
};
use crate::interrupt::Interrupt;

/// A batch is closed when it holds so many bytes, whatever its count: well under what one message may carry.
const BATCH_BYTES: usize = 1024 * 1024;

/// Takes batches of keys and values.
pub trait BatchSink: Send + Sync + 'static {
    /// Writes all of them, in order where a key repeats.
    fn write(&self, batch: Vec<(Bytes, Bytes)>) -> impl Future<Output = Result<(), ClientError>> + Send;
}

/// How an import runs.
#[derive(Debug, Clone)]
pub struct ImportPlan {
    /// Put before every key.
    pub prefix: Bytes,
    /// Records of a batch.
    pub batch_records: usize,
    /// Batches in flight.
    pub concurrency: usize,
    /// For messages: how to go on after it stopped.
    pub resume_hint: String,
}

/// What an import did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImportSummary {
    /// Records written, by this run and those it resumed.
    pub records: u64,
    /// How far the file was read.
    pub mark: Mark,
}

struct InFlight {
    task: JoinHandle<Result<(), ClientError>>,
    keys: HashSet<Bytes>,
    first_line: u64,
    records: u64,
    end: Mark,
}

/// Runs one import.
pub struct Importer<S, R> {
    sink: Arc<S>,
    reader: RecordReader<R>,
    plan: ImportPlan,
    /// A person's Ctrl-C: the batches in flight are still acknowledged.
    interrupt: Interrupt,
    in_flight: VecDeque<InFlight>,
    held_back: Option<FileRecord>,
    done: ImportSummary,
}

impl<S: BatchSink, R: BufRead> Importer<S, R> {
    /// Imports what `reader` has still to give; `records` were written before.
    pub fn new(sink: Arc<S>, reader: RecordReader<R>, plan: ImportPlan, interrupt: Interrupt, records: u64) -> Self {
        let mark = reader.mark();
        Self {
            sink,
            reader,
            plan,
            interrupt,
            in_flight: VecDeque::new(),
            held_back: None,
            done: ImportSummary { records, mark },
        }
    }

    /// Runs to the end of the file; `acknowledged` hears of every step forward.
    ///
    /// # Errors
    /// Where it stopped, why, and how far it came.
    pub async fn run(
        &mut self,
        mut acknowledged: impl FnMut(ImportSummary) -> Result<(), TransferError>,
    ) -> Result<ImportSummary, TransferError> {
        let ended = self.run_to_end(&mut acknowledged).await;
        // A read or a batch that fails after the interruption mostly fails by it, and to resume is right after any.
        if ended.is_err() && self.interrupt.asked() {
            return Err(TransferError::Interrupted {
                records: self.done.records,
                resume: self.plan.resume_hint.clone(),
            });
        }
        ended
    }

    async fn run_to_end(
        &mut self,
        acknowledged: &mut impl FnMut(ImportSummary) -> Result<(), TransferError>,
    ) -> Result<ImportSummary, TransferError> {
        loop {
            if self.interrupt.asked() {
                self.drain(0, acknowledged).await?;
                return Err(TransferError::Interrupted {
                    records: self.done.records,
                    resume: self.plan.resume_hint.clone(),
                });
            }
            let (batch, stop) = self.gather();
            let ended = batch.is_empty() && stop.is_none();
            if !batch.is_empty() {
                let shares_a_key = |flight: &InFlight| batch.iter().any(|record| flight.keys.contains(&record.key));
                let allowed =
                    if self.in_flight.iter().any(shares_a_key) { 0 } else { self.plan.concurrency.max(1) - 1 };
                self.drain(allowed, acknowledged).await?;
                self.send(batch);
            }
            if let Some(source) = stop {
                self.drain(0, acknowledged).await?;
                return Err(TransferError::Line {
                    source,
                    records: self.done.records,
                    resume: self.plan.resume_hint.clone(),
                });
            }
            if ended {
                self.drain(0, acknowledged).await?;
                return Ok(self.done);
            }
        }
    }

    /// The next batch, and the line that ends the import where one is not usable.
    fn gather(&mut self) -> (Vec<FileRecord>, Option<LineError>) {
        let mut batch = Vec::with_capacity(self.plan.batch_records);
        let mut bytes = 0;
        while batch.len() < self.plan.batch_records.max(1) {
            let next = match self.held_back.take() {
                Some(record) => Ok(Some(record)),
                None => self.reader.next_record().and_then(|record| self.checked(record)),
            };
            match next {
                Ok(Some(record)) => {
                    bytes += record.key.len() + record.value.len();
                    if bytes > BATCH_BYTES && !batch.is_empty() {
                        self.held_back = Some(record);
                        break;
                    }
                    batch.push(record);
                }
                Ok(None) => break,
                Err(error) => return (batch, Some(error)),
            }
        }
        (batch, None)
    }

    /// Prefixes the key and checks the limits here, where the line is known.
    fn checked(&self, record: Option<FileRecord>) -> Result<Option<FileRecord>, LineError> {
        let Some(mut record) = record else {
            return Ok(None);
        };
        if !self.plan.prefix.is_empty() {
            record.key = [self.plan.prefix.as_ref(), record.key.as_ref()].concat().into();
        }
        let problem = if record.key.is_empty() || record.key.len() > MAX_KEY_BYTES {
            Some(format!(
                "a key of {} bytes is not allowed; keys have 1 to {MAX_KEY_BYTES} bytes, the prefix included",
                record.key.len()
            ))
        } else if record.value.len() > MAX_VALUE_BYTES {
            Some(format!(
                "a value of {} bytes is not allowed; values have up to {MAX_VALUE_BYTES} bytes",
                record.value.len()
            ))
        } else {
            None
        };
        match problem {
            Some(detail) => Err(LineError::Bad { line: record.line, detail }),
            None => Ok(Some(record)),
        }
    }

    fn send(&mut self, batch: Vec<FileRecord>) {
        let (Some(first), Some(last)) = (batch.first(), batch.last()) else {
            return;
        };
        let (first_line, end, records) = (first.line, last.end, batch.len() as u64);
        let keys = batch.iter().map(|record| record.key.clone()).collect();
        let pairs = batch.into_iter().map(|record| (record.key, record.value)).collect();
        let sink = Arc::clone(&self.sink);
        let task = tokio::spawn(async move { sink.write(pairs).await });
        self.in_flight.push_back(InFlight { task, keys, first_line, records, end });
    }

    /// Waits, in order, until at most `allowed` batches are in flight.
    async fn drain(
        &mut self,
        allowed: usize,
        acknowledged: &mut impl FnMut(ImportSummary) -> Result<(), TransferError>,
    ) -> Result<(), TransferError> {
        while self.in_flight.len() > allowed {
            let Some(flight) = self.in_flight.pop_front() else {
                return Ok(());
            };
            match flight.task.await {
                Ok(Ok(())) => {
                    self.done.records += flight.records;
                    self.done.mark = flight.end;
                    acknowledged(self.done)?;
                }
                Ok(Err(source)) => {
                    return Err(TransferError::Store {
                        from_line: flight.first_line,
                        records: self.done.records,
                        resume: self.plan.resume_hint.clone(),
                        source: Box::new(source),
                    });
                }
                Err(_stopped) => {
                    return Err(TransferError::Lost { resume: self.plan.resume_hint.clone() });
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "import_test.rs"]
mod tests;
