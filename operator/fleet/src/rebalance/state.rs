//! The fleet as the planner sees it, from what the nodes say.
//!
//! A node is silent since somebody last heard of it, the fleet on its status stream or another node: one that only the fleet
//! does not hear is not lost. What a silent node said last counts for what it holds.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use thermocline_planner::fleet::{
    Availability, FleetParts, MoveRecord, Node, NodeLoad, OpenMove, OpenPhase, Replica, Role, Shard, ShardLoad,
    ShardTimes, SplitKey, Tier,
};
use thermocline_planner::policy::defaults::NODE_LOST_AFTER;
use thermocline_planner::{
    Change, Epoch, HealthSignals, LogId, Moment, NodeId, Priority, Reason, ReplicaId, ShardId, TierRank, Zone,
};
use thermocline_proto::v1;

use crate::desired::Desired;

/// Silent for less, a node is there: it says something every 5 s.
const FRESH: Duration = Duration::from_secs(7);
/// Ten gigabits: what a network carries is not measured yet.
const BANDWIDTH: u64 = 1_250_000_000;

/// What is known of a node.
#[derive(Debug, Clone)]
pub struct Heard {
    /// Its name; of one that the fleet itself has never heard, its number.
    pub name: String,
    /// What it said last.
    pub status: v1::NodeStatus,
    /// How long ago the fleet heard it.
    pub ago: Duration,
    /// When it was last silent for a while: how long ago that began, and ended.
    pub away: Option<(Duration, Duration)>,
}

impl Heard {
    /// Whether it was heard a moment ago: what it said is so now.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        self.ago < FRESH
    }
}

/// The moves between nodes that there are objects of.
#[derive(Debug, Clone, Default)]
pub struct Moves {
    /// Those that are open, at most one a shard.
    pub open: Vec<OpenMove>,
    /// Those that have ended, with the numbers of their jobs.
    pub ended: Vec<(u64, MoveRecord)>,
}

/// What is known of all nodes, by their numbers; also of those that are silent now. One that lost its disks is another node
/// under the same name.
pub type Known = BTreeMap<u64, Heard>;

/// Nodes that have members of shards, as their leaders say, and that nobody knows anything else of: a fleet that has just begun
/// has not heard one that is gone.
#[must_use]
pub fn strangers(known: &Known) -> BTreeSet<u64> {
    let shards = known.values().flat_map(|heard| &heard.status.shards).filter(|shard| shard.leads);
    let members = shards.flat_map(|shard| &shard.members).map(|member| member.node);
    members.filter(|node| !known.contains_key(node)).collect()
}

/// What the node that leads a shard says of it, as far as it was heard a moment ago.
#[must_use]
pub fn led(known: &Known, shard: u64) -> Option<&v1::ShardStatus> {
    let told = known.values().filter(|heard| heard.is_fresh()).flat_map(|heard| &heard.status.shards);
    told.filter(|told| told.shard == shard && told.leads).max_by_key(|told| told.term)
}

/// The number of a node, by its name: of several that had it the one that was heard last.
#[must_use]
pub fn named(known: &Known, name: &str) -> Option<u64> {
    let called = known.iter().filter(|(_, heard)| heard.name == name);
    let last = called.min_by_key(|(node, heard)| (heard.ago, std::cmp::Reverse(**node))).map(|(node, _)| *node);
    // One that nobody has heard.
    last.or_else(|| name.strip_prefix("unknown-")?.parse().ok().filter(|node| known.contains_key(node)))
}

/// How long nobody has heard a node, neither the fleet nor another node.
fn silent_for(heard: &Heard, known: &Known) -> Duration {
    let others = known.values().filter(|other| other.status.node_id != heard.status.node_id);
    let peers = others.filter_map(|other| {
        let trip = other.status.round_trips.iter().find(|trip| trip.node == heard.status.node_id)?;
        Some(Duration::from_millis(trip.heard_ms_ago) + other.ago)
    });
    let away = peers.chain([heard.ago]).min().unwrap_or(heard.ago);
    // What went away together comes back one by one: the last one is waited for anew from when another one is back.
    let others = known.values().filter(|other| other.status.node_id != heard.status.node_id);
    let together = others.filter_map(|other| other.away).filter(|(gone, _)| gone.abs_diff(away) < NODE_LOST_AFTER);
    together.map(|(_, back)| back).chain([away]).min().unwrap_or(away)
}

/// Whether a node that spoke, and spoke again so much later, was away meanwhile.
#[must_use]
pub fn was_away(between: Duration) -> bool {
    between >= FRESH
}

