//! What is simulated, as a file says it. Every field but nodes and shards has a default.

use std::time::Duration;

use serde::Deserialize;
use thermocline_planner::{
    Policy,
    policy::{Mode, Replication},
};

use crate::notation;

/// The most nodes and shards that are simulated.
const MOST: (u64, u64) = (10_000, 1_000_000);

/// A fleet, its load, what happens to it, and for how long it is watched.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Scenario {
    /// Replays the run.
    #[serde(default)]
    pub seed: u64,
    /// How long it is watched.
    #[serde(default = "a_day", deserialize_with = "notation::span")]
    pub duration: Duration,
    /// How far time goes at once; a planning round each.
    #[serde(default = "a_minute", deserialize_with = "notation::span")]
    pub step: Duration,
    /// The nodes.
    pub nodes: Vec<NodeGroup>,
    /// The shards.
    pub shards: Vec<ShardGroup>,
    /// How the load changes.
    #[serde(default)]
    pub load: LoadShape,
    /// Nodes that fail.
    #[serde(default)]
    pub failures: Vec<Failure>,
    /// What differs from the planner's defaults.
    #[serde(default)]
    pub policy: PolicySettings,
}

const fn a_day() -> Duration {
    Duration::from_hours(24)
}

const fn a_minute() -> Duration {
    Duration::from_mins(1)
}

/// Nodes that are alike.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NodeGroup {
    /// How many.
    pub count: u64,
    /// The zones they are in, in turn.
    #[serde(default = "three_zones")]
    pub zones: Vec<String>,
    /// Their processors.
    #[serde(default = "sixteen")]
    pub cores: f64,
    /// Their network, in bytes a second.
    #[serde(default = "gibibyte", deserialize_with = "notation::size")]
    pub bandwidth: u64,
    /// Their media, the fastest first.
    pub tiers: Vec<TierShape>,
    /// When they come; from the beginning if absent.
    #[serde(default, deserialize_with = "notation::some_span")]
    pub joins_at: Option<Duration>,
}

fn three_zones() -> Vec<String> {
    ["a", "b", "c"].map(str::to_owned).to_vec()
}

const fn sixteen() -> f64 {
    16.0
}

const fn gibibyte() -> u64 {
    1 << 30
}

/// A medium.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TierShape {
    /// Its name.
    pub name: String,
    /// How fast it is, the lower the faster.
    pub rank: u16,
    /// Its size.
    #[serde(deserialize_with = "notation::size")]
    pub size: u64,
    /// What a GiB of it costs a month.
    #[serde(default, rename = "costPerGiBMonth")]
    pub cost_per_gib_month: f64,
}

/// Shards that are drawn alike.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ShardGroup {
    /// How many.
    pub count: u64,
    /// Their mean size.
    #[serde(deserialize_with = "notation::size")]
    pub size: u64,
    /// By which share of it sizes differ, up and down.
    #[serde(default)]
    pub size_spread: f64,
    /// Requests a second of all of them together.
    pub operations: f64,
    /// The exponent of the Zipf distribution of requests over them; 0 is even.
    #[serde(default)]
    pub skew: f64,
    /// The share of requests that write.
    #[serde(default)]
    pub writes: f64,
    /// Cores that a thousand requests a second take.
    #[serde(default = "a_tenth")]
    pub cpu_per_thousand: f64,
    /// The share of bytes that is cold: kept on the slower media, if there are any.
    #[serde(default)]
    pub cold: f64,
    /// Where they are in the beginning.
    #[serde(default)]
    pub placement: Placement,
}

const fn a_tenth() -> f64 {
    0.1
}

/// Where shards are in the beginning.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Placement {
    /// Spread over nodes by chance, with all members.
    #[default]
    Spread,
    /// One replica each, all on the first node.
    FirstNode,
}

/// How the load changes.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct LoadShape {
    /// With the hours of the day.
    pub day_curve: Option<DayCurve>,
    /// Parts of the key space that are asked for more, for a time.
    pub hot_spots: Vec<HotSpot>,
}

