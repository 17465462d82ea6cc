//! How unequal the nodes of a pool are: the definition is in docs/planner.md.

use crate::{FleetState, NodeId, PoolName};

/// Under this mean utilisation deviations are measured against it instead: nodes that are nearly empty differ much
/// and nobody is hurt.
pub const DISK_FLOOR: f64 = 0.05;
/// As that of disks, for processors. What an idle node does for itself, now and then, is no load that others could take over.
pub const LOAD_FLOOR: f64 = 0.2;

/// How much the nodes of a pool deviate from their mean, in percent of it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Imbalance {
    /// By bytes of all tiers.
    pub disk: Deviation,
    /// By processor time.
    pub load: Deviation,
}

/// The largest deviation of a resource.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Deviation {
    /// In percent of the mean.
    pub percent: f64,
    /// The node that deviates so; none where nobody deviates.
    pub node: Option<NodeId>,
    /// The mean utilisation, weighted by capacity, as a share.
    pub mean: f64,
    /// What takes its place where it is smaller.
    pub floor: f64,
}

impl Deviation {
    /// How far a utilisation is from the mean, in percent of it.
    pub(crate) fn of(&self, utilisation: f64) -> f64 {
        (utilisation - self.mean).abs() / self.mean.max(self.floor).max(f64::EPSILON) * 100.0
    }
}

impl Imbalance {
    /// The larger of the two: what the policy bounds.
    #[must_use]
    pub const fn score(&self) -> f64 {
        self.disk.percent.max(self.load.percent)
    }
}

/// The imbalance of a pool as it was measured.
#[must_use]
pub fn imbalance(fleet: &FleetState, pool: &PoolName) -> Imbalance {
    let nodes = || fleet.nodes().iter().filter(|node| node.pool == *pool && node.stays());
    let used = |node: &crate::fleet::Node| node.tiers.iter().map(|tier| tier.used).sum::<u64>() as f64;
    Imbalance {
        disk: deviation(nodes().map(|node| (node.id, used(node), node.capacity() as f64)), DISK_FLOOR),
        load: deviation(nodes().map(|node| (node.id, node.load.cpu_used, node.load.cpu_cores)), LOAD_FLOOR),
    }
}

/// The largest deviation of (node, used, capacity); of equal ones the first.
#[must_use]
pub fn deviation(nodes: impl Iterator<Item = (NodeId, f64, f64)> + Clone, floor: f64) -> Deviation {
    let (used, capacity) = nodes.clone().fold((0.0, 0.0), |(used, capacity), node| (used + node.1, capacity + node.2));
    if capacity <= 0.0 {
        return Deviation::default();
    }
    let mean = used / capacity;
    let mut worst = Deviation { percent: 0.0, node: None, mean, floor };
    for (node, used, capacity) in nodes {
        let percent = worst.of(used / capacity);
        if percent > worst.percent {
            (worst.percent, worst.node) = (percent, Some(node));
        }
    }
    worst
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(nodes: &[(f64, f64)]) -> Deviation {
        deviation(nodes.iter().zip(1..).map(|((used, capacity), id)| (NodeId(id), *used, *capacity)), DISK_FLOOR)
    }

    #[test]
    fn nodes_of_different_capacity_are_equal_where_their_shares_are() {
        assert_eq!(of(&[(50.0, 100.0), (400.0, 800.0)]).percent, 0.0);
    }

    #[test]
    fn the_deviation_is_that_of_the_node_farthest_from_the_mean_weighted_by_capacity() {
        let deviation = of(&[(60.0, 100.0), (10.0, 100.0), (80.0, 100.0)]);
        assert_eq!((deviation.node, deviation.mean), (Some(NodeId(2)), 0.5));
        assert!((deviation.percent - 80.0).abs() < 1e-9);
    }

    #[test]
    fn nodes_that_are_nearly_empty_are_not_called_unequal() {
        assert!(of(&[(0.1, 100.0), (0.0, 100.0)]).percent < 2.0);
    }

    #[test]
    fn no_nodes_are_in_balance() {
        assert_eq!((of(&[]).percent, of(&[]).node), (0.0, None));
    }
}
