//! Pieces of schema that several kinds share: sizes, lengths of time, names, and rules over changes.
//!
//! Contract: every piece is structural, and bounds what Kubernetes needs bounded to estimate the cost of a rule.

use kube::core::Rule;
use schemars::{Schema, SchemaGenerator, json_schema};

use crate::names::{self, ClusterName, NodeName, PoolName, TierName};
use crate::{quantity, time_span};

/// Schema of a size in bytes.
pub(crate) fn byte_size(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "pattern": quantity::PATTERN})
}

/// Schema of a length of time.
pub(crate) fn time_span(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "pattern": time_span::PATTERN})
}

/// Schema of the name of a cluster.
pub(crate) fn cluster_name(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "pattern": names::pattern(ClusterName::MAX)})
}

/// Schema of the name of a pool.
pub(crate) fn pool_name(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "pattern": names::pattern(PoolName::MAX)})
}

/// Schema of the name of a tier.
pub(crate) fn tier_name(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "pattern": names::pattern(TierName::MAX)})
}

/// Schema of the name of a node.
pub(crate) fn node_name(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "pattern": names::pattern(NodeName::MAX)})
}

/// Schema of a list of pools' names, each at most once.
pub(crate) fn pool_names(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "items": {"type": "string", "pattern": names::pattern(PoolName::MAX)},
        "maxItems": 32,
        "x-kubernetes-list-type": "set",
    })
}

/// A number from 0; Kubernetes knows no unsigned formats.
pub(crate) fn count(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "integer", "format": "int64", "minimum": 0})
}

/// The field keeps the value it was created with.
pub(crate) fn immutable(field: &str) -> Rule {
    Rule::new("self == oldSelf")
        .message(format!("{field} cannot be changed: delete the object and create it anew, or create another").as_str())
}