/// A load that comes and goes each day.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DayCurve {
    /// How much of the mean load comes and goes, 0 to 1.
    pub amplitude: f64,
    /// The hour it is highest at.
    pub peak_hour: f64,
}

/// A part of the key space that is asked for more, for a time.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HotSpot {
    /// When it begins.
    #[serde(deserialize_with = "notation::span")]
    pub at: Duration,
    /// How long it lasts.
    #[serde(rename = "for", deserialize_with = "notation::span")]
    pub lasts: Duration,
    /// Where it begins, as a share of the key space.
    pub from: f64,
    /// How wide it is, as a share of the key space.
    pub width: f64,
    /// How many times the load it has.
    pub factor: f64,
}

/// A node that fails.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Failure {
    /// Which node, the first being 1.
    pub node: u64,
    /// When.
    #[serde(deserialize_with = "notation::span")]
    pub at: Duration,
    /// After how long it is back, with its data; never if absent.
    #[serde(default, deserialize_with = "notation::some_span")]
    pub back_after: Option<Duration>,
}

/// What differs from the planner's defaults; a simulation acts on its own.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PolicySettings {
    /// Percentage of a tier.
    pub disk_usage_percent: Option<f64>,
    /// Percentage of the processors.
    pub cpu_percent: Option<f64>,
    /// Deviation from the mean.
    pub imbalance_percent: Option<f64>,
    /// How far below a threshold relief goes on.
    pub hysteresis: Option<f64>,
    /// How long a shard stays after a move.
    #[serde(deserialize_with = "notation::some_span")]
    pub min_residency: Option<Duration>,
    /// How long a node is left alone after load moved.
    #[serde(deserialize_with = "notation::some_span")]
    pub cooldown: Option<Duration>,
    /// Moves of a shard in a day.
    pub moves_per_shard: Option<u32>,
    /// Moves of the cluster at a time.
    pub moves_per_cluster: Option<u32>,
    /// Moves into and out of a node at a time.
    pub moves_per_node: Option<u32>,
    /// Bytes a second of a move.
    #[serde(deserialize_with = "notation::some_size")]
    pub bytes_per_second: Option<u64>,
    /// Bytes of a day.
    #[serde(deserialize_with = "notation::some_size")]
    pub bytes_per_day: Option<u64>,
    /// Data replicas of a shard.
    pub data_replicas: Option<u32>,
    /// Whether there is a witness beside them.
    pub witness: Option<bool>,
    /// The size of a shard.
    #[serde(deserialize_with = "notation::some_size")]
    pub shard_target: Option<u64>,
}

/// Why nothing can be simulated.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// Not the form of a scenario.
    #[error("the scenario cannot be read: {0}")]
    Form(#[from] serde_yaml::Error),
    /// A figure that makes no fleet.
    #[error("{field} is {value}; it must be {allowed}")]
    Figure {
        /// The field.
        field: &'static str,
        /// What it is.
        value: f64,
        /// What it may be.
        allowed: &'static str,
    },
}

impl Scenario {
    /// Reads a scenario from YAML.
    ///
    /// # Errors
    /// Where it is none.
    pub fn from_yaml(text: &str) -> Result<Self, ScenarioError> {
        let scenario: Self = serde_yaml::from_str(text)?;
        scenario.check()?;
        Ok(scenario)
    }

