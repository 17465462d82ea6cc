//! Leaders write down where their shards are, in the meta group's index.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use thermocline_proto::replica::v1 as wire;
use thermocline_shard::{Epoch, ShardId};
use tokio_util::sync::CancellationToken;

use super::NodeHost;
use super::directory::Directory;
use super::routing::Router;
use crate::telemetry::chain;

const EVERY: Duration = Duration::from_millis(250);

/// Publishes until the token is cancelled.
pub async fn publish(host: Arc<NodeHost>, router: Arc<Router>, directory: Directory, stop: CancellationToken) {
    let mut published: BTreeMap<ShardId, (Epoch, u64)> = BTreeMap::new();
    while stop.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_some() {
        let mut led = BTreeMap::new();
        for resident in host.all() {
            let group = resident.replica().group();
            let Some(descriptor) = resident.descriptor().filter(|_| group.leads()) else { continue };
            // What is not committed may be taken back, and who is not among the members goes (`sweeping`).
            if !group.is_agreed() {
                continue;
            }
            let now = (descriptor.epoch, group.members_changed_at);
            led.insert(descriptor.shard, now);
            if published.get(&descriptor.shard) == Some(&now) {
                continue;
            }
            let Some(route) = router.of_resident(&resident) else { continue };
            // Who leads changes too often to be written down; the replicas know.
            let route = thermocline_proto::v1::ShardRoute { leader: 0, ..route };
            let indexed = wire::IndexedShard { route: Some(route), members_changed_at: group.members_changed_at };
            match directory.publish(&indexed).await {
                Ok(()) => drop(published.insert(descriptor.shard, now)),
                Err(error) => {
                    tracing::debug!(
                        shard = descriptor.shard.0,
                        error = chain(&error),
                        "a shard is not in the index yet"
                    );
                }
            }
        }
        // Whoever leads again looks again.
        published.retain(|shard, _| led.contains_key(shard));
    }
}