/// Whether nothing is to be expected of a node any more: it was silent for as long as the planner waits before it replaces what
/// was there, or another one, whose disks are new, has its name.
#[must_use]
pub fn is_lost(known: &Known, node: u64) -> bool {
    known.get(&node).is_some_and(|heard| {
        let is_away = silent_for(heard, known) >= NODE_LOST_AFTER;
        is_away || (!heard.is_fresh() && named(known, &heard.name).is_some_and(|now| now != node))
    })
}

/// Whether a node has nothing any more that it would have to give away: it says so itself now, and so do the leaders.
#[must_use]
pub fn is_empty(known: &Known, name: &str) -> bool {
    let Some((number, heard)) = named(known, name).and_then(|number| Some((number, known.get(&number)?))) else {
        return false;
    };
    let led = known.values().flat_map(|heard| &heard.status.shards).filter(|shard| shard.leads);
    let is_member = led.flat_map(|shard| &shard.members).any(|member| member.node == number);
    heard.is_fresh() && heard.status.shards.is_empty() && !is_member
}

/// What the planner judges.
#[must_use]
pub fn fleet_parts(desired: &Desired, known: &Known, moves: &Moves, now: Moment) -> FleetParts {
    // One that nothing asks for any more may still hold data, and so may one that only others know.
    let some_pool = desired.nodes.values().find(|node| node.replication.is_some()).map(|node| node.pool.as_str());
    let pool_of = |heard: &Heard| {
        let of_name = crate::desired::pool_of(&heard.name).or(some_pool);
        of_name.unwrap_or_default().to_owned()
    };
    let leaves = |heard: &Heard| desired.nodes.get(&heard.name).is_some_and(|node| node.leaving.is_some());
    let nodes = known.values().map(|heard| {
        let mut node = node(&pool_of(heard), heard, known, now);
        if node.availability == Availability::Live && leaves(heard) {
            node.availability = Availability::Draining { cancelled: false };
        }
        node
    });
    let nodes: Vec<Node> = nodes.collect();
    let mut shards: BTreeMap<u64, (&v1::ShardStatus, &Heard)> = BTreeMap::new();
    for heard in known.values() {
        for told in &heard.status.shards {
            // A leader knows best; of two the later one. One that was silent for long leads nothing.
            let rank = |of: &v1::ShardStatus| (of.leads, of.term, of.applied);
            if shards.get(&told.shard).is_none_or(|(best, _)| rank(best) < rank(told)) && !told.members.is_empty() {
                shards.insert(told.shard, (told, heard));
            }
        }
    }
    let mut parts = FleetParts { nodes, ..FleetParts::default() };
    for (told, by) in without_absorbed(shards.into_values().collect()) {
        let shard = shard(told, &pool_of(by), by, known);
        // A node of which nothing at all is known leaves the planner nothing to judge by.
        if shard.replicas.iter().all(|replica| parts.nodes.iter().any(|node| node.id == replica.node)) {
            // Of what has begun and has an object, the object knows more; a job of nobody's holds up what waits for its shard.
            let runs = |open: &OpenMove| open.change.shard() == shard.id && open.phase == OpenPhase::Running;
            let foreign = told.job.as_ref().filter(|_| !moves.open.iter().any(runs));
            if let Some(job) = foreign {
                parts.open.push(open_move(told, job));
            }
            let own = |job: &&v1::ShardJob| !moves.ended.iter().any(|(known, _)| *known == job.job);
            parts.history.extend(told.ended.iter().filter(own).map(|job| ended(told, job)));
            parts.shards.push(shard);
        }
    }
    // What leaders carry out first: a merge holds both of its shards.
    parts.open.extend(moves.open.iter().cloned());
    parts.open = one_a_shard(parts.open);
    parts.history.extend(moves.ended.iter().map(|(_, ended)| ended.clone()));
    for (_, record) in &moves.ended {
        if let Some(shard) = parts.shards.iter_mut().find(|shard| shard.id == record.change.shard()) {
            let last = match record.change {
                Change::SplitShard { .. } => &mut shard.times.last_split,
                Change::MergeShards { .. } => &mut shard.times.last_merge,
                _ => &mut shard.times.last_move,
            };
            *last = (*last).max(Some(record.ended));
        }
    }
    parts
}

/// Without those that have a shard in common with one before them.
pub fn one_a_shard(open: Vec<OpenMove>) -> Vec<OpenMove> {
    let mut taken = BTreeSet::new();
    let mut free = |open: &OpenMove| {
        let is_free = open.change.shards().all(|shard| !taken.contains(&shard));
        if is_free {
            taken.extend(open.change.shards());
        }
        is_free
    };
    open.into_iter().filter(|open| free(open)).collect()
}

