//! What the nodes should run, from the objects. Pure.
//!
//! Until there are shards a fleet has one cluster with one pool: every pool owns the whole key space. [`refusals`] says so
//! before an object is accepted.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use thermocline_crds::names::PoolName;
use thermocline_crds::v1alpha1::{
    MigrationPolicy, Mode, NodeState, ValidatedCluster, ValidatedPolicy, ValidatedPool, ValidatedReplication,
    ValidatedTier,
};
use thermocline_crds::{Kind, Object, Validated};
use thermocline_node_config::{Listen, NodeConfig, ShardsConfig};
use thermocline_proto::v1;

use crate::home::{NodeRun, Observed, Placement};
use crate::policy_message::policy_message;
use crate::render::{self, NodeSource};
use crate::revision::{self, Memory};

/// What one node should be.
#[derive(Debug, Clone, PartialEq)]
pub struct DesiredNode {
    /// What it is run with.
    pub run: NodeRun,
    /// The pool it belongs to.
    pub pool: String,
    /// The policy it should follow.
    pub policy: v1::Policy,
    /// The settings of its tiers.
    pub tiers: v1::SetTiersRequest,
    /// Who says that a move between nodes begins.
    pub mode: Mode,
    /// How often its pool keeps data; `None`: the node keeps its keys alone.
    pub replication: Option<ValidatedReplication>,
    /// Why it is to give away everything, if it is.
    pub leaving: Option<Leaving>,
}

/// Why a node gives away everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leaving {
    /// `spec.offline` of the node asks for it.
    Offline,
    /// Its pool has become smaller.
    PoolShrank,
}

/// What the fleet should be.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Desired {
    /// Whether nothing is to be changed.
    pub paused: bool,
    /// The nodes that are to run, by name.
    pub nodes: BTreeMap<String, DesiredNode>,
    /// Nodes that have given away everything, as `spec.offline` asks, and do not run.
    pub offline: BTreeSet<String>,
    /// Per pool, the policy in force; none where the defaults are.
    pub policy_of_pool: BTreeMap<String, String>,
    /// Per policy that governs less than it is for: the policies that win over it.
    pub conflicts: BTreeMap<String, Vec<String>>,
    /// Objects that cannot be followed: kind, name, why.
    pub invalid: Vec<(Kind, String, String)>,
    /// Pools that exist and cannot be followed: what their nodes should be is not known, so they stay as they are.
    pub unfollowed: BTreeSet<String>,
}

impl Desired {
    /// Lets those that leave and are empty stop.
    pub fn release(&mut self, is_empty: impl Fn(&str) -> bool) {
        let offline = &mut self.offline;
        self.nodes.retain(|name, node| {
            let stays = node.leaving.is_none() || !is_empty(name);
            if !stays && node.leaving == Some(Leaving::Offline) {
                offline.insert(name.clone());
            }
            stays
        });
    }

    /// Whether nothing asks for a node any more, as far as that is known.
    #[must_use]
    pub fn is_left_over(&self, node: &str) -> bool {
        !self.nodes.contains_key(node) && pool_of(node).is_none_or(|pool| !self.unfollowed.contains(pool))
    }
}

impl DesiredNode {
    /// Where it listens: where it runs, else where it is to.
    #[must_use]
    pub fn listen<'a>(&'a self, observed: Option<&'a Observed>) -> &'a Listen {
        observed.and_then(|seen| seen.listen.as_ref()).unwrap_or(&self.run.config.listen)
    }

    /// What it is run with, at the addresses where it listens now.
    #[must_use]
    pub fn run_as_seen(&self, observed: Option<&Observed>) -> NodeRun {
        let mut run = self.run.clone();
        run.config.listen = self.listen(observed).clone();
        run
    }
}

