//! The queue of buffered writes: one, ordered, seen by reads, written after 1000 entries, 1 MiB or 5 ms.
//!
//! A flush writes everything queued as one batch, so a prefix of the order is what survives. While a flush is under way
//! its entries stay visible in `flushing`; they leave after the fastest tier has them. A direct write to a key that is
//! queued waits for the flush, so it cannot be overtaken by an older one.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use rocksdb::WriteBatch;

use crate::error::Result;
use crate::format::keys;
use crate::guard::Guard;
use crate::rocks::Database;

/// Flush at so many entries ...
const MAX_ENTRIES: usize = 1000;
/// ... or so many bytes ...
const MAX_BYTES: usize = 1 << 20;
/// ... or after so long.
pub(crate) const MAX_AGE: Duration = Duration::from_millis(5);

/// One queued change: a value, or a tombstone.
#[derive(Debug, Clone)]
pub(crate) struct Queued {
    pub(crate) version: u64,
    pub(crate) value: Option<Bytes>,
}

#[derive(Default)]
struct Queue {
    order: Vec<(Bytes, Queued)>,
    bytes: usize,
    newest: HashMap<Bytes, Queued>,
    flushing: HashMap<Bytes, Queued>,
}

/// The queue.
#[derive(Default)]
pub(crate) struct Buffered {
    queue: Mutex<Queue>,
    /// Entries queued or being flushed: reads skip the lock while it is 0.
    pending: AtomicUsize,
    flush: Mutex<()>,
    arrived: Condvar,
}

impl Buffered {
    /// Queues changes that belong together. `true`: the queue is full and the caller flushes it.
    pub(crate) fn push(&self, changes: Vec<(Bytes, Queued)>) -> bool {
        let mut queue = self.queue.lock();
        self.pending.fetch_add(changes.len(), Ordering::SeqCst);
        for (key, queued) in changes {
            queue.bytes += key.len() + queued.value.as_ref().map_or(0, Bytes::len);
            queue.newest.insert(key.clone(), queued.clone());
            queue.order.push((key, queued));
        }
        let full = queue.order.len() >= MAX_ENTRIES || queue.bytes >= MAX_BYTES;
        drop(queue);
        self.arrived.notify_one();
        full
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
        let written = database.write(&batch, &database.wal, "write buffered changes");
        let mut queue = self.queue.lock();
        if written.is_ok() {
            queue.flushing.clear();
            self.pending.fetch_sub(order.len(), Ordering::SeqCst);
        } else {
            let older = std::mem::take(&mut queue.flushing);
            for (key, queued) in older {
                queue.newest.entry(key).or_insert(queued);
            }
            let newer = std::mem::replace(&mut queue.order, order);
            queue.order.extend(newer);
            queue.bytes += bytes;
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
