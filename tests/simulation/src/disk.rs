//! A node's logs on a simulated device: requests are taken at once, written together, and answered once they are synced. A crash
//! takes what was not; what was being written is there wholly or not at all.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use thermocline_engine::log::{Purged, StateKey};
use thermocline_shard::ReplicaId;
use thermocline_shard::raft::{Durable, Logs};

use crate::flaw::Flaw;
use crate::observer::Observer;

/// The logs of one node; outlives its processes.
pub struct Disk {
    held: Mutex<Held>,
    observer: Arc<Observer>,
    flaw: Option<Flaw>,
}

#[derive(Default)]
struct Held {
    /// What was asked, synced or not.
    now: BTreeMap<ReplicaId, Log>,
    synced: BTreeMap<ReplicaId, Log>,
    waiting: VecDeque<(ReplicaId, Change, Option<Durable>)>,
    /// When the write under way is done, and how many of those that wait are in it.
    writing: Option<(u64, usize)>,
}

/// A log, as it is or as it was synced.
#[derive(Debug, Clone, Default)]
struct Log {
    entries: BTreeMap<u64, Bytes>,
    purged: Option<Purged>,
    states: BTreeMap<StateKey, Bytes>,
}

/// A change of a log.
#[derive(Debug, Clone)]
pub enum Change {
    /// Entries at its end.
    Append(Vec<(u64, Bytes)>),
    /// Everything from an index on goes.
    Truncate(u64),
    /// Everything up to an index goes.
    Purge(u64, Bytes),
    /// A small value.
    State(StateKey, Bytes),
    /// All of it goes.
    Remove,
}

impl Log {
    fn change(&mut self, change: &Change) {
        match change {
            Change::Append(entries) => self.entries.extend(entries.iter().cloned()),
            Change::Truncate(from) => drop(self.entries.split_off(from)),
            Change::Purge(upto, mark) => {
                if self.purged.as_ref().is_none_or(|purged| purged.index < *upto) {
                    self.entries = self.entries.split_off(&(upto + 1));
                    self.purged = Some(Purged { index: *upto, mark: mark.clone() });
                }
            }
            Change::State(key, value) => drop(self.states.insert(*key, value.clone())),
            Change::Remove => *self = Self::default(),
        }
    }

    /// The index that an append has to begin with; `None`: any.
    fn next(&self) -> Option<u64> {
        let last = self.entries.last_key_value().map(|(index, _)| *index);
        last.or_else(|| self.purged.as_ref().map(|purged| purged.index)).map(|last| last + 1)
    }
}

impl Disk {
    /// An empty one.
    pub fn new(observer: Arc<Observer>, flaw: Option<Flaw>) -> Self {
        Self { held: Mutex::default(), observer, flaw }
    }

    /// Writes, as far as a millisecond has come. What is begun now takes `latency` milliseconds.
    pub fn step(&self, now: u64, latency: u64) {
        let mut done = Vec::new();
        let mut held = self.held.lock();
        if let Some((_, count)) = held.writing.filter(|(until, _)| *until <= now) {
            held.writing = None;
            for _ in 0..count {
                let Some((replica, change, answer)) = held.waiting.pop_front() else { break };
                held.synced.entry(replica).or_default().change(&change);
                self.observer.log_synced(replica, &change);
                done.extend(answer);
            }
        }
        if held.writing.is_none() && !held.waiting.is_empty() {
            held.writing = Some((now + latency, held.waiting.len()));
        }
        drop(held);
        done.into_iter().for_each(|answer| answer(Ok(())));
    }

    /// The process dies; with it what was not synced, but for the write under way, if that one was `lucky`.
    pub fn crash(&self, lucky: bool) {
        let mut held = self.held.lock();
        let written = held.writing.take().filter(|_| lucky).map_or(0, |(_, count)| count);
        for (replica, change, _) in std::mem::take(&mut held.waiting).into_iter().take(written) {
            held.synced.entry(replica).or_default().change(&change);
            self.observer.log_synced(replica, &change);
        }
        held.now = held.synced.clone();
        let now = held.now.keys().copied().collect::<Vec<_>>();
        drop(held);
        self.observer.logs_went_back(&now);
    }

    fn submit(&self, replica: ReplicaId, change: Change, done: Durable) {
        let mut held = self.held.lock();
        held.now.entry(replica).or_default().change(&change);
        let early = match (self.flaw, &change) {
            (Some(Flaw::EntriesNotSynced), Change::Append(_)) => true,
            (Some(Flaw::VoteNotSaved), Change::State(StateKey::Vote, _)) => {
                drop(held);
                return done(Ok(()));
            }
            _ => false,
        };
        let (answer, now) = if early { (None, Some(done)) } else { (Some(done), None) };
        held.waiting.push_back((replica, change.clone(), answer));
        drop(held);
        self.observer.log_changed(replica, &change);
        if let Some(done) = now {
            done(Ok(()));
        }
    }
}

impl Logs for Disk {
    fn waits(&self) -> bool {
        false
    }

    fn append(&self, replica: ReplicaId, entries: Vec<(u64, Bytes)>, done: Durable) {
        let next = self.held.lock().now.get(&replica).and_then(Log::next);
        let fits = entries.first().is_none_or(|(first, _)| next.is_none_or(|next| next == *first));
        if !fits {
            return done(Err(io::Error::other("the entries do not follow the last one")));
        }
        self.submit(replica, Change::Append(entries), done);
    }

    fn truncate_from(&self, replica: ReplicaId, index: u64, done: Durable) {
        let purged = self.purged(replica).map(|purged| purged.index);
        if purged.is_some_and(|purged| index <= purged) {
            return done(Err(io::Error::other("what is to be truncated is purged")));
        }
        self.submit(replica, Change::Truncate(index), done);
    }

    fn purge_to(&self, replica: ReplicaId, index: u64, mark: Bytes, done: Durable) {
        self.submit(replica, Change::Purge(index, mark), done);
    }

    fn save_state(&self, replica: ReplicaId, key: StateKey, value: Bytes, done: Durable) {
        self.submit(replica, Change::State(key, value), done);
    }

    fn remove(&self, replica: ReplicaId, done: Durable) {
        self.submit(replica, Change::Remove, done);
    }

    fn read(&self, replica: ReplicaId, range: Range<u64>, max_bytes: usize) -> io::Result<Vec<(u64, Bytes)>> {
        let held = self.held.lock();
        let Some(log) = held.now.get(&replica) else { return Ok(Vec::new()) };
        if range.start >= range.end {
            return Ok(Vec::new());
        }
        let (mut found, mut bytes) = (Vec::new(), 0);
        for (index, entry) in log.entries.range(range) {
            bytes += entry.len();
            if !found.is_empty() && bytes > max_bytes {
                break;
            }
            found.push((*index, entry.clone()));
        }
        Ok(found)
    }

    fn first_index(&self, replica: ReplicaId) -> Option<u64> {
        self.held.lock().now.get(&replica)?.entries.first_key_value().map(|(index, _)| *index)
    }

    fn last_index(&self, replica: ReplicaId) -> Option<u64> {
        self.held.lock().now.get(&replica)?.entries.last_key_value().map(|(index, _)| *index)
    }

    fn purged(&self, replica: ReplicaId) -> Option<Purged> {
        self.held.lock().now.get(&replica)?.purged.clone()
    }

    fn read_state(&self, replica: ReplicaId, key: StateKey) -> Option<Bytes> {
        self.held.lock().now.get(&replica)?.states.get(&key).cloned()
    }
}

#[cfg(test)]
#[path = "disk_test.rs"]
mod tests;
