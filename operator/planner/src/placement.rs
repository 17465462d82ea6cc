//! Where a member may go, and where it is best.

use std::collections::BTreeSet;

use crate::{
    Change, HealthScore, NodeId, Refusal,
    fleet::{Role, Shard},
    ledger::{Ledger, Resource},
    view::View,
};

/// A member of a shard on its way to a node.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival<'a> {
    pub shard: &'a Shard,
    pub role: Role,
    /// The node it leaves, where it leaves one.
    pub leaving: Option<NodeId>,
    /// Whether the witness on the target goes the other way.
    pub exchange: bool,
    /// It cannot wait: a busy node is good enough.
    pub cannot_wait: bool,
}

/// Whether a node is there, stays, is well and of the shard's pool.
///
/// # Errors
/// With what it lacks.
pub(crate) fn ready(view: &View<'_>, place: usize, shard: &Shard) -> Result<(), Refusal> {
    let node = &view.fleet.nodes()[place];
    let not_ready = |why| Err(Refusal::TargetNotReady { node: node.id, why });
    if node.is_silent() {
        return not_ready("it is silent");
    }
    if node.is_draining() {
        return not_ready("it is being drained");
    }
    if node.pool != shard.pool {
        return not_ready("it is in another pool");
    }
    let points = view.points(place);
    if points < HealthScore::TARGET_FLOOR {
        return Err(Refusal::TargetUnhealthy { node: node.id, points });
    }
    Ok(())
}

/// Whether a member may go to a node.
///
/// # Errors
/// With what is against it.
pub(crate) fn admit(view: &View<'_>, ledger: &Ledger, place: usize, arrival: &Arrival<'_>) -> Result<(), Refusal> {
    let (shard, node) = (arrival.shard, &view.fleet.nodes()[place]);
    ready(view, place, shard)?;
    match shard.replica_on(node.id) {
        Some(replica) if arrival.exchange && replica.role == Role::Witness => {}
        Some(_) => return Err(Refusal::TwoMembers { shard: shard.id, node: node.id }),
        None => {}
    }
    let may_choose = arrival.leaving.is_some() && !arrival.exchange && !arrival.cannot_wait;
    if may_choose && fewer_zones(view, shard, arrival.leaving, node.id) {
        return Err(Refusal::FewerZones { shard: shard.id, node: node.id });
    }
    if arrival.role == Role::Witness {
        return Ok(());
    }
    if ledger.fit(view, place, shard).is_none() {
        return Err(Refusal::NoRoom { node: node.id, shard: shard.id });
    }
    if arrival.cannot_wait {
        return Ok(());
    }
    let leads = arrival.leaving.is_some_and(|from| shard.replica_on(from).is_some_and(|replica| replica.leader));
    under_triggers(view, ledger, place, shard.cpu_at(arrival.role, leads))
}

/// Whether a node that takes so many cores more stays under the triggers of load.
///
/// # Errors
/// With the figure that would be over.
pub(crate) fn under_triggers(view: &View<'_>, ledger: &Ledger, place: usize, cpu: f64) -> Result<(), Refusal> {
    let node = &view.fleet.nodes()[place];
    let triggers = &view.policy_of_node(place).triggers;
    let cpu_after = ledger.percent(view, place, Resource::Load) + cpu / node.load.cpu_cores * 100.0;
    let io_after = ledger.percent(view, place, Resource::Io);
    for (resource, percent, trigger) in
        [(Resource::Load, cpu_after, triggers.cpu_percent), (Resource::Io, io_after, triggers.io_percent)]
    {
        if percent > trigger {
            return Err(Refusal::WouldOverload { node: node.id, figure: resource.figure(), percent });
        }
    }
    Ok(())
}

/// Whether the voters of a shard would be in fewer zones with one on `to` instead of on `leaving`.
fn fewer_zones(view: &View<'_>, shard: &Shard, leaving: Option<NodeId>, to: NodeId) -> bool {
    let zone = |node| view.fleet.node(node).map(|node| &node.zone);
    let staying = || shard.replicas.iter().filter(|replica| replica.votes() && Some(replica.node) != leaving);
    let now: BTreeSet<_> =
        shard.replicas.iter().filter(|replica| replica.votes()).map(|replica| zone(replica.node)).collect();
    let then: BTreeSet<_> = staying().map(|replica| zone(replica.node)).chain([zone(to)]).collect();
    then.len() < now.len()
}

/// Members of the shard in a node's zone, without the one that leaves.
pub(crate) fn members_in_zone(view: &View<'_>, shard: &Shard, leaving: Option<NodeId>, place: usize) -> usize {
    let zone = &view.fleet.nodes()[place].zone;
    let in_zone = |node| view.fleet.node(node).is_some_and(|node| node.zone == *zone);
    shard.replicas.iter().filter(|replica| Some(replica.node) != leaving && in_zone(replica.node)).count()
}

/// The best node for a member: in a zone without one, then the least full, then by id.
///
/// # Errors
/// With what is against the most promising one.
pub(crate) fn choose(view: &View<'_>, ledger: &mut Ledger, arrival: &Arrival<'_>) -> Result<NodeId, Refusal> {
    let pool = view.pool_of_shard(arrival.shard);
    let limit = view.policies.of(&arrival.shard.pool).budget.moves_in;
    let mut places: Vec<(bool, usize, f64, usize)> = view.staying[pool]
        .iter()
        .map(|place| {
            let counts = ledger.counts(*place);
            let taken = if arrival.cannot_wait { counts.critical_in } else { counts.moves_in };
            let zone = members_in_zone(view, arrival.shard, arrival.leaving, *place);
            (taken >= limit, zone, ledger.fullness(view, *place), *place)
        })
        .collect();
    ledger.work += places.len() as u64;
    places.sort_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1)).then(a.2.total_cmp(&b.2)).then(a.3.cmp(&b.3)));
    let mut first = None;
    for (.., place) in places {
        match admit(view, ledger, place, arrival) {
            Ok(()) => return Ok(view.fleet.nodes()[place].id),
            // That a node has a member says nothing: some nodes always have.
            Err(Refusal::TwoMembers { .. }) => {}
            Err(refusal) => first = first.or_else(|| Some(Box::new(refusal))),
        }
    }
    Err(Refusal::NoTarget { shard: arrival.shard.id, because: first })
}

/// The arrival that a change is, where it is one.
pub(crate) fn arrival<'a>(change: &Change, shard: &'a Shard, cannot_wait: bool) -> Option<(NodeId, Arrival<'a>)> {
    match change {
        Change::MoveReplica { role, from, to, exchange, .. } => {
            let exchange = exchange.is_some();
            Some((*to, Arrival { shard, role: *role, leaving: Some(*from), exchange, cannot_wait }))
        }
        Change::AddReplica { role, to, .. } => {
            Some((*to, Arrival { shard, role: *role, leaving: None, exchange: false, cannot_wait }))
        }
        _ => None,
    }
}
