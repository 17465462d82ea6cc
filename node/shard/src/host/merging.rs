//! Two neighbours become one: whether they may, and what the right one's node does for the left one's leader.

use std::collections::BTreeSet;
use std::sync::Arc;

use thermocline_engine::EngineError;
use thermocline_proto::replica::v1 as wire;

use super::{Host, Resident};
use crate::command::{Command, Freeze, Thaw};
use crate::machine::{Applied, ShardStore};
use crate::raft::{GroupView, Member, ProposeError, ShardView, Transport};
use crate::{NodeId, RangeError, ReplicaId, Role, ShardDescriptor, ShardId};

pub use super::merge_steps::Merging;

/// A shard that is frozen, as a data replica of it knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrozenShard {
    /// Where it is.
    pub descriptor: ShardDescriptor,
    /// The entry of its log that froze it.
    pub index: u64,
    /// Its replicas, and where they are.
    pub members: Vec<(ReplicaId, NodeId)>,
}

impl From<&FrozenShard> for wire::FrozenShard {
    fn from(frozen: &FrozenShard) -> Self {
        // What they store is not needed: it is the same as beside them.
        let member = |(replica, node): &(ReplicaId, NodeId)| wire::Member { replica: replica.0, node: node.0, role: 0 };
        Self {
            descriptor: Some((&frozen.descriptor).into()),
            index: frozen.index,
            members: frozen.members.iter().map(member).collect(),
        }
    }
}

impl TryFrom<wire::FrozenShard> for FrozenShard {
    type Error = RangeError;

    fn try_from(message: wire::FrozenShard) -> Result<Self, RangeError> {
        let member = |member: &wire::Member| (ReplicaId(member.replica), NodeId(member.node));
        Ok(Self {
            descriptor: message.descriptor.unwrap_or_default().try_into()?,
            index: message.index,
            members: message.members.iter().map(member).collect(),
        })
    }
}

/// Why a node did not do what a merge needs.
#[derive(Debug, thiserror::Error)]
pub enum MergingError {
    /// It has no replica of the shard.
    #[error("{shard} has no replica on this node")]
    Absent {
        /// Which.
        shard: ShardId,
    },
    /// The shard's log refuses; asked again it may do so again.
    #[error("{reason}")]
    Refused {
        /// Why.
        reason: String,
    },
    /// The group did not agree.
    #[error("ask the group of {shard}")]
    Group {
        /// Which.
        shard: ShardId,
        /// Why.
        source: ProposeError,
    },
    /// What the replica knows cannot be synced.
    #[error("sync what the replica of {shard} knows")]
    Sync {
        /// Which.
        shard: ShardId,
        /// Why.
        source: EngineError,
    },
}

impl<S: ShardStore, T: Transport> Host<S, T> {
    /// Has a shard frozen, where its leader is here; what it is, once the data replica here is frozen too and that survives a
    /// power loss: what is absorbed then has everything that was acknowledged.
    ///
    /// # Errors
    /// When the shard refuses, or cannot be asked here.
    pub async fn freeze(&self, shard: ShardId, freeze: &Freeze) -> Result<Option<FrozenShard>, MergingError> {
        let resident = self.of_shard(shard).ok_or(MergingError::Absent { shard })?;
        let is_frozen = |view: &ShardView| view.jobs.is_frozen_for(freeze.into, freeze.job);
        if !is_frozen(&resident.view()) && resident.replica().group().leads() {
            say(&resident, &Command::Freeze(freeze.clone())).await?;
        }
        let (view, group) = (resident.view(), resident.replica().group());
        let stores = resident.replica().role() == Role::Data && !view.awaits_snapshot;
        let (Some(descriptor), Some(frozen)) = (&view.descriptor, view.jobs.frozen()) else { return Ok(None) };
        if !is_frozen(&view) || !stores || !group.members.contains_key(&group.replica) {
            return Ok(None);
        }
        self.sync(shard).await?;
        let members = group.members.iter().map(|(replica, member)| (*replica, member.node)).collect();
        Ok(Some(FrozenShard { descriptor: descriptor.clone(), index: frozen.index, members }))
    }

    async fn sync(&self, shard: ShardId) -> Result<(), MergingError> {
        let store = Arc::clone(self.store());
        let synced = if S::WAITS {
            // Nobody cancels it: an end means that the node ends.
            tokio::task::spawn_blocking(move || store.sync()).await.unwrap_or(Err(EngineError::Cancelled))
        } else {
            store.sync()
        };
        synced.map_err(|source| MergingError::Sync { shard, source })
    }

