//! StorageCluster: what its pools have in common.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::FieldError;
use crate::names::{ClusterName, name_rule};
use crate::schema::count;

/// What a person declares of a cluster.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "thermocline.dev",
    version = "v1alpha1",
    kind = "StorageCluster",
    plural = "storageclusters",
    shortname = "tc",
    category = "thermocline",
    namespaced,
    status = "StorageClusterStatus",
    derive = "PartialEq",
    doc = "A cluster of storage nodes. Its pools, tiers and policies name it.",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Nodes", type_ = "string", json_path = ".status.nodes"),
    printcolumn(name = "Version", type_ = "string", json_path = ".spec.version"),
    printcolumn(name = "Available", type_ = "string", json_path = ".status.conditions[?(@.type==\"Available\")].status"),
    printcolumn(name = "Degraded", type_ = "string", json_path = ".status.conditions[?(@.type==\"Degraded\")].status"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = name_rule(ClusterName::MAX)
)]
#[serde(rename_all = "camelCase")]
pub struct StorageClusterSpec {
    /// The version of Thermocline that the nodes run, such as `0.1.0`.
    #[schemars(regex(pattern = r"^[0-9]{1,4}\.[0-9]{1,4}\.[0-9]{1,4}(-[0-9A-Za-z.-]{1,32})?$"))]
    pub version: String,
    /// While true nothing is started, stopped or reconfigured; nodes that run go on serving.
    #[serde(default)]
    pub pause: bool,
    /// What a write that names no durability waits for.
    #[serde(default)]
    pub durability: Durability,
    /// The ports on which every node listens, each on its own address.
    #[serde(default)]
    #[x_kube(validation = Rule::new("self.kv != self.admin && self.kv != self.http && self.admin != self.http && self.peer != self.kv && self.peer != self.admin && self.peer != self.http")
        .message("listeners must have different ports: kv, admin, http and peer"))]
    pub listeners: Listeners,
}

/// What a write that names no durability waits for.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// A group fsync: it survives a loss of power.
    Sync,
    /// The write-ahead log in the page cache: it survives the end of the process, not a loss of power.
    #[default]
    Wal,
    /// Memory: written within 5 ms.
    Buffered,
}

/// The ports on which a node listens.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Listeners {
    /// gRPC `thermocline.v1.Kv`, health and reflection.
    #[serde(default = "default_kv")]
    #[schemars(range(min = 1024, max = 65535))]
    pub kv: i32,
    /// gRPC `thermocline.v1.Admin`.
    #[serde(default = "default_admin")]
    #[schemars(range(min = 1024, max = 65535))]
    pub admin: i32,
    /// HTTP: `/metrics`, `/healthz`, `/readyz`.
    #[serde(default = "default_http")]
    #[schemars(range(min = 1024, max = 65535))]
    pub http: i32,
    /// gRPC of the replicas, for the other nodes; of pools with `replication`.
    #[serde(default = "default_peer")]
    #[schemars(range(min = 1024, max = 65535))]
    pub peer: i32,
}

const fn default_kv() -> i32 {
    7400
}

const fn default_admin() -> i32 {
    7401
}

const fn default_http() -> i32 {
    7402
}

const fn default_peer() -> i32 {
    7403
}

impl Default for Listeners {
    fn default() -> Self {
        Self { kv: default_kv(), admin: default_admin(), http: default_http(), peer: default_peer() }
    }
}

/// What is so of a cluster.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct StorageClusterStatus {
    /// The generation of the spec that this status was judged at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The id that the data carries; a cluster of the same name made later has another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_id: Option<String>,
    /// The node on which the cluster began or is to begin; written once, before that node is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub begun_on: Option<String>,
    /// Nodes that serve, of all: `3/3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<String>,
    /// Where clients connect: `address:port` of every node's key-value service.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<String>,
    /// Pools of this cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "count")]
    pub pools: Option<i64>,
    /// Ready, Available, Progressing and Degraded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// A [`StorageClusterSpec`] that can be followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValidatedCluster {
    /// The version that the nodes run.
    pub version: String,
    /// Whether nothing is to be changed.
    pub pause: bool,
    /// What a write that names no durability waits for.
    pub durability: Durability,
    /// Port of the key-value service.
    pub kv_port: u16,
    /// Port of the admin service.
    pub admin_port: u16,
    /// Port of metrics and health.
    pub http_port: u16,
    /// Port of the replicas.
    pub peer_port: u16,
}

impl TryFrom<&StorageClusterSpec> for ValidatedCluster {
    type Error = FieldError;

    fn try_from(spec: &StorageClusterSpec) -> Result<Self, FieldError> {
        let port = |name: &str, port: i32| {
            u16::try_from(port).ok().filter(|port| *port >= 1024).ok_or_else(|| FieldError {
                field: format!("spec.listeners.{name}"),
                message: format!("{port} is not a port: it must be 1024 to 65535"),
            })
        };
        Ok(Self {
            version: spec.version.clone(),
            pause: spec.pause,
            durability: spec.durability,
            kv_port: port("kv", spec.listeners.kv)?,
            admin_port: port("admin", spec.listeners.admin)?,
            http_port: port("http", spec.listeners.http)?,
            peer_port: port("peer", spec.listeners.peer)?,
        })
    }
}
