//! What is told in the objects' status. Pure: the same view twice gives the same status, so that nothing is written.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use thermocline_crds::condition::{self, ConditionType, Verdict};
use thermocline_crds::reasons::Reason;
use thermocline_crds::v1alpha1::{
    Migration, MigrationPhase, MigrationPolicy, NodeRange, NodeState, NodeTierStatus, StorageCluster, StorageNode,
    StorageNodeSpec, StoragePool, StorageTier, TierInPool, ValidatedTier,
};
use thermocline_crds::{Kind, Object};
use thermocline_proto::v1;

use crate::desired::{Desired, DesiredNode};
use crate::home::{Observed, Presence};
use crate::migration::Step;
use crate::reconcile::{Plan, serves};

const GIB: f64 = (1_u64 << 30) as f64;
/// Ends in a row after which a node is said to loop.
const LOOPING: u32 = 3;

/// Everything that statuses are made of.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// What should be.
    pub desired: &'a Desired,
    /// What the home sees.
    pub observed: &'a BTreeMap<String, Observed>,
    /// What the nodes say.
    pub statuses: &'a BTreeMap<String, v1::NodeStatus>,
    /// What is to be done and what is held back.
    pub plan: &'a Plan,
    /// How far migrations are that are not over.
    pub migrations: &'a BTreeMap<String, Step>,
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
        let ready = match (invalid, down.as_slice()) {
            (Some(reason), _) => said(false, Reason::InvalidSpec, reason),
            (None, []) if nodes.is_empty() => {
                said(false, Reason::ReferenceNotFound, "there is no node: apply a StoragePool")
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
        let troubles: Vec<String> = nodes.iter().filter_map(|(name, _)| self.trouble(name)).chain(extra).collect();
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

    /// What needs attention about a node.
    fn trouble(&self, name: &str) -> Option<String> {
        if let Some(status) = self.statuses.get(name) {
            return match status.health() {
                v1::Health::Serving | v1::Health::Draining | v1::Health::Unspecified => None,
                v1::Health::ReadOnly | v1::Health::NotServing => Some(format!("{name}: {}", status.health_reason)),
            };
        }
        match self.observed.get(name).map(|node| &node.presence) {
            Some(Presence::Absent { ended: Some(ended) }) if !ended.asked => Some(format!("{name}: {}", ended.reason)),
            _ => None,
        }
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
        status.nodes = Some(format!("{}/{}", self.serving(&nodes).0.len(), nodes.len()));
        status.endpoints = nodes.iter().map(|(_, node)| node.run.config.listen.kv.to_string()).collect();
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
        status.ready_replicas = Some(count(self.serving(&nodes).0.len() as u64));
        self.group(&mut status.conditions, &nodes, (self.invalid(Kind::StoragePool, &name), None), generation);
    }

    fn node(&self, node: &mut StorageNode) {
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

    fn tier(&self, tier: &mut StorageTier) {
        let generation = tier.metadata.generation;
        let Ok(valid) = ValidatedTier::try_from(&*tier) else {
            return;
        };
        let mut pools: BTreeMap<&str, Vec<&v1::TierStatus>> = BTreeMap::new();
        let mut reads: BTreeMap<&str, u64> = BTreeMap::new();
        let mut under_reserve = Vec::new();
        for (name, node) in &self.desired.nodes {
            let Some(told) = self.statuses.get(name) else {
                continue;
            };
            *reads.entry(&node.pool).or_default() += told.tiers.iter().map(|tier| tier.reads).sum::<u64>();
            if let Some(own) = told.tiers.iter().find(|one| one.name == valid.name.as_str()) {
                pools.entry(&node.pool).or_default().push(own);
                if own.under_reserve {
                    under_reserve.push(name.as_str());
                }
            }
        }
        let status = tier.status.get_or_insert_default();
        status.observed_generation = generation;
        if !pools.is_empty() {
            let told =
                pools.iter().map(|(pool, tiers)| in_pool(pool, tiers, reads.get(pool).copied().unwrap_or(0), &valid));
            status.pools = told.collect();
        }
        let used_by = self
            .desired
            .nodes
            .values()
            .any(|node| node.tiers.tiers.iter().any(|setting| setting.name == valid.name.as_str()));
        let slow = valid.read_p99.and_then(|objective| {
            let slowest = status.pools.iter().filter_map(|pool| pool.read_p99_microseconds).max()?;
            (i128::from(slowest) > i128::try_from(objective.as_duration().as_micros()).ok()?)
                .then(|| format!("reads take up to {slowest} us (p99), the objective is {objective}"))
        });
        let ready = if !used_by {
            said(false, Reason::Waiting, "no pool names it")
        } else if pools.is_empty() {
            said(false, Reason::NoNodeReady, "no node that has it answers")
        } else {
            said(true, Reason::AsDeclared, slow.unwrap_or_else(|| "nodes use it".to_owned()))
        };
        self.set(&mut status.conditions, ConditionType::Ready, ready, generation);
        let media = if under_reserve.is_empty() {
            said(false, Reason::AsDeclared, "no device reports errors or is under its reserve")
        } else {
            said(
                true,
                Reason::MediaErrors,
                format!("under the reserve on {}: writes are refused until space returns", under_reserve.join(", ")),
            )
        };
        self.set(&mut status.conditions, ConditionType::MediaDegraded, media, generation);
    }

    fn policy(&self, policy: &mut MigrationPolicy) {
        let name = policy.metadata.name.clone().unwrap_or_default();
        let generation = policy.metadata.generation;
        let pools: Vec<&String> =
            self.desired.policy_of_pool.iter().filter(|(_, by)| **by == name).map(|(pool, _)| pool).collect();
        let status = policy.status.get_or_insert_default();
        status.observed_generation = generation;
        status.pools = pools.iter().map(|pool| (*pool).clone()).collect();
        let governed = self.desired.nodes.iter().filter(|(_, node)| pools.contains(&&node.pool));
        let waiting: Vec<&str> = governed
            .filter(|(name, node)| {
                self.statuses.get(*name).is_none_or(|status| status.policy_generation != node.policy.generation)
            })
            .map(|(name, _)| name.as_str())
            .collect();
        let verdict = match (self.desired.conflicts.get(&name), pools.as_slice(), waiting.as_slice()) {
            (Some(winners), [], _) => {
                said(false, Reason::Conflict, format!("{} governs its pools", winners.join(", ")))
            }
            (None, [], _) => said(false, Reason::ReferenceNotFound, "there is no pool yet"),
            (_, _, []) => said(true, Reason::InForce, "every node follows it"),
            (_, _, _) if self.desired.paused => said(false, Reason::Paused, "spec.pause of the cluster holds it back"),
            (_, _, waiting) => {
                said(false, Reason::Reconciling, format!("{} have not confirmed it", waiting.join(", ")))
            }
        };
        self.set(&mut status.conditions, ConditionType::InForce, verdict, generation);
    }

    fn migration(&self, migration: &mut Migration) {
        let name = migration.metadata.name.clone().unwrap_or_default();
        let generation = migration.metadata.generation;
        let Some(step) = self.migrations.get(&name) else {
            return;
        };
        let status = migration.status.get_or_insert_default();
        status.observed_generation = generation;
        status.phase = step.phase;
        status.progress = Some(step.progress.max(status.progress.unwrap_or(0)));
        status.bytes_moved = Some(count(step.bytes).max(status.bytes_moved.unwrap_or(0)));
        status.outcome = step.outcome.clone();
        let words = step.outcome.clone().unwrap_or_else(|| format!("{} of 100 parts are done", step.progress));
        let (moving, complete) = match step.phase {
            MigrationPhase::Pending => {
                (said(false, Reason::Waiting, words.clone()), said(false, Reason::Waiting, words))
            }
            MigrationPhase::Running => (said(true, Reason::Moving, words.clone()), said(false, Reason::Moving, words)),
            MigrationPhase::Paused => {
                (said(false, Reason::PausedByRequest, words.clone()), said(false, Reason::PausedByRequest, words))
            }
            MigrationPhase::Completed => {
                (said(false, Reason::Completed, words.clone()), said(true, Reason::Completed, words))
            }
            MigrationPhase::Cancelled => {
                (said(false, Reason::Cancelled, words.clone()), said(false, Reason::Cancelled, words))
            }
            MigrationPhase::Failed => (said(false, Reason::Failed, words.clone()), said(false, Reason::Failed, words)),
        };
        self.set(&mut status.conditions, ConditionType::Progressing, moving, generation);
        self.set(&mut status.conditions, ConditionType::Complete, complete, generation);
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

fn node_tier(tier: &v1::TierStatus) -> NodeTierStatus {
    NodeTierStatus {
        name: tier.name.clone(),
        capacity_bytes: count(tier.capacity_bytes),
        used_bytes: count(tier.used_bytes),
        keys: count(tier.keys),
    }
}

fn in_pool(pool: &str, tiers: &[&v1::TierStatus], reads: u64, valid: &ValidatedTier) -> TierInPool {
    let sum = |of: fn(&v1::TierStatus) -> u64| tiers.iter().map(|tier| of(tier)).sum::<u64>();
    let used = sum(|tier| tier.used_bytes);
    let own = sum(|tier| tier.reads);
    let p99 = tiers.iter().map(|tier| tier.read_p99_nanos).max().unwrap_or(0);
    TierInPool {
        pool: pool.to_owned(),
        capacity_bytes: count(sum(|tier| tier.capacity_bytes)),
        used_bytes: count(used),
        keys: count(sum(|tier| tier.keys)),
        read_share_percent: (reads > 0).then(|| ((own as f64 / reads as f64) * 1000.0).round() / 10.0),
        read_p99_microseconds: (p99 > 0).then(|| count(p99 / 1000)),
        cost_per_month: Some(((used as f64 / GIB) * valid.cost_per_gib_month * 10_000.0).round() / 10_000.0),
    }
}

/// Whether a change of status is told at once: conditions, states and everything else that is no figure.
#[must_use]
pub fn is_urgent(old: &Object, new: &Object) -> bool {
    without_figures(old) != without_figures(new)
}

/// Whether a figure moved by 5 % or more.
#[must_use]
pub fn is_material(old: &Object, new: &Object) -> bool {
    let (old, new) = (figures(old), figures(new));
    old.len() != new.len() || old.iter().zip(&new).any(|(old, new)| (old - new).abs() > 0.05 * old.abs().max(new.abs()))
}

fn figures(object: &Object) -> Vec<f64> {
    let count = |number: i64| number as f64;
    match object {
        Object::StorageNode(node) => node
            .status
            .iter()
            .flat_map(|status| &status.tiers)
            .flat_map(|tier| [count(tier.capacity_bytes), count(tier.used_bytes), count(tier.keys)])
            .collect(),
        Object::StorageTier(tier) => tier
            .status
            .iter()
            .flat_map(|status| &status.pools)
            .flat_map(|pool| {
                [
                    count(pool.capacity_bytes),
                    count(pool.used_bytes),
                    count(pool.keys),
                    pool.read_share_percent.unwrap_or(0.0),
                    pool.read_p99_microseconds.map_or(0.0, count),
                ]
            })
            .collect(),
        _ => Vec::new(),
    }
}

fn without_figures(object: &Object) -> Object {
    let mut object = object.clone();
    match &mut object {
        Object::StorageNode(node) => {
            for tier in node.status.iter_mut().flat_map(|status| &mut status.tiers) {
                (tier.capacity_bytes, tier.used_bytes, tier.keys) = (0, 0, 0);
            }
        }
        Object::StorageTier(tier) => {
            for pool in tier.status.iter_mut().flat_map(|status| &mut status.pools) {
                *pool = TierInPool {
                    pool: pool.pool.clone(),
                    capacity_bytes: 0,
                    used_bytes: 0,
                    keys: 0,
                    read_share_percent: None,
                    read_p99_microseconds: None,
                    cost_per_month: None,
                };
            }
        }
        _ => {}
    }
    object
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
#[path = "status_test.rs"]
mod tests;
