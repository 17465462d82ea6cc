//! StoragePool: a group of like nodes of one cluster.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::storage_tier::LEAST_SIZE;
use super::{FieldError, field, sized};
use crate::names::{ClusterName, PoolName, TierName, name_rule};
use crate::quantity::ByteSize;
use crate::schema::{byte_size, cluster_name, count, immutable, tier_name};

/// The annotation of a StoragePool that says where the key space is cut between its nodes.
///
/// One key less than there are nodes, separated by commas, in ascending order: with `split-points: "g,p"` the first of three
/// nodes owns every key before `g`, the second those from `g` up to `p`, the third the rest. It cannot be changed while the
/// pool exists, because data does not follow. Without it the cuts are spread evenly over the digits and lower-case letters.
pub const SPLIT_POINTS_ANNOTATION: &str = "thermocline.dev/split-points";

/// First characters of keys, over which the cuts are spread where none are declared.
const DEFAULT_ALPHABET: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";

/// The log of a smaller shard would weigh more than what it holds.
const LEAST_SHARD_SIZE: &str = "1Mi";

/// A node with less could not hold the write buffers and caches of its tiers.
const LEAST_MEMORY: &str = "64Mi";

/// What a person declares of a pool.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "thermocline.dev",
    version = "v1alpha1",
    kind = "StoragePool",
    plural = "storagepools",
    shortname = "tcp",
    category = "thermocline",
    namespaced,
    status = "StoragePoolStatus",
    derive = "PartialEq",
    selectable = ".spec.cluster",
    doc = "A group of like nodes of one cluster. With `replication` they hold the cluster's shards together, each shard on several of them. Without it every node owns a fixed range of the keys alone; the annotation thermocline.dev/split-points (keys separated by commas, one less than nodes, ascending) says where the key space is cut.",
    printcolumn(name = "Cluster", type_ = "string", json_path = ".spec.cluster"),
    printcolumn(name = "Replicas", type_ = "integer", json_path = ".spec.replicas"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = name_rule(PoolName::MAX)
)]
#[x_kube(validation = Rule::new("has(self.replication) == has(oldSelf.replication)")
    .message("replication cannot be added or taken away: data does not follow; create another pool"))]
#[x_kube(validation = Rule::new("has(self.replication) || self.replicas == oldSelf.replicas")
    .message("replicas cannot be changed without replication: every node owns a fixed range alone"))]
#[x_kube(validation = Rule::new("!has(self.replication) || self.replicas >= self.replication.data + (self.replication.witness ? 1 : 0)")
    .message("there are too few nodes for the replication: no two replicas of a shard are on one node"))]
#[serde(rename_all = "camelCase")]
pub struct StoragePoolSpec {
    /// The cluster it belongs to. Cannot be changed.
    #[schemars(schema_with = "cluster_name")]
    #[x_kube(validation = immutable("cluster"))]
    pub cluster: String,
    /// Nodes of the pool. With `replication` it can be changed: new nodes are given replicas, and the last ones are emptied before
    /// they go, for which there must be room on the others. Without, every node owns a fixed range, and it stays as it is.
    #[serde(default = "default_replicas")]
    #[schemars(range(min = 1, max = 32))]
    pub replicas: i32,
    /// How often data is kept. Without it every node keeps its keys alone. It can be changed, not added or taken away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replication: Option<Replication>,
    /// The tiers of every node, 1 to 4, by name; their ranks give the order. A tier can be added, and one that holds
    /// nothing can be taken away.
    #[schemars(length(min = 1, max = 4))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub tiers: Vec<PoolTier>,
    /// What every node may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
}

const fn default_replicas() -> i32 {
    3
}

/// How often the data of a pool's shards is kept, each copy on another node.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.data in [1, 2, 3, 5]")
    .message("data must be 1, 2, 3 or 5: with 4 no more failures are survived than with 3"))]
#[x_kube(validation = Rule::new("self.witness == (self.data == 2)")
    .message("2 data replicas need a witness, so that one of them can be lost; 1, 3 and 5 have none"))]
pub struct Replication {
    /// Replicas that hold the data: 1, 2, 3 or 5.
    #[serde(default = "default_data")]
    pub data: i32,
    /// Whether one more votes and holds the end of the log alone; with 2 data replicas.
    #[serde(default = "default_witness")]
    pub witness: bool,
    /// What a shard should hold, at least `1Mi`; by default 4Gi. One over twice of it is split, whatever a policy's mode:
    /// nothing leaves its node by that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "byte_size")]
    pub shard_size: Option<String>,
}