/// What the objects ask for. Counts new generations in `memory`.
#[must_use]
pub fn desired(objects: &[Object], placement: Placement<'_>, memory: &mut Memory) -> Desired {
    let parts = Parts::of(objects);
    let mut desired = Desired { invalid: parts.invalid.clone(), ..Desired::default() };
    let pools = objects.iter().filter(|object| object.kind() == Kind::StoragePool).map(|pool| pool.name().to_owned());
    desired.unfollowed = pools.collect();
    desired.paused = parts.clusters.values().any(|cluster| cluster.pause);
    for pool in parts.pools.values() {
        let Some(cluster) = parts.clusters.get(pool.cluster.as_str()) else {
            continue;
        };
        match parts.tiers_of(pool) {
            Ok(tiers) => add_pool(&mut desired, &parts, cluster, pool, &tiers, placement, memory),
            Err(missing) => desired.invalid.push((Kind::StoragePool, pool.name.to_string(), missing)),
        }
    }
    desired
}

fn add_pool(
    desired: &mut Desired,
    parts: &Parts<'_>,
    cluster: &ValidatedCluster,
    pool: &ValidatedPool,
    tiers: &[ValidatedTier],
    placement: Placement<'_>,
    memory: &mut Memory,
) {
    let pool_name = pool.name.as_str();
    desired.unfollowed.remove(pool_name);
    let candidates = parts.policies_for(pool);
    let chosen = candidates.first();
    if let Some((name, _)) = chosen {
        desired.policy_of_pool.insert(pool_name.to_owned(), (*name).to_owned());
        for (loser, _) in candidates.iter().skip(1) {
            desired.conflicts.entry((*loser).to_owned()).or_default().push((*name).to_owned());
        }
    }
    let mut policy = render::policy_config(chosen.map(|(_, policy)| *policy), tiers);
    policy.generation = revision::generation(&mut memory.policies, pool_name, format!("{policy:?}"));
    let settings = tiers.iter().map(setting).collect::<Vec<_>>();
    let tiers_generation = revision::generation(&mut memory.tiers, pool_name, format!("{settings:?}"));
    let address = |index: usize| {
        let offset = u32::try_from(index).unwrap_or(u32::MAX);
        Ipv4Addr::from(u32::from(placement.first_address).saturating_add(offset))
    };
    let ranges = match pool.replication {
        Some(_) => vec![(String::new(), String::new()); pool.replicas],
        None => pool.ranges(),
    };
    let cluster_id = parts.uids.get(pool.cluster.as_str());
    let shards = pool.replication.map(|_| ShardsConfig {
        cluster_id: cluster_id.cloned().unwrap_or_default(),
        seeds: (0..pool.replicas).map(|index| format!("{}:{}", address(index), cluster.peer_port)).collect(),
        zone: String::new(),
        advertise: None,
        source: None,
    });
    // Those behind the last one were the pool's before it became smaller, and have data of its shards.
    let whole = (String::new(), String::new());
    let surplus = parts.surplus(pool).into_iter().map(|index| (index, &whole));
    for (index, range) in ranges.iter().enumerate().chain(surplus) {
        let name = node_name(pool_name, index);
        let own = parts.nodes.get(name.as_str()).filter(|_| pool.replication.is_some());
        if own.is_some_and(|own| own.offline && own.is_at_rest) {
            desired.offline.insert(name);
            continue;
        }
        let leaving = match own {
            _ if index >= pool.replicas => Some(Leaving::PoolShrank),
            Some(own) if own.offline => Some(Leaving::Offline),
            _ => None,
        };
        let folder = placement.nodes_folder.join(&name);
        let config = render::node_config(&NodeSource {
            cluster,
            pool,
            tiers,
            policy: &policy,
            name: &name,
            range,
            shards: shards.clone(),
            address: address(index),
            folder: &folder,
        });
        let faster = tiers.iter().take(tiers.len().saturating_sub(1)).map(|tier| tier.name.as_str());
        let node = DesiredNode {
            run: run_of(config),
            pool: pool_name.to_owned(),
            policy: policy_message(chosen.map(|(_, policy)| *policy), faster, policy.generation),
            tiers: v1::SetTiersRequest { generation: tiers_generation, tiers: settings.clone() },
            replication: pool.replication,
            leaving,
            mode: chosen.map_or(Mode::Propose, |(_, policy)| policy.mode),
        };
        desired.nodes.insert(name, node);
    }
}

/// The name of a pool's node.
#[must_use]
pub fn node_name(pool: &str, index: usize) -> String {
    format!("{pool}-{index}")
}

