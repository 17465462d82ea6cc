//! What must hold of a fleet that can be planned for.

use std::collections::BTreeSet;

use super::{FleetParts, Node, Role, Shard};
use crate::{NodeId, ShardId};

/// Why parts make no fleet.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum FleetError {
    /// Two nodes have one id.
    #[error("{node} is there twice")]
    NodeTwice {
        /// The node.
        node: NodeId,
    },
    /// Two shards have one id.
    #[error("{shard} is there twice: take the one with the newer epoch")]
    ShardTwice {
        /// The shard.
        shard: ShardId,
    },
    /// A figure is no number, negative or out of its bounds.
    #[error("{what} of {of} is {value}; it must be {allowed}")]
    Figure {
        /// Which figure.
        what: &'static str,
        /// Of which node or shard.
        of: String,
        /// What it is.
        value: f64,
        /// What it may be.
        allowed: &'static str,
    },
    /// A node without tiers, or with two of one rank.
    #[error("{node} must have at least one tier, each of a rank of its own")]
    Tiers {
        /// The node.
        node: NodeId,
    },
    /// A range without keys.
    #[error("the range of {shard} ends before it starts")]
    Range {
        /// The shard.
        shard: ShardId,
    },
    /// Two shards have the same keys.
    #[error("{left} and {right} overlap: take the ones with the newer epoch")]
    Overlap {
        /// The one that starts first.
        left: ShardId,
        /// The other.
        right: ShardId,
    },
    /// A replica on a node that is not in the fleet.
    #[error("{shard} has a replica on {node}, which is not in the fleet: nodes that are lost must be in it, as silent")]
    UnknownNode {
        /// The shard.
        shard: ShardId,
        /// The node.
        node: NodeId,
    },
    /// Two voters of one shard on one node.
    #[error("{shard} has two voters on {node}")]
    TwoVoters {
        /// The shard.
        shard: ShardId,
        /// The node.
        node: NodeId,
    },
    /// More than one leader, or one that cannot lead.
    #[error("{shard} must have at most one leader, and that one must be a data replica")]
    Leader {
        /// The shard.
        shard: ShardId,
    },
    /// Two moves of one shard.
    #[error("{shard} has two open moves")]
    TwoMoves {
        /// The shard.
        shard: ShardId,
    },
}

/// Checks parts that are sorted by id.
pub(super) fn check(parts: &FleetParts) -> Result<(), FleetError> {
    if let Some(pair) = parts.nodes.windows(2).find(|pair| pair[0].id == pair[1].id) {
        return Err(FleetError::NodeTwice { node: pair[0].id });
    }
    if let Some(pair) = parts.shards.windows(2).find(|pair| pair[0].id == pair[1].id) {
        return Err(FleetError::ShardTwice { shard: pair[0].id });
    }
    parts.nodes.iter().try_for_each(check_node)?;
    parts.shards.iter().try_for_each(check_shard)?;
    check_overlap(&parts.shards)?;
    let mut busy = BTreeSet::new();
    for shard in parts.open.iter().flat_map(|open| open.change.shards()) {
        if !busy.insert(shard) {
            return Err(FleetError::TwoMoves { shard });
        }
    }
    Ok(())
}

fn check_node(node: &Node) -> Result<(), FleetError> {
    if node.tiers.is_empty() || node.tiers.windows(2).any(|pair| pair[0].rank == pair[1].rank) {
        return Err(FleetError::Tiers { node: node.id });
    }
    let figure = |what, value: f64, holds: bool, allowed| {
        let error = || FleetError::Figure { what, of: node.id.to_string(), value, allowed };
        if value.is_finite() && holds { Ok(()) } else { Err(error()) }
    };
    for tier in &node.tiers {
        figure("the capacity of a tier", tier.capacity as f64, tier.capacity > 0, "more than 0")?;
        let (low, high) = (tier.low_percent, tier.high_percent);
        figure("the low watermark", low, low > 0.0 && low < high, "more than 0 and less than the high one")?;
        figure("the high watermark", high, high < 100.0, "less than 100")?;
    }
    let load = &node.load;
    figure("the processor time it may use", load.cpu_cores, load.cpu_cores > 0.0, "more than 0 cores")?;
    figure("the processor time it uses", load.cpu_used, load.cpu_used >= 0.0, "at least 0 cores")?;
    figure("the busy share of its devices", load.io_busy, (0.0..=1.0).contains(&load.io_busy), "from 0 to 1")?;
    node.clients.values().try_for_each(|rate| figure("a rate of requests", *rate, *rate >= 0.0, "at least 0"))
}

fn check_shard(shard: &Shard) -> Result<(), FleetError> {
    if shard.end.as_ref().is_some_and(|end| *end <= shard.start) {
        return Err(FleetError::Range { shard: shard.id });
    }
    let figure = |what, value: f64, holds: bool, allowed| {
        let error = || FleetError::Figure { what, of: shard.id.to_string(), value, allowed };
        if value.is_finite() && holds { Ok(()) } else { Err(error()) }
    };
    let load = &shard.load;
    for (what, value) in
        [("the rate of reads", load.reads), ("the rate of writes", load.writes), ("the processor time", load.cpu)]
    {
        figure(what, value, value >= 0.0, "at least 0")?;
    }
    for key in &shard.split_keys {
        for share in [key.load_left, key.bytes_left] {
            figure("a share left of a split key", share, (0.0..=1.0).contains(&share), "from 0 to 1")?;
        }
    }
    shard.clients.values().try_for_each(|rate| figure("a rate of requests", *rate, *rate >= 0.0, "at least 0"))?;
    let leaders = || shard.replicas.iter().filter(|replica| replica.leader);
    if leaders().count() > 1 || leaders().any(|leader| leader.role != Role::Data) {
        return Err(FleetError::Leader { shard: shard.id });
    }
    for (number, replica) in shard.replicas.iter().enumerate() {
        let same = |other: &&super::Replica| other.node == replica.node && other.votes() && replica.votes();
        if shard.replicas[..number].iter().any(|other| same(&other)) {
            return Err(FleetError::TwoVoters { shard: shard.id, node: replica.node });
        }
    }
    Ok(())
}

fn check_overlap(shards: &[Shard]) -> Result<(), FleetError> {
    let mut by_start: Vec<&Shard> = shards.iter().collect();
    by_start.sort_by(|a, b| a.start.cmp(&b.start));
    for pair in by_start.windows(2) {
        if pair[0].end.as_ref().is_none_or(|end| *end > pair[1].start) {
            return Err(FleetError::Overlap { left: pair[0].id, right: pair[1].id });
        }
    }
    Ok(())
}