const fn default_data() -> i32 {
    2
}

const fn default_witness() -> bool {
    true
}

/// A tier of every node of the pool.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PoolTier {
    /// The name of a StorageTier of the same cluster.
    #[schemars(schema_with = "tier_name")]
    pub name: String,
    /// What the tier may hold on a node of this pool; by default the tier's own size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "byte_size")]
    pub size: Option<String>,
}

/// What a node may use.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Resources {
    /// Upper limits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<ResourceLimits>,
}

/// Upper limits of a node.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ResourceLimits {
    /// Memory, at least `64Mi`; caches and write buffers are scaled to it. By default the limit of its control group, or the machine's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "byte_size")]
    pub memory: Option<String>,
}

/// What is so of a pool.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct StoragePoolStatus {
    /// The generation of the spec that this status was judged at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Nodes that exist.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "count")]
    pub replicas: Option<i64>,
    /// Nodes that serve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "count")]
    pub ready_replicas: Option<i64>,
    /// Ready, Available, Progressing and Degraded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// Split points that cut nothing sensible.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SplitPointsError {
    /// Not one less than nodes.
    #[error("{SPLIT_POINTS_ANNOTATION} has {found} keys, but {replicas} nodes need {}", .replicas - 1)]
    Count {
        /// How many keys it has.
        found: usize,
        /// How many nodes there are.
        replicas: usize,
    },
    /// An empty key, or one that is not greater than the one before it.
    #[error("{SPLIT_POINTS_ANNOTATION} has {key:?} at position {position}: keys must not be empty and must ascend")]
    Order {
        /// The key.
        key: String,
        /// Its place, from 1.
        position: usize,
    },
}

/// A [`StoragePool`] that can be followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValidatedPool {
    /// Its name.
    pub name: PoolName,
    /// The cluster it belongs to.
    pub cluster: ClusterName,
    /// How many nodes.
    pub replicas: usize,
    /// Its tiers as written, each with the size that holds in this pool if it differs.
    pub tiers: Vec<(TierName, Option<ByteSize>)>,
    /// Memory of a node.
    pub memory_limit: Option<ByteSize>,
    /// How often data is kept; `None`: every node owns a range alone.
    pub replication: Option<ValidatedReplication>,
    /// Where the key space is cut: one key less than nodes, ascending. Without replication alone.
    pub split_points: Vec<String>,
}

/// How often data is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ValidatedReplication {
    /// Replicas with the data.
    pub data: usize,
    /// Whether there is a witness.
    pub witness: bool,
    /// What a shard should hold, where that is declared.
    pub shard_size: Option<ByteSize>,
}

impl TryFrom<(&Replication, usize)> for ValidatedReplication {
    type Error = FieldError;

    fn try_from((replication, nodes): (&Replication, usize)) -> Result<Self, FieldError> {
        let Replication { data, witness, ref shard_size } = *replication;
        let refuse = |message: String| FieldError { field: "spec.replication".to_owned(), message };
        let known = usize::try_from(data).ok().filter(|data| [1, 2, 3, 5].contains(data));
        let data = known.ok_or_else(|| refuse(format!("data is {data}: it must be 1, 2, 3 or 5")))?;
        if witness != (data == 2) {
            return Err(refuse("2 data replicas need a witness; 1, 3 and 5 have none".to_owned()));
        }
        let needed = data + usize::from(witness);
        if nodes < needed {
            return Err(refuse(format!("it needs {needed} nodes, and spec.replicas is {nodes}")));
        }
        let size = |text: &String| sized("spec.replication.shardSize", text, LEAST_SHARD_SIZE, None);
        Ok(Self { data, witness, shard_size: shard_size.as_ref().map(size).transpose()? })
    }
}

impl ValidatedPool {
    /// The range that each node owns, in order: start inclusive, end exclusive, empty means unbounded.
    #[must_use]
    pub fn ranges(&self) -> Vec<(String, String)> {
        let starts = std::iter::once(String::new()).chain(self.split_points.iter().cloned());
        let ends = self.split_points.iter().cloned().chain(std::iter::once(String::new()));
        starts.zip(ends).collect()
    }
}

