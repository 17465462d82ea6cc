//! Replicas that their group has let go while this node was away: nobody speaks to them any more, so they find it out themselves,
//! from what their shard's leaders have said since, and go. Until then their keys are taken here, and no replica of the shard
//! could come back.

use std::collections::BTreeSet;
use std::future::Future;
use std::time::Duration;

use super::{Host, HostError, chain};
use crate::machine::{Residence, ShardStore};
use crate::raft::{GroupView, ShardView, Transport};
use crate::{Epoch, ReplicaId, ShardDescriptor, ShardId};

/// A replica without a leader for so long may have been let go.
const ALONE: Duration = Duration::from_secs(10);

/// Who belongs to a shard, as a leader of it has said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Indexed {
    /// The shard.
    pub shard: ShardId,
    /// How often its range had changed.
    pub epoch: Epoch,
    /// All of its replicas.
    pub members: BTreeSet<ReplicaId>,
    /// The entry of its log that said so; agreed upon ([`GroupView::is_agreed`]), or replicas would go that are still needed.
    pub members_changed_at: u64,
}

/// What leaders have said of their shards.
pub trait Index: Send + Sync {
    /// Of the shard that has a key; `None`: it cannot be asked, or knows of none that has it.
    fn indexed(&self, key: &[u8]) -> impl Future<Output = Option<Indexed>> + Send;
}

impl<S: ShardStore, T: Transport> Host<S, T> {
    /// Removes the replicas here that were let go, or whose shard is a part of another one now; to be called every few seconds.
    ///
    /// # Errors
    /// When what the node knows of its replicas cannot be read.
    pub async fn sweep(&self, index: &impl Index) -> Result<(), HostError> {
        for resident in self.all() {
            let group = resident.replica().group();
            // Not by who it believes to lead: a replica that was started anew still names its last leader, and one that led a shard
            // that is part of another one now leads nobody.
            let heard_ago = match group.leads() {
                true => group.acknowledged_ago.unwrap_or(ALONE),
                false => resident.replica().heard_ago(),
            };
            if heard_ago < ALONE {
                continue;
            }
            let view = resident.view();
            let Some(descriptor) = &view.descriptor else { continue };
            let Some(indexed) = index.indexed(descriptor.range.start()).await else { continue };
            let was_absorbed = was_absorbed(descriptor, &indexed) && !self.will_be_absorbed(&view)?;
            if (was_let_go(&group, descriptor.shard, &indexed) || was_absorbed)
                && let Err(error) = self.remove(group.replica).await
            {
                tracing::warn!(
                    replica = group.replica.0,
                    error = chain(&error),
                    "a replica that was let go is still here"
                );
            }
        }
        Ok(())
    }

    /// Whether the shard's neighbour is here too, and has not heard yet that it has absorbed it: it goes on from this data. Not
    /// by its range: it may have caught up by a snapshot of after it was split again.
    fn will_be_absorbed(&self, view: &ShardView) -> Result<bool, HostError> {
        let Some(frozen) = view.jobs.frozen() else { return Ok(false) };
        let has_not_heard = |replica: ReplicaId| {
            let descriptor = self.resident(replica).and_then(|resident| resident.descriptor());
            descriptor.is_none_or(|descriptor| descriptor.epoch <= frozen.left_epoch)
        };
        let stays = |(replica, residence): (ReplicaId, Residence)| {
            residence.shard == frozen.into && !residence.leaving && has_not_heard(replica)
        };
        Ok(self.residences()?.into_iter().any(stays))
    }
}

/// Whether the index knows another shard that has the keys now. Whoever gets a key has a newer epoch than all who had it before,
/// and a shard has its first key for as long as there is the shard.
fn was_absorbed(descriptor: &ShardDescriptor, indexed: &Indexed) -> bool {
    indexed.shard != descriptor.shard && indexed.epoch > descriptor.epoch
}

/// Whether the index knows members of the shard that are newer than what the replica knows, and it is not among them.
fn was_let_go(group: &GroupView, shard: ShardId, indexed: &Indexed) -> bool {
    let newer = indexed.members_changed_at > group.members_changed_at;
    indexed.shard == shard && newer && !indexed.members.contains(&group.replica)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn indexed(shard: u64, members_changed_at: u64, members: &[u64]) -> Indexed {
        let members = members.iter().copied().map(ReplicaId).collect();
        Indexed { shard: ShardId(shard), epoch: Epoch(1), members, members_changed_at }
    }

    #[test]
    fn a_shard_is_gone_where_another_one_has_its_first_key_by_a_newer_epoch() {
        let range = thermocline_engine::KeyRange::all();
        let descriptor = ShardDescriptor { shard: ShardId(1), range, epoch: Epoch(5), version_base: 0 };
        let by = |shard, epoch| Indexed { epoch: Epoch(epoch), ..indexed(shard, 41, &[8]) };
        assert!(was_absorbed(&descriptor, &by(2, 6)));
        assert!(!was_absorbed(&descriptor, &by(2, 5)), "of before it split off");
        assert!(!was_absorbed(&descriptor, &by(1, 6)), "it is the shard itself");
    }

    #[test]
    fn a_replica_goes_only_where_newer_members_of_its_own_shard_do_not_have_it() {
        let group = GroupView { replica: ReplicaId(7), members_changed_at: 40, ..GroupView::default() };
        let was_let_go = |indexed| was_let_go(&group, ShardId(1), &indexed);
        assert!(was_let_go(indexed(1, 41, &[8, 9])));
        assert!(!was_let_go(indexed(1, 41, &[7, 9])), "it is a member");
        assert!(!was_let_go(indexed(1, 40, &[8, 9])), "the index is not newer");
        assert!(!was_let_go(indexed(2, 41, &[8, 9])), "another shard begins there now");
    }
}