    /// Has a shard thawed, where its leader is here; whether the replica here knows that it goes on by itself, and that the job
    /// cannot freeze it any more.
    ///
    /// # Errors
    /// When the shard cannot be asked here.
    pub async fn thaw(&self, shard: ShardId, thaw: Thaw) -> Result<bool, MergingError> {
        let resident = self.of_shard(shard).ok_or(MergingError::Absent { shard })?;
        // By its epoch: the job freezes it only at the one that it was decided by.
        let is_over = |view: &ShardView| {
            let later = view.descriptor.as_ref().is_some_and(|descriptor| descriptor.epoch > thaw.epoch);
            later && !view.jobs.is_frozen_for(thaw.into, thaw.job)
        };
        if !is_over(&resident.view()) && resident.replica().group().leads() {
            say(&resident, &Command::Thaw(thaw)).await?;
        }
        Ok(is_over(&resident.view()))
    }
}

async fn say<S: ShardStore>(resident: &Resident<S>, command: &Command) -> Result<(), MergingError> {
    let shard = resident.shard();
    match resident.replica().propose(command).await {
        Ok(Applied::Refused(reason)) => Err(MergingError::Refused { reason }),
        Ok(_) => Ok(()),
        Err(source) => Err(MergingError::Group { shard, source }),
    }
}

/// One of two shards that are to become one, as a replica of it knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MergeSide {
    /// Where it is.
    pub descriptor: ShardDescriptor,
    /// Its group.
    pub group: GroupView,
    /// A job of its own, or that it is frozen for.
    pub job: Option<u64>,
}

/// Why two shards cannot become one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MergeRefusal {
    /// The index of all shards stays alone.
    #[error("shard 0 holds the index of all shards and stays alone")]
    Meta,
    /// They are no neighbours.
    #[error(transparent)]
    NotAdjacent(#[from] crate::NotAdjacent),
    /// They are not on the same nodes.
    #[error("{left} and {right} do not have the same members: move them to the same nodes first")]
    Members {
        /// The one.
        left: ShardId,
        /// The other.
        right: ShardId,
    },
    /// Members are changing.
    #[error("the members of {shard} are changing, or one of them does not vote: wait for that")]
    Changing {
        /// Whose.
        shard: ShardId,
    },
    /// One at a time.
    #[error("job {job} of {shard} is under way: wait for it, or cancel it")]
    Job {
        /// Whose.
        shard: ShardId,
        /// Which.
        job: u64,
    },
}

impl MergeSide {
    /// As a replica here knows; `None` until it has heard of its shard.
    pub fn of<S: ShardStore>(resident: &Resident<S>) -> Option<Self> {
        let (view, group) = (resident.view(), resident.replica().group());
        let job = view.jobs.running().map(|job| job.id).or_else(|| view.jobs.frozen().map(|frozen| frozen.job));
        Some(Self { descriptor: view.descriptor.clone()?, group, job })
    }

    fn at_rest(&self) -> Result<(), MergeRefusal> {
        let shard = self.descriptor.shard;
        if let Some(job) = self.job {
            return Err(MergeRefusal::Job { shard, job });
        }
        let settled = !self.group.is_joint() && self.group.members.keys().all(|replica| self.group.votes(*replica));
        if settled { Ok(()) } else { Err(MergeRefusal::Changing { shard }) }
    }

    /// Where it has replicas and what they store, in order.
    pub fn places(&self) -> Vec<(NodeId, Role)> {
        places(&self.group)
    }
}

/// Where a group has its replicas and what they store, in order.
pub(super) fn places(group: &GroupView) -> Vec<(NodeId, Role)> {
    let places: BTreeSet<_> = group.members.values().map(|Member { node, role }| (*node, *role)).collect();
    places.into_iter().collect()
}

/// Whether the right shard may become a part of the left one, as far as is known here; their logs look again.
///
/// # Errors
/// When it may not.
pub fn may_merge(left: &MergeSide, right: &MergeSide) -> Result<(), MergeRefusal> {
    let (one, other) = (left.descriptor.shard, right.descriptor.shard);
    if [one, other].contains(&ShardId::META) {
        return Err(MergeRefusal::Meta);
    }
    left.descriptor.absorb(&right.descriptor, 0)?;
    left.at_rest()?;
    right.at_rest()?;
    if left.places() == right.places() { Ok(()) } else { Err(MergeRefusal::Members { left: one, right: other }) }
}
