//! A replica that runs on this node, as its services use it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use thermocline_engine::KeyRange;
use tokio::sync::watch;

use super::WallClock;
use super::proposer::{Proposer, WriteError};
use crate::command::Write;
use crate::machine::{Answer, ShardStore};
use crate::raft::{ProposeError, RaftReplica, ShardView};
use crate::{ReplicaId, Role, ShardDescriptor, ShardId};

/// A replica on this node.
pub struct Resident<S: ShardStore> {
    shard: ShardId,
    replica: Arc<RaftReplica<S>>,
    proposer: Proposer,
    /// Whether a voter lags so far that nothing new is proposed.
    slow: watch::Sender<bool>,
    /// Grows before what the replica stores is replaced or wiped: a read that was under way may have missed records.
    disturbed: AtomicU64,
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
    /// The replica was replaced or went meanwhile.
    #[error("{replica} was replaced during the read")]
    Disturbed {
        /// Which.
        replica: ReplicaId,
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
    disturbed: u64,
}

impl<S: ShardStore> Resident<S> {
    pub(super) fn new(shard: ShardId, replica: RaftReplica<S>, clock: WallClock) -> Self {
        let replica = Arc::new(replica);
        let slow = watch::Sender::new(false);
        let proposer = Proposer::start(Arc::clone(&replica), clock, slow.subscribe());
        Self { shard, replica, proposer, slow, disturbed: AtomicU64::new(0) }
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
        self.proposer.write(write).await
    }

    /// Waits until a read of this node's store shows everything that was acknowledged before this call.
    ///
    /// # Errors
    /// When another replica leads, or the shard no longer has all of `range`.
    pub async fn begin_read(self: &Arc<Self>, range: &KeyRange) -> Result<Reading<S>, ReadError> {
        let replica = self.replica.id();
        let disturbed = self.disturbed.load(Ordering::SeqCst);
        // A witness that leads for a moment has nothing to read.
        if self.replica.role() == Role::Witness {
            return Err(ReadError::NotLeader { replica, leader: self.other_leader() });
        }
        self.replica.read_barrier().await.map_err(|error| match error {
            ProposeError::NotLeader { leader, .. } => ReadError::NotLeader { replica, leader },
            _ => ReadError::Stopped { replica },
        })?;
        // After the barrier: a split that came before it is in the view, and one that came after leaves what was read as new
        // as it has to be.
        let covers = self.view().descriptor.as_ref().is_some_and(|descriptor| descriptor.range.covers(range));
        if !covers {
            return Err(ReadError::OutOfRange { shard: self.shard });
        }
        Ok(Reading { resident: Arc::clone(self), disturbed })
    }

    /// Holds writes back, or no longer.
    pub(super) fn slow_down(&self, slow: bool) {
        self.slow.send_if_modified(|now| std::mem::replace(now, slow) != slow);
    }

    /// To be called before what the replica stores is replaced or wiped.
    pub(super) fn disturb(&self) {
        self.disturbed.fetch_add(1, Ordering::SeqCst);
    }

    fn other_leader(&self) -> Option<ReplicaId> {
        self.replica.group().leader.filter(|leader| *leader != self.replica.id())
    }
}

impl<S: ShardStore> Reading<S> {
    /// Whether what was read since holds.
    ///
    /// # Errors
    /// When the replica was replaced or wiped meanwhile.
    pub fn confirm(&self) -> Result<(), ReadError> {
        let now = self.resident.disturbed.load(Ordering::SeqCst);
        if now == self.disturbed {
            return Ok(());
        }
        Err(ReadError::Disturbed { replica: self.resident.replica.id() })
    }
}
