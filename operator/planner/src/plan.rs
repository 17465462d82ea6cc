//! A planning round: every trigger in the order of its urgency, each on what the ones before have left.

use crate::{
    Change, ChangeKind, Deviation, Epoch, FleetState, Forecast, Imbalance, LogId, Moment, Policies, PoolName, Priority,
    Reason, Refusals,
    ledger::{Ledger, Resource},
    trigger,
    view::View,
};

/// A change that should be made.
#[derive(Debug, Clone, PartialEq)]
pub struct Proposal {
    /// The pool whose policy it is under.
    pub pool: PoolName,
    /// What to do.
    pub change: Change,
    /// How urgent it is.
    pub priority: Priority,
    /// Why.
    pub reason: Reason,
    /// What it will take and do.
    pub forecast: Forecast,
    /// What the shard must still be like when it starts.
    pub precondition: Precondition,
    /// Whether a person has to approve it first.
    pub needs_approval: bool,
}

/// What a shard was like when a change of it was planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Precondition {
    /// How often its range had changed.
    pub epoch: Epoch,
    /// The entry that its members were last changed by.
    pub membership: LogId,
}

/// What to do now, and what is not done and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// At most one a shard; the most urgent first, and of equal ones those that move leaders.
    pub proposals: Vec<Proposal>,
    /// What was refused.
    pub refusals: Refusals,
    /// The imbalance of each pool as it is measured, and as it will be with what is open and planned.
    pub imbalance: Vec<PoolImbalance>,
    /// Steps that the search took: what bounds the time of a round.
    pub work: u64,
}

/// The imbalance of a pool.
#[derive(Debug, Clone, PartialEq)]
pub struct PoolImbalance {
    /// The pool.
    pub pool: PoolName,
    /// As measured.
    pub now: Imbalance,
    /// With what is open and planned.
    pub then: Imbalance,
}

/// What a trigger has found.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub proposals: Vec<Proposal>,
    pub refusals: Refusals,
}

/// Plans for a fleet.
#[must_use]
pub fn plan(fleet: &FleetState, policies: &Policies, now: Moment) -> Plan {
    let view = View::new(fleet, policies, now);
    let mut ledger = Ledger::new(&view, |_| true);
    let (mut proposals, mut refusals) = (Vec::new(), Refusals::default());
    for find in trigger::IN_ORDER {
        let found = find(&view, &mut ledger);
        proposals.extend(found.proposals);
        refusals.merge(found.refusals);
    }
    // Stable: what was found first comes first among equals.
    proposals
        .sort_by_key(|proposal: &Proposal| (proposal.priority, proposal.change.kind() != ChangeKind::TransferLeader));
    let measured = |pool: &PoolName| crate::imbalance(fleet, pool);
    let deviation = |pool, resource| -> Deviation { ledger.deviation(pool, resource) };
    let imbalance = view.pools.iter().enumerate().map(|(number, pool)| PoolImbalance {
        pool: pool.clone(),
        now: measured(pool),
        then: Imbalance { disk: deviation(number, Resource::Disk), load: deviation(number, Resource::Load) },
    });
    Plan { proposals, refusals, imbalance: imbalance.collect(), work: ledger.work }
}
