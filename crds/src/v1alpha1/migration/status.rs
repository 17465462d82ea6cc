//! What is so of a move.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema::count;

/// How far a move is.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MigrationPhase {
    /// Not begun: the condition Progressing says what it waits for.
    #[default]
    Pending,
    /// The planner proposes it, and a person has to approve it.
    Proposed,
    /// It may begin, and waits for its turn.
    Approved,
    /// Under way.
    Running,
    /// Waiting by request.
    Paused,
    /// Everything was copied, and is compared.
    Verifying,
    /// Everything is in place, and nothing is left where it was.
    Completed,
    /// Ended by request.
    Cancelled,
    /// Never begun: nobody approved it in time, or what it was for is no longer so.
    Expired,
    /// Ended without reaching its goal.
    Failed,
}

impl MigrationPhase {
    /// Whether nothing follows.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Cancelled | Self::Expired | Self::Failed)
    }
}

/// A figure before a move and after it.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Effect {
    /// Which figure, such as DiskPercent.
    pub figure: String,
    /// Of which node; of the shard if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// What it was when the move was planned.
    pub before: f64,
    /// What it is to be after it.
    pub after: f64,
}

/// What a move will take and do.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Forecast {
    /// Bytes that it moves.
    #[schemars(schema_with = "count")]
    pub bytes: i64,
    /// Milliseconds that it takes.
    #[schemars(schema_with = "count")]
    pub milliseconds: i64,
    /// What it is to change.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub effects: Vec<Effect>,
}

/// An expected effect and what came of it.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct EffectOutcome {
    /// Which figure.
    pub figure: String,
    /// Of which node; of the shard if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// What was forecast.
    pub predicted: f64,
    /// What was measured; absent where it cannot be told any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actual: Option<f64>,
}

/// What a move took and did, to be held against its forecast.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct MigrationResult {
    /// Bytes that it moved.
    #[schemars(schema_with = "count")]
    pub bytes: i64,
    /// Milliseconds that it took.
    #[schemars(schema_with = "count")]
    pub milliseconds: i64,
    /// Predicted against actual.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub effects: Vec<EffectOutcome>,
}

/// What a shard was like when its move was planned; the move begins only while it still is.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Planned {
    /// How often its range had changed.
    #[schemars(schema_with = "count")]
    pub epoch: i64,
    /// The entry of its log that its members were last changed by.
    #[schemars(schema_with = "count")]
    pub members_changed_at: i64,
    /// The replica that goes, where one goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "count")]
    pub replica: Option<i64>,
}

/// What is so of a move.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct MigrationStatus {
    /// The generation of the spec that this status was judged at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// How far it is.
    #[serde(default)]
    pub phase: MigrationPhase,
    /// Of a hundred parts, how many are done; never over 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub progress: Option<i32>,
    /// Bytes moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "count")]
    pub bytes_moved: Option<i64>,
    /// How it ended, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// What the shard was like when the move was planned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub planned: Option<Planned>,
    /// What the planner expects of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forecast: Option<Box<Forecast>>,
    /// What came of the forecast.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Box<MigrationResult>>,
    /// When it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Time>,
    /// Progressing and Complete.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}
