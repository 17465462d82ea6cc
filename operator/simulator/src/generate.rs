//! A fleet from a scenario.

use std::collections::BTreeMap;

use rand::{RngExt, SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use thermocline_planner::{
    Epoch, FleetParts, HealthSignals, LogId, NodeId, PoolName, ReplicaId, ShardId, TierRank,
    fleet::{Availability, Node, NodeLoad, Replica, Role, Shard, ShardLoad, ShardTimes, Tier},
    policy::Replication,
};

use crate::{Placement, Scenario, ShardGroup, TierShape};

/// Bytes of a record, for counts of keys.
const RECORD: u64 = 1 << 10;
/// Watermarks of all tiers, in percent: the defaults of the API.
const WATERMARKS: (f64, f64) = (75.0, 85.0);

/// The nodes, those that come later too, in the order of their ids, which begin with 1.
pub(crate) fn nodes(scenario: &Scenario) -> Vec<Node> {
    let groups = scenario.nodes.iter().flat_map(|group| (0..group.count).map(move |number| (group, number)));
    let nodes = groups.zip(1..).map(|((group, number), id)| Node {
        id: NodeId(id),
        name: format!("node-{id}"),
        zone: group.zones[number as usize % group.zones.len()].as_str().into(),
        pool: pool(),
        availability: Availability::Live,
        tiers: group.tiers.iter().map(tier).collect(),
        load: NodeLoad {
            cpu_cores: group.cores,
            cpu_used: 0.0,
            memory: 64 << 30,
            memory_used: 16 << 30,
            io_busy: 0.0,
            bandwidth: group.bandwidth,
            network_used: 0,
        },
        signals: HealthSignals::default(),
        latency: BTreeMap::new(),
        clients: BTreeMap::new(),
    });
    nodes.collect()
}

pub(crate) fn pool() -> PoolName {
    "simulated".into()
}

fn tier(shape: &TierShape) -> Tier {
    Tier {
        name: shape.name.as_str().into(),
        rank: TierRank(shape.rank),
        capacity: shape.size,
        used: 0,
        low_percent: WATERMARKS.0,
        high_percent: WATERMARKS.1,
        degraded: false,
    }
}

/// Nodes and shards as they are in the beginning.
pub(crate) fn fleet(scenario: &Scenario) -> FleetParts {
    let mut random = ChaCha8Rng::seed_from_u64(scenario.seed);
    let all = nodes(scenario);
    let joins = scenario.nodes.iter().flat_map(|group| (0..group.count).map(move |_| group.joins_at.is_some()));
    let nodes: Vec<Node> = all.into_iter().zip(joins).filter(|(_, later)| !later).map(|(node, _)| node).collect();
    let ranks: Vec<TierRank> =
        nodes.first().map_or_else(Vec::new, |node| node.tiers.iter().map(|tier| tier.rank).collect());
    let total = scenario.shard_count();
    let mut shards = Vec::with_capacity(total as usize);
    for group in &scenario.shards {
        let mut weights: Vec<f64> = (1..=group.count).map(|number| (number as f64).powf(-group.skew)).collect();
        let sum: f64 = weights.iter().sum();
        weights.shuffle(&mut random);
        for weight in weights {
            let id = shards.len() as u64 + 1;
            let mut shard = drawn(group, &ranks, id, total, &mut random);
            let operations = group.operations * weight / sum;
            shard.load = load_of(group, &shard, operations);
            shard.replicas = members(group.placement, scenario.policy().replication, &nodes, id, &mut random);
            shards.push(shard);
        }
    }
    FleetParts { nodes, shards, ..FleetParts::default() }
}

/// What requests mean for a shard.
fn load_of(group: &ShardGroup, shard: &Shard, operations: f64) -> ShardLoad {
    ShardLoad {
        reads: operations * (1.0 - group.writes),
        writes: operations * group.writes,
        cpu: operations / 1_000.0 * group.cpu_per_thousand,
        hot_keys: 0,
        cold_keys: (shard.keys as f64 * group.cold) as u64,
        busy_since: None,
    }
}

fn drawn(group: &ShardGroup, ranks: &[TierRank], id: u64, total: u64, random: &mut ChaCha8Rng) -> Shard {
    let spread =
        if group.size_spread > 0.0 { random.random_range(-group.size_spread..=group.size_spread) } else { 0.0 };
    let size = ((group.size as f64 * (1.0 + spread)) as u64).max(1);
    let cold = if ranks.len() > 1 { (size as f64 * group.cold) as u64 } else { 0 };
    let mut bytes: Vec<(TierRank, u64)> = ranks.first().map(|rank| (*rank, size - cold)).into_iter().collect();
    bytes.extend(ranks.last().filter(|_| cold > 0).map(|rank| (*rank, cold)));
    Shard {
        id: ShardId(id),
        pool: pool(),
        start: id.to_be_bytes().to_vec(),
        end: (id < total).then(|| (id + 1).to_be_bytes().to_vec()),
        epoch: Epoch(1),
        membership: LogId { term: 1, index: 1 },
        bytes,
        keys: size / RECORD,
        load: ShardLoad::default(),
        split_keys: Vec::new(),
        times: ShardTimes::default(),
        clients: BTreeMap::new(),
        replicas: Vec::new(),
    }
}

fn members(
    placement: Placement,
    replication: Replication,
    nodes: &[Node],
    shard: u64,
    random: &mut ChaCha8Rng,
) -> Vec<Replica> {
    let wanted = match placement {
        Placement::FirstNode => 1,
        Placement::Spread => nodes.len().min(replication.voters() as usize),
    };
    let mut chosen: Vec<usize> = Vec::with_capacity(wanted);
    if placement == Placement::FirstNode {
        chosen.push(0);
    }
    // A zone each while there are zones; by chance among the nodes of it.
    let mut attempts = 0;
    while chosen.len() < wanted {
        let place = random.random_range(0..nodes.len());
        let same_zone = chosen.iter().any(|other| nodes[*other].zone == nodes[place].zone);
        attempts += 1;
        if !chosen.contains(&place) && (!same_zone || attempts > 8 * wanted) {
            chosen.push(place);
        }
    }
    let role = |number: usize| if number < replication.data as usize { Role::Data } else { Role::Witness };
    let member = |(number, place): (usize, usize)| Replica {
        id: ReplicaId(shard * 8 + number as u64),
        node: nodes[place].id,
        role: role(number),
        leader: number == 0,
        lag: 0,
        needs_snapshot: false,
        healthy: true,
    };
    chosen.into_iter().enumerate().map(member).collect()
}
