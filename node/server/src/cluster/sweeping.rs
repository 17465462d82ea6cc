//! Replicas that their group has let go while this node was away are found by the index that the groups' leaders keep.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use thermocline_shard::host::{Index, Indexed};
use thermocline_shard::{Epoch, ReplicaId, ShardId};
use tokio_util::sync::CancellationToken;

use super::NodeHost;
use super::directory::Directory;
use crate::telemetry::chain;

const EVERY: Duration = Duration::from_secs(2);

/// Sweeps until the token is cancelled.
pub async fn sweep(host: Arc<NodeHost>, directory: Directory, stop: CancellationToken) {
    while stop.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_some() {
        if let Err(error) = host.sweep(&directory).await {
            tracing::warn!(error = chain(&error), "replicas that were let go are not looked for");
        }
    }
}

impl Index for Directory {
    async fn indexed(&self, key: &[u8]) -> Option<Indexed> {
        let found = self.shard_at(key).await.ok().flatten()?;
        let route = found.route.filter(|route| route.end.is_empty() || key < route.end.as_ref())?;
        let members: BTreeSet<ReplicaId> = route.replicas.iter().map(|member| ReplicaId(member.replica)).collect();
        let (shard, epoch) = (ShardId(route.shard), Epoch(route.epoch));
        Some(Indexed { shard, epoch, members, members_changed_at: found.members_changed_at })
    }
}
