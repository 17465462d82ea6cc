//! What to do next, from what is desired and what is seen. Pure.
//!
//! Rules: a node that does not run is run, after a pause that grows while it keeps ending; nodes are replaced one at a time
//! and only while all others serve; what a running node can change is sent to it; a tier that holds data is not taken away;
//! while the cluster is paused nothing is done at all.

use std::collections::BTreeMap;
use std::time::Duration;

use thermocline_proto::v1;

use crate::desired::{Desired, DesiredNode};
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
    /// Per node, why it is not given what is declared.
    pub held: BTreeMap<String, String>,
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
pub fn reconcile(
    desired: &Desired,
    observed: &BTreeMap<String, Observed>,
    statuses: &BTreeMap<String, v1::NodeStatus>,
) -> Plan {
    let mut plan = Plan::default();
    if desired.paused {
        return plan;
    }
    for (name, node) in observed {
        if matches!(node.presence, Presence::Running { .. }) && !desired.nodes.contains_key(name) {
            plan.actions.push(Action::Stop(name.clone()));
        }
    }
    let mut replacing = observed.values().any(|node| node.presence == Presence::Stopping);
    for (name, node) in &desired.nodes {
        let status = statuses.get(name);
        match observed.get(name).map(|node| &node.presence) {
            None | Some(Presence::Absent { ended: None }) => plan.actions.push(Action::Run(name.clone())),
            Some(Presence::Absent { ended: Some(ended) }) => {
                if ended.asked || ended.ago >= pause(ended.in_a_row) {
                    plan.actions.push(Action::Run(name.clone()));
                }
            }
            Some(Presence::Stopping) => {}
            Some(Presence::Running { fingerprint, .. }) if *fingerprint != node.run.fingerprint => {
                if let Some(reason) = lost_tier(node, status) {
                    plan.held.insert(name.clone(), reason);
                    continue;
                }
                let others = desired.nodes.keys().filter(|other| *other != name);
                let alone = others.clone().all(|other| serves(statuses.get(other)));
                // A node that does not serve takes nothing away by being replaced.
                if !serves(status) || (alone && !replacing) {
                    replacing = true;
                    plan.actions.push(Action::Replace(name.clone()));
                }
            }
            Some(Presence::Running { .. }) => send(&mut plan, name, node, status),
        }
    }
    plan
}

/// What a node that runs with the right configuration has not been told yet.
fn send(plan: &mut Plan, name: &str, node: &DesiredNode, status: Option<&v1::NodeStatus>) {
    let Some(status) = status.filter(|status| status.health() != v1::Health::Draining) else {
        return;
    };
    if status.tiers_generation != node.tiers.generation {
        plan.actions.push(Action::SetTiers(name.to_owned()));
    }
    if status.policy_generation != node.policy.generation {
        plan.actions.push(Action::SetPolicy(name.to_owned()));
    }
}

/// Why a node cannot lose a tier: it holds data, or it is not known whether it does.
fn lost_tier(node: &DesiredNode, status: Option<&v1::NodeStatus>) -> Option<String> {
    let stays = |name: &str| node.run.config.tiers.iter().any(|tier| tier.name == name);
    let lost = status?.tiers.iter().find(|tier| !stays(&tier.name) && tier.keys > 0)?;
    Some(format!(
        "{} is not taken away from {}: it holds {} keys; move them with a Migration to another tier first",
        lost.name, node.run.name, lost.keys
    ))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
#[path = "reconcile_test.rs"]
mod tests;
