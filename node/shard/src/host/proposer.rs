//! Writes of clients that come at the same time become one entry of the log: consensus costs by the entry.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use thermocline_engine::Mutation;
use tokio::sync::{mpsc, oneshot, watch};

use super::WallClock;
use crate::command::{Command, Write, Writes};
use crate::machine::{Answer, Applied, ShardStore};
use crate::raft::{ProposeError, RaftReplica};
use crate::{MAX_WRITES_PER_ENTRY, ReplicaId};

/// Writes that wait to be proposed, at most: over it a write is refused.
const QUEUE: usize = 4096;
/// While writes are held back, abandoned ones are looked for so often.
const ABANDONED: Duration = Duration::from_millis(200);
/// Writes of one entry, at most.
const PER_ENTRY: usize = 512;
const _: () = assert!(PER_ENTRY <= MAX_WRITES_PER_ENTRY);
/// Keys and values of one entry, unless its only write is larger.
const ENTRY_BYTES: usize = 1 << 20;
/// Entries under way, at most: enough to keep the log's device and the followers busy.
const UNDER_WAY: usize = 4;

/// Why a write has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// Another replica leads; nothing was done.
    #[error("{replica} does not lead its group")]
    NotLeader {
        /// Who was asked.
        replica: ReplicaId,
        /// Who leads, as far as is known.
        leader: Option<ReplicaId>,
    },
    /// Too many writes wait; nothing was done.
    #[error("{replica} has {QUEUE} writes waiting: write less at once, or to more shards")]
    Busy {
        /// Who was asked.
        replica: ReplicaId,
    },
    /// The replica stopped; whether the write is applied is not known.
    #[error("{replica} stopped before the write was answered")]
    Stopped {
        /// Who was asked.
        replica: ReplicaId,
    },
}

struct Ask {
    write: Write,
    bytes: usize,
    answer: oneshot::Sender<Result<Answer, WriteError>>,
}

/// Gathers the writes of one shard.
pub struct Proposer {
    replica: ReplicaId,
    asks: mpsc::Sender<Ask>,
}

impl Proposer {
    /// Proposes to a replica, as long as it is not dropped.
    pub(super) fn start<S: ShardStore>(
        replica: Arc<RaftReplica<S>>,
        clock: WallClock,
        slow: watch::Receiver<bool>,
    ) -> Self {
        // The other half is between the queue and the entries.
        let (asks, queue) = mpsc::channel(QUEUE / 2);
        let id = replica.id();
        tokio::spawn(propose(replica, queue, clock, slow));
        Self { replica: id, asks }
    }

    /// Has a write applied; what came of it.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub async fn write(&self, write: Write) -> Result<Answer, WriteError> {
        let (answer, answered) = oneshot::channel();
        let bytes = write.mutations.iter().map(size).sum();
        let asked = self.asks.try_send(Ask { write, bytes, answer });
        let replica = self.replica;
        asked.map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => WriteError::Busy { replica },
            mpsc::error::TrySendError::Closed(_) => WriteError::Stopped { replica },
        })?;
        answered.await.unwrap_or(Err(WriteError::Stopped { replica }))
    }
}

fn size(mutation: &Mutation) -> usize {
    mutation.key().len() + mutation.value().map_or(0, bytes::Bytes::len)
}

/// Writes that are not proposed yet, in their order.
#[derive(Default)]
struct Waiting(VecDeque<Ask>);

impl Waiting {
    fn room(&self) -> usize {
        (QUEUE / 2).saturating_sub(self.0.len())
    }

    /// What one entry takes of them.
    fn next_entry(&mut self) -> Vec<Ask> {
        let (mut bytes, mut taken) = (0, Vec::new());
        while let Some(next) = self.0.front() {
            bytes += next.bytes;
            if taken.len() == PER_ENTRY || (!taken.is_empty() && bytes > ENTRY_BYTES) {
                break;
            }
            taken.extend(self.0.pop_front().filter(|ask| !ask.answer.is_closed()));
        }
        taken
    }

    /// Lets go of those whose callers no longer wait: their memory is counted nowhere any more, and their places are others'.
    fn forget_abandoned(&mut self) {
        self.0.retain(|ask| !ask.answer.is_closed());
    }
}

/// Entries and the writes in them that are proposed and not answered.
#[derive(Default)]
struct UnderWay {
    entries: usize,
    writes: usize,
}

impl UnderWay {
    /// Whether those that wait are worth an entry: beside others only where they are as many as all of those have, or fewer would
    /// share what an entry costs, the more clients there are.
    const fn leaves_room_for(&self, waiting: usize) -> bool {
        waiting > 0 && (self.entries == 0 || (self.entries < UNDER_WAY && waiting >= self.writes))
    }

