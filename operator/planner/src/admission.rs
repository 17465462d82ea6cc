//! What a change must pass before it is planned, and again before it starts. Each gate refuses with its reason.

use crate::{
    Change, Effect, Forecast, Priority, Proposal, Reason, Refusal,
    change::cannot_wait,
    fleet::{Role, Shard},
    ledger::{Ledger, Resource, Shift},
    placement,
    plan::Precondition,
    policy::{Mode, Policy},
    view::{View, moves_load},
};

/// A move that shifts less than this share of a node's processors does not wait for its figures to be measured again.
const NEGLIGIBLE_LOAD: f64 = 0.01;

/// A change that a trigger wants.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    pub change: Change,
    pub priority: Priority,
    pub reason: Reason,
    /// What must come nearer between the two nodes; none where it is not about that.
    pub levels: Option<Resource>,
    /// Figures of the shard that it changes.
    pub effects: Vec<Effect>,
}

impl Candidate {
    pub const fn new(change: Change, priority: Priority, reason: Reason) -> Self {
        Self { change, priority, reason, levels: None, effects: Vec::new() }
    }

    const fn cannot_wait(&self) -> bool {
        cannot_wait(self.priority, self.reason)
    }

    pub fn with(mut self, effect: Effect) -> Self {
        self.effects.push(effect);
        self
    }

    pub const fn levelling(mut self, resource: Resource) -> Self {
        self.levels = Some(resource);
        self
    }
}

/// Plans a candidate: the ledger has it from then on.
///
/// # Errors
/// With the first gate that it does not pass.
pub(crate) fn admit(view: &View<'_>, ledger: &mut Ledger, candidate: Candidate) -> Result<Proposal, Refusal> {
    ledger.work += 1;
    if let Some(what) = view.policies.abilities.lacks(&candidate.change) {
        return Err(Refusal::NotPossible { what, change: candidate.change });
    }
    let gone = || Refusal::Gone { change: candidate.change.clone() };
    let shard = view.fleet.shard(candidate.change.shard()).ok_or_else(gone)?;
    let policy = view.policies.of(&shard.pool);
    for id in candidate.change.shards() {
        let shard = view.fleet.shard(id).ok_or_else(gone)?;
        if candidate.change.leaves_nothing() {
            shard_has_no_move(ledger, shard, candidate.priority)?;
        } else {
            shard_is_free(view, ledger, shard, candidate.priority, candidate.reason)?;
        }
        members_are_sound(view, shard, &candidate)?;
    }
    within_budget(view, ledger, policy, &candidate)?;
    target_takes_it(view, ledger, shard, &candidate)?;
    nobody_is_worse(view, ledger, policy, &candidate)?;
    let waits = !candidate.change.leaves_nothing()
        && candidate.priority != Priority::Critical
        && !candidate.reason.is_declared();
    let needs_approval = policy.mode == Mode::Propose && waits;
    let forecast = Forecast::of(view, ledger, &candidate.change, candidate.effects);
    ledger.take(view, &candidate.change, candidate.priority, candidate.reason);
    Ok(Proposal {
        pool: shard.pool.clone(),
        change: candidate.change,
        priority: candidate.priority,
        reason: candidate.reason,
        forecast,
        precondition: Precondition { epoch: shard.epoch, membership: shard.membership },
        needs_approval,
    })
}

/// Whether anything may be done to a shard now.
///
/// # Errors
/// With what holds it.
pub(crate) fn shard_is_free(
    view: &View<'_>,
    ledger: &Ledger,
    shard: &Shard,
    priority: Priority,
    reason: Reason,
) -> Result<(), Refusal> {
    let policy = view.policies.of(&shard.pool);
    // What a person asks for is their decision.
    if !reason.is_declared() {
        pool_is_open(view, policy, &shard.pool, priority)?;
    }
    shard_has_no_move(ledger, shard, priority)?;
    if cannot_wait(priority, reason) {
        return Ok(());
    }
    if let Some(left) = view.now.left_of(policy.min_residency, shard.times.last_move) {
        return Err(Refusal::MinResidency { shard: shard.id, left });
    }
    if view.moves_of(shard.id) >= policy.moves_per_shard {
        return Err(Refusal::MovesPerShard { shard: shard.id, limit: policy.moves_per_shard });
    }
    Ok(())
}

