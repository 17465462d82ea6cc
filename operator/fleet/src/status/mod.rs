//! What is told in the objects' status. Pure: the same view twice gives the same status, so that nothing is written.

mod figures;
mod moves;
mod node;
mod tier;
mod trouble;

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use thermocline_crds::condition::{self, ConditionType, Verdict};
use thermocline_crds::reasons::Reason;
use thermocline_crds::v1alpha1::{
    MigrationStatus, NodeRange, StorageCluster, StorageNode, StorageNodeSpec, StoragePool,
};
use thermocline_crds::{Kind, Object};
use thermocline_proto::v1;

use crate::desired::{Desired, DesiredNode};
use crate::home::{Observed, Presence};
use crate::migration::Step;
use crate::reconcile::{Plan, serves};

pub use figures::{is_material, is_urgent};

/// Everything that statuses are made of.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// What should be.
    pub desired: &'a Desired,
    /// What the home sees.
    pub observed: &'a BTreeMap<String, Observed>,
    /// What the nodes say.
    pub statuses: &'a BTreeMap<String, v1::NodeStatus>,
    /// Nodes that cannot be started, and why.
    pub unstarted: &'a BTreeMap<String, String>,
    /// What is to be done and what is held back.
    pub plan: &'a Plan,
    /// How far migrations between media are that are not over.
    pub migrations: &'a BTreeMap<String, Step>,
    /// What is told of migrations between nodes that are not over.
    pub shard_moves: &'a BTreeMap<String, MigrationStatus>,
    /// Now.
    pub now: Timestamp,
}

/// The objects with the status they should have, those that differ alone; StorageNodes that are missing are made.
#[must_use]
pub fn told(objects: &[Object], view: View<'_>) -> Vec<Object> {
    let mut changed = Vec::new();
    for object in objects {
        let mut new = object.clone();
        match &mut new {
            Object::StorageCluster(cluster) => view.cluster(cluster, objects),
            Object::StorageTier(tier) => view.tier(tier),
            Object::StoragePool(pool) => view.pool(pool),
            Object::StorageNode(node) => view.node(node),
            Object::MigrationPolicy(policy) => view.policy(policy),
            Object::Migration(migration) => view.migration(migration),
        }
        if new != *object {
            changed.push(new);
        }
    }
    for (name, node) in &view.desired.nodes {
        let exists = objects.iter().any(|object| object.kind() == Kind::StorageNode && object.name() == name);
        if !exists {
            let mut new = new_node(name, node);
            view.node(&mut new);
            changed.push(Object::StorageNode(new));
        }
    }
    changed
}

fn new_node(name: &str, node: &DesiredNode) -> StorageNode {
    let range = &node.run.config.range;
    StorageNode {
        metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
        spec: StorageNodeSpec {
            cluster: node.run.config.cluster.clone(),
            pool: node.pool.clone(),
            range: NodeRange { start: range.start.clone(), end: range.end.clone() },
            offline: false,
        },
        status: None,
    }
}

