//! What the planner decides, on small fleets.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod gates;
mod placement;
mod properties;
mod recheck;
mod triggers;

use crate::{
    Change, ChangeKind, FleetParts, Plan, Policies, Proposal, Reason, RefusalKind,
    test_fleet::{NOW, state},
};

/// The plan for these parts.
fn planned(parts: FleetParts, policies: &Policies) -> Plan {
    crate::plan(&state(parts), policies, NOW)
}

fn by(plan: &Plan, reason: Reason) -> Vec<&Proposal> {
    plan.proposals.iter().filter(|proposal| proposal.reason == reason).collect()
}

fn changes(plan: &Plan) -> Vec<&Change> {
    plan.proposals.iter().map(|proposal| &proposal.change).collect()
}

fn kinds(plan: &Plan) -> Vec<ChangeKind> {
    plan.proposals.iter().map(|proposal| proposal.change.kind()).collect()
}

/// That nothing is planned, for this.
fn assert_refused(plan: &Plan, kind: RefusalKind) {
    assert_eq!(changes(plan), Vec::<&Change>::new());
    assert!(plan.refusals.count(kind) > 0, "{:#?}", plan.refusals);
}
