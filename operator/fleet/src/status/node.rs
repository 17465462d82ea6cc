//! What is told of one node.

use thermocline_crds::condition::ConditionType;
use thermocline_crds::reasons::Reason;
use thermocline_crds::v1alpha1::{NodeState, NodeTierStatus, StorageNode};
use thermocline_proto::v1;

use super::{Said, View, count, said};
use crate::home::Presence;
use crate::reconcile::serves;

impl View<'_> {
    pub(super) fn node(&self, node: &mut StorageNode) {
        let name = node.metadata.name.clone().unwrap_or_default();
        let generation = node.metadata.generation;
        let (desired, observed, said_by_node) =
            (self.desired.nodes.get(&name), self.observed.get(&name), self.statuses.get(&name));
        let leaves = desired.is_some_and(|node| node.leaving.is_some());
        let status = node.status.get_or_insert_default();
        status.observed_generation = generation;
        let presence = observed.map(|seen| &seen.presence);
        status.state = match presence {
            _ if self.desired.offline.contains(&name) && !is_running(presence) => NodeState::Offline,
            None => NodeState::Pending,
            Some(Presence::Absent { .. } | Presence::Stopping) => NodeState::Stopped,
            Some(Presence::Running { .. }) if leaves && said_by_node.is_some_and(serves_whole) => NodeState::Draining,
            // One that only reads is not ready: it refuses writes.
            Some(Presence::Running { .. }) if said_by_node.is_some_and(serves_whole) => NodeState::Ready,
            Some(Presence::Running { .. }) if said_by_node.is_some() => NodeState::NotReady,
            // It was ready in this run: now it is silent.
            Some(Presence::Running { .. })
                if matches!(status.state, NodeState::Ready | NodeState::NotReady | NodeState::Draining) =>
            {
                NodeState::NotReady
            }
            Some(Presence::Running { .. }) => NodeState::Starting,
        };
        if let Some(desired) = desired {
            let listen = desired.listen(observed);
            status.kv_address = Some(listen.kv.to_string());
            status.admin_address = Some(listen.admin.to_string());
            status.http_address = Some(listen.http.to_string());
        }
        status.restarts = observed.map(|seen| i64::from(seen.restarts));
        if let Some(said_by_node) = said_by_node {
            status.version = Some(said_by_node.version.clone());
            let is_replicated = desired.is_some_and(|node| node.replication.is_some());
            status.replicas = is_replicated.then(|| count(said_by_node.shards.len() as u64));
            status.tiers = said_by_node.tiers.iter().map(node_tier).collect();
        }
        let ready = self.node_ready(&name, presence, said_by_node);
        self.set(&mut status.conditions, ConditionType::Ready, ready, generation);
        let named = [(&name, desired)];
        let pending = named.iter().filter_map(|(name, node)| node.map(|node| (*name, node))).collect::<Vec<_>>();
        let progressing = match self.pending(&pending) {
            _ if leaves => said(true, Reason::Draining, given_away(said_by_node)),
            Some(why) => said(true, Reason::Reconciling, why),
            None => said(false, Reason::AsDeclared, "nothing is left to do"),
        };
        self.set(&mut status.conditions, ConditionType::Progressing, progressing, generation);
        let degraded = match self.trouble(&name) {
            Some((reason, trouble)) => said(true, reason, trouble),
            None => said(false, Reason::AsDeclared, "nothing needs attention"),
        };
        self.set(&mut status.conditions, ConditionType::Degraded, degraded, generation);
    }

    fn node_ready(&self, name: &str, presence: Option<&Presence>, told: Option<&v1::NodeStatus>) -> Said {
        let trouble = |unless_known: Reason| {
            let (reason, trouble) = self.trouble(name).unwrap_or((unless_known, String::new()));
            said(false, reason, trouble)
        };
        match (presence, told) {
            (Some(Presence::Running { .. }), Some(told)) if serves_whole(told) => {
                said(true, Reason::AsDeclared, "it serves")
            }
            (Some(Presence::Running { .. }), Some(told)) if serves(Some(told)) => trouble(Reason::NodesNotReady),
            (Some(Presence::Running { .. }), Some(told)) => {
                said(false, Reason::NodesNotReady, told.health_reason.as_str())
            }
            (Some(Presence::Running { .. }), None) => said(false, Reason::Reconciling, "it does not answer yet"),
            (presence, _) if self.desired.offline.contains(name) && !is_running(presence) => {
                said(false, Reason::Offline, "it is empty and does not run, as spec.offline asks")
            }
            (Some(Presence::Stopping), _) => said(false, Reason::Stopped, "it drains"),
            (_, _) if self.unstarted.contains_key(name) => trouble(Reason::CannotStart),
            (Some(Presence::Absent { ended: Some(ended) }), _) if ended.asked => {
                said(false, Reason::Stopped, "it was stopped")
            }
            (Some(Presence::Absent { ended: Some(ended) }), _) => {
                let reason = if ended.refused { Reason::Refused } else { Reason::CrashLooping };
                said(false, reason, ended.reason.as_str())
            }
            (Some(Presence::Absent { ended: None }) | None, _) => {
                said(false, Reason::Reconciling, "it was not started yet")
            }
        }
    }
}

fn is_running(presence: Option<&Presence>) -> bool {
    matches!(presence, Some(Presence::Running { .. } | Presence::Stopping))
}

/// What a node that is emptied still has.
fn given_away(told: Option<&v1::NodeStatus>) -> String {
    match told.map(|told| told.shards.len()) {
        Some(left) => format!("it gives away what it holds: {left} replicas are left"),
        None => "it gives away what it holds, and is not heard".to_owned(),
    }
}

/// Whether it takes writes too.
pub(super) fn serves_whole(told: &v1::NodeStatus) -> bool {
    told.health() == v1::Health::Serving
}

fn node_tier(tier: &v1::TierStatus) -> NodeTierStatus {
    NodeTierStatus {
        name: tier.name.clone(),
        capacity_bytes: count(tier.capacity_bytes),
        used_bytes: count(tier.used_bytes),
        keys: count(tier.keys),
    }
}
