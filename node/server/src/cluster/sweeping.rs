//! Replicas that their group has let go while this node was away are found by the index that the groups' leaders keep.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use thermocline_shard::host::{Index, Indexed};
use thermocline_shard::{ReplicaId, ShardId};
use tokio_util::sync::CancellationToken;

use super::NodeHost;
use super::directory::Directory;

const EVERY: Duration = Duration::from_secs(2);

/// Sweeps until the token is cancelled.
pub async fn sweep(host: Arc<NodeHost>, directory: Directory, stop: CancellationToken) {
    while stop.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_some() {
        host.sweep(&directory).await;
    }
}

impl Index for Directory {
    async fn indexed(&self, key: &[u8]) -> Option<Indexed> {
        let found = self.shard_at(key).await.ok().flatten()?;
        let route = found.route?;
        let members: BTreeSet<ReplicaId> = route.replicas.iter().map(|member| ReplicaId(member.replica)).collect();
        Some(Indexed { shard: ShardId(route.shard), members, members_changed_at: found.members_changed_at })
    }
}
