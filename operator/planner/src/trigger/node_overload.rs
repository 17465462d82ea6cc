//! NodeOverload: a node whose processors or devices are over their trigger gives load away, leaders first, until it is at
//! the trigger divided by the policy's hysteresis, or until nobody has more room than it.

use super::relief::{Relief, relieve};
use crate::{
    Priority, Reason,
    admission::pool_is_open,
    ledger::{Ledger, Resource},
    plan::Findings,
    view::View,
};

pub(super) fn find(view: &View<'_>, ledger: &mut Ledger) -> Findings {
    let mut findings = Findings::default();
    for place in view.staying.iter().flatten().copied() {
        let policy = view.policy_of_node(place);
        for (resource, trigger) in triggers(view, place) {
            let percent = ledger.percent(view, place, resource);
            let goes_on = view.is_in_episode(place, Reason::NodeOverload) && percent > trigger / policy.hysteresis;
            if percent <= trigger && !goes_on {
                continue;
            }
            if let Err(refusal) = pool_is_open(view, policy, &view.fleet.nodes()[place].pool, Priority::High) {
                findings.refusals.add(refusal);
                continue;
            }
            let relief = Relief {
                place,
                resource,
                down_to: trigger / policy.hysteresis / 100.0,
                reason: Reason::NodeOverload,
                priority: Priority::High,
                target: None,
                at_most: usize::MAX,
            };
            relieve(view, ledger, &mut findings, &relief);
        }
    }
    findings
}

/// What a node still has too much of: relief goes on below the trigger.
pub(super) fn still_over(view: &View<'_>, ledger: &Ledger, place: usize) -> Option<Resource> {
    let hysteresis = view.policy_of_node(place).hysteresis;
    let over = |(resource, trigger): &(Resource, f64)| ledger.percent(view, place, *resource) > trigger / hysteresis;
    triggers(view, place).into_iter().find(over).map(|(resource, _)| resource)
}

fn triggers(view: &View<'_>, place: usize) -> [(Resource, f64); 2] {
    let triggers = &view.policy_of_node(place).triggers;
    [(Resource::Load, triggers.cpu_percent), (Resource::Io, triggers.io_percent)]
}
