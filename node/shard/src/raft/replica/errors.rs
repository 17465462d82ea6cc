//! Why a replica does not do what it is asked, by what it is asked for.

use std::time::Duration;

use openraft::errors::{Fatal, RaftError};

use crate::ReplicaId;
use crate::machine::MachineError;
use crate::raft::types::TypeConfig;

/// Why a command was not carried out, or not known to be.
#[derive(Debug, thiserror::Error)]
pub enum ProposeError {
    /// Another replica leads; nothing was done here.
    #[error("{replica} does not lead its group; {leader:?} does")]
    NotLeader {
        /// Who was asked.
        replica: ReplicaId,
        /// Who leads, as far as is known.
        leader: Option<ReplicaId>,
    },
    /// The membership does not allow it.
    #[error("change the members of the group of {replica}: {reason}")]
    Membership {
        /// Who was asked.
        replica: ReplicaId,
        /// What is wrong.
        reason: String,
    },
    /// The replica has stopped: whether the command will be carried out is not known.
    #[error("{replica} has stopped")]
    Stopped {
        /// Who was asked.
        replica: ReplicaId,
        /// Why.
        source: Fatal<TypeConfig>,
    },
}

/// Why a replica that does not lead cannot say how new its state is.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadIndexError {
    /// Nobody leads, as far as it knows.
    #[error("{replica} knows of nobody who leads the shard")]
    NoLeader {
        /// Who was asked.
        replica: ReplicaId,
    },
    /// Whoever leads did not say up to which entry a read has to see.
    #[error("{replica} got no answer from {leader}, which leads the shard: {reason}")]
    Unanswered {
        /// Who was asked.
        replica: ReplicaId,
        /// Whom it asked in turn.
        leader: ReplicaId,
        /// Why.
        reason: String,
    },
    /// What the leader has does not arrive.
    #[error("{replica} has not got to entry {index}, which the leader told of, within {within:?}")]
    Behind {
        /// Who was asked.
        replica: ReplicaId,
        /// How far it would have to be.
        index: u64,
        /// How long was waited.
        within: Duration,
    },
    /// It stores none, or awaits a snapshot.
    #[error("{replica} has no data")]
    NoData {
        /// Who was asked.
        replica: ReplicaId,
    },
    /// The replica has stopped.
    #[error("{replica} has stopped")]
    Stopped {
        /// Who was asked.
        replica: ReplicaId,
    },
}

/// Why a replica does not take what another one says.
#[derive(Debug, thiserror::Error)]
pub enum RefusalError {
    /// The replica has stopped.
    #[error("the replica has stopped")]
    Stopped(#[from] RaftError<TypeConfig>),
    /// It has no data, and must not seem to.
    #[error("{replica} takes nothing but a snapshot: it joins, or one was not wholly installed")]
    AwaitsSnapshot {
        /// Who was asked.
        replica: ReplicaId,
    },
}

/// Why there is no hash of what a shard held.
#[derive(Debug, thiserror::Error)]
pub enum HashError {
    /// Nobody hashed it then.
    #[error("{replica} was opened, or hashed much else, since it applied entry {index}")]
    NotBegun {
        /// Who was asked.
        replica: ReplicaId,
        /// Of which entry.
        index: u64,
    },
    /// It cannot be read.
    #[error("{replica} could not read what it held at entry {index}: {reason}")]
    Read {
        /// Who was asked.
        replica: ReplicaId,
        /// Of which entry.
        index: u64,
        /// Why.
        reason: String,
    },
}

/// Why there is no snapshot.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The replica has stopped.
    #[error("ask the group for a snapshot")]
    Group(#[source] Box<RaftError<TypeConfig>>),
    /// Nothing was applied yet.
    #[error("{replica} has applied nothing yet")]
    Nothing {
        /// Who was asked.
        replica: ReplicaId,
    },
    /// It cannot be read or written.
    #[error("take a snapshot")]
    Machine(#[from] MachineError),
}

/// Why a replica did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its state machine cannot be opened.
    #[error("open the state machine")]
    Machine(#[from] MachineError),
    /// Its configuration contradicts itself.
    #[error("configure the group")]
    Config(#[from] openraft::ConfigError),
    /// The log of a shard that split off cannot be begun.
    #[error("begin the log")]
    Log(std::io::Error),
    /// The log cannot be read.
    #[error("measure the log")]
    ReadLog(#[source] std::io::Error),
    /// Log or state cannot be read.
    #[error("start the group")]
    Group(#[from] Fatal<TypeConfig>),
}
