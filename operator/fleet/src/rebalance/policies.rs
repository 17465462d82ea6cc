//! What the planner is to keep to, from the objects.

use std::collections::BTreeMap;

use thermocline_planner::policy::{Mode, Policies, Policy, Replication};

use crate::desired::Desired;

/// The policies of the pools. A pool without one makes only the moves that cannot wait: its data is kept as often as declared.
#[must_use]
pub fn policies(desired: &Desired) -> Policies {
    let mut by_pool = BTreeMap::new();
    for node in desired.nodes.values() {
        let Some(replication) = node.replication else { continue };
        // Whatever the pool's own mode: paused, the planner would not even restore lost copies. What may wait is filtered out of
        // its proposals.
        let mode = Mode::Auto;
        let data = u32::try_from(replication.data).unwrap_or(u32::MAX);
        let replication = Replication { data, witness: replication.witness };
        by_pool.insert(node.pool.as_str().into(), Policy { mode, replication, ..Policy::default() });
    }
    Policies { by_pool, fallback: Policy::default() }
}
