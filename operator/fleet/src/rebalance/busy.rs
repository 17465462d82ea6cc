//! Since when shards have been so busy that they may be split: nodes tell how busy a shard is, not for how long.

use std::collections::BTreeMap;

use thermocline_planner::fleet::Shard;
use thermocline_planner::policy::Policies;
use thermocline_planner::{Moment, ShardId};

/// The shards that are busy now, and since when.
#[derive(Debug, Clone, Default)]
pub struct BusyShards(BTreeMap<ShardId, Moment>);

impl BusyShards {
    /// Takes in how busy the shards are now. What is not told of is forgotten.
    pub fn observe(&mut self, shards: &[Shard], policies: &Policies, now: Moment) {
        let busy = shards.iter().filter(|shard| policies.of(&shard.pool).shard_sizes.is_busy(shard));
        self.0 = busy.map(|shard| (shard.id, self.0.get(&shard.id).copied().unwrap_or(now))).collect();
    }

    /// Says of each shard since when it has been.
    pub fn tell(&self, shards: &mut [Shard]) {
        for shard in shards {
            shard.load.busy_since = self.0.get(&shard.id).copied();
        }
    }
}
