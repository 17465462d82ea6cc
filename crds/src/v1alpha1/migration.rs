//! Migration: one move that a person asks for.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{FieldError, field, sized};
use crate::names::{ClusterName, MigrationName, TierName, name_rule};
use crate::quantity::ByteSize;
use crate::schema::{byte_size, cluster_name, count, immutable, tier_name};

/// What a person asks for.
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
    doc = "One move of a range of keys. Deleting one that runs cancels it.",
    printcolumn(name = "Cluster", type_ = "string", json_path = ".spec.cluster"),
    printcolumn(name = "Kind", type_ = "string", json_path = ".spec.kind"),
    printcolumn(name = "To", type_ = "string", json_path = ".spec.toTier"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Progress", type_ = "integer", json_path = ".status.progress"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = name_rule(MigrationName::MAX)
)]
#[serde(rename_all = "camelCase")]
pub struct MigrationSpec {
    /// The cluster whose data moves. Cannot be changed.
    #[schemars(schema_with = "cluster_name")]
    #[x_kube(validation = immutable("cluster"))]
    pub cluster: String,
    /// What kind of move. Cannot be changed.
    pub kind: MigrationKind,
    /// Which keys move. Cannot be changed.
    #[x_kube(validation = immutable("range"))]
    pub range: KeyRange,
    /// The tier that they move to. Cannot be changed.
    #[schemars(schema_with = "tier_name")]
    #[x_kube(validation = immutable("toTier"))]
    pub to_tier: String,
    /// Whether it is to run, wait or end. Cancel is final.
    #[serde(default)]
    #[x_kube(validation = Rule::new("oldSelf != 'Cancel' || self == 'Cancel'")
        .message("desired cannot leave Cancel: create another Migration to move the range after all"))]
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
}

/// Whether a move is to run.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Desired {
    /// It runs.
    #[default]
    Run,
    /// It waits; what has moved stays moved.
    Pause,
    /// It ends; what has moved stays moved.
    Cancel,
}

/// A range of keys: a prefix, or from a start to an end. The fields that end in `Base64` are for keys that are not text.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.prefix), has(self.prefixBase64), has(self.start) || has(self.startBase64) || has(self.end) || has(self.endBase64)].filter(form, form).size() == 1")
    .message("range must be exactly one of prefix, prefixBase64, or start and end (at least one of them; an empty prefix means every key)"))]
#[x_kube(validation = Rule::new("!(has(self.start) && has(self.startBase64)) && !(has(self.end) && has(self.endBase64))")
    .message("a bound of the range must be given as text or in Base64, not both"))]
#[x_kube(validation = Rule::new("!has(self.start) || !has(self.end) || self.start < self.end")
    .message("start must be before end"))]
pub struct KeyRange {
    /// Every key that begins so; empty means every key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub prefix: Option<String>,
    /// As `prefix`, in Base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "base64_bytes")]
    pub prefix_base64: Option<String>,
    /// The first key, inclusive; from the beginning if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub start: Option<String>,
    /// As `start`, in Base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "base64_bytes")]
    pub start_base64: Option<String>,
    /// The end, exclusive; to the end if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub end: Option<String>,
    /// As `end`, in Base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "base64_bytes")]
    pub end_base64: Option<String>,
}

/// Schema of bytes in Base64, enough for the longest key.
fn base64_bytes(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "string",
        "maxLength": 5464,
        "pattern": "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{4}|[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)$",
    })
}

/// How far a move is.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MigrationPhase {
    /// Not begun.
    #[default]
    Pending,
    /// Under way.
    Running,
    /// Waiting by request.
    Paused,
    /// Everything is in place.
    Completed,
    /// Ended by request.
    Cancelled,
    /// Ended without reaching its goal.
    Failed,
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
    /// Progressing and Complete.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// A range that names no keys.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    /// Not Base64.
    #[error("{field} is not Base64: it must be the standard alphabet with padding")]
    Base64 {
        /// The field.
        field: &'static str,
    },
    /// None of the forms, or more than one.
    #[error(
        "the range must be exactly one of prefix, prefixBase64, or start and end (at least one of them; an empty prefix means every key)"
    )]
    Form,
    /// Start not before end.
    #[error("the start of the range must be before its end")]
    Order,
}

