//! What has to be known before a replica is read: that it leads, or up to which entry it has to be, or how old its state is.
//!
//! A replica that does not lead asks the leader when a read needs it, once for all reads that came before the question was sent.
//! Where nobody reads nobody asks.

use std::sync::Arc;
use std::time::Duration;

use openraft::ReadPolicy;
use openraft::errors::{LinearizableReadError, RaftError};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::errors::ReadIndexError;
use super::{Handle, ProposeError, RaftReplica};
use crate::machine::ShardStore;
use crate::raft::freshness::{Freshness, SteadyClock, Told};
use crate::raft::network::Transport;
use crate::raft::pace::Pace;
use crate::raft::replaced::Replaced;
use crate::raft::types::TypeConfig;
use crate::{ReplicaId, Role};

/// Reads that wait for one question; more wait for room.
const WAITING: usize = 1024;

type Answer = Result<Told, ReadIndexError>;

/// What a replica knows of how new its state is, and who finds out more.
pub(super) struct Reader {
    freshness: Arc<Mutex<Freshness>>,
    steady: SteadyClock,
    questions: mpsc::Sender<oneshot::Sender<Answer>>,
    asker: JoinHandle<()>,
    /// How long entries are waited for that the leader has told of.
    patience: Duration,
}

impl Reader {
    pub(super) fn start<S: ShardStore>(
        replica: ReplicaId,
        raft: Handle<S>,
        transport: impl Transport,
        steady: SteadyClock,
        pace: Pace,
    ) -> Self {
        let freshness = Arc::<Mutex<Freshness>>::default();
        let (questions, asked) = mpsc::channel(WAITING);
        let (known, clock) = (Arc::clone(&freshness), Arc::clone(&steady));
        // A leader gives up after 1.5 of this, which is as long as it may lead unheard.
        let asker = Asker { replica, raft, transport, freshness: known, steady: clock, within: pace.election * 2 };
        Self { freshness, steady, questions, asker: tokio::spawn(asker.run(asked)), patience: pace.election * 5 }
    }

    pub(super) fn stop(&self) {
        self.asker.abort();
    }
}

/// Asks, one question at a time.
struct Asker<S: ShardStore, T> {
    replica: ReplicaId,
    raft: Handle<S>,
    transport: T,
    freshness: Arc<Mutex<Freshness>>,
    steady: SteadyClock,
    within: Duration,
}

impl<S: ShardStore, T: Transport> Asker<S, T> {
    async fn run(self, mut asked: mpsc::Receiver<oneshot::Sender<Answer>>) {
        while let Some(first) = asked.recv().await {
            let mut waiting = vec![first];
            while let Ok(next) = asked.try_recv() {
                waiting.push(next);
            }
            waiting.retain(|one| !one.is_closed());
            if waiting.is_empty() {
                continue;
            }
            // Before it is sent and after the last of them came: the leader may have been another one when it arrives.
            let asked = (self.steady)();
            let answer = self.ask().await.map(|index| Told { asked, index });
            if let Ok(told) = &answer {
                self.freshness.lock().note(*told);
            }
            for one in waiting {
                // Gone where its time was up.
                drop(one.send(answer.clone()));
            }
        }
    }

    async fn ask(&self) -> Result<u64, ReadIndexError> {
        use openraft::async_runtime::WatchReceiver;
        let replica = self.replica;
        let leading = {
            let metrics = self.raft.metrics();
            let metrics = metrics.borrow_watched();
            let membership = metrics.membership_config.membership();
            metrics.current_leader.and_then(|leader| Some((leader, *membership.get_node(&leader)?)))
        };
        let (leader, member) = leading.ok_or(ReadIndexError::NoLeader { replica })?;
        let unanswered = |reason: String| ReadIndexError::Unanswered { replica, leader, reason };
        if leader == replica {
            return read_index(replica, &self.raft).await.map_err(|error| unanswered(error.to_string()));
        }
        let answer = self.transport.read_index(leader, member, self.within).await;
        answer.map_err(|error| unanswered(error.to_string()))
    }
}

