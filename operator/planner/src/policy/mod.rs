//! What is wished of a pool: already validated; the types of the API are somebody else's.

mod abilities;
mod budget;
pub mod defaults;
mod shard_sizes;
mod triggers;
mod window;

use std::{collections::BTreeMap, time::Duration};

pub use abilities::Abilities;
pub use budget::Budget;
pub use shard_sizes::ShardSizes;
pub use triggers::Triggers;
pub use window::{Days, Window};

use crate::{Moment, PoolName};

/// Who says that a move begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// The planner.
    Auto,
    /// A person, for each move but those that restore lost copies or empty a node, and splits: what a pool without a policy has.
    #[default]
    Propose,
    /// Nobody: nothing is planned but what restores lost copies or empties a node, and splits.
    Paused,
}

/// How many members a shard has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replication {
    /// Data replicas, at least one.
    pub data: u32,
    /// Whether there is a witness beside them.
    pub witness: bool,
}

impl Replication {
    /// Voters of a shard, each on a node of its own.
    #[must_use]
    pub const fn voters(self) -> u32 {
        self.data + self.witness as u32
    }
}

impl Default for Replication {
    fn default() -> Self {
        Self { data: defaults::DATA_REPLICAS, witness: defaults::WITNESS }
    }
}

/// What is wished of a pool.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// Who says that a move begins.
    pub mode: Mode,
    /// When something is done.
    pub triggers: Triggers,
    /// At least 1. What was begun over a threshold goes on down to the threshold divided by it, and a move may turn the
    /// gap between two nodes around by at most the gap divided by it.
    pub hysteresis: f64,
    /// A shard stays as it is for so long after a move.
    pub min_residency: Duration,
    /// After a move because of load, a node takes part in none for so long: its figures must have been measured again.
    pub cooldown: Duration,
    /// Moves of one shard in a day, but for those that are for safety.
    pub moves_per_shard: u32,
    /// What moves may use.
    pub budget: Budget,
    /// When moves that can wait may begin, in UTC; always where there are none.
    pub windows: Vec<Window>,
    /// How many members a shard has.
    pub replication: Replication,
    /// When shards are split and merged.
    pub shard_sizes: ShardSizes,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            mode: Mode::default(),
            triggers: Triggers::default(),
            hysteresis: defaults::HYSTERESIS,
            min_residency: defaults::MIN_RESIDENCY,
            cooldown: defaults::COOLDOWN,
            moves_per_shard: defaults::MOVES_PER_SHARD,
            budget: Budget::default(),
            windows: Vec::new(),
            replication: Replication::default(),
            shard_sizes: ShardSizes::default(),
        }
    }
}

impl Policy {
    /// Whether moves that can wait may begin now.
    #[must_use]
    pub fn window_is_open(&self, now: Moment) -> bool {
        self.windows.is_empty() || self.windows.iter().any(|window| window.contains(now))
    }
}

/// The policies of all pools.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Policies {
    /// Of the pools that have one.
    pub by_pool: BTreeMap<PoolName, Policy>,
    /// Of all others.
    pub fallback: Policy,
    /// What can be carried out.
    pub abilities: Abilities,
}

impl Policies {
    /// One policy for every pool.
    #[must_use]
    pub fn all(policy: Policy) -> Self {
        Self { by_pool: BTreeMap::new(), fallback: policy, abilities: Abilities::default() }
    }

    /// The policy of a pool.
    #[must_use]
    pub fn of(&self, pool: &PoolName) -> &Policy {
        self.by_pool.get(pool).unwrap_or(&self.fallback)
    }
}
