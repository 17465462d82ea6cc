//! StorageTier: one kind of medium of a cluster, its place in the order, and how the engine uses it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::engine_profile::{EngineProfile, ValidatedProfile};
use super::{FieldError, field, optional, sized};
use crate::names::{ClusterName, TierName, name_rule};
use crate::quantity::ByteSize;
use crate::schema::{byte_size, cluster_name, count, immutable, time_span};
use crate::time_span::TimeSpan;

/// A smaller tier could not hold its write buffers and one compaction.
pub(super) const LEAST_SIZE: &str = "8Mi";

/// What a person declares of a tier.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "thermocline.dev",
    version = "v1alpha1",
    kind = "StorageTier",
    plural = "storagetiers",
    shortname = "tct",
    category = "thermocline",
    namespaced,
    status = "StorageTierStatus",
    derive = "PartialEq",
    selectable = ".spec.cluster",
    doc = "A tier of a cluster: a medium, its place in the order of speed, its size on every node and how the engine uses it.",
    printcolumn(name = "Cluster", type_ = "string", json_path = ".spec.cluster"),
    printcolumn(name = "Rank", type_ = "integer", json_path = ".spec.rank"),
    printcolumn(name = "Medium", type_ = "string", json_path = ".spec.medium"),
    printcolumn(name = "Size", type_ = "string", json_path = ".spec.size"),
    printcolumn(name = "Throttle", type_ = "string", json_path = ".spec.throttle", priority = "1"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = name_rule(TierName::MAX)
)]
#[serde(rename_all = "camelCase")]
pub struct StorageTierSpec {
    /// The cluster it belongs to. Cannot be changed.
    #[schemars(schema_with = "cluster_name")]
    #[x_kube(validation = immutable("cluster"))]
    pub cluster: String,
    /// Its place in the order: smaller is faster. Leave gaps (0, 10, 20) so that a tier fits in between. Cannot be changed.
    #[schemars(range(min = 0, max = 1000))]
    #[x_kube(validation = immutable("rank"))]
    pub rank: i32,
    /// What it is made of; gives the defaults of `profile` and of `costPerGiBMonth`.
    pub medium: Medium,
    /// What it may hold on every node, such as `1Gi` and at least `8Mi`; a pool can say otherwise. The file system's size bounds it too.
    #[schemars(schema_with = "byte_size")]
    pub size: String,
    /// Kept free on the device: under it writes are refused. By default 5 % of the size, at most 1 GiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "byte_size")]
    pub reserve: Option<String>,
    /// When data moves down for lack of space.
    #[serde(default)]
    #[x_kube(validation = Rule::new("self.lowPercent < self.highPercent")
        .message("watermarks.lowPercent must be less than watermarks.highPercent"))]
    pub watermarks: Watermarks,
    /// Emulates a slower medium: reads and writes of this tier are held to so many bytes a second, such as `60Mi`
    /// and at least `4Ki`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "byte_size")]
    pub throttle: Option<String>,
    /// What the tier is meant to reach; reports compare with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objective: Option<Objective>,
    /// What a GiB costs a month, in any currency; used to compare. By default 0.30 for NVMe, 0.10 for SSD, 0.02 for HDD.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "costPerGiBMonth")]
    #[schemars(range(min = 0.0, max = 1_000_000.0))]
    pub cost_per_gib_month: Option<f64>,
    /// Fields of the engine profile that differ from the medium's defaults.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<EngineProfile>,
}

/// What a tier is made of.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Medium {
    /// Flash on PCIe.
    #[serde(rename = "NVMe")]
    Nvme,
    /// Flash on SATA, SAS or the network.
    #[serde(rename = "SSD")]
    Ssd,
    /// A rotating disk.
    #[serde(rename = "HDD")]
    Hdd,
}

impl Medium {
    /// As manifests and a node's configuration write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Nvme => "NVMe",
            Self::Ssd => "SSD",
            Self::Hdd => "HDD",
        }
    }

    /// What a GiB costs a month where the tier does not say.
    #[must_use]
    pub const fn default_cost_per_gib_month(self) -> f64 {
        match self {
            Self::Nvme => 0.30,
            Self::Ssd => 0.10,
            Self::Hdd => 0.02,
        }
    }
}

/// Percentages of a tier's capacity between which data moves down.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Watermarks {
    /// Over this percentage of its capacity data moves down; at most 99.
    #[serde(default = "default_high")]
    #[schemars(range(max = 99))]
    pub high_percent: i32,
    /// Down to this percentage; at least 1.
    #[serde(default = "default_low")]
    #[schemars(range(min = 1))]
    pub low_percent: i32,
}

