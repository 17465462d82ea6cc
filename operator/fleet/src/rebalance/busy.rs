//! Since when shards have been so busy that they may be split, or so idle that they may be merged: nodes tell how busy a shard is,
//! not for how long.

use std::collections::BTreeMap;

use thermocline_planner::fleet::Shard;
use thermocline_planner::policy::Policies;
use thermocline_planner::{Moment, ShardId};

/// The shards that are busy now, and since when; and when the others were last more than idle.
#[derive(Debug, Clone, Default)]
pub struct BusyShards {
    busy: BTreeMap<ShardId, Moment>,
    last_busy: BTreeMap<ShardId, Moment>,
}

impl BusyShards {
    /// Takes in how busy the shards are now. What is not told of is forgotten.
    pub fn observe(&mut self, shards: &[Shard], policies: &Policies, now: Moment) {
        let busy = shards.iter().filter(|shard| policies.of(&shard.pool).shard_sizes.is_busy(shard));
        self.busy = busy.map(|shard| (shard.id, self.busy.get(&shard.id).copied().unwrap_or(now))).collect();
        let last_busy = |shard: &Shard| {
            // The index of shards stays alone.
            let idle = shard.id != ShardId(0) && policies.of(&shard.pool).shard_sizes.is_idle(shard);
            // One that was not seen before may have been busy a moment ago.
            let last = self.last_busy.get(&shard.id).copied().filter(|_| idle).unwrap_or(now);
            (shard.id, last)
        };
        self.last_busy = shards.iter().map(last_busy).collect();
    }

    /// Says of each shard since when it has been.
    pub fn tell(&self, shards: &mut [Shard]) {
        for shard in shards {
            shard.load.busy_since = self.busy.get(&shard.id).copied();
            shard.times.last_busy = self.last_busy.get(&shard.id).copied();
        }
    }
}
