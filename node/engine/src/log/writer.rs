//! The writer thread: everything that waits becomes one batch, one sync, and then answers, in order.
//!
//! While a sync runs the next requests gather; so the more groups write, the fewer syncs each of them costs. The first storage
//! failure is remembered for good (see [`StorageFailure`]): its batch and everything after it is answered with it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use rocksdb::{DB, WriteBatch, WriteOptions};

use super::error::{LogError, StorageFailure};
use super::fault::{BatchFacts, Fault};
use super::format::{STORE_KEY, entry_key, group_key, seal, state_key};
use super::group::Group;
use super::options::synced_writes;
use super::reclaim::Garbage;
use super::request::{Operation, Request};
use super::store::Shared;
use super::tail::fair_level;
use crate::synced_mark::SyncedMark;

/// The writer and what only it touches.
pub(super) struct Writer {
    database: Arc<DB>,
    synced: WriteOptions,
    mark: SyncedMark,
    garbage: Garbage,
    fault: Option<Arc<dyn Fault>>,
    linger: Duration,
    // The next incarnation as it is on disk. Groups are numbered when they are made and written when their turn comes, so a
    // smaller number may come after a larger one.
    next_incarnation: u64,
    batches: u64,
}

/// What a batch holds.
#[derive(Debug, Default)]
struct Load {
    entries: usize,
    bytes: usize,
}

impl Writer {
    /// A writer for a database whose store record says `next_incarnation`.
    pub(super) fn new(
        database: Arc<DB>,
        mark: SyncedMark,
        garbage: Garbage,
        next_incarnation: u64,
        linger: Duration,
        fault: Option<Arc<dyn Fault>>,
    ) -> Self {
        Self { database, synced: synced_writes(), mark, garbage, fault, linger, next_incarnation, batches: 0 }
    }

    /// Runs until the queue is closed and drained.
    pub(super) fn run(mut self, shared: &Shared) {
        // A completion that panics must not leave the others waiting: the store stops, and says so to each of them.
        let outcome = catch_unwind(AssertUnwindSafe(|| self.serve(shared)));
        if outcome.is_err() {
            shared.fail(StorageFailure::Panicked);
            while let Some(requests) = shared.queue.take(0, Duration::ZERO) {
                refuse(shared, requests);
            }
        }
    }

    fn serve(&mut self, shared: &Shared) {
        let mut expected = 0;
        while let Some(requests) = shared.queue.take(expected, self.linger) {
            expected = requests.len() / 2;
            if shared.failure().is_some() {
                refuse(shared, requests);
                continue;
            }
            match self.write(shared, &requests) {
                Ok(()) => self.answer(shared, requests),
                Err(failure) => {
                    shared.fail(failure);
                    refuse(shared, requests);
                }
            }
        }
    }

    /// Writes and syncs one batch; nothing where nobody has anything to write, since what came before is synced already.
    fn write(&mut self, shared: &Shared, requests: &[Request]) -> Result<(), StorageFailure> {
        let mut batch = WriteBatch::default();
        let mut load = Load::default();
        let mut next_incarnation = self.next_incarnation;
        for request in requests {
            if let (Some(group), Some(record)) = (&request.group, &request.record) {
                let key = group_key(group.id);
                put(&mut batch, &key, &record.encode())?;
                next_incarnation = next_incarnation.max(record.incarnation + 1);
            }
            add(&mut batch, &mut load, request)?;
        }
        if next_incarnation != self.next_incarnation {
            put(&mut batch, &STORE_KEY, &next_incarnation.to_be_bytes())?;
        }
        if batch.is_empty() {
            return Ok(());
        }
        if let Some(fault) = &self.fault {
            let facts = BatchFacts { number: self.batches, requests: requests.len(), entries: load.entries };
            fault.before_write(facts).map_err(StorageFailure::Injected)?;
        }
        self.database.write_opt(&batch, &self.synced).map_err(StorageFailure::Write)?;
        self.next_incarnation = next_incarnation;
        self.batches += 1;
        // Only this thread writes, so the latest sequence number is this batch's, and synced.
        self.mark.write(self.database.latest_sequence_number()).map_err(StorageFailure::Mark)?;
        shared.counters.lock().batch(requests.len() as u64, load.entries as u64, load.bytes as u64);
        self.garbage.appended(load.bytes);
        Ok(())
    }

