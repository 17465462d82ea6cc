//! A proposal once more, at the moment it starts: time has passed since it was planned.

use crate::{
    Change, FleetState, Forecast, Moment, Policies, Proposal, Refusal,
    admission::{self, Candidate},
    fleet::OpenPhase,
    ledger::Ledger,
    trigger,
    view::View,
};

/// Whether a proposal may start: the shard is what it was, what it is to mend is still so, and every gate that let it
/// pass still does. Of other moves those that run count, and what has only been proposed does not.
///
/// # Errors
/// With the first thing that is against it.
pub fn check_again(proposal: &Proposal, fleet: &FleetState, policies: &Policies, now: Moment) -> Result<(), Refusal> {
    forecast_again(proposal, fleet, policies, now).map(drop)
}

/// As [`check_again`], with what it will take and do as things are now.
///
/// # Errors
/// With the first thing that is against it.
pub fn forecast_again(
    proposal: &Proposal,
    fleet: &FleetState,
    policies: &Policies,
    now: Moment,
) -> Result<Forecast, Refusal> {
    let change = &proposal.change;
    let gone = || Refusal::Gone { change: change.clone() };
    let shard = fleet.shard(change.shard()).ok_or_else(gone)?;
    if shard.epoch != proposal.precondition.epoch {
        return Err(Refusal::Changed { shard: shard.id, what: "range" });
    }
    if shard.membership != proposal.precondition.membership {
        return Err(Refusal::Changed { shard: shard.id, what: "membership" });
    }
    let is_there = match change {
        Change::MoveReplica { replica, from, .. } | Change::RemoveReplica { replica, from, .. } => {
            shard.replicas.iter().any(|member| member.id == *replica && member.node == *from)
        }
        Change::TransferLeader { from, .. } => shard.leader().is_some_and(|leader| leader.node == *from),
        Change::MergeShards { right, .. } => fleet.shard(*right).is_some(),
        _ => true,
    };
    if !is_there {
        return Err(gone());
    }
    let view = View::new(fleet, policies, now);
    let mut ledger = Ledger::new(&view, |open| open.change != *change && open.phase == OpenPhase::Running);
    let levels = trigger::still_needed(&view, &ledger, proposal)?;
    let candidate = Candidate {
        change: change.clone(),
        priority: proposal.priority,
        reason: proposal.reason,
        levels,
        effects: Vec::new(),
    };
    admission::admit(&view, &mut ledger, candidate).map(|admitted| admitted.forecast)
}
