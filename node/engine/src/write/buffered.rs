//! The queue of buffered writes: one, ordered, seen by reads, written after 1000 entries, 1 MiB or 5 ms.
//!
//! A flush writes everything queued as one batch, so a prefix of the order is what survives. While a flush is under way
//! its entries stay visible in `flushing`; they leave after the fastest tier has them. A direct write to a key that is
//! queued waits for the flush, so it cannot be overtaken by an older one.
//!
//! What is queued is accepted: a flush that fails afterwards is no answer to whoever queued it, the entries stay, in
//! their order, and are written when storage takes them. Meanwhile the queue grows up to its bound, then it refuses.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use rocksdb::WriteBatch;

use crate::environment::{CrashPoint, Environment};
use crate::error::{EngineError, Result, chain};
use crate::format::keys;
use crate::guard::Guard;
use crate::limits::{MAX_QUEUED_BYTES, MAX_QUEUED_ENTRIES};
use crate::rocks::Database;

/// Flush at so many entries ...
const MAX_ENTRIES: usize = 1000;
/// ... or so many bytes ...
const MAX_BYTES: usize = 1 << 20;
/// ... or after so long.
pub(crate) const MAX_AGE: Duration = Duration::from_millis(5);
/// After a failed flush writers leave the next try to others for so long: each costs as much as the whole queue.
const RETRY_AFTER: Duration = Duration::from_millis(50);

/// One queued change: a value, or a tombstone.
#[derive(Debug, Clone)]
pub(crate) struct Queued {
    pub(crate) version: u64,
    pub(crate) value: Option<Bytes>,
}

/// The last flush, if it failed.
struct Failed {
    at: Duration,
    reason: String,
}

#[derive(Default)]
struct Queue {
    order: Vec<(Bytes, Queued)>,
    bytes: usize,
    newest: HashMap<Bytes, Queued>,
    flushing: HashMap<Bytes, Queued>,
    /// Entries and bytes of `order` and of the flush under way.
    held: (usize, usize),
    failed: Option<Failed>,
}

/// The queue.
pub(crate) struct Buffered {
    environment: Environment,
    queue: Mutex<Queue>,
    /// Entries queued or being flushed: reads skip the lock while it is 0.
    pending: AtomicUsize,
    flush: Mutex<()>,
    arrived: Condvar,
}

impl Queue {
    /// An empty queue takes any batch: it is written at once.
    const fn takes(&self, entries: usize, bytes: usize) -> bool {
        self.held.0 == 0 || (self.held.0 + entries <= MAX_QUEUED_ENTRIES && self.held.1 + bytes <= MAX_QUEUED_BYTES)
    }

    fn full(&self) -> EngineError {
        let reason = self.failed.as_ref().map_or_else(String::new, |failed| failed.reason.clone());
        EngineError::BufferFull { entries: self.held.0, bytes: self.held.1, reason }
    }
}

impl Buffered {
    pub(crate) fn new(environment: Environment) -> Self {
        Self {
            environment,
            queue: Mutex::default(),
            pending: AtomicUsize::new(0),
            flush: Mutex::default(),
            arrived: Condvar::default(),
        }
    }

    /// Queues changes that belong together, or none of them when the queue is at its bound. Whoever fills it writes it.
    pub(crate) fn push(&self, database: &Database, changes: Vec<(Bytes, Queued)>) -> Result<()> {
        let bytes = changes.iter().map(|(key, queued)| key.len() + queued.value.as_ref().map_or(0, Bytes::len)).sum();
        loop {
            let mut queue = self.queue.lock();
            if queue.takes(changes.len(), bytes) {
                self.take(&mut queue, changes, bytes);
                let due = queue.order.len() >= MAX_ENTRIES || queue.bytes >= MAX_BYTES;
                let due = due && self.worth_a_try(&queue);
                drop(queue);
                self.arrived.notify_one();
                if due && let Err(error) = self.flush(database) {
                    tracing::warn!(error = %chain(&error), "buffered writes stay queued");
                }
                return Ok(());
            }
            if !self.worth_a_try(&queue) {
                return Err(queue.full());
            }
            drop(queue);
            if self.flush(database).is_err() {
                return Err(self.queue.lock().full());
            }
        }
    }

