//! What came of a run.

use std::collections::BTreeMap;

use serde::Serialize;

/// A run in figures.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Nodes at the end.
    pub nodes: u64,
    /// Shards at the end.
    pub shards: u64,
    /// Replays the run.
    pub seed: u64,
    /// Simulated seconds.
    pub seconds: u64,
    /// The imbalance that is aimed at, in percent.
    pub imbalance_target: f64,
    /// The imbalance in the beginning, in percent.
    pub imbalance_before: f64,
    /// The imbalance at the end, in percent.
    pub imbalance_after: f64,
    /// Seconds until the imbalance was first at most what is aimed at; none where it never was.
    pub converged_after: Option<u64>,
    /// The share of time that the imbalance was at most what is aimed at.
    pub time_in_balance: f64,
    /// Moves that ended, by reason.
    pub moves: BTreeMap<String, MovesOf>,
    /// Bytes that moves took.
    pub bytes_moved: u64,
    /// The most moves of one shard.
    pub moves_per_shard_max: u32,
    /// Moves for each shard that moved: what is over 1 is unrest.
    pub moves_per_moved_shard: f64,
    /// Moves that brought a shard back to a node that it had left within a day.
    pub returns: u64,
    /// The highest percentage of a tier.
    pub disk_max: f64,
    /// The highest percentage of a node's processors.
    pub cpu_max: f64,
    /// What the stored bytes cost a month, in the beginning.
    pub cost_before: f64,
    /// What they cost at the end.
    pub cost_after: f64,
    /// Seconds from a node's failure until none of its members was missed; the longest. None where nothing failed, or
    /// where something still is missed.
    pub recovered_after: Option<u64>,
    /// By how much moves took longer than was forecast, as a share; the mean.
    pub duration_error: f64,
    /// What was refused in the last round, the most frequent first: how often, and an example.
    pub refusals: Vec<(u64, String)>,
    /// Figures over time.
    pub samples: Vec<Sample>,
}

/// Moves for a reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct MovesOf {
    /// How many.
    pub moves: u64,
    /// Bytes that they took.
    pub bytes: u64,
}

/// Figures at a time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Sample {
    /// Simulated seconds since the beginning.
    pub second: u64,
    /// The deviation by bytes, in percent.
    pub imbalance_disk: f64,
    /// The deviation by processor time, in percent.
    pub imbalance_load: f64,
    /// The highest percentage of a tier.
    pub disk_max: f64,
    /// The highest percentage of a node's processors.
    pub cpu_max: f64,
    /// Moves under way.
    pub moving: u64,
    /// Bytes moved so far.
    pub bytes_moved: u64,
}

impl Sample {
    /// The larger deviation.
    #[must_use]
    pub const fn imbalance(&self) -> f64 {
        self.imbalance_disk.max(self.imbalance_load)
    }
}
