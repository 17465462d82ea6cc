//! What the planner is to keep to, from the objects.

use std::collections::BTreeMap;
use std::time::Duration;

use thermocline_crds::v1alpha1;
use thermocline_planner::policy::{Abilities, Mode, Policies, Policy, Replication, ShardSizes};

use crate::desired::Desired;

/// What the nodes can carry out.
const ABILITIES: Abilities = Abilities { exchanges: true, read_replicas: false, merges: true, tier_changes: false };

/// The policies of the pools.
#[must_use]
pub fn policies(desired: &Desired) -> Policies {
    let mut by_pool = BTreeMap::new();
    for node in desired.nodes.values() {
        let Some(replication) = node.replication else { continue };
        let mode = match node.mode {
            v1alpha1::Mode::Auto => Mode::Auto,
            v1alpha1::Mode::Propose => Mode::Propose,
            v1alpha1::Mode::Paused => Mode::Paused,
        };
        // One rest for all that moves: the nodes keep it for moves between media.
        let min_residency = Duration::from_millis(node.policy.min_residency_ms);
        let mut shard_sizes = ShardSizes::default();
        if let Some(size) = replication.shard_size {
            shard_sizes.target = size.bytes();
        }
        let data = u32::try_from(replication.data).unwrap_or(u32::MAX);
        let replication = Replication { data, witness: replication.witness };
        by_pool.insert(
            node.pool.as_str().into(),
            Policy { mode, replication, shard_sizes, min_residency, ..Policy::default() },
        );
    }
    Policies { by_pool, fallback: Policy::default(), abilities: ABILITIES }
}
