//! What a move was forecast to take and do, against what it took and did.

use std::time::Duration;

use crate::{Effect, Figure, FleetState, Forecast, NodeId, Proposal, fleet::Role};

/// Predicted against actual.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// What was forecast.
    pub predicted: Forecast,
    /// Bytes that were moved.
    pub bytes: u64,
    /// How long it took.
    pub took: Duration,
    /// Each forecast effect with what came of it.
    pub figures: Vec<FigureOutcome>,
}

/// An effect with what came of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FigureOutcome {
    /// What was forecast.
    pub predicted: Effect,
    /// What is so now; none where it cannot be told any more.
    pub actual: Option<f64>,
}

impl Outcome {
    /// What came of a proposal, by the fleet as it was measured after it.
    #[must_use]
    pub fn of(proposal: &Proposal, bytes: u64, took: Duration, after: &FleetState) -> Self {
        let figures = proposal.forecast.effects.iter().map(|effect| FigureOutcome {
            predicted: *effect,
            actual: measure(after, proposal, effect.figure, effect.node),
        });
        Self { predicted: proposal.forecast.clone(), bytes, took, figures: figures.collect() }
    }

    /// How much longer it took than was forecast, as a share: 1 is twice as long, -0.5 half as long.
    #[must_use]
    pub fn duration_error(&self) -> f64 {
        let predicted = self.predicted.duration.as_secs_f64().max(f64::MIN_POSITIVE);
        self.took.as_secs_f64() / predicted - 1.0
    }

    /// How many more bytes it moved than was forecast, as a share; none where none were forecast.
    #[must_use]
    pub fn bytes_error(&self) -> Option<f64> {
        (self.predicted.bytes > 0).then(|| self.bytes as f64 / self.predicted.bytes as f64 - 1.0)
    }
}

fn measure(fleet: &FleetState, proposal: &Proposal, figure: Figure, node: Option<NodeId>) -> Option<f64> {
    let of_node = node.and_then(|node| fleet.node(node));
    let shard = fleet.shard(proposal.change.shard());
    match figure {
        Figure::DiskPercent => of_node.map(|node| {
            let used: u64 = node.tiers.iter().map(|tier| tier.used).sum();
            used as f64 / node.capacity() as f64 * 100.0
        }),
        Figure::TierPercent(rank) => {
            of_node?.tiers.iter().find(|tier| tier.rank == rank).map(|tier| tier.percent(tier.used))
        }
        Figure::CpuPercent => of_node.map(|node| node.load.cpu_used / node.load.cpu_cores * 100.0),
        Figure::IoPercent => of_node.map(|node| node.load.io_busy * 100.0),
        Figure::Members => shard.map(|shard| {
            let there = |node| fleet.node(node).is_some_and(|node| !node.is_silent());
            shard.replicas.iter().filter(|replica| replica.votes() && there(replica.node)).count() as f64
        }),
        Figure::ReadReplicas => shard.map(|shard| shard.members(Role::Learner).count() as f64),
        Figure::LatencyMillis => {
            let shard = shard?;
            let leader = fleet.node(shard.leader()?.node)?;
            let zone = crate::trigger::majority_zone(fleet, shard)?;
            leader.latency_to(zone).map(|latency| latency.as_secs_f64() * 1_000.0)
        }
        Figure::ShardBytes => shard.map(|shard| shard.size() as f64),
        Figure::ShardOperations => shard.map(crate::fleet::Shard::operations),
    }
}