    /// Whether it makes a fleet.
    ///
    /// # Errors
    /// With the figure that does not.
    pub fn check(&self) -> Result<(), ScenarioError> {
        let figure = |field, value: f64, holds: bool, allowed| {
            if value.is_finite() && holds { Ok(()) } else { Err(ScenarioError::Figure { field, value, allowed }) }
        };
        let share = |field, value: f64| figure(field, value, (0.0..=1.0).contains(&value), "from 0 to 1");
        let (nodes, shards) = (self.node_count(), self.shard_count());
        figure("the number of nodes", nodes as f64, (1..=MOST.0).contains(&nodes), "from 1 to 10000")?;
        figure("the number of shards", shards as f64, (1..=MOST.1).contains(&shards), "from 1 to 1000000")?;
        figure("step, in seconds", self.step.as_secs_f64(), !self.step.is_zero(), "more than 0")?;
        for group in &self.nodes {
            figure("cores", group.cores, group.cores > 0.0, "more than 0")?;
            figure("the number of zones", group.zones.len() as f64, !group.zones.is_empty(), "at least 1")?;
            figure("the number of tiers", group.tiers.len() as f64, (1..=4).contains(&group.tiers.len()), "1 to 4")?;
            let rising = group.tiers.windows(2).all(|pair| pair[0].rank < pair[1].rank);
            figure("the rank of a tier", f64::from(group.tiers[0].rank), rising, "less than that of the next one")?;
        }
        for group in &self.shards {
            figure("operations", group.operations, group.operations >= 0.0, "at least 0")?;
            figure("skew", group.skew, (0.0..=3.0).contains(&group.skew), "from 0 to 3")?;
            figure("cpuPerThousand", group.cpu_per_thousand, group.cpu_per_thousand >= 0.0, "at least 0")?;
            share("sizeSpread", group.size_spread)?;
            share("writes", group.writes)?;
            share("cold", group.cold)?;
        }
        if let Some(curve) = self.load.day_curve {
            share("amplitude", curve.amplitude)?;
        }
        for spot in &self.load.hot_spots {
            share("from of a hot spot", spot.from)?;
            share("width of a hot spot", spot.width)?;
            figure("factor of a hot spot", spot.factor, spot.factor >= 0.0, "at least 0")?;
        }
        let in_fleet = |failure: &&Failure| !(1..=nodes).contains(&failure.node);
        match self.failures.iter().find(in_fleet) {
            Some(failure) => figure("the node of a failure", failure.node as f64, false, "one of the nodes"),
            None => figure("hysteresis", self.policy().hysteresis, self.policy().hysteresis >= 1.0, "at least 1"),
        }
    }

    /// How many nodes there are.
    #[must_use]
    pub fn node_count(&self) -> u64 {
        self.nodes.iter().fold(0, |sum, group| sum.saturating_add(group.count))
    }

    /// How many shards there are in the beginning.
    #[must_use]
    pub fn shard_count(&self) -> u64 {
        self.shards.iter().fold(0, |sum, group| sum.saturating_add(group.count))
    }

    /// The policy.
    #[must_use]
    pub fn policy(&self) -> Policy {
        let (set, mut policy) = (&self.policy, Policy { mode: Mode::Auto, ..Policy::default() });
        let triggers = &mut policy.triggers;
        triggers.disk_usage_percent = set.disk_usage_percent.unwrap_or(triggers.disk_usage_percent);
        triggers.cpu_percent = set.cpu_percent.unwrap_or(triggers.cpu_percent);
        triggers.imbalance_percent = set.imbalance_percent.unwrap_or(triggers.imbalance_percent);
        policy.hysteresis = set.hysteresis.unwrap_or(policy.hysteresis);
        policy.min_residency = set.min_residency.unwrap_or(policy.min_residency);
        policy.cooldown = set.cooldown.unwrap_or(policy.cooldown);
        policy.moves_per_shard = set.moves_per_shard.unwrap_or(policy.moves_per_shard);
        let budget = &mut policy.budget;
        budget.moves_per_cluster = set.moves_per_cluster.unwrap_or(budget.moves_per_cluster);
        budget.moves_in = set.moves_per_node.unwrap_or(budget.moves_in);
        budget.moves_out = set.moves_per_node.unwrap_or(budget.moves_out);
        budget.bytes_per_second = set.bytes_per_second.unwrap_or(budget.bytes_per_second);
        budget.bytes_per_day = set.bytes_per_day.or(budget.bytes_per_day);
        let replication = policy.replication;
        policy.replication = Replication {
            data: set.data_replicas.unwrap_or(replication.data).max(1),
            witness: set.witness.unwrap_or(replication.witness),
        };
        policy.shard_sizes.target = set.shard_target.unwrap_or(policy.shard_sizes.target);
        policy
    }
}
