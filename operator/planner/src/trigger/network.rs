//! NetworkOptimization: a shard most of whose clients are far from its leader is led from nearer to them, or one of its
//! members goes there.

use std::time::Duration;

use crate::{
    Change, Effect, Figure, FleetState, Priority, Proposal, Reason, Refusal, Zone,
    admission::{self, Candidate},
    fleet::{Node, Replica, Role, Shard},
    ledger::Ledger,
    plan::Findings,
    view::View,
};

/// Fewer requests a second than this are not worth a move.
const LEAST_OPERATIONS: f64 = 1.0;
/// Nodes that the leader's member is tried on, the nearest first.
const TARGETS_TRIED: usize = 16;

/// A shard whose leader is too far from its clients.
pub(super) struct Far<'a> {
    leader: &'a Replica,
    zone: &'a Zone,
    latency: Duration,
}

pub(super) fn find(view: &View<'_>, ledger: &mut Ledger) -> Findings {
    let mut findings = Findings::default();
    for shard in view.fleet.shards() {
        let Some(far) = is_far(view, shard) else {
            continue;
        };
        match bring_nearer(view, ledger, shard, &far) {
            Ok(proposal) => findings.proposals.push(proposal),
            Err(refusal) => {
                let spent = matches!(refusal, Refusal::ClusterBudget { .. });
                findings.refusals.add(refusal);
                if spent {
                    break;
                }
            }
        }
    }
    findings
}

/// The zone that more than half of a shard's requests come from.
pub(crate) fn majority_zone<'a>(fleet: &'a FleetState, shard: &'a Shard) -> Option<&'a Zone> {
    let clients = match shard.clients.is_empty() {
        false => &shard.clients,
        true => &fleet.node(shard.leader()?.node)?.clients,
    };
    let all: f64 = clients.values().sum();
    clients.iter().find(|(_, rate)| **rate * 2.0 > all).map(|(zone, _)| zone)
}

/// Whether a shard's leader is too far from its clients.
pub(super) fn is_far<'a>(view: &View<'a>, shard: &'a Shard) -> Option<Far<'a>> {
    if shard.operations() < LEAST_OPERATIONS {
        return None;
    }
    let leader = shard.leader()?;
    let node = view.fleet.node(leader.node)?;
    if node.latency.is_empty() {
        return None;
    }
    let zone = majority_zone(view.fleet, shard)?;
    let latency = node.latency_to(zone)?;
    (latency > view.policies.of(&shard.pool).triggers.cross_zone_latency).then_some(Far { leader, zone, latency })
}

fn bring_nearer(view: &View<'_>, ledger: &mut Ledger, shard: &Shard, far: &Far<'_>) -> Result<Proposal, Refusal> {
    admission::shard_is_free(view, ledger, shard, Priority::Normal, Reason::NetworkOptimization)?;
    let enough = far.latency.div_f64(view.policies.of(&shard.pool).hysteresis);
    // Whoever is not at least so much nearer is not worth it.
    let nearer = |node: &Node| node.latency_to(far.zone).filter(|latency| *latency <= enough);
    let mut refusal = Refusal::NoTarget { shard: shard.id, because: None };
    let mut changes = Vec::new();
    for other in shard.members(Role::Data).filter(|other| !other.leader) {
        let latency = view.fleet.node(other.node).and_then(nearer);
        let change = Change::TransferLeader { shard: shard.id, from: far.leader.node, to: other.node };
        changes.extend(latency.map(|latency| (latency, change)));
    }
    changes.sort();
    let mut moves: Vec<(Duration, f64, Change)> = Vec::new();
    let pool = view.pool_of_shard(shard);
    ledger.work += view.staying[pool].len() as u64;
    for place in view.staying[pool].iter().copied() {
        let node = &view.fleet.nodes()[place];
        if let (Some(latency), None) = (nearer(node), shard.replica_on(node.id)) {
            let Replica { id, node: from, role, .. } = *far.leader;
            let change = Change::MoveReplica { shard: shard.id, replica: id, role, from, to: node.id, exchange: None };
            moves.push((latency, ledger.fullness(view, place), change));
        }
    }
    moves.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)).then(a.2.cmp(&b.2)));
    changes.extend(moves.into_iter().take(TARGETS_TRIED).map(|(latency, _, change)| (latency, change)));
    for (latency, change) in changes {
        let millis = |latency: Duration| latency.as_secs_f64() * 1_000.0;
        let effect =
            Effect { figure: Figure::LatencyMillis, node: None, before: millis(far.latency), after: millis(latency) };
        let candidate = Candidate::new(change, Priority::Normal, Reason::NetworkOptimization).with(effect);
        match admission::admit(view, ledger, candidate) {
            Ok(proposal) => return Ok(proposal),
            Err(error) => refusal = error,
        }
    }
    Err(refusal)
}
