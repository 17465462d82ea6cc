//! Where the logs of a node's replicas are: the engine's log store, or memory for simulations, where every step must be
//! repeatable. The contract is the log store's: what one replica asks takes effect and becomes durable in its order, can be
//! read when the call returns, and is answered once it is durable.

use std::io;
use std::ops::Range;

use bytes::Bytes;
use thermocline_engine::log::{Completion, LogError, LogStore, Purged, StateKey};

use crate::ReplicaId;

/// Called once, when what was asked is durable or has failed. Short, and waits for nothing.
pub type Durable = Box<dyn FnOnce(io::Result<()>) + Send>;

/// The logs of one node, one for each replica.
pub trait Logs: Send + Sync + 'static {
    /// Whether reads may wait for a device; they are made on threads that may then.
    fn waits(&self) -> bool;

    /// Appends entries, which follow each other and the last one.
    fn append(&self, replica: ReplicaId, entries: Vec<(u64, Bytes)>, done: Durable);

    /// Removes the entry at `index` and everything after it.
    fn truncate_from(&self, replica: ReplicaId, index: u64, done: Durable);

    /// Removes everything up to and including `index`, which may lie beyond the end, and remembers it together with `mark`.
    fn purge_to(&self, replica: ReplicaId, index: u64, mark: Bytes, done: Durable);

    /// Saves a small value beside a replica's entries.
    fn save_state(&self, replica: ReplicaId, key: StateKey, value: Bytes, done: Durable);

    /// Removes all that there is of a replica.
    fn remove(&self, replica: ReplicaId, done: Durable);

    /// What there is of `range`, without gaps, up to `max_bytes` of entries but at least one.
    ///
    /// # Errors
    /// When it cannot be read.
    fn read(&self, replica: ReplicaId, range: Range<u64>, max_bytes: usize) -> io::Result<Vec<(u64, Bytes)>>;

    /// The index of the first entry; `None` where there is none.
    fn first_index(&self, replica: ReplicaId) -> Option<u64>;

    /// The index of the last entry; `None` where there is none.
    fn last_index(&self, replica: ReplicaId) -> Option<u64>;

    /// What the last purge left behind.
    fn purged(&self, replica: ReplicaId) -> Option<Purged>;

    /// The value saved last under a key.
    fn read_state(&self, replica: ReplicaId, key: StateKey) -> Option<Bytes>;
}

fn completion(done: Durable) -> Completion {
    Completion::new(move |outcome: Result<(), LogError>| done(outcome.map_err(io::Error::other)))
}

impl Logs for LogStore {
    fn waits(&self) -> bool {
        true
    }

    fn append(&self, replica: ReplicaId, entries: Vec<(u64, Bytes)>, done: Durable) {
        Self::append(self, replica.0, entries, completion(done));
    }

    fn truncate_from(&self, replica: ReplicaId, index: u64, done: Durable) {
        Self::truncate_from(self, replica.0, index, completion(done));
    }

    fn purge_to(&self, replica: ReplicaId, index: u64, mark: Bytes, done: Durable) {
        Self::purge_to(self, replica.0, index, mark, completion(done));
    }

    fn save_state(&self, replica: ReplicaId, key: StateKey, value: Bytes, done: Durable) {
        Self::save_state(self, replica.0, key, value, completion(done));
    }

    fn remove(&self, replica: ReplicaId, done: Durable) {
        self.remove_group(replica.0, completion(done));
    }

    fn read(&self, replica: ReplicaId, range: Range<u64>, max_bytes: usize) -> io::Result<Vec<(u64, Bytes)>> {
        Self::read(self, replica.0, range, max_bytes).map_err(io::Error::other)
    }

    fn first_index(&self, replica: ReplicaId) -> Option<u64> {
        Self::first_index(self, replica.0)
    }

    fn last_index(&self, replica: ReplicaId) -> Option<u64> {
        Self::last_index(self, replica.0)
    }

    fn purged(&self, replica: ReplicaId) -> Option<Purged> {
        Self::purged(self, replica.0)
    }

    fn read_state(&self, replica: ReplicaId, key: StateKey) -> Option<Bytes> {
        Self::read_state(self, replica.0, key)
    }
}
