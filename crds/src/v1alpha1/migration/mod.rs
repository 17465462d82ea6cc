//! Migration: one move, that a person asks for or that the planner proposes.

mod key_range;
mod status;
mod validated;

use kube::core::Rule;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use key_range::{KeyRange, RangeError, ValidatedKeyRange, key_fields};
pub use status::{Effect, EffectOutcome, Forecast, MigrationPhase, MigrationResult, MigrationStatus, Planned};
pub use validated::{Move, ValidatedMigration};

use crate::names::{MigrationName, name_rule};
use crate::schema::{byte_size, cluster_name, count, immutable, node_name, tier_name};
use key_range::base64_bytes;

/// The label of Migrations that the planner made, with [`PLANNER`] as its value: they may need approval, expire, and are
/// removed some time after they have ended.
pub const MADE_BY_LABEL: &str = "thermocline.dev/made-by";
/// The value of [`MADE_BY_LABEL`].
pub const PLANNER: &str = "planner";

/// What is to move.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[kube(
    group = "thermocline.dev",
    version = "v1alpha1",
    kind = "Migration",
    plural = "migrations",
    shortname = "tcm",
    category = "thermocline",
    namespaced,
    status = "MigrationStatus",
    derive = "PartialEq",
    selectable = ".spec.cluster",
    doc = "One move: of a range of keys between media, or of a shard between nodes. Deleting one that runs cancels it.",
    printcolumn(name = "Kind", type_ = "string", json_path = ".spec.kind"),
    printcolumn(name = "Shard", type_ = "integer", json_path = ".spec.shard"),
    printcolumn(name = "From", type_ = "string", json_path = ".spec.from"),
    printcolumn(name = "To", type_ = "string", json_path = ".spec.to"),
    printcolumn(name = "Tier", type_ = "string", json_path = ".spec.toTier"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Progress", type_ = "integer", json_path = ".status.progress"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".spec.reason"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Cluster", type_ = "string", json_path = ".spec.cluster", priority = 1),
    validation = name_rule(MigrationName::MAX)
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = by_kind("(self.kind == 'ChangeTier') == has(self.range)")
    .message("range must be given for ChangeTier and for no other kind: the others name a shard"))]
#[x_kube(validation = by_kind("(self.kind == 'ChangeTier') == has(self.toTier)")
    .message("toTier must be given for ChangeTier and for no other kind"))]
#[x_kube(validation = by_kind("(self.kind != 'ChangeTier') == has(self.shard)")
    .message("shard must be given for every kind but ChangeTier, which moves a range"))]
#[x_kube(validation = by_kind("self.kind == 'TransferLeader' || (self.kind in ['MoveReplica', 'RemoveReplica']) == has(self.from)")
    .message("from must be given for MoveReplica and RemoveReplica, and may be for TransferLeader; no other kind has it"))]
#[x_kube(validation = by_kind("(self.kind in ['MoveReplica', 'AddReplica', 'TransferLeader']) == has(self.to)")
    .message("to must be given for MoveReplica, AddReplica and TransferLeader and for no other kind"))]
#[x_kube(validation = by_kind("self.kind == 'AddReplica' || !has(self.role)")
    .message("role is for AddReplica alone: a replica that moves keeps its role"))]
#[x_kube(validation = by_kind("self.kind == 'SplitShard' || !(has(self.at) || has(self.atBase64))")
    .message("at and atBase64 are for SplitShard alone"))]
#[x_kube(validation = Rule::new("!(has(self.at) && has(self.atBase64))")
    .message("the key must be given as text (at) or in Base64 (atBase64), not both"))]
#[x_kube(validation = by_kind("!(self.kind in ['SplitShard', 'MergeShards']) || !has(self.shard) || self.shard != 0")
    .message("shard 0 keeps the index of shards and can be neither split nor merged: choose another"))]
#[x_kube(validation = by_kind("self.kind in ['ChangeTier', 'MoveReplica', 'AddReplica'] || !has(self.bytesPerSecond)")
    .message("bytesPerSecond is for kinds that copy data: ChangeTier, MoveReplica and AddReplica"))]
#[x_kube(validation = Rule::new("has(self.from) == has(oldSelf.from) && has(self.role) == has(oldSelf.role) && has(self.at) == has(oldSelf.at) && has(self.atBase64) == has(oldSelf.atBase64)")
    .message("from, role, at and atBase64 cannot be added or taken away: create another Migration"))]
