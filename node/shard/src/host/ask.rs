//! What a leader asks of other nodes beside consensus, and how fast it sends.

use std::collections::BTreeMap;
use std::future::Future;

use parking_lot::Mutex;
use thermocline_engine::{KeyRange, LogicalHash};

use super::merging::{FrozenShard, MergingError};
use crate::command::{Freeze, Thaw};
use crate::{NodeId, ReplicaId, Role, ShardId};

/// Why another node did not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AskError {
    /// It cannot be reached, or is not known: it may be asked again.
    #[error("{node} cannot be reached: {reason}")]
    Unreachable {
        /// Which.
        node: NodeId,
        /// Why.
        reason: String,
    },
    /// It tried and could not: it may be asked again.
    #[error("{node} could not do it: {reason}")]
    Failed {
        /// Which.
        node: NodeId,
        /// Why.
        reason: String,
    },
    /// It refuses: asked again it will do so again.
    #[error("{node} refuses: {reason}")]
    Refused {
        /// Which.
        node: NodeId,
        /// Why.
        reason: String,
    },
}

/// What carries a leader's questions to other nodes. Each is safe to ask again.
pub trait Asks: Send + Sync + 'static {
    /// Makes a replica that belongs to no group yet.
    fn create(
        &self,
        on: NodeId,
        replica: ReplicaId,
        shard: ShardId,
        role: Role,
        range: KeyRange,
    ) -> impl Future<Output = Result<(), AskError>> + Send;

    /// Stops a replica that was removed from its group, and wipes what it stored.
    fn remove(&self, on: NodeId, replica: ReplicaId) -> impl Future<Output = Result<(), AskError>> + Send;

    /// What a replica's shard held at an entry that says so. Unreachable where it is not known yet; failed where it was not hashed
    /// and never will be.
    fn hash(
        &self,
        on: NodeId,
        replica: ReplicaId,
        index: u64,
    ) -> impl Future<Output = Result<LogicalHash, AskError>> + Send;

    /// Has a shard frozen, if its leader is there; what it is, once the data replica there is frozen and has that synced.
    fn freeze(
        &self,
        on: NodeId,
        shard: ShardId,
        freeze: Freeze,
    ) -> impl Future<Output = Result<Option<FrozenShard>, AskError>> + Send;

    /// Has a shard thawed, if its leader is there; whether the replica there knows that it is.
    fn thaw(&self, on: NodeId, shard: ShardId, thaw: Thaw) -> impl Future<Output = Result<bool, AskError>> + Send;
}

impl AskError {
    /// What a node answers that did not do what a merge needs.
    #[must_use]
    pub fn of_merge(node: NodeId, error: MergingError) -> Self {
        match error {
            MergingError::Refused { reason } => Self::Refused { node, reason },
            other => Self::Failed { node, reason: super::chain(&other) },
        }
    }
}

/// How fast a replica's state may be sent to another one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SendRate {
    /// 0: the node's own limit.
    pub bytes_per_second: u64,
    /// Nothing is sent.
    pub paused: bool,
}

/// The rates of what is sent, by the receiving replica; as the shards' jobs say.
#[derive(Debug, Default)]
pub struct SendRates(Mutex<BTreeMap<ReplicaId, SendRate>>);

impl SendRates {
    /// The rate of what is sent to a replica; the node's own limit where nothing was said.
    pub fn of(&self, replica: ReplicaId) -> SendRate {
        self.0.lock().get(&replica).copied().unwrap_or_default()
    }

    /// Takes these for all there are: a rate goes with the job, and with the lead.
    pub(super) fn replace(&self, rates: BTreeMap<ReplicaId, SendRate>) {
        *self.0.lock() = rates;
    }
}
