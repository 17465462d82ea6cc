//! Rebalance: where a node deviates too much from the mean of its pool, the most deviant node gives to the least used
//! one, or takes from the most used one, one change after the other, until all are near the mean.

use std::collections::BTreeSet;

use super::relief::{Relief, relieve};
use crate::{
    Change, Priority, Reason, RefusalKind,
    admission::{levels, pool_is_open},
    ledger::{Ledger, Resource},
    plan::Findings,
    view::View,
};

/// Nodes of a pool that are given up on in a round: nothing helps them, and the next round tries again.
const GIVEN_UP: usize = 16;
/// Nodes that are asked to give something to one that has too little, the most used first.
const GIVERS_TRIED: usize = 16;

pub(super) fn find(view: &View<'_>, ledger: &mut Ledger) -> Findings {
    let mut findings = Findings::default();
    for pool in 0..view.pools.len() {
        let policy = view.policies.of(&view.pools[pool]);
        // Load first: leaders are moved before replicas.
        for resource in [Resource::Load, Resource::Disk] {
            if ledger.deviation(pool, resource).percent <= policy.triggers.imbalance_percent {
                continue;
            }
            match pool_is_open(view, policy, &view.pools[pool], Priority::Normal) {
                Ok(()) => level(view, ledger, &mut findings, pool, resource),
                Err(refusal) => findings.refusals.add(refusal),
            }
        }
    }
    findings
}

/// What a move of this reason must level now: a resource that still deviates, and that the move levels.
pub(super) fn what_it_levels(view: &View<'_>, ledger: &Ledger, change: &Change) -> Option<Resource> {
    let shifts = ledger.shifts(view, change);
    let [from, to] = shifts.as_slice() else {
        return None;
    };
    let policy = view.policy_of_shard(change.shard());
    let pool = view.pool_of_node(from.place);
    let goal = policy.triggers.imbalance_percent / policy.hysteresis;
    let serves = |resource: &Resource| {
        ledger.deviation(pool, *resource).percent > goal && levels(view, ledger, policy, *resource, from, to).is_ok()
    };
    Resource::BALANCED.into_iter().find(serves)
}

fn level(view: &View<'_>, ledger: &mut Ledger, findings: &mut Findings, pool: usize, resource: Resource) {
    let policy = view.policies.of(&view.pools[pool]);
    let goal = policy.triggers.imbalance_percent / policy.hysteresis;
    let mut given_up = BTreeSet::new();
    let budget = |findings: &Findings| findings.refusals.count(RefusalKind::ClusterBudget);
    let refused_before = budget(findings);
    while given_up.len() < GIVEN_UP && budget(findings) == refused_before {
        let now = ledger.deviation(pool, resource);
        ledger.work += view.staying[pool].len() as u64;
        let shares = view.staying[pool].iter().map(|place| (ledger.share(view, *place, resource), *place));
        let deviant = shares
            .filter(|(_, place)| !given_up.contains(place))
            .map(|(share, place)| (now.of(share), share > now.mean, place))
            .max_by(|a, b| a.0.total_cmp(&b.0).then(b.2.cmp(&a.2)));
        let Some((_, has_too_much, place)) = deviant.filter(|deviant| deviant.0 > goal) else {
            return;
        };
        let relief = Relief {
            place,
            resource,
            down_to: now.mean,
            reason: Reason::Rebalance,
            priority: Priority::Normal,
            target: None,
            at_most: 1,
        };
        let planned =
            if has_too_much { relieve(view, ledger, findings, &relief) } else { fill(view, ledger, findings, &relief) };
        if planned == 0 {
            given_up.insert(place);
        }
    }
}

/// Brings something to the node of `relief`, from the most used one that can give.
fn fill(view: &View<'_>, ledger: &mut Ledger, findings: &mut Findings, relief: &Relief) -> usize {
    let pool = view.pool_of_node(relief.place);
    let shares = view.staying[pool].iter().map(|place| (ledger.share(view, *place, relief.resource), *place));
    let mut givers: Vec<(f64, usize)> = shares.filter(|(share, _)| *share > relief.down_to).collect();
    givers.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    for (_, giver) in givers.into_iter().take(GIVERS_TRIED) {
        let relief = Relief { place: giver, target: Some(relief.place), ..*relief };
        let planned = relieve(view, ledger, findings, &relief);
        if planned > 0 {
            return planned;
        }
    }
    0
}
