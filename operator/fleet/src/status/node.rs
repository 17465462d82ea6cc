//! What is told of one node.

use thermocline_crds::condition::ConditionType;
use thermocline_crds::reasons::Reason;
use thermocline_crds::v1alpha1::{NodeState, NodeTierStatus, StorageNode};
use thermocline_proto::v1;

use super::{View, count, said};
use crate::home::Presence;
use crate::reconcile::serves;

/// Ends in a row after which a node is said to loop.
const LOOPING: u32 = 3;

impl View<'_> {
    pub(super) fn node(&self, node: &mut StorageNode) {
        let name = node.metadata.name.clone().unwrap_or_default();
        let generation = node.metadata.generation;
        let (desired, observed, said_by_node) =
            (self.desired.nodes.get(&name), self.observed.get(&name), self.statuses.get(&name));
        let status = node.status.get_or_insert_default();
        status.observed_generation = generation;
        let presence = observed.map(|seen| &seen.presence);
        status.state = match presence {
            None => NodeState::Pending,
            Some(Presence::Absent { .. } | Presence::Stopping) => NodeState::Stopped,
            Some(Presence::Running { .. }) if serves(said_by_node) => NodeState::Ready,
            Some(Presence::Running { .. }) if said_by_node.is_some() => NodeState::NotReady,
            // It was ready in this run: now it is silent.
            Some(Presence::Running { .. }) if matches!(status.state, NodeState::Ready | NodeState::NotReady) => {
                NodeState::NotReady
            }
            Some(Presence::Running { .. }) => NodeState::Starting,
        };
        if let Some(desired) = desired {
            let listen = &desired.run.config.listen;
            status.kv_address = Some(listen.kv.to_string());
            status.admin_address = Some(listen.admin.to_string());
            status.http_address = Some(listen.http.to_string());
        }
        status.restarts = observed.map(|seen| i64::from(seen.restarts));
        if let Some(said_by_node) = said_by_node {
            status.version = Some(said_by_node.version.clone());
            status.tiers = said_by_node.tiers.iter().map(node_tier).collect();
        }
        let ready = match (presence, said_by_node) {
            (Some(Presence::Running { .. }), Some(told)) if serves(Some(told)) => {
                said(true, Reason::AsDeclared, "it serves")
            }
            (Some(Presence::Running { .. }), Some(told)) => {
                said(false, Reason::NodesNotReady, told.health_reason.as_str())
            }
            (Some(Presence::Running { .. }), None) => said(false, Reason::Reconciling, "it does not answer yet"),
            (Some(Presence::Stopping), _) => said(false, Reason::Stopped, "it drains"),
            (Some(Presence::Absent { ended: Some(ended) }), _) if ended.asked => {
                said(false, Reason::Stopped, "it was stopped")
            }
            (Some(Presence::Absent { ended: Some(ended) }), _) => {
                said(false, Reason::CrashLooping, ended.reason.as_str())
            }
            (Some(Presence::Absent { ended: None }) | None, _) => {
                said(false, Reason::Reconciling, "it was not started yet")
            }
        };
        self.set(&mut status.conditions, ConditionType::Ready, ready, generation);
        let named = [(&name, desired)];
        let pending = named.iter().filter_map(|(name, node)| node.map(|node| (*name, node))).collect::<Vec<_>>();
        let progressing = match self.pending(&pending) {
            Some(why) => said(true, Reason::Reconciling, why),
            None => said(false, Reason::AsDeclared, "nothing is left to do"),
        };
        self.set(&mut status.conditions, ConditionType::Progressing, progressing, generation);
        let looping = matches!(presence, Some(Presence::Absent { ended: Some(ended) }) if ended.in_a_row >= LOOPING);
        let degraded = match self.trouble(&name) {
            Some(trouble) if looping => said(true, Reason::CrashLooping, trouble),
            Some(trouble) => said(true, Reason::NodesNotReady, trouble),
            None => said(false, Reason::AsDeclared, "nothing needs attention"),
        };
        self.set(&mut status.conditions, ConditionType::Degraded, degraded, generation);
    }
}

fn node_tier(tier: &v1::TierStatus) -> NodeTierStatus {
    NodeTierStatus {
        name: tier.name.clone(),
        capacity_bytes: count(tier.capacity_bytes),
        used_bytes: count(tier.used_bytes),
        keys: count(tier.keys),
    }
}