/// Whether no move of the shard is open.
fn shard_has_no_move(ledger: &Ledger, shard: &Shard, priority: Priority) -> Result<(), Refusal> {
    if ledger.is_busy(shard.id, priority) { Err(Refusal::ShardBusy { shard: shard.id }) } else { Ok(()) }
}

/// Whether anything of this urgency may be done in a pool now.
///
/// # Errors
/// With what holds it.
pub(crate) fn pool_is_open(
    view: &View<'_>,
    policy: &Policy,
    pool: &crate::PoolName,
    priority: Priority,
) -> Result<(), Refusal> {
    if policy.mode == Mode::Paused && priority != Priority::Critical {
        return Err(Refusal::Paused { pool: pool.clone() });
    }
    if priority.waits_for_windows() && !policy.window_is_open(view.now) {
        return Err(Refusal::OutsideWindows { pool: pool.clone() });
    }
    Ok(())
}

/// Whether all members are sound, but for the one that is replaced or removed because it is not.
fn members_are_sound(view: &View<'_>, shard: &Shard, candidate: &Candidate) -> Result<(), Refusal> {
    let goes = match candidate.change {
        Change::RemoveReplica { replica, .. } => Some(replica),
        Change::MoveReplica { replica, .. } if candidate.reason.must_happen() => Some(replica),
        _ => None,
    };
    let unsound = shard.replicas.iter().find(|replica| Some(replica.id) != goes && !view.is_sound(replica));
    if let Some(replica) = unsound {
        return Err(Refusal::ReplicaUnsound { shard: shard.id, replica: replica.id, node: replica.node });
    }
    // Who led on a node that is lost may not be known to have been succeeded yet.
    if shard.leader().is_none() && candidate.reason != Reason::NodeFailure {
        return Err(Refusal::NoLeader { shard: shard.id });
    }
    Ok(())
}

fn within_budget(view: &View<'_>, ledger: &Ledger, policy: &Policy, candidate: &Candidate) -> Result<(), Refusal> {
    let (budget, change) = (&policy.budget, &candidate.change);
    let critical = candidate.priority == Priority::Critical;
    let (from, to) = (change.from(), change.to());
    let count =
        |node: Option<crate::NodeId>| node.and_then(|node| Some((node, ledger.counts(view.fleet.place_of(node)?))));
    let node_has = |node, what, count: u32, limit: u32| {
        if count < limit { Ok(()) } else { Err(Refusal::NodeBudget { node, what, limit }) }
    };
    let cluster_has = |what, count: u32, limit: u32| {
        if count < limit { Ok(()) } else { Err(Refusal::ClusterBudget { what, limit }) }
    };
    if change.copies_between_nodes() {
        let open = if critical { ledger.cluster.critical } else { ledger.cluster.moves };
        cluster_has("moves", open, budget.moves_per_cluster)?;
    }
    match change {
        Change::MoveReplica { .. } | Change::AddReplica { .. } => {
            // A node that is lost sends nothing.
            let sends = |node: &crate::NodeId| view.fleet.node(*node).is_some_and(|node| !node.is_silent());
            if let Some((node, counts)) = count(from.filter(sends)) {
                let open = if critical { counts.critical_out } else { counts.moves_out };
                node_has(node, "moves out of it", open, budget.moves_out)?;
            }
            if let Some((node, counts)) = count(to) {
                let open = if critical { counts.critical_in } else { counts.moves_in };
                node_has(node, "moves into it", open, budget.moves_in)?;
            }
        }
        Change::ChangeTier { .. } => {
            if let Some((node, counts)) = count(from) {
                node_has(node, "moves out of it", counts.moves_out, budget.moves_out)?;
            }
        }
        Change::TransferLeader { .. } => {
            if let Some((node, counts)) = count(from) {
                node_has(node, "leaders leaving it", counts.leaders_out, budget.leader_moves)?;
            }
            if let Some((node, counts)) = count(to) {
                node_has(node, "leaders coming to it", counts.leaders_in, budget.leader_moves)?;
            }
        }
        Change::SplitShard { .. } | Change::MergeShards { .. } => {
            cluster_has("splits and merges", ledger.cluster.range_changes, budget.range_changes)?;
        }
        Change::RemoveReplica { .. } => {}
    }
    let bytes = ledger.bytes_of(view, change);
    if let Some(limit) = budget.bytes_per_day.filter(|_| !candidate.cannot_wait()) {
        let taken = view.bytes_of_day.saturating_add(ledger.open_bytes);
        if bytes > 0 && taken.saturating_add(bytes) > limit {
            return Err(Refusal::DailyBytes { bytes, limit });
        }
    }
    Ok(())
}

