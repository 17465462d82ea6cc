//! Replicas that their group has let go while this node was away: nobody speaks to them any more, so they find it out themselves,
//! from the index that the group's leaders keep, and go. Until then their keys are taken here, and no replica of the shard could
//! come back.

use std::sync::Arc;
use std::time::Duration;

use thermocline_proto::replica::v1 as wire;
use thermocline_shard::raft::GroupView;
use tokio_util::sync::CancellationToken;

use super::NodeHost;
use super::directory::Directory;
use crate::telemetry::chain;

const EVERY: Duration = Duration::from_secs(2);
/// A replica without a leader for so long may have been let go.
const ALONE: Duration = Duration::from_secs(10);

/// Sweeps until the token is cancelled.
pub async fn sweep(host: Arc<NodeHost>, directory: Directory, stop: CancellationToken) {
    while stop.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_some() {
        for resident in host.all() {
            let group = resident.replica().group();
            // Not by who it believes to lead: a replica that was started anew still names its last leader.
            if group.leads() || resident.replica().heard_ago() < ALONE {
                continue;
            }
            let Some(descriptor) = resident.descriptor() else { continue };
            let Ok(Some(indexed)) = directory.indexed(descriptor.range.start()).await else { continue };
            if was_let_go(&group, descriptor.shard.0, &indexed)
                && let Err(error) = host.remove(group.replica).await
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
fn was_let_go(group: &GroupView, shard: u64, indexed: &wire::IndexedShard) -> bool {
    let Some(route) = &indexed.route else { return false };
    let is_member = route.replicas.iter().any(|member| member.replica == group.replica.0);
    route.shard == shard && indexed.members_changed_at > group.members_changed_at && !is_member
}

#[cfg(test)]
mod tests {
    use thermocline_proto::v1;
    use thermocline_shard::ReplicaId;

    use super::*;

    fn indexed(shard: u64, changed_at: u64, members: &[u64]) -> wire::IndexedShard {
        let member = |replica: &u64| v1::ReplicaRoute { replica: *replica, ..v1::ReplicaRoute::default() };
        let replicas = members.iter().map(member).collect();
        let route = v1::ShardRoute { shard, replicas, ..v1::ShardRoute::default() };
        wire::IndexedShard { route: Some(route), members_changed_at: changed_at }
    }

    #[test]
    fn a_replica_goes_only_where_newer_members_of_its_own_shard_do_not_have_it() {
        let group = GroupView { replica: ReplicaId(7), members_changed_at: 40, ..GroupView::default() };
        assert!(was_let_go(&group, 1, &indexed(1, 41, &[8, 9])));
        assert!(!was_let_go(&group, 1, &indexed(1, 41, &[7, 9])), "it is a member");
        assert!(!was_let_go(&group, 1, &indexed(1, 40, &[8, 9])), "the index is not newer");
        assert!(!was_let_go(&group, 1, &indexed(2, 41, &[8, 9])), "another shard begins there now");
    }
}
