//! Replicas that their group has let go while this node was away: nobody speaks to them any more, so they find it out themselves,
//! from what their shard's leaders have said since, and go. Until then their keys are taken here, and no replica of the shard
//! could come back.

use std::collections::BTreeSet;
use std::future::Future;
use std::time::Duration;

use super::{Host, chain};
use crate::machine::ShardStore;
use crate::raft::{GroupView, Transport};
use crate::{ReplicaId, ShardId};

/// A replica without a leader for so long may have been let go.
const ALONE: Duration = Duration::from_secs(10);

/// Who belongs to a shard, as a leader of it has said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Indexed {
    /// The shard.
    pub shard: ShardId,
    /// All of its replicas.
    pub members: BTreeSet<ReplicaId>,
    /// The entry of its log that said so; agreed upon ([`GroupView::is_agreed`]), or replicas would go that are still needed.
    pub members_changed_at: u64,
}

/// What leaders have said of their shards.
pub trait Index: Send + Sync {
    /// Of the shard that has a key; `None`: it cannot be asked, or knows nothing.
    fn indexed(&self, key: &[u8]) -> impl Future<Output = Option<Indexed>> + Send;
}

impl<S: ShardStore, T: Transport> Host<S, T> {
    /// Removes the replicas here that were let go; to be called every few seconds.
    pub async fn sweep(&self, index: &impl Index) {
        for resident in self.all() {
            let group = resident.replica().group();
            // Not by who it believes to lead: a replica that was started anew still names its last leader.
            if group.leads() || resident.replica().heard_ago() < ALONE {
                continue;
            }
            let Some(descriptor) = resident.descriptor() else { continue };
            let Some(indexed) = index.indexed(descriptor.range.start()).await else { continue };
            if was_let_go(&group, descriptor.shard, &indexed)
                && let Err(error) = self.remove(group.replica).await
            {
                tracing::warn!(
                    replica = group.replica.0,
                    error = chain(&error),
                    "a replica that was let go is still here"
                );
            }
        }
    }
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
        Indexed { shard: ShardId(shard), members, members_changed_at }
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
