//! StorageNode: one node with its folders or volumes, made for a pool rather than by a person.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{FieldError, field};
use crate::names::{ClusterName, NodeName, PoolName, name_rule};
use crate::schema::{cluster_name, count, immutable, pool_name};

/// What is declared of a node.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[kube(
    group = "thermocline.dev",
    version = "v1alpha1",
    kind = "StorageNode",
    plural = "storagenodes",
    shortname = "tcn",
    category = "thermocline",
    namespaced,
    status = "StorageNodeStatus",
    derive = "PartialEq",
    selectable = ".spec.cluster",
    selectable = ".spec.pool",
    doc = "One node of a pool. Made from its pool; not written by hand.",
    printcolumn(name = "Pool", type_ = "string", json_path = ".spec.pool"),
    printcolumn(name = "State", type_ = "string", json_path = ".status.state"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Address", type_ = "string", json_path = ".status.kvAddress"),
    printcolumn(name = "Replicas", type_ = "integer", json_path = ".status.replicas"),
    printcolumn(name = "Restarts", type_ = "integer", json_path = ".status.restarts"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = name_rule(NodeName::MAX)
)]
#[serde(rename_all = "camelCase")]
pub struct StorageNodeSpec {
    /// The cluster it belongs to. Cannot be changed.
    #[schemars(schema_with = "cluster_name")]
    #[x_kube(validation = immutable("cluster"))]
    pub cluster: String,
    /// The pool it belongs to. Cannot be changed.
    #[schemars(schema_with = "pool_name")]
    #[x_kube(validation = immutable("pool"))]
    pub pool: String,
    /// The keys it owns; all of them by default. Cannot be changed: data does not follow.
    #[serde(default)]
    #[x_kube(validation = immutable("range"))]
    pub range: NodeRange,
    /// Whether the node is to give away everything and then stay stopped. Taken back, it stops giving away, or is started again. Has
    /// no effect where the pool has no `replication`.
    #[serde(default)]
    pub offline: bool,
}

/// A half-open range of keys; an empty bound is none.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.start == '' || self.end == '' || self.start < self.end")
    .message("start must be before end; an empty bound is none"))]
pub struct NodeRange {
    /// The first key, inclusive; empty means from the beginning.
    #[serde(default)]
    #[schemars(length(max = 4096))]
    pub start: String,
    /// The end, exclusive; empty means to the end.
    #[serde(default)]
    #[schemars(length(max = 4096))]
    pub end: String,
}

/// What a node is doing.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NodeState {
    /// Not started yet.
    #[default]
    Pending,
    /// Started, does not serve yet.
    Starting,
    /// Serves.
    Ready,
    /// Runs but refuses or does not answer.
    NotReady,
    /// Does not run.
    Stopped,
    /// Serves, and gives away what it holds: `offline` asks for it, or its pool has become smaller.
    Draining,
    /// Is empty and does not run, as `offline` asks.
    Offline,
}

/// One tier on a node.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct NodeTierStatus {
    /// The tier.
    pub name: String,
    /// What it may hold.
    #[schemars(schema_with = "count")]
    pub capacity_bytes: i64,
    /// What it holds.
    #[schemars(schema_with = "count")]
    pub used_bytes: i64,
    /// Its keys, estimated.
    #[schemars(schema_with = "count")]
    pub keys: i64,
}

/// What is so of a node.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct StorageNodeStatus {
    /// The generation of the spec that this status was judged at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// What it is doing.
    #[serde(default)]
    pub state: NodeState,
    /// `address:port` of its key-value service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kv_address: Option<String>,
    /// `address:port` of its admin service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admin_address: Option<String>,
    /// `address:port` of its metrics and health.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_address: Option<String>,
    /// Times its process was started again after it ended by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "count")]
    pub restarts: Option<i64>,
    /// Replicas of shards that are on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "count")]
    pub replicas: Option<i64>,
    /// The version that it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Its tiers, fastest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub tiers: Vec<NodeTierStatus>,
    /// Ready, Progressing and Degraded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// A [`StorageNodeSpec`] that can be followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValidatedNode {
    /// The cluster it belongs to.
    pub cluster: ClusterName,
    /// The pool it belongs to.
    pub pool: PoolName,
    /// The keys it owns.
    pub range: NodeRange,
    /// Whether it is to be empty and stopped.
    pub offline: bool,
}

impl TryFrom<&StorageNodeSpec> for ValidatedNode {
    type Error = FieldError;

    fn try_from(spec: &StorageNodeSpec) -> Result<Self, FieldError> {
        Ok(Self {
            cluster: field("spec.cluster", &spec.cluster)?,
            pool: field("spec.pool", &spec.pool)?,
            range: spec.range.clone(),
            offline: spec.offline,
        })
    }
}
