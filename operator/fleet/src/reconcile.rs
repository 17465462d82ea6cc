//! What to do next, from what is desired and what is seen. Pure.
//!
//! Rules: a node that does not run is run, after a pause that grows while it keeps ending; nodes are replaced one at a time
//! and only while all others serve; one that was not heard yet is waited for, until it counts as silent; what a running node
//! can change is sent to it; a tier that holds data is not taken away, and a node that ended is run as it was while one would
//! be; nodes of a pool that cannot be followed are left as they are; while the cluster is paused nothing is done at all.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use thermocline_proto::v1;

use crate::desired::{Desired, DesiredNode};
use crate::held_tiers::HeldTiers;
use crate::home::{Observed, Presence};

/// The pause after the first run that ended by itself; doubled with each.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Run a node that does not run.
    Run(String),
    /// Stop a node that runs with a configuration that only a start can change; it is run again once it is absent.
    Replace(String),
    /// Stop a node that nothing asks for.
    Stop(String),
    /// Send a node its policy.
    SetPolicy(String),
    /// Send a node the settings of its tiers.
    SetTiers(String),
}

/// What to do, and what is held back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// In this order.
    pub actions: Vec<Action>,
    /// Per node, why it is not given what is declared. If it does not run, it is run with what it was run with before.
    pub held: BTreeMap<String, String>,
}

/// What is known of the nodes.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// What the home sees of each.
    pub observed: &'a BTreeMap<String, Observed>,
    /// What they say.
    pub statuses: &'a BTreeMap<String, v1::NodeStatus>,
    /// Those that have said nothing for so long that nothing is expected of them.
    pub silent: &'a BTreeSet<String>,
    /// What their tiers held when they last told it.
    pub held: &'a HeldTiers,
}

/// How long after its last end a node is run again.
#[must_use]
pub fn pause(in_a_row: u32) -> Duration {
    if in_a_row == 0 {
        return Duration::ZERO;
    }
    FIRST_PAUSE.saturating_mul(1 << in_a_row.saturating_sub(1).min(16)).min(LONGEST_PAUSE)
}

/// Whether a node answers and takes reads.
#[must_use]
pub fn serves(status: Option<&v1::NodeStatus>) -> bool {
    status.is_some_and(|status| matches!(status.health(), v1::Health::Serving | v1::Health::ReadOnly))
}

/// What to do next.
#[must_use]
pub fn reconcile(desired: &Desired, facts: Facts<'_>) -> Plan {
    let Facts { observed, statuses, silent, .. } = facts;
    let mut plan = Plan::default();
    if desired.paused {
        return plan;
    }
    for (name, node) in observed {
        if matches!(node.presence, Presence::Running { .. }) && desired.is_left_over(name) {
            plan.actions.push(Action::Stop(name.clone()));
        }
    }
    let mut replacing = observed.values().any(|node| node.presence == Presence::Stopping);
    for (name, node) in &desired.nodes {
        let status = statuses.get(name);
        let presence = observed.get(name).map(|node| &node.presence);
        match presence {
            None | Some(Presence::Absent { .. }) => {
                if let Some(reason) = lost_tier(name, node, facts) {
                    plan.held.insert(name.clone(), reason);
                }
                if is_due(presence) {
                    plan.actions.push(Action::Run(name.clone()));
                }
            }
            Some(Presence::Stopping) => {}
            Some(Presence::Running { fingerprint, .. }) if *fingerprint != node.run.fingerprint => {
                // What it can change while it runs reaches it also while it waits.
                if let Some(reason) = lost_tier(name, node, facts) {
                    plan.held.insert(name.clone(), reason);
                    send(&mut plan, name, node, status);
                    continue;
                }
                let alone = || desired.nodes.keys().all(|other| other == name || serves(statuses.get(other)));
                let may_go = match status {
                    // A node that does not serve takes nothing away by being replaced.
                    Some(_) if !serves(status) => true,
                    Some(_) => alone() && !replacing,
                    // It may serve and only not be heard: a supervisor that has just begun has heard nobody.
                    None => silent.contains(name) && !replacing,
                };
                if may_go {
                    replacing = true;
                    plan.actions.push(Action::Replace(name.clone()));
                } else {
                    send(&mut plan, name, node, status);
                }
            }
            Some(Presence::Running { .. }) => send(&mut plan, name, node, status),
        }
    }
    plan
}

/// Whether a node that does not run is to be run now.
fn is_due(presence: Option<&Presence>) -> bool {
    match presence {
        Some(Presence::Absent { ended: Some(ended) }) => ended.asked || ended.ago >= pause(ended.in_a_row),
        _ => true,
    }
}

/// What a node that runs has not been told yet.
fn send(plan: &mut Plan, name: &str, node: &DesiredNode, status: Option<&v1::NodeStatus>) {
    let Some(status) = status.filter(|status| status.health() != v1::Health::Draining) else {
        return;
    };
    if status.tiers_generation != node.tiers.generation {
        plan.actions.push(Action::SetTiers(name.to_owned()));
    }
    if status.policy_generation != node.policy.generation && takes(status, &node.policy) {
        plan.actions.push(Action::SetPolicy(name.to_owned()));
    }
}

/// Whether a node with these tiers takes a policy: one that waits for a new tier does not, where the policy is about it.
fn takes(status: &v1::NodeStatus, policy: &v1::Policy) -> bool {
    let slowest = status.tiers.iter().map(|tier| tier.rank).max();
    let faster = |name: &str| status.tiers.iter().any(|tier| tier.name == name && Some(tier.rank) != slowest);
    policy.temperatures.iter().all(|temperature| faster(&temperature.tier))
}

/// Why a node cannot lose a tier: it holds data, by what the node says or, where it is not heard, by what it said last.
fn lost_tier(name: &str, node: &DesiredNode, facts: Facts<'_>) -> Option<String> {
    let held: Vec<(&str, u64)> = match facts.statuses.get(name) {
        Some(status) => status.tiers.iter().map(|tier| (tier.name.as_str(), tier.keys)).collect(),
        None => facts.held.get(name).into_iter().flatten().map(|(tier, keys)| (tier.as_str(), *keys)).collect(),
    };
    let stays = |name: &str| node.run.config.tiers.iter().any(|tier| tier.name == name);
    let (tier, keys) = held.into_iter().find(|(tier, keys)| !stays(tier) && *keys > 0)?;
    Some(format!(
        "{tier} is not taken away from {name}: it holds {keys} keys; move them with a Migration to another tier first"
    ))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
#[path = "reconcile_test.rs"]
mod tests;