/// The declared cuts of a pool, or the default ones.
fn split_points(declared: Option<&str>, replicas: usize) -> Result<Vec<String>, SplitPointsError> {
    let Some(declared) = declared else {
        let cut = |node: usize| DEFAULT_ALPHABET.get(node * DEFAULT_ALPHABET.len() / replicas);
        return Ok((1..replicas).filter_map(cut).map(|byte| char::from(*byte).to_string()).collect());
    };
    let keys: Vec<String> =
        if declared.is_empty() { Vec::new() } else { declared.split(',').map(str::to_owned).collect() };
    if keys.len() + 1 != replicas {
        return Err(SplitPointsError::Count { found: keys.len(), replicas });
    }
    let mut before = "";
    for (index, key) in keys.iter().enumerate() {
        if key.as_str() <= before {
            return Err(SplitPointsError::Order { key: key.clone(), position: index + 1 });
        }
        before = key;
    }
    Ok(keys)
}

impl TryFrom<&StoragePool> for ValidatedPool {
    type Error = FieldError;

    fn try_from(pool: &StoragePool) -> Result<Self, FieldError> {
        let spec = &pool.spec;
        let replicas =
            usize::try_from(spec.replicas).ok().filter(|count| (1..=32).contains(count)).ok_or_else(|| FieldError {
                field: "spec.replicas".to_owned(),
                message: format!("{} is not a number of nodes: it must be 1 to 32", spec.replicas),
            })?;
        let mut tiers = Vec::new();
        for (index, tier) in spec.tiers.iter().enumerate() {
            let path = format!("spec.tiers[{index}]");
            tiers.push((
                field(&format!("{path}.name"), &tier.name)?,
                tier.size.as_ref().map(|text| sized(&format!("{path}.size"), text, LEAST_SIZE, None)).transpose()?,
            ));
        }
        let memory = spec
            .resources
            .as_ref()
            .and_then(|resources| resources.limits.as_ref())
            .and_then(|limits| limits.memory.as_ref());
        let declared =
            pool.metadata.annotations.as_ref().and_then(|all| all.get(SPLIT_POINTS_ANNOTATION)).map(String::as_str);
        Ok(Self {
            name: field("metadata.name", pool.metadata.name.as_deref().unwrap_or_default())?,
            cluster: field("spec.cluster", &spec.cluster)?,
            replicas,
            tiers,
            replication: spec
                .replication
                .as_ref()
                .map(|replication| ValidatedReplication::try_from((replication, replicas)))
                .transpose()?,
            memory_limit: memory
                .map(|text| sized("spec.resources.limits.memory", text, LEAST_MEMORY, None))
                .transpose()?,
            split_points: split_points(declared, replicas)
                .map_err(|error| FieldError { field: "metadata.annotations".to_owned(), message: error.to_string() })?,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn declared_split_points_must_be_one_less_than_nodes_and_ascend() {
        assert_eq!(split_points(Some("g,p"), 3).unwrap(), ["g", "p"]);
        assert_eq!(split_points(Some(""), 1).unwrap(), Vec::<String>::new());
        assert!(split_points(Some("g"), 3).unwrap_err().to_string().contains("3 nodes need 2"));
        assert!(split_points(Some("p,g"), 3).unwrap_err().to_string().contains("ascend"));
        assert!(split_points(Some("g,g"), 3).unwrap_err().to_string().contains("position 2"));
        assert!(split_points(Some(",g"), 3).unwrap_err().to_string().contains("position 1"));
    }

    proptest! {
        #[test]
        fn the_ranges_of_the_nodes_cover_every_key_once(replicas in 1_usize..=32, key in "[ -~]{0,8}") {
            let pool = ValidatedPool {
                name: "p".parse().unwrap(), cluster: "c".parse().unwrap(), replicas, tiers: Vec::new(), memory_limit: None,
                replication: None,
                split_points: split_points(None, replicas).unwrap(),
            };
            let owners = pool.ranges().iter().filter(|(start, end)| start.as_str() <= key.as_str() && (end.is_empty() || key.as_str() < end.as_str())).count();
            prop_assert_eq!(pool.ranges().len(), replicas);
            prop_assert_eq!(owners, 1);
        }
    }
}