/// A half-open range of keys in bytes; `None` at the end means unbounded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValidatedKeyRange {
    /// The first key, inclusive; empty means from the beginning.
    pub start: Vec<u8>,
    /// The end, exclusive.
    pub end: Option<Vec<u8>>,
}

impl ValidatedKeyRange {
    /// Every key that begins with `prefix`.
    #[must_use]
    pub fn of_prefix(prefix: &[u8]) -> Self {
        let mut end = prefix.to_vec();
        // The first key after the prefix: its last byte that can grow, grown; a prefix of 0xff bytes has none.
        while let Some(last) = end.pop() {
            if last < u8::MAX {
                end.push(last + 1);
                return Self { start: prefix.to_vec(), end: Some(end) };
            }
        }
        Self { start: prefix.to_vec(), end: None }
    }
}

fn bound(name: &'static str, text: Option<&String>, base64: Option<&String>) -> Result<Option<Vec<u8>>, RangeError> {
    match (text, base64) {
        (Some(_), Some(_)) => Err(RangeError::Form),
        (Some(text), None) => Ok(Some(text.clone().into_bytes())),
        (None, Some(base64)) => STANDARD.decode(base64).map(Some).map_err(|_| RangeError::Base64 { field: name }),
        (None, None) => Ok(None),
    }
}

impl TryFrom<&KeyRange> for ValidatedKeyRange {
    type Error = RangeError;

    fn try_from(range: &KeyRange) -> Result<Self, RangeError> {
        let prefix = bound("prefixBase64", range.prefix.as_ref(), range.prefix_base64.as_ref())?;
        let start = bound("startBase64", range.start.as_ref(), range.start_base64.as_ref())?;
        let end = bound("endBase64", range.end.as_ref(), range.end_base64.as_ref())?;
        match (prefix, start, end) {
            (Some(prefix), None, None) => Ok(Self::of_prefix(&prefix)),
            (None, None, None) | (Some(_), _, _) => Err(RangeError::Form),
            (None, start, end) => {
                let start = start.unwrap_or_default();
                if end.as_ref().is_some_and(|end| *end <= start) {
                    return Err(RangeError::Order);
                }
                Ok(Self { start, end })
            }
        }
    }
}

/// A [`MigrationSpec`] that can be followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValidatedMigration {
    /// The cluster whose data moves.
    pub cluster: ClusterName,
    /// What kind of move.
    pub kind: MigrationKind,
    /// Which keys move.
    pub range: ValidatedKeyRange,
    /// The tier that they move to.
    pub to_tier: TierName,
    /// Whether it is to run, wait or end.
    pub desired: Desired,
    /// Bytes a second on every node.
    pub bytes_per_second: Option<ByteSize>,
}

impl TryFrom<&MigrationSpec> for ValidatedMigration {
    type Error = FieldError;

    fn try_from(spec: &MigrationSpec) -> Result<Self, FieldError> {
        Ok(Self {
            cluster: field("spec.cluster", &spec.cluster)?,
            kind: spec.kind,
            range: ValidatedKeyRange::try_from(&spec.range)
                .map_err(|error| FieldError { field: "spec.range".to_owned(), message: error.to_string() })?,
            to_tier: field("spec.toTier", &spec.to_tier)?,
            desired: spec.desired,
            bytes_per_second: spec
                .bytes_per_second
                .as_ref()
                .map(|text| sized("spec.bytesPerSecond", text, "1Ki", None))
                .transpose()?,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bounds_in_base64_are_compared_as_bytes() {
        let range = KeyRange { start_base64: Some("/w==".into()), end: Some("a".into()), ..KeyRange::default() };
        assert_eq!(ValidatedKeyRange::try_from(&range), Err(RangeError::Order));
    }

    proptest! {
        #[test]
        fn a_key_is_in_the_range_of_a_prefix_exactly_if_it_begins_with_it(
            prefix in prop::collection::vec(prop_oneof![Just(0_u8), Just(254), Just(255)], 0..4),
            key in prop::collection::vec(prop_oneof![Just(0_u8), Just(254), Just(255)], 0..6),
        ) {
            let range = ValidatedKeyRange::of_prefix(&prefix);
            let inside = key >= range.start && range.end.is_none_or(|end| key < end);
            prop_assert_eq!(inside, key.starts_with(&prefix));
        }
    }
}
