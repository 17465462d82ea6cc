//! Numbers that name things, each a type of its own so that they are not mixed up.

use std::fmt;

use thermocline_proto::replica::v1 as wire;

macro_rules! number {
    ($(#[$about:meta])* $name:ident, $word:literal) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, concat!($word, " {}"), self.0)
            }
        }

        impl From<u64> for $name {
            fn from(number: u64) -> Self {
                Self(number)
            }
        }
    };
}

number! {
    /// A shard. Given out by the meta group, never used again; 0 is the meta group itself.
    ShardId, "shard"
}
number! {
    /// One copy of a shard, or its witness. Never used again: a replica that lost its disk and came back under its old
    /// number could vote twice.
    ReplicaId, "replica"
}
number! {
    /// A storage node.
    NodeId, "node"
}
number! {
    /// How often a shard's range has changed. A request carries the one it was routed by.
    Epoch, "epoch"
}

impl ShardId {
    /// The group that holds the index of all shards.
    pub const META: Self = Self(0);
}

impl Epoch {
    /// The one after.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// What a replica does beside voting.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Stores the shard's data, may lead.
    #[default]
    Data,
    /// Stores the end of the log alone, so that two data replicas can do without each other. Leads only to hand that end
    /// over.
    Witness,
}

impl Role {
    /// The role of a message; `None` where this version does not know it: taken for data, a witness could be asked for what it
    /// does not have.
    pub(crate) const fn known(role: wire::Role) -> Option<Self> {
        match role {
            wire::Role::Data => Some(Self::Data),
            wire::Role::Witness => Some(Self::Witness),
            wire::Role::Unspecified => None,
        }
    }
}

impl From<Role> for wire::Role {
    fn from(role: Role) -> Self {
        match role {
            Role::Data => Self::Data,
            Role::Witness => Self::Witness,
        }
    }
}
