//! A move whose texts are parsed.

use super::key_range::bound;
use super::{
    Desired, KeyRange, MigrationKind, MigrationPriority, MigrationReason, MigrationSpec, ReplicaRole, ValidatedKeyRange,
};
use crate::names::{ClusterName, NodeName, TierName};
use crate::quantity::ByteSize;
use crate::v1alpha1::{FieldError, field, sized};

/// What moves, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Move {
    /// A range to another medium.
    ChangeTier {
        /// Which keys.
        range: ValidatedKeyRange,
        /// The tier that they move to.
        to_tier: TierName,
    },
    /// A replica to another node.
    MoveReplica {
        /// Of which shard.
        shard: u64,
        /// The node whose replica goes.
        from: NodeName,
        /// The node that gets one. A node that lost its disks is another one under the same name.
        to: NodeName,
    },
    /// A replica more.
    AddReplica {
        /// Of which shard.
        shard: u64,
        /// The node that gets it.
        to: NodeName,
        /// What it does.
        role: ReplicaRole,
    },
    /// A replica less.
    RemoveReplica {
        /// Of which shard.
        shard: u64,
        /// The node whose replica goes.
        from: NodeName,
    },
    /// Another node leads.
    TransferLeader {
        /// Which shard.
        shard: u64,
        /// The node that leads; `None`: whichever does.
        from: Option<NodeName>,
        /// The node that is to lead.
        to: NodeName,
    },
    /// A shard becomes two.
    SplitShard {
        /// Which shard.
        shard: u64,
        /// The first key of the new one; `None`: one in the middle.
        at: Option<Vec<u8>>,
    },
    /// A shard and the one behind it become one.
    MergeShards {
        /// The first one, which stays.
        shard: u64,
    },
}

/// A [`MigrationSpec`] that can be followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValidatedMigration {
    /// The cluster whose data moves.
    pub cluster: ClusterName,
    /// What moves.
    pub what: Move,
    /// How urgent it is.
    pub priority: MigrationPriority,
    /// Why.
    pub reason: MigrationReason,
    /// Whether it may begin, where it needs approval.
    pub approved: bool,
    /// Whether it is to run, wait or end.
    pub desired: Desired,
    /// Bytes a second on every node.
    pub bytes_per_second: Option<ByteSize>,
}

impl TryFrom<&MigrationSpec> for ValidatedMigration {
    type Error = FieldError;

    fn try_from(spec: &MigrationSpec) -> Result<Self, FieldError> {
        let rate = spec.bytes_per_second.as_ref();
        Ok(Self {
            cluster: field("spec.cluster", &spec.cluster)?,
            what: Move::try_from(spec)?,
            priority: spec.priority,
            reason: spec.reason,
            approved: spec.approved,
            desired: spec.desired,
            bytes_per_second: rate.map(|text| sized("spec.bytesPerSecond", text, "1Ki", None)).transpose()?,
        })
    }
}

impl TryFrom<&MigrationSpec> for Move {
    type Error = FieldError;

    fn try_from(spec: &MigrationSpec) -> Result<Self, FieldError> {
        let from = || field("spec.from", required("spec.from", spec.from.as_deref())?);
        let to = || field("spec.to", required("spec.to", spec.to.as_deref())?);
        let shard = || {
            let number = *required("spec.shard", spec.shard.as_ref())?;
            u64::try_from(number).map_err(|_| wrong("spec.shard", format!("{number} is no number of a shard")))
        };
        Ok(match spec.kind {
            MigrationKind::ChangeTier => {
                let range: &KeyRange = required("spec.range", spec.range.as_ref())?;
                let range =
                    ValidatedKeyRange::try_from(range).map_err(|error| wrong("spec.range", error.to_string()))?;
                let to_tier = field("spec.toTier", required("spec.toTier", spec.to_tier.as_deref())?)?;
                Self::ChangeTier { range, to_tier }
            }
            MigrationKind::MoveReplica => Self::MoveReplica { shard: shard()?, from: from()?, to: to()? },
            MigrationKind::AddReplica => {
                Self::AddReplica { shard: shard()?, to: to()?, role: spec.role.unwrap_or_default() }
            }
            MigrationKind::RemoveReplica => Self::RemoveReplica { shard: shard()?, from: from()? },
            MigrationKind::TransferLeader => {
                let leads = spec.from.as_deref().map(|name| field("spec.from", name)).transpose()?;
                Self::TransferLeader { shard: shard()?, from: leads, to: to()? }
            }
            MigrationKind::SplitShard => {
                let at = bound("atBase64", spec.at.as_ref(), spec.at_base64.as_ref());
                Self::SplitShard { shard: shard()?, at: at.map_err(|error| wrong("spec.at", error.to_string()))? }
            }
            MigrationKind::MergeShards => Self::MergeShards { shard: shard()? },
        })
    }
}

impl Move {
    /// The shard that moves; `None` where a range does.
    #[must_use]
    pub const fn shard(&self) -> Option<u64> {
        match self {
            Self::ChangeTier { .. } => None,
            Self::MoveReplica { shard, .. }
            | Self::AddReplica { shard, .. }
            | Self::RemoveReplica { shard, .. }
            | Self::TransferLeader { shard, .. }
            | Self::SplitShard { shard, .. }
            | Self::MergeShards { shard } => Some(*shard),
        }
    }
}

fn wrong(field: &str, message: String) -> FieldError {
    FieldError { field: field.to_owned(), message }
}

fn required<'a, T: ?Sized>(name: &str, value: Option<&'a T>) -> Result<&'a T, FieldError> {
    value.ok_or_else(|| wrong(name, "is missing".to_owned()))
}