/// Without the shards that are parts of others now, of which a node that was away has not heard: of two that claim a key the one with
/// the newer epoch has it.
fn without_absorbed<'a>(mut shards: Vec<(&'a v1::ShardStatus, &'a Heard)>) -> Vec<(&'a v1::ShardStatus, &'a Heard)> {
    shards.sort_by(|(one, _), (other, _)| (&one.start, other.epoch).cmp(&(&other.start, one.epoch)));
    let mut kept: Vec<(&v1::ShardStatus, &Heard)> = Vec::new();
    for (told, by) in shards {
        let claims = |(last, _): &(&v1::ShardStatus, &Heard)| {
            let reaches = last.end.is_empty() || told.start < last.end;
            reaches && last.epoch > told.epoch
        };
        if !kept.last().is_some_and(claims) {
            kept.push((told, by));
        }
    }
    kept
}

fn running(change: Change) -> OpenMove {
    OpenMove { change, reason: Reason::Rebalance, priority: Priority::Normal, phase: OpenPhase::Running, bytes: 0 }
}

fn node(pool: &str, heard: &Heard, known: &Known, now: Moment) -> Node {
    let status = &heard.status;
    let since = now - silent_for(heard, known);
    let availability = if heard.ago < FRESH { Availability::Live } else { Availability::Silent { since } };
    let load = status.load.unwrap_or_default();
    let operations = status.operations.unwrap_or_default();
    let zones: BTreeMap<u64, &str> =
        known.values().map(|other| (other.status.node_id, other.status.zone.as_str())).collect();
    let mut latency: BTreeMap<Zone, Duration> = BTreeMap::new();
    for trip in &status.round_trips {
        let Some(zone) = zones.get(&trip.node).filter(|zone| **zone != status.zone) else { continue };
        let trip = Duration::from_micros(trip.micros);
        let nearest = latency.entry((*zone).into()).or_insert(trip);
        *nearest = (*nearest).min(trip);
    }
    Node {
        id: NodeId(status.node_id),
        name: heard.name.clone(),
        zone: status.zone.as_str().into(),
        pool: pool.into(),
        availability,
        tiers: tiers(status),
        load: NodeLoad {
            cpu_cores: cores(&load),
            cpu_used: cpu_used(&load),
            memory: load.memory_limit_bytes.max(1),
            memory_used: load.memory_bytes,
            io_busy: finite(load.io_percent / 100.0).min(1.0),
            bandwidth: BANDWIDTH,
            network_used: 0,
        },
        signals: HealthSignals {
            failures: 0,
            response_time: Duration::from_nanos(operations.read_p99_nanos.max(operations.write_p99_nanos)),
            uptime: Duration::from_millis(status.uptime_ms),
        },
        latency,
        clients: BTreeMap::new(),
    }
}

/// What it may use; a node that has not said so is taken to have one.
fn cores(load: &v1::DeviceLoad) -> f64 {
    Some(finite(load.cpu_cores)).filter(|cores| *cores > 0.0).unwrap_or(1.0)
}

fn cpu_used(load: &v1::DeviceLoad) -> f64 {
    finite(load.cpu_percent / 100.0) * cores(load)
}

/// What a shard takes of its leader's processors: its share of the requests that the node answers. Nobody measures it.
fn cpu_of(told: &v1::ShardStatus, leader: &v1::NodeStatus) -> f64 {
    let operations = |of: &v1::ShardStatus| finite(of.reads_per_second) + finite(of.writes_per_second);
    let all: f64 = leader.shards.iter().filter(|shard| shard.leads).map(operations).sum();
    let used = leader.load.as_ref().map(cpu_used).unwrap_or_default();
    if all > 0.0 { used * operations(told) / all } else { 0.0 }
}

fn finite(figure: f64) -> f64 {
    if figure.is_finite() { figure.max(0.0) } else { 0.0 }
}

fn rank(rank: u32) -> TierRank {
    TierRank(u16::try_from(rank).unwrap_or(u16::MAX))
}

/// Its tiers; of a node that has said nothing one that is full, so that nothing is placed there.
fn tiers(status: &v1::NodeStatus) -> Vec<Tier> {
    if !status.tiers.is_empty() {
        return status.tiers.iter().map(tier).collect();
    }
    let (high_watermark, low_watermark) = (0.85, 0.75);
    let full =
        v1::TierStatus { capacity_bytes: 1, used_bytes: 1, high_watermark, low_watermark, ..v1::TierStatus::default() };
    vec![tier(&full)]
}

