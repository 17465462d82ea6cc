//! MigrationPolicy: when data moves between media, and who says that it moves between nodes.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{FieldError, field, sized};
use crate::names::{ClusterName, PolicyName, PoolName, TierName, name_rule, pattern};
use crate::quantity::ByteSize;
use crate::schema::{byte_size, cluster_name, immutable, pool_names, time_span};
use crate::time_span::TimeSpan;

/// What a person declares of a policy.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "thermocline.dev",
    version = "v1alpha1",
    kind = "MigrationPolicy",
    plural = "migrationpolicies",
    shortname = "tcmp",
    category = "thermocline",
    namespaced,
    status = "MigrationPolicyStatus",
    derive = "PartialEq",
    selectable = ".spec.cluster",
    doc = "When data moves between media. Of several policies over one pool the one that names it wins, then the oldest; the others say Conflict. Without a policy a cluster tiers by the defaults and only proposes moves between nodes.",
    printcolumn(name = "Cluster", type_ = "string", json_path = ".spec.cluster"),
    printcolumn(name = "Mode", type_ = "string", json_path = ".spec.mode"),
    printcolumn(name = "Tiering", type_ = "string", json_path = ".spec.tiering"),
    printcolumn(name = "Interval", type_ = "string", json_path = ".spec.evaluationInterval"),
    printcolumn(name = "InForce", type_ = "string", json_path = ".status.conditions[?(@.type==\"InForce\")].status"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = name_rule(PolicyName::MAX)
)]
#[serde(rename_all = "camelCase")]
pub struct MigrationPolicySpec {
    /// The cluster whose data it moves. Cannot be changed.
    #[schemars(schema_with = "cluster_name")]
    #[x_kube(validation = immutable("cluster"))]
    pub cluster: String,
    /// The pools it is for; all of the cluster if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "pool_names")]
    pub pools: Vec<String>,
    /// Who says that a move between nodes begins, of pools with `replication`; without a policy Propose. Copies that are
    /// missing (moves of priority Critical) are made anew at once, whatever it says.
    #[serde(default)]
    pub mode: Mode,
    /// Whether the nodes move data between media. Paused, they make no space either: the fastest tier fills with what is
    /// written, and once its device is under its reserve writes are refused.
    #[serde(default)]
    pub tiering: Tiering,
    /// What earns a key its place in a tier, by the tier's name. The slowest tier takes the rest and must not be named.
    /// Without it the fastest takes what is read more than 1000 times a day and was read within the hour, the next what is
    /// read more than 100 times a day and was read within the day.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "temperatures")]
    pub temperatures: BTreeMap<String, Temperature>,
    /// How often data is classified, at least a second.
    #[serde(default = "default_evaluation_interval")]
    #[schemars(schema_with = "time_span")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1s')").message("evaluationInterval must be at least 1s"))]
    pub evaluation_interval: String,
    /// A key moves up at so many times the rate at which it moves down, so that one on the edge stays where it is.
    #[serde(default = "default_hysteresis")]
    #[schemars(range(min = 1.0, max = 100.0))]
    pub hysteresis: f64,
    /// Data stays at least so long where it was moved to.
    #[serde(default = "default_min_residency")]
    #[schemars(schema_with = "time_span")]
    pub min_residency: String,
    /// What moves between media may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budget>,
}

fn default_evaluation_interval() -> String {
    "1h".to_owned()
}

const fn default_hysteresis() -> f64 {
    2.0
}

fn default_min_residency() -> String {
    "10m".to_owned()
}

/// Schema of a map from tiers' names: a map cannot bound its keys by pattern, so a rule does.
fn temperatures(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
    let value = generator.subschema_for::<Temperature>();
    schemars::json_schema!({
        "type": "object",
        "additionalProperties": value,
        "maxProperties": 3,
        "x-kubernetes-validations": [{
            "rule": format!("self.all(tier, tier.matches('{}'))", pattern(TierName::MAX)),
            "message": "temperatures must be given by the names of StorageTiers",
        }],
    })
}