/// The pool that a node is of, by its name.
#[must_use]
pub fn pool_of(node: &str) -> Option<&str> {
    node.rsplit_once('-').map(|(pool, _)| pool)
}

/// What a node with this configuration is run with.
#[must_use]
pub fn run_of(config: NodeConfig) -> NodeRun {
    let fingerprint = fingerprint(&format!("{:?}", render::fixed_part(&config)));
    NodeRun { name: config.node.clone(), config, fingerprint }
}

/// FNV-1a: stable over releases, and no secret depends on it.
fn fingerprint(text: &str) -> String {
    let hash = text
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    format!("{hash:016x}")
}

fn setting(tier: &ValidatedTier) -> v1::TierSetting {
    v1::TierSetting {
        name: tier.name.to_string(),
        size_bytes: tier.size.bytes(),
        high_watermark: f64::from(tier.high_percent) / 100.0,
        low_watermark: f64::from(tier.low_percent) / 100.0,
        throttle_bytes_per_second: tier.throttle.map_or(0, |throttle| throttle.bytes()),
    }
}

/// The objects, parsed and by name.
struct Parts<'a> {
    clusters: BTreeMap<&'a str, ValidatedCluster>,
    /// Of each cluster the object's uid: a cluster of the same name made later has another.
    uids: BTreeMap<&'a str, String>,
    tiers: BTreeMap<&'a str, ValidatedTier>,
    pools: BTreeMap<&'a str, ValidatedPool>,
    policies: Vec<(&'a MigrationPolicy, ValidatedPolicy)>,
    nodes: BTreeMap<&'a str, OwnNode>,
    invalid: Vec<(Kind, String, String)>,
}

/// A node that has an object.
struct OwnNode {
    pool: PoolName,
    offline: bool,
    /// Its status says that it was emptied.
    is_at_rest: bool,
}

impl<'a> Parts<'a> {
    fn of(objects: &'a [Object]) -> Self {
        let mut parts = Self {
            clusters: BTreeMap::new(),
            uids: BTreeMap::new(),
            tiers: BTreeMap::new(),
            pools: BTreeMap::new(),
            policies: Vec::new(),
            nodes: BTreeMap::new(),
            invalid: Vec::new(),
        };
        for object in objects {
            match (object.validated(), object) {
                (Ok(Validated::StorageCluster(cluster)), _) => {
                    parts.clusters.insert(object.name(), cluster);
                    parts.uids.insert(object.name(), object.metadata().uid.clone().unwrap_or_default());
                }
                (Ok(Validated::StorageTier(tier)), _) => {
                    parts.tiers.insert(object.name(), *tier);
                }
                (Ok(Validated::StoragePool(pool)), _) => {
                    parts.pools.insert(object.name(), pool);
                }
                (Ok(Validated::MigrationPolicy(policy)), Object::MigrationPolicy(raw)) => {
                    parts.policies.push((raw, policy));
                }
                (Ok(Validated::StorageNode(node)), Object::StorageNode(raw)) => {
                    let is_at_rest = raw.status.as_ref().is_some_and(|status| status.state == NodeState::Offline);
                    let node = OwnNode { pool: node.pool, offline: node.offline, is_at_rest };
                    parts.nodes.insert(object.name(), node);
                }
                (Ok(_), _) => {}
                (Err(error), _) => {
                    parts.invalid.push((object.kind(), object.name().to_owned(), error.to_string()));
                }
            }
        }
        parts
    }

    /// Why not so many nodes of a pool can be offline.
    fn too_few_stay(&self, pool: &ValidatedPool) -> Option<String> {
        let names: Vec<String> = (0..pool.replicas).map(|index| node_name(pool.name.as_str(), index)).collect();
        let is_offline = |name: &&String| self.nodes.get(name.as_str()).is_some_and(|node| node.offline);
        let offline: Vec<&str> = names.iter().filter(is_offline).map(String::as_str).collect();
        let first = offline.first()?;
        let Some(replication) = pool.replication else {
            return Some(format!(
                "{first} cannot be offline: its pool has no replication, so nobody can take its keys"
            ));
        };
        let (needed, stay) = (replication.data + usize::from(replication.witness), names.len() - offline.len());
        (stay < needed).then(|| {
            format!(
                "{} cannot be offline: a shard of {} needs {needed} nodes, and {stay} of {} would stay; give the pool more `replicas` first",
                offline.join(" and "),
                pool.name,
                names.len()
            )
        })
    }