const fn default_high() -> i32 {
    85
}

const fn default_low() -> i32 {
    75
}

impl Default for Watermarks {
    fn default() -> Self {
        Self { high_percent: default_high(), low_percent: default_low() }
    }
}

/// What a tier is meant to reach.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Objective {
    /// Of a hundred reads that the tier serves, 99 take no longer, such as `5ms`.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "readP99")]
    #[schemars(schema_with = "time_span")]
    pub read_p99: Option<String>,
}

/// A tier in one pool.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct TierInPool {
    /// The pool.
    pub pool: String,
    /// What it may hold on all nodes of the pool.
    #[schemars(schema_with = "count")]
    pub capacity_bytes: i64,
    /// What it holds.
    #[schemars(schema_with = "count")]
    pub used_bytes: i64,
    /// Its keys, estimated.
    #[schemars(schema_with = "count")]
    pub keys: i64,
    /// Of a hundred reads, how many it serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_share_percent: Option<f64>,
    /// What 99 of a hundred of its reads do not exceed, in microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "count")]
    pub read_p99_microseconds: Option<i64>,
    /// What its bytes cost a month.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_per_month: Option<f64>,
}

/// What is so of a tier.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct StorageTierStatus {
    /// The generation of the spec that this status was judged at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The tier in each pool that names it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["pool".into()]))]
    pub pools: Vec<TierInPool>,
    /// Ready and MediaDegraded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// A [`StorageTier`] that can be followed.
#[derive(Debug, Clone, PartialEq)]
pub struct ValidatedTier {
    /// Its name.
    pub name: TierName,
    /// The cluster it belongs to.
    pub cluster: ClusterName,
    /// Its place in the order.
    pub rank: u32,
    /// What it is made of.
    pub medium: Medium,
    /// What it may hold on a node.
    pub size: ByteSize,
    /// Kept free on the device.
    pub reserve: Option<ByteSize>,
    /// Over this percentage data moves down.
    pub high_percent: u32,
    /// Down to this percentage.
    pub low_percent: u32,
    /// Bytes a second it is held to.
    pub throttle: Option<ByteSize>,
    /// What 99 of a hundred reads are not to exceed.
    pub read_p99: Option<TimeSpan>,
    /// What a GiB costs a month, declared or by its medium.
    pub cost_per_gib_month: f64,
    /// What differs from the medium's engine profile.
    pub profile: ValidatedProfile,
}

impl TryFrom<&StorageTier> for ValidatedTier {
    type Error = FieldError;

    fn try_from(tier: &StorageTier) -> Result<Self, FieldError> {
        let spec = &tier.spec;
        let number = |path: &str, value: i32, most: u32| {
            u32::try_from(value).ok().filter(|value| *value <= most).ok_or_else(|| FieldError {
                field: path.to_owned(),
                message: format!("{value} is not allowed: it must be 0 to {most}"),
            })
        };
        let read_p99 = spec.objective.as_ref().and_then(|objective| objective.read_p99.as_ref());
        let (high, low) = (
            number("spec.watermarks.highPercent", spec.watermarks.high_percent, 99)?,
            number("spec.watermarks.lowPercent", spec.watermarks.low_percent, 98)?,
        );
        if low >= high {
            return Err(FieldError {
                field: "spec.watermarks".to_owned(),
                message: format!("lowPercent {low} must be less than highPercent {high}"),
            });
        }
        let size = sized("spec.size", &spec.size, LEAST_SIZE, None)?;
        let reserve: Option<ByteSize> = optional("spec.reserve", spec.reserve.as_ref())?;
        if reserve.is_some_and(|reserve| reserve >= size) {
            return Err(FieldError {
                field: "spec.reserve".to_owned(),
                message: format!("leaves nothing of the tier: it must be less than its size, {size}"),
            });
        }
        Ok(Self {
            name: field("metadata.name", tier.metadata.name.as_deref().unwrap_or_default())?,
            cluster: field("spec.cluster", &spec.cluster)?,
            rank: number("spec.rank", spec.rank, 1000)?,
            medium: spec.medium,
            size,
            reserve,
            high_percent: high,
            low_percent: low,
            throttle: spec.throttle.as_ref().map(|text| sized("spec.throttle", text, "4Ki", None)).transpose()?,
            read_p99: optional("spec.objective.readP99", read_p99)?,
            cost_per_gib_month: spec.cost_per_gib_month.unwrap_or_else(|| spec.medium.default_cost_per_gib_month()),
            profile: spec.profile.as_ref().map(ValidatedProfile::try_from).transpose()?.unwrap_or_default(),
        })
    }
}
