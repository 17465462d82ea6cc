//! Small fleets for tests.

use std::collections::BTreeMap;

use crate::{
    Epoch, FleetParts, FleetState, HealthSignals, LogId, Moment, NodeId, Policies, Policy, PoolName, ReplicaId,
    ShardId, TierRank, Zone,
    fleet::{Availability, Node, NodeLoad, Replica, Role, Shard, ShardLoad, ShardTimes, Tier},
    policy::Mode,
};

pub(crate) const GIB: u64 = 1 << 30;
/// A Monday at noon, long after everything began.
pub(crate) const NOW: Moment = Moment(1_767_614_400_000);

pub(crate) fn pool() -> PoolName {
    "main".into()
}

/// A live node with 100 GiB in a zone of its own, 10 cores, nothing used.
pub(crate) fn node(id: u64) -> Node {
    Node {
        id: NodeId(id),
        name: format!("main-{id}"),
        zone: Zone::from(format!("zone-{id}").as_str()),
        pool: pool(),
        availability: Availability::Live,
        tiers: vec![tier(0, 100 * GIB)],
        load: NodeLoad {
            cpu_cores: 10.0,
            cpu_used: 0.0,
            memory: 64 * GIB,
            memory_used: 8 * GIB,
            io_busy: 0.0,
            bandwidth: 1 << 30,
            network_used: 0,
        },
        signals: HealthSignals::default(),
        latency: BTreeMap::new(),
        clients: BTreeMap::new(),
    }
}

pub(crate) fn tier(rank: u16, capacity: u64) -> Tier {
    Tier {
        name: format!("tier-{rank}").as_str().into(),
        rank: TierRank(rank),
        capacity,
        used: 0,
        low_percent: 75.0,
        high_percent: 85.0,
        degraded: false,
    }
}

/// A shard of one GiB and 100 reads a second that take 0.1 cores; its first node leads, the last one has the witness.
pub(crate) fn shard(id: u64, nodes: &[u64]) -> Shard {
    let last = nodes.len() - 1;
    let role = |number: usize| if number == last && last >= 2 { Role::Witness } else { Role::Data };
    Shard {
        id: ShardId(id),
        pool: pool(),
        start: id.to_be_bytes().to_vec(),
        end: Some((id + 1).to_be_bytes().to_vec()),
        epoch: Epoch(1),
        membership: LogId { term: 1, index: 1 },
        bytes: vec![(TierRank(0), GIB)],
        keys: 1_000_000,
        load: ShardLoad { reads: 100.0, cpu: 0.1, ..ShardLoad::default() },
        split_keys: Vec::new(),
        times: ShardTimes::default(),
        clients: BTreeMap::new(),
        replicas: nodes.iter().enumerate().map(|(number, node)| replica(id, number, *node, role(number))).collect(),
    }
}

pub(crate) fn replica(shard: u64, number: usize, node: u64, role: Role) -> Replica {
    Replica {
        id: ReplicaId(shard * 10 + number as u64),
        node: NodeId(node),
        role,
        leader: number == 0,
        lag: 0,
        needs_snapshot: false,
        healthy: true,
    }
}

/// A fleet whose nodes are as full and as busy as their shards make them.
pub(crate) fn fleet(nodes: Vec<Node>, shards: Vec<Shard>) -> FleetParts {
    let mut parts = FleetParts { nodes, shards, ..FleetParts::default() };
    settle(&mut parts);
    parts
}

/// Measures the nodes again: what their shards store and take.
pub(crate) fn settle(parts: &mut FleetParts) {
    let places: BTreeMap<NodeId, usize> =
        parts.nodes.iter().enumerate().map(|(place, node)| (node.id, place)).collect();
    for node in &mut parts.nodes {
        node.load.cpu_used = 0.0;
        node.tiers.iter_mut().for_each(|tier| tier.used = 0);
    }
    for (shard, replica) in parts.shards.iter().flat_map(|shard| shard.replicas.iter().map(move |it| (shard, it))) {
        let Some(node) = places.get(&replica.node).map(|place| &mut parts.nodes[*place]) else {
            continue;
        };
        node.load.cpu_used += shard.cpu_at(replica.role, replica.leader);
        for (rank, bytes) in shard.bytes.iter().filter(|_| replica.role != Role::Witness) {
            if let Some(tier) = node.tiers.iter_mut().find(|tier| tier.rank >= *rank) {
                tier.used += bytes;
            }
        }
    }
}

pub(crate) fn state(parts: FleetParts) -> FleetState {
    FleetState::new(parts).unwrap()
}

/// The default policy, but that it acts.
pub(crate) fn auto() -> Policies {
    Policies::all(policy())
}

pub(crate) fn policy() -> Policy {
    Policy { mode: Mode::Auto, ..Policy::default() }
}

/// As [`auto`], but that no balance is wanted: what other triggers do is to be seen.
pub(crate) fn unbalanced() -> Policies {
    let mut policy = policy();
    policy.triggers.imbalance_percent = 1_000.0;
    Policies::all(policy)
}