    fn answer(&mut self, shared: &Shared, requests: Vec<Request>) {
        for Request { group, operation, done, .. } in requests {
            if let Some(group) = &group {
                self.settle(group, &operation);
            }
            done.complete(Ok(()));
        }
        self.garbage.hand_over();
        if let Some(target) = shared.tails.target() {
            evict(shared, target);
        }
    }

    /// Takes note that an operation is durable.
    fn settle(&mut self, group: &Group, operation: &Operation) {
        match operation {
            Operation::Append { .. } => group.state.lock().tail.synced(),
            Operation::Purge(Some(span)) => self.garbage.purged(group.id, group.incarnation, span.end),
            Operation::Remove => self.garbage.removed(group.id, group.incarnation),
            Operation::Nothing
            | Operation::Purge(None)
            | Operation::Truncate(_)
            | Operation::SaveState { .. }
            | Operation::Sweep(_) => {}
        }
    }
}

fn put(batch: &mut WriteBatch, key: &[u8], payload: &[u8]) -> Result<(), StorageFailure> {
    use std::io::IoSlice;
    // The parts are copied once, into the batch.
    let head = seal(key, payload);
    batch
        .put_vectored(&[IoSlice::new(key)], &[IoSlice::new(&head), IoSlice::new(payload)])
        .map_err(StorageFailure::Build)
}

fn add(batch: &mut WriteBatch, load: &mut Load, request: &Request) -> Result<(), StorageFailure> {
    if let Operation::Sweep(ranges) = &request.operation {
        for range in ranges {
            batch.delete_range(&range.from, &range.end);
        }
        return Ok(());
    }
    let Some(group) = &request.group else { return Ok(()) };
    let (id, incarnation) = (group.id, group.incarnation);
    match &request.operation {
        Operation::Append { first, payloads } => {
            for (index, payload) in (*first..).zip(payloads) {
                put(batch, &entry_key(id, incarnation, index), payload)?;
                load.bytes += payload.len();
            }
            load.entries += payloads.len();
        }
        Operation::Truncate(span) | Operation::Purge(Some(span)) => {
            batch.delete_range(entry_key(id, incarnation, span.from), entry_key(id, incarnation, span.end));
        }
        Operation::SaveState { key, value } => put(batch, &state_key(id, incarnation, *key as u8), value)?,
        Operation::Remove => {
            batch.delete(group_key(id));
            batch.delete_range(state_key(id, incarnation, 0), state_key(id, incarnation + 1, 0));
            batch.delete_range(entry_key(id, incarnation, 0), entry_key(id, incarnation + 1, 0));
        }
        Operation::Nothing | Operation::Purge(None) | Operation::Sweep(_) => {}
    }
    Ok(())
}

/// Answers requests of a store that has stopped.
fn refuse(shared: &Shared, requests: Vec<Request>) {
    for request in requests {
        let outcome = shared.failure().map_or(Err(LogError::Closed), |failure| Err(LogError::Failed(failure)));
        // One that panics must not keep the others from their answers.
        if catch_unwind(AssertUnwindSafe(|| request.done.complete(outcome))).is_err() {
            tracing::error!("a completion of the log store panicked; whoever waits for it waits for ever");
        }
    }
}

/// Cuts the tails down to `target` bytes together.
fn evict(shared: &Shared, target: usize) {
    let groups: Vec<Arc<Group>> = shared.groups.read().values().map(Arc::clone).collect();
    let sizes = groups.iter().map(|group| group.state.lock().tail.bytes()).collect();
    let level = fair_level(sizes, target);
    for group in groups {
        shared.tails.change(&mut group.state.lock().tail, |tail| tail.evict_to(level));
    }
}