    const fn begin(&mut self, writes: usize) {
        self.entries += 1;
        self.writes += writes;
    }

    const fn end(&mut self, writes: usize) {
        self.entries -= 1;
        self.writes -= writes;
    }
}

async fn propose<S: ShardStore>(
    replica: Arc<RaftReplica<S>>,
    mut queue: mpsc::Receiver<Ask>,
    clock: WallClock,
    mut slow: watch::Receiver<bool>,
) {
    let (mut proposed, mut under_way) = (FuturesUnordered::new(), UnderWay::default());
    let (mut waiting, mut received) = (Waiting::default(), Vec::new());
    // Goes on whatever else happens: writes that keep coming do not put the look off.
    let mut looks = tokio::time::interval(ABANDONED);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        // Held back, writes gather; when the queue is full the next one is refused.
        let held_back = *slow.borrow_and_update();
        while !held_back && under_way.leaves_room_for(waiting.0.len()) {
            let entry = waiting.next_entry();
            if !entry.is_empty() {
                under_way.begin(entry.len());
                proposed.push(propose_entry(Arc::clone(&replica), entry, clock()));
            }
        }
        let room = waiting.room();
        tokio::select! {
            taken = queue.recv_many(&mut received, room), if room > 0 => {
                if taken == 0 {
                    break;
                }
                waiting.0.extend(received.drain(..));
            }
            Some(writes) = proposed.next(), if !proposed.is_empty() => under_way.end(writes),
            Ok(()) = slow.changed(), if held_back => {}
            _ = looks.tick(), if held_back => waiting.forget_abandoned(),
        }
    }
    while proposed.next().await.is_some() {}
}

/// Proposes an entry and answers its writes; how many they are.
async fn propose_entry<S: ShardStore>(replica: Arc<RaftReplica<S>>, asks: Vec<Ask>, at_millis: u64) -> usize {
    let (writes, answers): (Vec<_>, Vec<_>) = asks.into_iter().map(|ask| (ask.write, ask.answer)).unzip();
    let count = answers.len();
    let command = Command::Writes(Writes { at_millis, writes });
    let id = replica.id();
    let refused = |error: ProposeError| match error {
        ProposeError::NotLeader { leader, .. } => WriteError::NotLeader { replica: id, leader },
        error => {
            tracing::debug!(replica = id.0, %error, "an entry has no answer");
            WriteError::Stopped { replica: id }
        }
    };
    // A receiver that is gone no longer wants its answer.
    match replica.propose(&command).await {
        Ok(Applied::Writes(applied)) => {
            for (answer, applied) in answers.into_iter().zip(applied) {
                drop(answer.send(Ok(applied)));
            }
        }
        // A witness applied it: it led for a moment, and has no data to answer from.
        Ok(_) => answers.into_iter().for_each(|answer| drop(answer.send(Err(WriteError::Stopped { replica: id })))),
        Err(error) => {
            let error = refused(error);
            answers.into_iter().for_each(|answer| drop(answer.send(Err(error.clone()))));
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Epoch;

    #[test]
    fn an_entry_begins_beside_others_only_with_as_many_writes_as_they_have() {
        let mut under_way = UnderWay::default();
        assert!(!under_way.leaves_room_for(0) && under_way.leaves_room_for(1));
        under_way.begin(1);
        assert!(under_way.leaves_room_for(1));
        under_way.begin(63);
        assert!(!under_way.leaves_room_for(63) && under_way.leaves_room_for(64));
        under_way.end(1);
        under_way.begin(64);
        under_way.begin(127);
        under_way.begin(254);
        assert!(!under_way.leaves_room_for(10_000), "so many entries are enough");
        [63, 64, 127, 254].into_iter().for_each(|writes| under_way.end(writes));
        assert!(under_way.leaves_room_for(1));
    }

    #[test]
    fn writes_whose_callers_gave_up_make_room_while_the_leader_is_held_back() {
        let mut waiting = Waiting::default();
        let mut callers = Vec::new();
        for _ in 0..QUEUE / 2 {
            let (answer, caller) = oneshot::channel();
            let write = Write { request: None, epoch: Epoch(1), conditions: Vec::new(), mutations: Vec::new() };
            waiting.0.push_back(Ask { write, bytes: 1 << 20, answer });
            callers.push(caller);
        }
        assert_eq!(waiting.room(), 0);
        callers.truncate(3);
        waiting.forget_abandoned();
        assert_eq!((waiting.0.len(), waiting.room()), (3, QUEUE / 2 - 3));
    }
}