fn target_takes_it(view: &View<'_>, ledger: &Ledger, shard: &Shard, candidate: &Candidate) -> Result<(), Refusal> {
    let gone = || Refusal::Gone { change: candidate.change.clone() };
    if let Some((to, arrival)) = placement::arrival(&candidate.change, shard, candidate.cannot_wait()) {
        let place = view.fleet.place_of(to).ok_or_else(gone)?;
        return placement::admit(view, ledger, place, &arrival);
    }
    if let Change::TransferLeader { to, .. } = candidate.change {
        let place = view.fleet.place_of(to).ok_or_else(gone)?;
        let follows = shard.replica_on(to).is_some_and(|replica| replica.role == Role::Data && !replica.leader);
        if !follows {
            return Err(gone());
        }
        placement::ready(view, place, shard)?;
        if !candidate.cannot_wait() {
            let cpu = shard.cpu_at(Role::Data, true) - shard.cpu_at(Role::Data, false);
            placement::under_triggers(view, ledger, place, cpu)?;
        }
    }
    Ok(())
}

/// What is done to help a node must not leave another worse off, nor raise the imbalance.
fn nobody_is_worse(view: &View<'_>, ledger: &Ledger, policy: &Policy, candidate: &Candidate) -> Result<(), Refusal> {
    if candidate.cannot_wait() {
        return Ok(());
    }
    let shifts = ledger.shifts(view, &candidate.change);
    if moves_load(candidate.reason) {
        shifts.iter().try_for_each(|shift| figures_are_fresh(view, ledger, policy, shift))?;
    }
    if let (Some(resource), [from, to]) = (candidate.levels, shifts.as_slice()) {
        levels(view, ledger, policy, resource, from, to)?;
    }
    // Members that come or go change the mean itself.
    if shifts.len() == 2 {
        shifts.iter().try_for_each(|shift| does_not_unbalance(view, ledger, policy, shift))?;
    }
    Ok(())
}

fn figures_are_fresh(view: &View<'_>, ledger: &Ledger, policy: &Policy, shift: &Shift) -> Result<(), Refusal> {
    if ledger.share_of(view, shift, Resource::Load).abs() < NEGLIGIBLE_LOAD {
        return Ok(());
    }
    let node = view.fleet.nodes()[shift.place].id;
    match view.now.left_of(policy.cooldown, view.last_load_move(shift.place)) {
        Some(left) => Err(Refusal::Cooldown { node, left }),
        None => Ok(()),
    }
}

/// Whether two nodes come nearer to each other: the gap may be turned around, but only by a part of it, so that the way
/// back is never worth it.
pub(crate) fn levels(
    view: &View<'_>,
    ledger: &Ledger,
    policy: &Policy,
    resource: Resource,
    from: &Shift,
    to: &Shift,
) -> Result<(), Refusal> {
    let gap = ledger.share(view, from.place, resource) - ledger.share(view, to.place, resource);
    let after = gap + ledger.share_of(view, from, resource) - ledger.share_of(view, to, resource);
    if gap > 0.0 && after < gap && after >= -gap / policy.hysteresis {
        return Ok(());
    }
    let nodes = view.fleet.nodes();
    Err(Refusal::WouldBeWorse { from: nodes[from.place].id, to: nodes[to.place].id, figure: resource.figure() })
}

fn does_not_unbalance(view: &View<'_>, ledger: &Ledger, policy: &Policy, shift: &Shift) -> Result<(), Refusal> {
    let node = &view.fleet.nodes()[shift.place];
    if !node.stays() {
        return Ok(());
    }
    for resource in Resource::BALANCED {
        let share = ledger.share_of(view, shift, resource);
        if share == 0.0 {
            continue;
        }
        let now = ledger.deviation(view.pool_of_node(shift.place), resource);
        let before = now.of(ledger.share(view, shift.place, resource));
        let percent = now.of(ledger.share(view, shift.place, resource) + share);
        // Rounding must not refuse a move that changes nothing to speak of.
        if percent > before && percent > now.percent.max(policy.triggers.imbalance_percent) + 1e-6 {
            return Err(Refusal::WouldUnbalance { node: node.id, figure: resource.figure(), percent });
        }
    }
    Ok(())
}