    fn take(&self, queue: &mut Queue, changes: Vec<(Bytes, Queued)>, bytes: usize) {
        self.pending.fetch_add(changes.len(), Ordering::SeqCst);
        queue.held.0 += changes.len();
        queue.held.1 += bytes;
        queue.bytes += bytes;
        for (key, queued) in changes {
            queue.newest.insert(key.clone(), queued.clone());
            queue.order.push((key, queued));
        }
    }

    fn worth_a_try(&self, queue: &Queue) -> bool {
        let now = || self.environment.clock.monotonic();
        queue.failed.as_ref().is_none_or(|failed| now().saturating_sub(failed.at) >= RETRY_AFTER)
    }

    /// How many changes wait to be written.
    pub(crate) fn pending(&self) -> usize {
        self.pending.load(Ordering::SeqCst)
    }

    /// The newest queued change of a key.
    pub(crate) fn get(&self, key: &[u8]) -> Option<Queued> {
        if self.pending.load(Ordering::SeqCst) == 0 || !Guard::BufferedReads.on() {
            return None;
        }
        let queue = self.queue.lock();
        queue.newest.get(key).or_else(|| queue.flushing.get(key)).cloned()
    }

    /// Writes what is queued, if any of these keys are.
    pub(crate) fn flush_before<'a>(&self, database: &Database, keys: impl IntoIterator<Item = &'a [u8]>) -> Result<()> {
        if self.pending.load(Ordering::SeqCst) == 0 || !Guard::BufferedOrder.on() {
            return Ok(());
        }
        let queued = {
            let queue = self.queue.lock();
            keys.into_iter().any(|key| queue.newest.contains_key(key) || queue.flushing.contains_key(key))
        };
        if queued { self.flush(database) } else { Ok(()) }
    }

    /// Writes everything queued so far. On an error the entries stay queued and visible, in their order.
    pub(crate) fn flush(&self, database: &Database) -> Result<()> {
        let _one = self.flush.lock();
        if self.pending.load(Ordering::SeqCst) == 0 {
            return Ok(());
        }
        let (order, bytes) = {
            let mut queue = self.queue.lock();
            queue.flushing = std::mem::take(&mut queue.newest);
            let bytes = std::mem::take(&mut queue.bytes);
            (std::mem::take(&mut queue.order), bytes)
        };
        let mut batch = WriteBatch::with_capacity_bytes(bytes + order.len() * 32);
        let (mut key_buffer, mut record_buffer) = (Vec::new(), Vec::new());
        for (key, queued) in &order {
            keys::encode_into(key, &mut key_buffer);
            database.stage(&mut batch, &key_buffer, queued.version, queued.value.as_deref(), &mut record_buffer);
        }
        let passed = self.environment.pass(CrashPoint::BufferedFlush);
        let written = passed.and_then(|()| database.write(&batch, &database.wal, "write buffered changes"));
        let mut queue = self.queue.lock();
        match &written {
            Ok(()) => {
                queue.flushing.clear();
                queue.failed = None;
                queue.held.0 -= order.len();
                queue.held.1 -= bytes;
                self.pending.fetch_sub(order.len(), Ordering::SeqCst);
            }
            Err(error) => {
                let older = std::mem::take(&mut queue.flushing);
                for (key, queued) in older {
                    queue.newest.entry(key).or_insert(queued);
                }
                let newer = std::mem::replace(&mut queue.order, order);
                queue.order.extend(newer);
                queue.bytes += bytes;
                queue.failed = Some(Failed { at: self.environment.clock.monotonic(), reason: chain(error) });
            }
        }
        written
    }

    /// Waits until something is queued, at most `limit`.
    pub(crate) fn wait(&self, limit: Duration) -> bool {
        let mut queue = self.queue.lock();
        if queue.order.is_empty() {
            self.arrived.wait_for(&mut queue, limit);
        }
        !queue.order.is_empty()
    }
}
