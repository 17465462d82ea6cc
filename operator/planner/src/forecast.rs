//! What a change will take and do.

use std::{fmt, time::Duration};

use crate::{
    Change, NodeId, TierRank,
    ledger::{Ledger, Resource},
    view::View,
};

/// A move of data goes at least at this pace, however busy the network is: bytes a second.
const SLOWEST: u64 = 1 << 20;
/// What a move between nodes takes beside its bytes: catching up, the joint swap, the wipe.
const MEMBERSHIP_TIME: Duration = Duration::from_secs(2);
/// What a change without bytes takes.
const INTENT_TIME: Duration = Duration::from_secs(1);

/// What a change will take and do.
#[derive(Debug, Clone, PartialEq)]
pub struct Forecast {
    /// Bytes that it moves.
    pub bytes: u64,
    /// How long it takes, at the policy's pace or at what the network has left.
    pub duration: Duration,
    /// Bytes read, sent and written: what moves between nodes and between media are compared by.
    pub cost: u64,
    /// Figures before and after.
    pub effects: Vec<Effect>,
}

/// A figure before and after a change.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Effect {
    /// Which figure.
    pub figure: Figure,
    /// Of which node; of the shard where there is none.
    pub node: Option<NodeId>,
    /// What it is.
    pub before: f64,
    /// What it will be.
    pub after: f64,
}

/// A figure that changes have effects on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Figure {
    /// The percentage of all tiers that is used.
    DiskPercent,
    /// The percentage of a tier that is used.
    TierPercent(TierRank),
    /// The percentage of the processors that is used.
    CpuPercent,
    /// The percentage of time that the busiest device is busy.
    IoPercent,
    /// Members of the shard on nodes that are there.
    Members,
    /// Read replicas of the shard.
    ReadReplicas,
    /// Milliseconds from the leader to the zone that asks most.
    LatencyMillis,
    /// Bytes of the (largest) shard.
    ShardBytes,
    /// Requests a second of the (busiest) shard.
    ShardOperations,
}

impl fmt::Display for Figure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::DiskPercent => "disk usage",
            Self::TierPercent(rank) => return write!(formatter, "usage of the tier of {rank}"),
            Self::CpuPercent => "CPU usage",
            Self::IoPercent => "device utilisation",
            Self::Members => "members",
            Self::ReadReplicas => "read replicas",
            Self::LatencyMillis => "latency",
            Self::ShardBytes => "size",
            Self::ShardOperations => "load",
        })
    }
}

impl Forecast {
    /// What a change will take and do, before the ledger has it; `effects` are those that its trigger names.
    pub(crate) fn of(view: &View<'_>, ledger: &Ledger, change: &Change, effects: Vec<Effect>) -> Self {
        let bytes = ledger.bytes_of(view, change);
        let cost = match change {
            Change::MoveReplica { .. } | Change::AddReplica { .. } => bytes.saturating_mul(3),
            Change::ChangeTier { .. } => bytes.saturating_mul(2),
            _ => 0,
        };
        let mut forecast = Self { bytes, duration: duration(view, change, bytes), cost, effects };
        forecast.effects.extend(effects_on_nodes(view, ledger, change));
        forecast
    }
}

fn duration(view: &View<'_>, change: &Change, bytes: u64) -> Duration {
    let fixed = if change.copies_between_nodes() { MEMBERSHIP_TIME } else { INTENT_TIME };
    if bytes == 0 {
        return fixed;
    }
    let mut pace = view.policy_of_shard(change.shard()).budget.bytes_per_second;
    if change.copies_between_nodes() {
        for node in change.from().into_iter().chain(change.to()).filter_map(|node| view.fleet.node(node)) {
            pace = pace.min(node.load.bandwidth.saturating_sub(node.load.network_used));
        }
    }
    fixed + Duration::from_secs_f64(bytes as f64 / pace.max(SLOWEST) as f64)
}

fn effects_on_nodes(view: &View<'_>, ledger: &Ledger, change: &Change) -> Vec<Effect> {
    let mut after = ledger.clone();
    after.apply(view, change);
    let mut effects = Vec::new();
    let mut compare = |figure, place: usize, before: f64, after: f64| {
        if before != after {
            effects.push(Effect { figure, node: Some(view.fleet.nodes()[place].id), before, after });
        }
    };
    let mut places: Vec<usize> =
        change.from().into_iter().chain(change.to()).filter_map(|node| view.fleet.place_of(node)).collect();
    places.dedup();
    for place in places {
        for resource in Resource::ALL {
            compare(
                resource.figure(),
                place,
                ledger.percent(view, place, resource),
                after.percent(view, place, resource),
            );
        }
        for (number, tier) in view.fleet.nodes()[place].tiers.iter().enumerate() {
            let percent = |ledger: &Ledger| tier.percent(ledger.tier_used(place, number));
            compare(Figure::TierPercent(tier.rank), place, percent(ledger), percent(&after));
        }
    }
    effects
}
