//! A replica that runs on this node, as its services use it.

use std::sync::Arc;
use std::time::Duration;

use thermocline_engine::KeyRange;
use tokio::sync::watch;

use super::WallClock;
use super::proposer::{Proposer, WriteError};
use crate::command::Write;
use crate::machine::{Answer, ShardStore};
use crate::raft::{ProposeError, RaftReplica, ReadIndexError, ShardView};
use crate::{ReplicaId, Role, ShardDescriptor, ShardId};

/// A replica on this node.
pub struct Resident<S: ShardStore> {
    shard: ShardId,
    replica: Arc<RaftReplica<S>>,
    proposer: Proposer,
    /// Whether a voter lags so far that nothing new is proposed.
    slow: watch::Sender<bool>,
}

/// Which replicas may answer a read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Consistency {
    /// The one that leads: with everything that was acknowledged before the request.
    #[default]
    Leader,
    /// Any that has data: with the same.
    Follower,
    /// Any that has data: with everything that was acknowledged so long before the request.
    Stale(Duration),
}

/// Why a replica does not answer a read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Another replica leads.
    #[error("{replica} does not lead its group")]
    NotLeader {
        /// Who was asked.
        replica: ReplicaId,
        /// Who leads, as far as is known.
        leader: Option<ReplicaId>,
    },
    /// The shard no longer has all of the keys.
    #[error("{shard} does not have all of the keys")]
    OutOfRange {
        /// Which.
        shard: ShardId,
    },
    /// The shard is about to become a part of its neighbour: it is to be asked again in a moment.
    #[error("{shard} is being merged into its neighbour")]
    Frozen {
        /// Which.
        shard: ShardId,
    },
    /// The replica's state was replaced, or went, meanwhile.
    #[error("the state of {replica} is being replaced, or was during the read")]
    Replaced {
        /// Which.
        replica: ReplicaId,
    },
    /// The replica does not lead, and does not know how old its state is.
    #[error("{replica} does not know whether its state is new enough")]
    Unproven {
        /// Which.
        replica: ReplicaId,
        /// Why.
        source: ReadIndexError,
    },
    /// The replica has stopped.
    #[error("{replica} has stopped")]
    Stopped {
        /// Which.
        replica: ReplicaId,
    },
}

/// A read that may be made now. What it found holds only if [`confirm`](Self::confirm) says so afterwards.
pub struct Reading<S: ShardStore> {
    resident: Arc<Resident<S>>,
    /// The state that is read.
    state: u64,
    /// Of a read that may be stale: nothing is missing that was acknowledged before.
    whole_at: Option<Duration>,
}

impl<S: ShardStore> Resident<S> {
    pub(super) fn new(shard: ShardId, replica: RaftReplica<S>, clock: WallClock) -> Self {
        let replica = Arc::new(replica);
        let slow = watch::Sender::new(false);
        let proposer = Proposer::start(Arc::clone(&replica), clock, slow.subscribe());
        Self { shard, replica, proposer, slow }
    }

    /// The shard.
    pub const fn shard(&self) -> ShardId {
        self.shard
    }

    /// The member of its group.
    pub const fn replica(&self) -> &Arc<RaftReplica<S>> {
        &self.replica
    }

    /// What the shard's log has said so far.
    pub fn view(&self) -> Arc<ShardView> {
        Arc::clone(&self.replica.view().borrow())
    }

    /// Where the shard is, as far as this replica has heard.
    pub fn descriptor(&self) -> Option<ShardDescriptor> {
        self.view().descriptor.clone()
    }

    /// Has a write applied; what came of it.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub async fn write(&self, write: Write) -> Result<Answer, WriteError> {
        if self.replica.role() == Role::Witness {
            return Err(WriteError::NotLeader { replica: self.replica.id(), leader: self.other_leader() });
        }
        // The log would say so too.
        if self.view().jobs.frozen().is_some() {
            return Ok(Answer::Frozen);
        }
        self.proposer.write(write).await
    }

    /// Waits until a read of this node's store shows what `consistency` asks for.
    ///
    /// # Errors
    /// When this replica may not answer, does not know that it is new enough, or the shard does not have all of `range`.
    pub async fn begin_read(
        self: &Arc<Self>,
        range: &KeyRange,
        consistency: Consistency,
    ) -> Result<Reading<S>, ReadError> {
        let replica = self.replica.id();
        let state = self.replica.replaced().whole().ok_or(ReadError::Replaced { replica })?;
        // A witness that leads for a moment has nothing to read.
        if self.replica.role() == Role::Witness {
            return Err(ReadError::NotLeader { replica, leader: self.other_leader() });
        }
        let unproven = |source| ReadError::Unproven { replica, source };
        let whole_at = match consistency {
            Consistency::Leader => {
                self.replica.read_barrier().await.map_err(|error| match error {
                    ProposeError::NotLeader { leader, .. } => ReadError::NotLeader { replica, leader },
                    _ => ReadError::Stopped { replica },
                })?;
                None
            }
            Consistency::Follower => {
                self.replica.follower_barrier().await.map_err(unproven)?;
                None
            }
            Consistency::Stale(most) => Some(self.replica.fresh_within(most).await.map_err(unproven)?),
        };
        // After the barrier: a split that came before it is in the view, and one that came after leaves what was read as new
        // as it has to be.
        let view = self.view();
        if !view.descriptor.as_ref().is_some_and(|descriptor| descriptor.range.covers(range)) {
            return Err(ReadError::OutOfRange { shard: self.shard });
        }
        // Its neighbour may have absorbed it, and taken writes since, of which this replica's node has not heard.
        if view.jobs.frozen().is_some() {
            return Err(ReadError::Frozen { shard: self.shard });
        }
        Ok(Reading { resident: Arc::clone(self), state, whole_at })
    }

    /// Holds writes back, or no longer.
    pub(super) fn slow_down(&self, slow: bool) {
        self.slow.send_if_modified(|now| std::mem::replace(now, slow) != slow);
    }

    fn other_leader(&self) -> Option<ReplicaId> {
        self.replica.group().leader.filter(|leader| *leader != self.replica.id())
    }
}

impl<S: ShardStore> Reading<S> {
    /// Whether what was read since holds.
    ///
    /// # Errors
    /// When the replica's state was replaced or wiped meanwhile.
    pub fn confirm(&self) -> Result<(), ReadError> {
        let replica = &self.resident.replica;
        if replica.replaced().whole() == Some(self.state) {
            return Ok(());
        }
        Err(ReadError::Replaced { replica: replica.id() })
    }

    /// How old what was read is by now, at most; `None` where it has everything that was acknowledged before the request.
    pub fn staleness(&self) -> Option<Duration> {
        self.whole_at.map(|whole_at| self.resident.replica.since(whole_at))
    }
}