fn tier(tier: &v1::TierStatus) -> Tier {
    let high_percent = finite(tier.high_watermark * 100.0);
    Tier {
        name: tier.name.as_str().into(),
        rank: rank(tier.rank),
        capacity: tier.capacity_bytes.max(1),
        used: tier.used_bytes,
        low_percent: finite(tier.low_watermark * 100.0).min(high_percent),
        high_percent,
        degraded: false,
    }
}

fn shard(told: &v1::ShardStatus, pool: &str, by: &Heard, known: &Known) -> Shard {
    let member_status = |member: &v1::MemberStatus| {
        let on = known.get(&member.node)?;
        on.status.shards.iter().find(|shard| shard.replica == member.replica)
    };
    let replica = |member: &v1::MemberStatus| Replica {
        id: ReplicaId(member.replica),
        node: NodeId(member.node),
        role: match (member.witness, member.votes && !comes_beside(told, member)) {
            (true, true) => Role::Witness,
            (false, true) => Role::Data,
            (_, false) => Role::Learner,
        },
        leader: told.leads && member.replica == told.replica,
        lag: member.lag.unwrap_or_default(),
        needs_snapshot: false,
        healthy: member_status(member).is_some_and(|status| status.failure.is_empty()),
    };
    let ranks: BTreeMap<&str, u32> =
        known.values().flat_map(|heard| &heard.status.tiers).map(|tier| (tier.name.as_str(), tier.rank)).collect();
    let bytes = told.bytes.iter().filter_map(|of| Some((rank(*ranks.get(of.tier.as_str())?), of.bytes)));
    let moves = told.ended.iter().filter(|job| job.kind != "MergeShards");
    let last_move = moves.map(|job| Moment(job.ended_at_ms)).max();
    Shard {
        id: ShardId(told.shard),
        pool: pool.into(),
        start: told.start.to_vec(),
        end: (!told.end.is_empty()).then(|| told.end.to_vec()),
        epoch: Epoch(told.epoch),
        membership: LogId { term: told.term, index: told.members_changed_at },
        bytes: bytes.collect(),
        keys: told.records,
        load: ShardLoad {
            reads: finite(told.reads_per_second),
            writes: finite(told.writes_per_second),
            cpu: cpu_of(told, &by.status),
            ..ShardLoad::default()
        },
        split_keys: told.split_keys.iter().map(split_key).collect(),
        times: ShardTimes { last_move, ..ShardTimes::default() },
        clients: BTreeMap::new(),
        replicas: told.members.iter().map(replica).collect(),
    }
}

/// Whether a member comes to where another one goes from: while the members change, both vote, and the old one counts.
fn comes_beside(told: &v1::ShardStatus, member: &v1::MemberStatus) -> bool {
    let elder = |other: &v1::MemberStatus| other.node == member.node && other.votes && other.replica < member.replica;
    told.members.iter().any(elder)
}

fn split_key(of: &v1::SplitKey) -> SplitKey {
    SplitKey { key: of.key.to_vec(), load_left: finite(of.load_left), bytes_left: finite(of.bytes_left) }
}

fn change(told: &v1::ShardStatus, job: &v1::ShardJob) -> Change {
    let shard = ShardId(told.shard);
    let role = if job.witness { Role::Witness } else { Role::Data };
    let (replica, from, to) = (ReplicaId(job.leaving), NodeId(job.from), NodeId(job.to));
    match job.kind.as_str() {
        "AddReplica" => Change::AddReplica { shard, role, to },
        "RemoveReplica" => Change::RemoveReplica { shard, replica, role, from },
        "MergeShards" => Change::MergeShards { left: shard, right: ShardId(job.right) },
        _ => {
            let exchange = Some(ReplicaId(job.leaving_witness)).filter(|witness| witness.0 != 0);
            Change::MoveReplica { shard, replica, role, from, to, exchange }
        }
    }
}

fn open_move(told: &v1::ShardStatus, job: &v1::ShardJob) -> OpenMove {
    let bytes = told.bytes.iter().map(|of| of.bytes).sum();
    OpenMove { bytes, ..running(change(told, job)) }
}

fn ended(told: &v1::ShardStatus, job: &v1::ShardJob) -> MoveRecord {
    MoveRecord {
        ended: Moment(job.ended_at_ms),
        change: change(told, job),
        // Why is not written into the shard's log; of what is over only when counts.
        reason: Reason::Rebalance,
        bytes: told.bytes.iter().map(|of| of.bytes).sum(),
        completed: job.outcome == "Done",
    }
}

#[cfg(test)]
#[path = "state_test.rs"]
mod tests;
