//! Threads that help with a large multi-get.
//!
//! They are kept: a thread made for each call would first fault in memory of its own, which costs more than it reads. A
//! call is cut into chunks; caller and threads take one after the other, so that a thread that is slow to wake costs the
//! caller nothing. Only a chunk that a thread has begun is waited for.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use parking_lot::Mutex;

use super::multi::{Answers, Wanted};
use crate::engine::Inner;
use crate::error::{EngineError, Result};

/// More threads for one call find too little to do.
const MOST: usize = 3;
/// Keys of a chunk: RocksDB reads 32 at a time.
const CHUNK: usize = 128;
/// How long a thread waits before it looks whether the store closes.
const GLANCE: Duration = Duration::from_millis(50);

type Chunks = Arc<Mutex<Vec<Vec<Wanted>>>>;

struct Call {
    chunks: Chunks,
    answers: Sender<Result<Answers>>,
}

/// The threads that help, as callers see them.
pub(crate) struct PartReaders {
    threads: usize,
    ask: Sender<Call>,
    asked: Receiver<Call>,
}

impl PartReaders {
    /// One thread fewer than cores: the caller is one too.
    pub(crate) fn new(cores: usize) -> Self {
        // No room: asking succeeds only while a thread waits.
        let (ask, asked) = bounded(0);
        Self { threads: cores.saturating_sub(1).min(MOST), ask, asked }
    }

    pub(crate) const fn threads(&self) -> usize {
        self.threads
    }
}

impl Inner {
    /// Reads what the row cache did not have, with the help of threads that are free.
    pub(super) fn find_all(&self, mut wanted: Vec<Wanted>) -> Result<Answers> {
        if wanted.len() < 2 * CHUNK || self.part_readers.threads == 0 {
            return self.find_some(wanted);
        }
        let count = wanted.len().div_ceil(CHUNK);
        let cut = (0..count).map(|_| wanted.split_off(wanted.len().saturating_sub(CHUNK))).collect();
        let chunks: Chunks = Arc::new(Mutex::new(cut));
        let (answers, answered) = unbounded();
        for _ in 0..self.part_readers.threads.min(count - 1) {
            if self.part_readers.ask.try_send(Call { chunks: Arc::clone(&chunks), answers: answers.clone() }).is_err() {
                break;
            }
        }
        drop(answers);
        let mut found = Vec::with_capacity(count * CHUNK);
        let mut own = 0;
        while let Some(chunk) = take(&chunks) {
            found.extend(self.find_some(chunk)?);
            own += 1;
        }
        for _ in own..count {
            // A thread that ended without an answer panicked: the call ends with an error, as if it were cancelled.
            found.extend(answered.recv().unwrap_or(Err(EngineError::Cancelled))?);
        }
        Ok(found)
    }
}

fn take(chunks: &Chunks) -> Option<Vec<Wanted>> {
    chunks.lock().pop()
}

/// Runs until the store closes.
pub(crate) fn run_part_reader(inner: &Inner) {
    while !inner.is_closing() {
        let Ok(Call { chunks, answers }) = inner.part_readers.asked.recv_timeout(GLANCE) else { continue };
        while let Some(chunk) = take(&chunks) {
            // Nobody waits any more if the caller's own chunk failed.
            if answers.send(inner.find_some(chunk)).is_err() {
                break;
            }
        }
    }
}