/// The entry up to which a read has to see, once a quorum has said that the replica leads.
async fn read_index<S: ShardStore>(replica: ReplicaId, raft: &Handle<S>) -> Result<u64, ProposeError> {
    let linearizer = raft.get_read_linearizer(ReadPolicy::ReadIndex).await;
    linearizer.map(|found| found.read_log_id().index()).map_err(|error| refused(replica, error))
}

fn refused(replica: ReplicaId, error: RaftError<TypeConfig, LinearizableReadError<TypeConfig>>) -> ProposeError {
    match error {
        RaftError::APIError(LinearizableReadError::ForwardToLeader(forward)) => {
            ProposeError::NotLeader { replica, leader: forward.leader_id }
        }
        // No quorum says so: this one may have been replaced.
        RaftError::APIError(LinearizableReadError::QuorumNotEnough(_)) => {
            ProposeError::NotLeader { replica, leader: None }
        }
        RaftError::Fatal(source) => ProposeError::Stopped { replica, source },
    }
}

impl<S: ShardStore> RaftReplica<S> {
    /// Waits until a read here sees everything that was acknowledged before this call.
    ///
    /// By ReadIndex: a quorum says that nobody else leads. A lease would be cheaper and is wrong after a fast restart.
    ///
    /// # Errors
    /// When another replica leads, or this one has stopped.
    pub async fn read_barrier(&self) -> Result<(), ProposeError> {
        let barrier = self.raft.ensure_linearizable(ReadPolicy::ReadIndex).await;
        barrier.map(drop).map_err(|error| refused(self.replica, error))
    }

    /// As [`read_barrier`](Self::read_barrier), of a replica that need not lead. Returns when the leader was asked.
    ///
    /// # Errors
    /// When no leader answers, or this one has no data or does not get what the leader has.
    pub async fn follower_barrier(&self) -> Result<Duration, ReadIndexError> {
        let replica = self.replica;
        let reader = self.reader()?;
        let (question, answer) = oneshot::channel();
        let stopped = || ReadIndexError::Stopped { replica };
        reader.questions.send(question).await.map_err(|_| stopped())?;
        let told = answer.await.map_err(|_| stopped())??;
        let wait = self.raft.wait(Some(reader.patience));
        match wait.applied_index_at_least(Some(told.index), "a read").await {
            Ok(_) => Ok(told.asked),
            Err(openraft::metrics::WaitError::ShuttingDown) => Err(stopped()),
            Err(openraft::metrics::WaitError::Timeout(..)) => {
                Err(ReadIndexError::Behind { replica, index: told.index, within: reader.patience })
            }
        }
    }

    /// Waits until a read here sees everything that was acknowledged longer than `most` before this call, without asking
    /// anybody where that is known. Returns the moment before which nothing is missing.
    ///
    /// # Errors
    /// As [`follower_barrier`](Self::follower_barrier).
    pub async fn fresh_within(&self, most: Duration) -> Result<Duration, ReadIndexError> {
        let now = (self.reader()?.steady)();
        match self.whole_at()? {
            Some(whole_at) if now.saturating_sub(whole_at) <= most => Ok(whole_at),
            _ => self.follower_barrier().await,
        }
    }

    /// How long ago a moment was, by the clock of these.
    pub fn since(&self, moment: Duration) -> Duration {
        self.reader.as_ref().map_or(Duration::MAX, |reader| (reader.steady)().saturating_sub(moment))
    }

    /// Whether what the replica stores is being replaced.
    pub const fn replaced(&self) -> &Arc<Replaced> {
        &self.replaced
    }

    /// Another replica asks up to which entry its reads have to see.
    ///
    /// # Errors
    /// When this one does not lead, or has stopped.
    pub async fn on_read_index(&self) -> Result<u64, ProposeError> {
        read_index(self.replica, &self.raft).await
    }

    fn whole_at(&self) -> Result<Option<Duration>, ReadIndexError> {
        Ok(self.reader()?.freshness.lock().whole_at(self.applied()))
    }

    /// Of a replica that has data: one whose snapshot was installed by half counts entries as applied that it drops.
    fn reader(&self) -> Result<&Reader, ReadIndexError> {
        let found = self.reader.as_ref().filter(|_| self.role == Role::Data && !self.awaits_snapshot());
        found.ok_or(ReadIndexError::NoData { replica: self.replica })
    }
}