pub struct MigrationSpec {
    /// The cluster whose data moves. Cannot be changed.
    #[schemars(schema_with = "cluster_name")]
    #[x_kube(validation = immutable("cluster"))]
    pub cluster: String,
    /// What kind of move. Cannot be changed.
    #[x_kube(validation = immutable("kind"))]
    pub kind: MigrationKind,
    /// Of ChangeTier: which keys move. Cannot be changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = immutable("range"))]
    pub range: Option<KeyRange>,
    /// Of ChangeTier: the tier that they move to. Cannot be changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "tier_name")]
    #[x_kube(validation = immutable("toTier"))]
    pub to_tier: Option<String>,
    /// Of every other kind: the number of the shard. Cannot be changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "count")]
    #[x_kube(validation = immutable("shard"))]
    pub shard: Option<i64>,
    /// The node whose replica goes; of TransferLeader the node that leads, whichever that is if absent. Cannot be changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "node_name")]
    #[x_kube(validation = immutable("from"))]
    pub from: Option<String>,
    /// The node that gets a replica; of TransferLeader the node that is to lead. Cannot be changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "node_name")]
    #[x_kube(validation = immutable("to"))]
    pub to: Option<String>,
    /// Of AddReplica: what the new replica does; Data if absent. Cannot be changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = immutable("role"))]
    pub role: Option<ReplicaRole>,
    /// Of SplitShard: the first key of the new shard; a key in the middle if absent. Cannot be changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    #[x_kube(validation = immutable("at"))]
    pub at: Option<String>,
    /// As `at`, in Base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "base64_bytes")]
    #[x_kube(validation = immutable("atBase64"))]
    pub at_base64: Option<String>,
    /// How urgent it is: what is more urgent begins first. Cannot be changed.
    #[serde(default)]
    #[x_kube(validation = immutable("priority"))]
    pub priority: MigrationPriority,
    /// Why. What a person asks for is Manual, and begins as soon as it can; for other reasons it begins only while they hold.
    /// Cannot be changed.
    #[serde(default)]
    #[x_kube(validation = immutable("reason"))]
    pub reason: MigrationReason,
    /// Of what the planner proposes: whether it may begin. What a person asks for needs no approval. It cannot be taken back.
    #[serde(default)]
    #[x_kube(validation = Rule::new("self || !oldSelf")
        .message("approved cannot be taken back: set desired to Cancel to end the move"))]
    pub approved: bool,
    /// Whether it is to run, wait or end. Cancel is final. Between nodes it is refused once the members of the shard have
    /// changed: what the move then has left to do is done.
    #[serde(default)]
    #[x_kube(validation = Rule::new("oldSelf != 'Cancel' || self == 'Cancel'")
        .message("desired cannot leave Cancel: create another Migration to move it after all"))]
    pub desired: Desired,
    /// Bytes a second on every node, at least `1Ki`, under the policy's budget; that budget alone if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "byte_size")]
    pub bytes_per_second: Option<String>,
}

/// What kind of move.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum MigrationKind {
    /// A range moves to another medium on the nodes that own it.
    ChangeTier,
    /// A replica of a shard moves to another node.
    MoveReplica,
    /// A shard gets a replica more.
    AddReplica,
    /// A replica of a shard goes.
    RemoveReplica,
    /// Another node leads a shard.
    TransferLeader,
    /// A shard becomes two.
    SplitShard,
    /// A shard and the one behind it become one, the first one. Both must be on the same nodes.
    MergeShards,
}

/// What a replica does.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReplicaRole {
    /// It stores the shard.
    #[default]
    Data,
    /// It votes, and stores nothing.
    Witness,
}

/// How urgent a move is.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MigrationPriority {
    /// Data has fewer copies than it should.
    Critical,
    /// A node is about to fail its users.
    High,
    /// It makes the fleet better.
    #[default]
    Normal,
    /// It saves something.
    Low,
}

/// Why something moves.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MigrationReason {
    /// A node's processors or devices are over the policy's share.
    NodeOverload,
    /// A tier of a node is over the policy's share.
    DiskFull,
    /// A shard is read so much that more nodes should serve it.
    HotDataReplication,
    /// Cold data fills a fast tier.
    ColdDataArchive,
    /// A leader is far from those who ask it.
    NetworkOptimization,
    /// A node is gone.
    NodeFailure,
    /// Nodes differ too much, a shard is too large or too busy, or has too few members or too many.
    Rebalance,
    /// A node is being emptied.
    Drain,
    /// A person asked for it.
    #[default]
    Manual,
}

/// Whether a move is to run.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Desired {
    /// It runs.
    #[default]
    Run,
    /// It waits; what has moved stays moved.
    Pause,
    /// It ends; between media what has moved stays moved, between nodes what was begun is undone.
    Cancel,
}

/// A rule over what hangs on the kind; where that is missing, it alone is told.
fn by_kind(rule: &str) -> Rule {
    Rule::new(format!("!has(self.kind) || ({rule})"))
}

impl Migration {
    /// Whether the planner made it.
    #[must_use]
    pub fn is_planner_made(&self) -> bool {
        let label = self.metadata.labels.as_ref().and_then(|labels| labels.get(MADE_BY_LABEL));
        label.is_some_and(|by| by == PLANNER)
    }
}
