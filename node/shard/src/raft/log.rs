//! A replica's log and vote, in the node's log store: one group for each replica, one sync for all that wait.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use bytes::Bytes;
use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};
use parking_lot::Mutex;
use thermocline_engine::log::StateKey;
use tokio::sync::oneshot;

use super::encoding::{decode_entry, decode_log_id, decode_vote, encode_entry, encode_log_id, encode_vote};
use super::log_size::LogSizes;
use super::logs::{Durable, Logs};
use super::types::{Entry, LogId, TypeConfig, Vote};
use crate::ReplicaId;

/// What one read of the log brings, in bytes, unless its first entry is larger: what is sent at once to a follower that is
/// behind.
const READ_BYTES: usize = 4 << 20;
/// Entries of a log that was there before by which the others are judged.
const SAMPLES: u64 = 8;

/// The log of one replica. Cheap to clone: readers are clones.
#[derive(Clone)]
pub struct ReplicaLog {
    logs: Arc<dyn Logs>,
    replica: ReplicaId,
    sizes: Arc<Mutex<LogSizes>>,
}

impl ReplicaLog {
    /// The log of a replica; empty where there is none.
    #[must_use]
    pub fn new(logs: Arc<dyn Logs>, replica: ReplicaId) -> Self {
        Self { logs, replica, sizes: Arc::default() }
    }

    /// The bytes of the log, kept up to date. Those of a log that was there before are estimated from some of its entries.
    ///
    /// # Errors
    /// When they cannot be read.
    pub(super) async fn sizes(&self) -> io::Result<Arc<Mutex<LogSizes>>> {
        let replica = self.replica;
        if let (Some(first), Some(last)) = (self.logs.first_index(replica), self.logs.last_index(replica)) {
            let logs = Arc::clone(&self.logs);
            let mean = move || mean_bytes(&*logs, replica, first, last);
            let each = if self.logs.waits() { tokio::task::spawn_blocking(mean).await?? } else { mean()? };
            *self.sizes.lock() = LogSizes::found(first, last, each);
        }
        Ok(Arc::clone(&self.sizes))
    }

    /// Begins the log of a replica behind an entry that its state machine has applied before there was a log: that of a
    /// shard that split off. Nothing where there is a log.
    ///
    /// # Errors
    /// When it cannot be made durable.
    pub(super) async fn begin_behind(&self, applied: LogId) -> io::Result<()> {
        if self.logs.purged(self.replica).is_some() || self.logs.last_index(self.replica).is_some() {
            return Ok(());
        }
        let mark = encode_log_id(&applied);
        self.durable(|done| self.logs.purge_to(self.replica, applied.index, mark, done)).await
    }

    /// Asks the store for something and waits until it is durable.
    async fn durable(&self, ask: impl FnOnce(Durable)) -> io::Result<()> {
        let (sender, receiver) = oneshot::channel();
        // A receiver that is gone no longer wants the answer.
        ask(Box::new(move |outcome| drop(sender.send(outcome))));
        receiver.await.unwrap_or_else(|_| Err(io::Error::other("the log was closed before it answered")))
    }

    fn state(&self, key: StateKey) -> Option<Bytes> {
        self.logs.read_state(self.replica, key)
    }

    fn purged(&self) -> io::Result<Option<LogId>> {
        self.logs.purged(self.replica).map(|purged| decode_log_id(purged.mark)).transpose()
    }

    /// Entries from the first of a range on, as many as one read brings.
    async fn read(&self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        let (logs, replica) = (Arc::clone(&self.logs), self.replica);
        let read = move || logs.read(replica, start..end, READ_BYTES);
        let entries = if self.logs.waits() { tokio::task::spawn_blocking(read).await?? } else { read()? };
        entries.into_iter().map(|(_, bytes)| decode_entry(bytes)).collect()
    }
}

/// What the entries of a log have on average, by some of them.
fn mean_bytes(logs: &dyn Logs, replica: ReplicaId, first: u64, last: u64) -> io::Result<u64> {
    let (mut bytes, mut looked_at) = (0, 0);
    for sample in 0..SAMPLES {
        let index = first + (last - first) * sample / (SAMPLES - 1);
        for (_, entry) in logs.read(replica, index..index + 1, READ_BYTES)? {
            bytes += entry.len() as u64;
            looked_at += 1;
        }
    }
    Ok(bytes / looked_at.max(1))
}

/// The half-open range of indices.
fn indices(range: &impl RangeBounds<u64>) -> (u64, u64) {
    let start = match range.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(before) => before.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(last) => last.saturating_add(1),
        Bound::Excluded(end) => *end,
        Bound::Unbounded => u64::MAX,
    };
    (start, end)
}

impl RaftLogReader<TypeConfig> for ReplicaLog {
    async fn try_get_log_entries<R: RangeBounds<u64> + Clone + Debug + Send>(
        &mut self,
        range: R,
    ) -> io::Result<Vec<Entry>> {
        let (mut start, end) = indices(&range);
        let mut entries = Vec::new();
        // All of them are asked for, and a read brings some.
        while start < end {
            let some = self.read(start, end).await?;
            let Some(last) = some.last() else { break };
            start = last.log_id.index + 1;
            entries.extend(some);
        }
        Ok(entries)
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        self.state(StateKey::Vote).map(decode_vote).transpose()
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        self.read(start, end).await
    }
}

impl RaftLogStorage<TypeConfig> for ReplicaLog {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<TypeConfig>> {
        let last_purged_log_id = self.purged()?;
        let last_log_id = match self.logs.last_index(self.replica) {
            None => last_purged_log_id,
            Some(last) => self.read(last, last + 1).await?.last().map(|entry| entry.log_id),
        };
        Ok(LogState { last_purged_log_id, last_log_id })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        let vote = encode_vote(vote);
        self.durable(|done| self.logs.save_state(self.replica, StateKey::Vote, vote, done)).await
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        // Need not be durable: what it says is found out again from the others, only later. In the order of the log's
        // writes it goes with the next sync.
        let committed = committed.as_ref().map(encode_log_id).unwrap_or_default();
        let done: Durable = Box::new(|saved| {
            if let Err(error) = saved {
                tracing::debug!(%error, "how far a log is committed was not saved");
            }
        });
        self.logs.save_state(self.replica, StateKey::Committed, committed, done);
        Ok(())
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        self.state(StateKey::Committed).filter(|bytes| !bytes.is_empty()).map(decode_log_id).transpose()
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + Send,
        I::IntoIter: Send,
    {
        let entries: Vec<(u64, Bytes)> =
            entries.into_iter().map(|entry| (entry.log_id.index, encode_entry(&entry))).collect();
        {
            let mut sizes = self.sizes.lock();
            entries.iter().for_each(|(index, bytes)| sizes.append(*index, bytes.len()));
        }
        // Answered by the log's writer, after the sync and in the order of the requests.
        self.logs.append(self.replica, entries, Box::new(move |outcome| callback.io_completed(outcome)));
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        let from = last.map_or(0, |last| last.index + 1);
        self.sizes.lock().truncate(from);
        self.durable(|done| self.logs.truncate_from(self.replica, from, done)).await
    }

    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        let mark = encode_log_id(&upto);
        self.sizes.lock().purge(upto.index);
        self.durable(|done| self.logs.purge_to(self.replica, upto.index, mark, done)).await
    }
}
