//! The six kinds of `thermocline.dev/v1alpha1`, one per module.
//!
//! Contract: a raw spec is what a person wrote with the schema's defaults filled in; the `Validated*` type next to it holds
//! the same with every text parsed, reached by `TryFrom` and by nothing else. A field is here only if it works.

use crate::quantity::ByteSize;

mod engine_profile;
mod migration;
mod migration_policy;
mod storage_cluster;
mod storage_node;
mod storage_pool;
mod storage_tier;

pub use engine_profile::{Compression, EngineProfile, LevelCompression, ValidatedProfile};
pub use migration::{
    Desired, Effect, EffectOutcome, Forecast, KeyRange, MADE_BY_LABEL, Migration, MigrationKind, MigrationPhase,
    MigrationPriority, MigrationReason, MigrationResult, MigrationSpec, MigrationStatus, Move, PLANNER, Planned,
    RangeError, ReplicaRole, ValidatedKeyRange, ValidatedMigration, key_fields,
};
pub use migration_policy::{
    Budget, MigrationPolicy, MigrationPolicySpec, MigrationPolicyStatus, Mode, Temperature, Tiering, ValidatedPolicy,
    ValidatedTemperature,
};
pub use storage_cluster::{
    Durability, Listeners, StorageCluster, StorageClusterSpec, StorageClusterStatus, ValidatedCluster,
};
pub use storage_node::{
    NodeRange, NodeState, NodeTierStatus, StorageNode, StorageNodeSpec, StorageNodeStatus, ValidatedNode,
};
pub use storage_pool::{
    PoolTier, Replication, ResourceLimits, Resources, SPLIT_POINTS_ANNOTATION, SplitPointsError, StoragePool,
    StoragePoolSpec, StoragePoolStatus, ValidatedPool, ValidatedReplication,
};
pub use storage_tier::{
    Medium, Objective, StorageTier, StorageTierSpec, StorageTierStatus, TierInPool, ValidatedTier, Watermarks,
};

/// The group of every kind.
pub const GROUP: &str = "thermocline.dev";
/// The version of every kind.
pub const VERSION: &str = "v1alpha1";
/// What a manifest writes as `apiVersion`.
pub const API_VERSION: &str = "thermocline.dev/v1alpha1";

/// A field whose text cannot be parsed; the schema refuses the same texts earlier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct FieldError {
    /// The path of the field, such as `spec.size`.
    pub field: String,
    /// What was found and what is allowed.
    pub message: String,
}

/// Parses the text of one field.
pub(crate) fn field<T>(path: &str, text: &str) -> Result<T, FieldError>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|error: T::Err| FieldError { field: path.to_owned(), message: error.to_string() })
}

/// Parses the text of a field that may be absent.
pub(crate) fn optional<T>(path: &str, text: Option<&String>) -> Result<Option<T>, FieldError>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    text.map(|text| field(path, text)).transpose()
}

/// Parses a size and holds it to bounds.
///
/// The node has the same bounds; here they are refused before anything is started. A rule cannot say them: Kubernetes'
/// comparison of quantities is not part of CEL itself.
pub(crate) fn sized(path: &str, text: &str, least: &str, most: Option<&str>) -> Result<ByteSize, FieldError> {
    let size: ByteSize = field(path, text)?;
    let bound = |text: &str| field::<ByteSize>(path, text);
    let refuse = |allowed: String| FieldError {
        field: path.to_owned(),
        message: format!("{text} is not allowed: it must be {allowed}"),
    };
    if size < bound(least)? {
        return Err(refuse(format!("at least {least}")));
    }
    match most {
        Some(most) if size > bound(most)? => Err(refuse(format!("at most {most}"))),
        _ => Ok(size),
    }
}