    /// The numbers of nodes that a pool with replication had before it became smaller.
    fn surplus(&self, pool: &ValidatedPool) -> Vec<usize> {
        let of_pool = self.nodes.iter().filter(|(_, node)| pool.replication.is_some() && node.pool == pool.name);
        let numbers = of_pool.filter_map(|(name, _)| name.rsplit_once('-')?.1.parse().ok());
        numbers.filter(|number| *number >= pool.replicas).collect()
    }

    /// The tiers of a pool, fastest first, each with the size that holds in it.
    fn tiers_of(&self, pool: &ValidatedPool) -> Result<Vec<ValidatedTier>, String> {
        let mut tiers = Vec::with_capacity(pool.tiers.len());
        for (name, size) in &pool.tiers {
            let tier = self.tiers.get(name.as_str()).filter(|tier| tier.cluster == pool.cluster);
            let mut tier = tier.cloned().ok_or_else(|| format!("there is no StorageTier {name}; apply it"))?;
            tier.size = size.unwrap_or(tier.size);
            tiers.push(tier);
        }
        tiers.sort_by_key(|tier| tier.rank);
        Ok(tiers)
    }

    /// The policies for a pool, the one that governs it first: what names it beats what is for all, then the oldest wins.
    fn policies_for(&self, pool: &ValidatedPool) -> Vec<(&'a str, &ValidatedPolicy)> {
        let mut found: Vec<_> = self
            .policies
            .iter()
            .filter(|(_, policy)| {
                policy.cluster == pool.cluster && (policy.pools.is_empty() || policy.pools.contains(&pool.name))
            })
            .collect();
        found.sort_by_key(|(raw, policy)| {
            let born = raw.metadata.creation_timestamp.as_ref().map(|time| time.0);
            (policy.pools.is_empty(), born, raw.metadata.name.clone())
        });
        found.into_iter().map(|(raw, policy)| (raw.metadata.name.as_deref().unwrap_or_default(), policy)).collect()
    }
}

/// Why a fleet without shards cannot take these objects, beyond what the schemas say.
#[must_use]
pub fn refusals(objects: &[Object]) -> Vec<String> {
    let named =
        |kind: Kind| objects.iter().filter(|object| object.kind() == kind).map(Object::name).collect::<Vec<_>>();
    let (clusters, pools) = (named(Kind::StorageCluster), named(Kind::StoragePool));
    let mut refused = Vec::new();
    if clusters.len() > 1 {
        refused.push(format!(
            "a fleet holds one StorageCluster, these are {}: give the other a fleet of its own (--home DIR)",
            clusters.join(", ")
        ));
    }
    if pools.len() > 1 {
        refused.push(format!(
            "a cluster has one StoragePool until ranges can move, for each owns every key; these are {}",
            pools.join(", ")
        ));
    }
    let parts = Parts::of(objects);
    refused.extend(parts.pools.values().filter_map(|pool| parts.too_few_stay(pool)));
    refused
}

/// Fields that are legal and have no effect outside Kubernetes, to be told to whoever applies them.
#[must_use]
pub fn ignored(object: &Object) -> Vec<String> {
    let metadata = object.metadata();
    let mut fields = Vec::new();
    if metadata.namespace.is_some() {
        fields.push("metadata.namespace");
    }
    if metadata.finalizers.as_ref().is_some_and(|all| !all.is_empty()) {
        fields.push("metadata.finalizers");
    }
    if metadata.owner_references.as_ref().is_some_and(|all| !all.is_empty()) {
        fields.push("metadata.ownerReferences");
    }
    let told = |field: &&str| format!("{}/{}: {field} is ignored outside Kubernetes", object.kind(), object.name());
    fields.iter().map(told).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
#[path = "desired_test.rs"]
mod tests;
