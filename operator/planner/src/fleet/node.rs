//! A storage node, as it was measured.

use std::{collections::BTreeMap, time::Duration};

use crate::{HealthSignals, Moment, NodeId, PoolName, TierName, TierRank, Zone};

/// A storage node.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// The node.
    pub id: NodeId,
    /// What people call it.
    pub name: String,
    /// Nodes of one zone may fail together.
    pub zone: Zone,
    /// Shards stay in their pool.
    pub pool: PoolName,
    /// Whether it is there.
    pub availability: Availability,
    /// Its media; [`FleetState`](crate::FleetState) has them fastest first.
    pub tiers: Vec<Tier>,
    /// How busy it is.
    pub load: NodeLoad,
    /// What its health is judged by.
    pub signals: HealthSignals,
    /// Round trips to other zones, as measured from here.
    pub latency: BTreeMap<Zone, Duration>,
    /// Where those who ask it are: requests a second by zone.
    pub clients: BTreeMap<Zone, f64>,
}

/// Whether a node is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Availability {
    /// It is.
    Live,
    /// It is, and has just come.
    New,
    /// Neither its operator nor its peers have heard of it since then.
    Silent {
        /// When it was last heard of.
        since: Moment,
    },
    /// It is being emptied, or was until that was cancelled.
    Draining {
        /// Whether it is to stay after all.
        cancelled: bool,
    },
}

/// A medium of a node.
#[derive(Debug, Clone, PartialEq)]
pub struct Tier {
    /// What people call it.
    pub name: TierName,
    /// How fast it is.
    pub rank: TierRank,
    /// Bytes it can hold, more than none.
    pub capacity: u64,
    /// Bytes it holds.
    pub used: u64,
    /// Down to this percentage space is made.
    pub low_percent: f64,
    /// Over this percentage space is made, and nothing is placed.
    pub high_percent: f64,
    /// Whether its device fails or is slow: nothing is placed on it.
    pub degraded: bool,
}

impl Tier {
    /// How full it is with `used` bytes.
    #[must_use]
    pub fn percent(&self, used: u64) -> f64 {
        used as f64 / self.capacity.max(1) as f64 * 100.0
    }
}

/// How busy a node is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NodeLoad {
    /// The processor time it may use, in cores; more than none.
    pub cpu_cores: f64,
    /// The processor time it uses, in cores.
    pub cpu_used: f64,
    /// The memory it may use, in bytes.
    pub memory: u64,
    /// The memory it uses, in bytes.
    pub memory_used: u64,
    /// The share of time that its busiest device is busy, 0 to 1.
    pub io_busy: f64,
    /// Bytes a second that its network carries.
    pub bandwidth: u64,
    /// Bytes a second that it sends and receives.
    pub network_used: u64,
}

impl Node {
    /// Whether it is silent, for however long.
    #[must_use]
    pub const fn is_silent(&self) -> bool {
        matches!(self.availability, Availability::Silent { .. })
    }

    /// Whether it is being emptied.
    #[must_use]
    pub const fn is_draining(&self) -> bool {
        matches!(self.availability, Availability::Draining { cancelled: false })
    }

    /// Whether data may come to it and counts there: it is there, and stays.
    #[must_use]
    pub const fn stays(&self) -> bool {
        !self.is_silent() && !self.is_draining()
    }

    /// Bytes that all its tiers can hold.
    #[must_use]
    pub fn capacity(&self) -> u64 {
        self.tiers.iter().map(|tier| tier.capacity).sum()
    }

    /// The round trip to a zone; none within its own, unknown where it was not measured.
    #[must_use]
    pub fn latency_to(&self, zone: &Zone) -> Option<Duration> {
        self.latency.get(zone).copied().or_else(|| (self.zone == *zone).then_some(Duration::ZERO))
    }
}
