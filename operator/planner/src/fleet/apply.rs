//! A change as if it were done: for simulations and tests. It uses the figures that the planner forecasts with.

use super::{FleetParts, FleetState, Replica, Role, Shard, ShardLoad};
use crate::{
    Change, Epoch, LogId, Moment, NodeId, Policies, ReplicaId, ShardId, TierRank,
    ledger::{Ledger, Resource},
    view::View,
};

impl FleetState {
    /// The fleet once `change` is done, with no trace of it among open and ended moves. What is new of it, a member or
    /// the right half of a split, gets the number `new`, or the one after it.
    ///
    /// # Errors
    /// Where the outcome contradicts itself: `new` is taken, or the change was not one for this fleet.
    pub fn after(self, change: &Change, new: u64, policies: &Policies, now: Moment) -> Result<Self, super::FleetError> {
        let view = View::new(&self, policies, now);
        let mut ledger = Ledger::new(&view, |_| false);
        ledger.apply(&view, change);
        let figures: Vec<(Vec<u64>, f64, f64)> = (0..self.nodes().len())
            .map(|place| {
                let tiers = (0..self.nodes()[place].tiers.len()).map(|tier| ledger.tier_used(place, tier)).collect();
                let cpu = ledger.share(&view, place, Resource::Load) * self.nodes()[place].load.cpu_cores;
                (tiers, cpu, ledger.share(&view, place, Resource::Io))
            })
            .collect();
        let mut parts = self.into_parts();
        for (node, (tiers, cpu, io)) in parts.nodes.iter_mut().zip(figures) {
            for (tier, used) in node.tiers.iter_mut().zip(tiers) {
                tier.used = used;
            }
            node.load.cpu_used = cpu;
            node.load.io_busy = io;
        }
        parts.change(change, new, now);
        Self::new(parts)
    }
}

impl FleetParts {
    /// A shard; `None` where the parts are not in order or do not have it.
    fn shard_mut(&mut self, id: ShardId) -> Option<&mut Shard> {
        let place = self.shards.binary_search_by_key(&id, |shard| shard.id).ok()?;
        Some(&mut self.shards[place])
    }

    /// Does to members, leaders and ranges what a change does, of parts in the order of a [`FleetState`]; figures of nodes
    /// stay. What is new, a member or a shard, gets the number `new`, which must be the largest, and the one after it.
    pub fn change(&mut self, change: &Change, new: u64, now: Moment) {
        let Some(shard) = self.shard_mut(change.shard()) else {
            return;
        };
        match change {
            Change::MoveReplica { replica, from, to, role, exchange, .. } => {
                let leader = shard.replicas.iter().any(|member| member.id == *replica && member.leader);
                shard.replicas.retain(|member| member.id != *replica && Some(member.id) != *exchange);
                shard.replicas.push(member(new, *to, *role, leader));
                if exchange.is_some() {
                    shard.replicas.push(member(new + 1, *from, Role::Witness, false));
                }
                moved(shard, now);
            }
            Change::AddReplica { to, role, .. } => {
                shard.replicas.push(member(new, *to, *role, false));
                moved(shard, now);
            }
            Change::RemoveReplica { replica, .. } => {
                shard.replicas.retain(|member| member.id != *replica);
                moved(shard, now);
            }
            Change::TransferLeader { to, .. } => {
                for member in &mut shard.replicas {
                    member.leader = member.node == *to;
                }
                shard.times.last_move = Some(now);
            }
            Change::ChangeTier { from_tier, to_tier, bytes, .. } => {
                change_tier(shard, *from_tier, *to_tier, *bytes);
                shard.times.last_move = Some(now);
            }
            Change::SplitShard { at, .. } => {
                let right = split(shard, at, new, now);
                self.shards.push(right);
            }
            Change::MergeShards { right, .. } => {
                let Ok(place) = self.shards.binary_search_by_key(right, |shard| shard.id) else {
                    return;
                };
                let right = self.shards.remove(place);
                if let Some(left) = self.shard_mut(change.shard()) {
                    merge(left, right, now);
                }
            }
        }
    }
}

const fn member(id: u64, node: NodeId, role: Role, leader: bool) -> Replica {
    Replica { id: ReplicaId(id), node, role, leader, lag: 0, needs_snapshot: false, healthy: true }
}

fn moved(shard: &mut Shard, now: Moment) {
    shard.membership = LogId { term: shard.membership.term, index: shard.membership.index + 1 };
    shard.times.last_move = Some(now);
}

fn change_tier(shard: &mut Shard, from: TierRank, to: TierRank, bytes: u64) {
    let at = |shard: &Shard, rank| shard.bytes.iter().position(|(tier, _)| *tier == rank);
    let Some(source) = at(shard, from) else {
        return;
    };
    let bytes = bytes.min(shard.bytes[source].1);
    shard.bytes[source].1 -= bytes;
    shard.load.cold_keys = 0;
    match at(shard, to) {
        Some(target) => shard.bytes[target].1 += bytes,
        None => shard.bytes.push((to, bytes)),
    }
}

fn split(shard: &mut Shard, at: &[u8], new: u64, now: Moment) -> Shard {
    let found = shard.split_keys.iter().find(|key| key.key == at);
    let (load_left, bytes_left) = found.map_or((0.5, 0.5), |key| (key.load_left, key.bytes_left));
    let mut right = shard.clone();
    right.id = ShardId(new);
    right.start = at.to_vec();
    shard.end = Some(at.to_vec());
    for (half, load, bytes) in [(shard, load_left, bytes_left), (&mut right, 1.0 - load_left, 1.0 - bytes_left)] {
        let ShardLoad { reads, writes, cpu, hot_keys, cold_keys, .. } = half.load;
        let part = |count: u64, share: f64| (count as f64 * share) as u64;
        half.load = ShardLoad {
            reads: reads * load,
            writes: writes * load,
            cpu: cpu * load,
            hot_keys: part(hot_keys, load),
            cold_keys: part(cold_keys, bytes),
            busy_since: None,
        };
        half.bytes.iter_mut().for_each(|(_, size)| *size = part(*size, bytes));
        half.keys = part(half.keys, bytes);
        half.split_keys.clear();
        half.epoch = Epoch(half.epoch.0 + 1);
        half.times.last_split = Some(now);
    }
    right
}

fn merge(left: &mut Shard, right: Shard, now: Moment) {
    left.end = right.end;
    left.epoch = Epoch(left.epoch.0.max(right.epoch.0) + 1);
    for (rank, bytes) in right.bytes {
        match left.bytes.iter_mut().find(|(tier, _)| *tier == rank) {
            Some((_, sum)) => *sum += bytes,
            None => left.bytes.push((rank, bytes)),
        }
    }
    left.keys += right.keys;
    left.load.reads += right.load.reads;
    left.load.writes += right.load.writes;
    left.load.cpu += right.load.cpu;
    left.load.hot_keys += right.load.hot_keys;
    left.load.cold_keys += right.load.cold_keys;
    left.split_keys.clear();
    left.times.last_merge = Some(now);
}