fn count(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

impl View<'_> {
    fn nodes_of(&self, pool: &str) -> Vec<(&String, &DesiredNode)> {
        self.desired.nodes.iter().filter(|(_, node)| node.pool == pool).collect()
    }

    fn serving<'n>(&self, nodes: &[(&'n String, &DesiredNode)]) -> (Vec<&'n str>, Vec<&'n str>) {
        nodes.iter().map(|(name, _)| name.as_str()).partition(|name| serves(self.statuses.get(*name)))
    }

    /// How many do all that they are for: reads and writes.
    fn whole(&self, nodes: &[(&String, &DesiredNode)]) -> usize {
        nodes.iter().filter(|(name, _)| self.statuses.get(*name).is_some_and(node::serves_whole)).count()
    }

    fn set(&self, to: &mut Vec<Condition>, about: ConditionType, said: Said, generation: Option<i64>) {
        condition::set(to, about, said.verdict, said.reason, said.message, generation, self.now);
    }

    /// The four conditions of a group of nodes.
    fn group(
        &self,
        to: &mut Vec<Condition>,
        nodes: &[(&String, &DesiredNode)],
        (invalid, extra): (Option<&str>, Option<String>),
        generation: Option<i64>,
    ) {
        let (up, down) = self.serving(nodes);
        let pending = self.pending(nodes);
        let refusing: Vec<(&str, (Reason, String))> =
            up.iter().filter_map(|name| Some((*name, self.refusing_writes(name)?))).collect();
        let ready = match (invalid, down.as_slice()) {
            (Some(reason), _) => said(false, Reason::InvalidSpec, reason),
            (None, []) if nodes.is_empty() => {
                said(false, Reason::ReferenceNotFound, "there is no node: apply a StoragePool")
            }
            (None, []) if let Some((_, (reason, _))) = refusing.first() => {
                let each = refusing.iter().map(|(name, (_, why))| format!("{name}: {why}"));
                said(false, *reason, each.collect::<Vec<_>>().join("; "))
            }
            (None, []) => match &pending {
                None => said(true, Reason::AsDeclared, format!("{} of {} nodes serve", up.len(), nodes.len())),
                Some(why) => said(false, Reason::Reconciling, why.as_str()),
            },
            (None, down) => said(false, Reason::NodesNotReady, format!("{} do not serve", down.join(", "))),
        };
        self.set(to, ConditionType::Ready, ready, generation);
        let available = if up.is_empty() {
            said(false, Reason::NoNodeReady, "no node serves")
        } else {
            said(true, Reason::AsDeclared, format!("{} of {} nodes serve", up.len(), nodes.len()))
        };
        self.set(to, ConditionType::Available, available, generation);
        let progressing = match pending {
            _ if self.desired.paused => said(false, Reason::Paused, "spec.pause of the cluster holds everything back"),
            Some(why) => said(true, Reason::Reconciling, why),
            None => said(false, Reason::AsDeclared, "nothing is left to do"),
        };
        self.set(to, ConditionType::Progressing, progressing, generation);
        let troubles: Vec<String> = nodes
            .iter()
            .filter_map(|(name, _)| Some(format!("{name}: {}", self.trouble(name)?.1)))
            .chain(extra)
            .collect();
        let degraded = if troubles.is_empty() {
            said(false, Reason::AsDeclared, "nothing needs attention")
        } else {
            said(true, Reason::NodesNotReady, troubles.join("; "))
        };
        self.set(to, ConditionType::Degraded, degraded, generation);
    }

    /// What is still to be done for these nodes.
    fn pending(&self, nodes: &[(&String, &DesiredNode)]) -> Option<String> {
        let mut waiting = Vec::new();
        for (name, node) in nodes {
            if let Some(held) = self.plan.held.get(*name) {
                waiting.push(held.clone());
                continue;
            }
            let running_as_declared = self.observed.get(*name).is_some_and(
                |seen| matches!(&seen.presence, Presence::Running { fingerprint, .. } if *fingerprint == node.run.fingerprint),
            );
            let confirmed = self.statuses.get(*name).is_some_and(|status| {
                status.policy_generation == node.policy.generation && status.tiers_generation == node.tiers.generation
            });
            if !running_as_declared || !confirmed {
                waiting.push(format!("{name} is brought to what is declared"));
            }
        }
        (!waiting.is_empty()).then(|| waiting.join("; "))
    }

    fn invalid(&self, kind: Kind, name: &str) -> Option<&str> {
        let found = self.desired.invalid.iter().find(|(of, named, _)| *of == kind && named == name);
        found.map(|(_, _, reason)| reason.as_str())
    }

    fn cluster(&self, cluster: &mut StorageCluster, objects: &[Object]) {
        let nodes: Vec<_> = self.desired.nodes.iter().collect();
        let generation = cluster.metadata.generation;
        let pools: Vec<&str> = objects.iter().filter(|one| one.kind() == Kind::StoragePool).map(Object::name).collect();
        let status = cluster.status.get_or_insert_default();
        status.observed_generation = generation;
        status.cluster_id = cluster.metadata.uid.clone();
        status.nodes = Some(format!("{}/{}", self.whole(&nodes), nodes.len()));
        status.endpoints =
            nodes.iter().map(|(name, node)| node.listen(self.observed.get(*name)).kv.to_string()).collect();
        status.pools = Some(count(pools.len() as u64));
        let invalid = pools.iter().find_map(|pool| self.invalid(Kind::StoragePool, pool));
        let other = self.statuses.values().find(|status| status.version != cluster.spec.version);
        let extra = other.map(|other| {
            format!(
                "spec.version is {}, {} runs {}; nodes here run the installed thermocline-node: install that version or declare {}",
                cluster.spec.version, other.node, other.version, other.version
            )
        });
        self.group(&mut status.conditions, &nodes, (invalid, extra), generation);
    }

    fn pool(&self, pool: &mut StoragePool) {
        let name = pool.metadata.name.clone().unwrap_or_default();
        let nodes = self.nodes_of(&name);
        let generation = pool.metadata.generation;
        let status = pool.status.get_or_insert_default();
        status.observed_generation = generation;
        status.replicas =
            Some(count(nodes.iter().filter(|(name, _)| self.observed.contains_key(*name)).count() as u64));
        status.ready_replicas = Some(count(self.whole(&nodes) as u64));
        self.group(&mut status.conditions, &nodes, (self.invalid(Kind::StoragePool, &name), None), generation);
    }
}

struct Said {
    verdict: Verdict,
    reason: Reason,
    message: String,
}

fn said(so: bool, reason: Reason, message: impl Into<String>) -> Said {
    Said { verdict: so.into(), reason, message: message.into() }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests;
