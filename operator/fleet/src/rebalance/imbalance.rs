//! How unequal nodes are, for who shows it.

use thermocline_planner::{DISK_FLOOR, NodeId, deviation};
use thermocline_proto::v1;

/// How far the node is from the mean that is farthest from it, by bytes, in percent: as docs/planner.md defines it.
#[must_use]
pub fn disk_imbalance(statuses: &[v1::NodeStatus]) -> f64 {
    let sum = |status: &v1::NodeStatus, of: fn(&v1::TierStatus) -> u64| status.tiers.iter().map(of).sum::<u64>() as f64;
    let nodes = statuses.iter().map(|status| {
        (NodeId(status.node_id), sum(status, |tier| tier.used_bytes), sum(status, |tier| tier.capacity_bytes))
    });
    deviation(nodes, DISK_FLOOR).percent
}
