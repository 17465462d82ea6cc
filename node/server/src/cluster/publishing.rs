//! Leaders write down where their shards are, in the meta group's index, and remove what was written of shards that are parts of
//! theirs now.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use thermocline_proto::replica::v1 as wire;
use thermocline_shard::job::{Job, JobEnd, JobKind, JobOutcome};
use thermocline_shard::raft::ShardView;
use thermocline_shard::{Epoch, ShardId};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::NodeHost;
use super::directory::Directory;
use super::routing::Router;
use crate::telemetry::chain;

const EVERY: Duration = Duration::from_millis(250);
/// A leader of a shard that is a part of another one now may have written it down once more meanwhile.
const ABSORBED_AGAIN: Duration = Duration::from_secs(60);

/// Publishes until the token is cancelled.
pub async fn publish(host: Arc<NodeHost>, router: Arc<Router>, directory: Directory, stop: CancellationToken) {
    let mut published: BTreeMap<ShardId, (Epoch, u64, Instant)> = BTreeMap::new();
    while stop.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_some() {
        let mut led = BTreeSet::new();
        for resident in host.all() {
            let group = resident.replica().group();
            let view = resident.view();
            let Some(descriptor) = view.descriptor.clone().filter(|_| group.leads()) else { continue };
            // It may be a part of its neighbour by now.
            if view.jobs.frozen().is_some() {
                continue;
            }
            // What is not committed may be taken back, and who is not among the members goes (`sweeping`).
            if !group.is_agreed() {
                continue;
            }
            led.insert(descriptor.shard);
            let has_absorbed = has_absorbed(&view);
            let is_published = |(epoch, members_changed_at, at): &(Epoch, u64, Instant)| {
                (*epoch, *members_changed_at) == (descriptor.epoch, group.members_changed_at)
                    && !(has_absorbed && at.elapsed() >= ABSORBED_AGAIN)
            };
            if published.get(&descriptor.shard).is_some_and(is_published) {
                continue;
            }
            let Some(route) = router.of_resident(&resident) else { continue };
            // Who leads changes too often to be written down; the replicas know.
            let route = thermocline_proto::v1::ShardRoute { leader: 0, ..route };
            let members_changed_at = group.members_changed_at;
            let indexed = wire::IndexedShard { route: Some(route.clone()), members_changed_at };
            let written = async {
                directory.publish(&indexed).await?;
                // Whether or not it was this one that absorbed them: it may have split off since from the one that did.
                directory.forget_absorbed(&route).await
            };
            match written.await {
                Ok(()) => {
                    published.insert(descriptor.shard, (descriptor.epoch, members_changed_at, Instant::now()));
                }
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
        published.retain(|shard, _| led.contains(shard));
    }
}

/// Whether a neighbour became a part of the shard, of late: as long as its job is remembered.
fn has_absorbed(view: &ShardView) -> bool {
    let running = view.jobs.running().is_some_and(|job| matches!(job.kind, JobKind::Merge { .. }) && job.cut_over);
    let ended =
        |(job, end): (&Job, &JobEnd)| matches!(job.kind, JobKind::Merge { .. }) && end.outcome == JobOutcome::Done;
    running || view.jobs.ended().any(ended)
}