/// Who says that a move between nodes begins.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// The planner.
    Auto,
    /// A person, for each: the planner's proposals are Migrations that wait for `approved: true`, and expire after an hour. What
    /// restores lost copies or empties a node that is to go, and splits, which move nothing, do not wait.
    #[default]
    Propose,
    /// Nobody: nothing is proposed but what would not wait for approval either. What a person asks for is done.
    Paused,
}

/// Whether the nodes move data between media.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tiering {
    /// They do.
    #[default]
    Auto,
    /// They do not, over a high watermark neither: the fastest tier fills with what is written, and once its device is
    /// under its reserve writes are refused.
    Paused,
}

/// What earns a key its place in a tier.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.readWithin) || duration(self.readWithin) <= duration(self.per)").message("readWithin must not be longer than per"))]
pub struct Temperature {
    /// Read more often than this ...
    #[schemars(range(min = 0.0, max = 1_000_000_000.0))]
    pub reads: f64,
    /// ... in this long, such as `24h` ...
    #[serde(default = "default_per")]
    #[schemars(schema_with = "time_span")]
    pub per: String,
    /// ... and read within this long, such as `1h`.
    #[schemars(schema_with = "time_span")]
    pub read_within: String,
}

fn default_per() -> String {
    "24h".to_owned()
}

/// What moves between media may use.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Budget {
    /// Bytes a second on every node, such as `64Mi`; at least `1Ki`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "byte_size")]
    pub bytes_per_second: Option<String>,
}

/// What is so of a policy.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct MigrationPolicyStatus {
    /// The generation of the spec that this status was judged at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The pools it governs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pools: Vec<String>,
    /// InForce.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// A [`Temperature`] that can be followed.
#[derive(Debug, Clone, PartialEq)]
pub struct ValidatedTemperature {
    /// Read more often than this ...
    pub reads: f64,
    /// ... in this long ...
    pub per: TimeSpan,
    /// ... and read within this long.
    pub read_within: TimeSpan,
}

/// A [`MigrationPolicySpec`] that can be followed.
#[derive(Debug, Clone, PartialEq)]
pub struct ValidatedPolicy {
    /// The cluster whose data it moves.
    pub cluster: ClusterName,
    /// The pools it is for; all if empty.
    pub pools: Vec<PoolName>,
    /// Who says that a move between nodes begins.
    pub mode: Mode,
    /// Whether the nodes move data between media.
    pub tiering: Tiering,
    /// What earns a key its place, by tier.
    pub temperatures: BTreeMap<TierName, ValidatedTemperature>,
    /// How often data is classified.
    pub evaluation_interval: TimeSpan,
    /// How many times the rate of moving down moves up.
    pub hysteresis: f64,
    /// How long data stays where it was moved to.
    pub min_residency: TimeSpan,
    /// Bytes a second on every node.
    pub bytes_per_second: Option<ByteSize>,
}

impl TryFrom<&MigrationPolicySpec> for ValidatedPolicy {
    type Error = FieldError;

    fn try_from(spec: &MigrationPolicySpec) -> Result<Self, FieldError> {
        let mut temperatures = BTreeMap::new();
        for (tier, temperature) in &spec.temperatures {
            let path = format!("spec.temperatures.{tier}");
            let parsed = ValidatedTemperature {
                reads: temperature.reads,
                per: field(&format!("{path}.per"), &temperature.per)?,
                read_within: field(&format!("{path}.readWithin"), &temperature.read_within)?,
            };
            temperatures.insert(field(&path, tier)?, parsed);
        }
        let pools = spec.pools.iter().enumerate().map(|(index, pool)| field(&format!("spec.pools[{index}]"), pool));
        let budget = spec.budget.as_ref().and_then(|budget| budget.bytes_per_second.as_ref());
        Ok(Self {
            cluster: field("spec.cluster", &spec.cluster)?,
            pools: pools.collect::<Result<_, _>>()?,
            mode: spec.mode,
            tiering: spec.tiering,
            temperatures,
            evaluation_interval: field("spec.evaluationInterval", &spec.evaluation_interval)?,
            hysteresis: spec.hysteresis,
            min_residency: field("spec.minResidency", &spec.min_residency)?,
            bytes_per_second: budget.map(|text| sized("spec.budget.bytesPerSecond", text, "1Ki", None)).transpose()?,
        })
    }
}
