//! Numbers and names, each a type of its own so that they are not mixed up.

use std::{fmt, sync::Arc};

macro_rules! number {
    ($(#[$about:meta])* $name:ident($number:ty), $word:literal) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $number);

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, concat!($word, " {}"), self.0)
            }
        }
    };
}

number! {
    /// A storage node.
    NodeId(u64), "node"
}
number! {
    /// A shard.
    ShardId(u64), "shard"
}
number! {
    /// One member of a shard; never used again.
    ReplicaId(u64), "replica"
}
number! {
    /// How often a shard's range has changed.
    Epoch(u64), "epoch"
}
number! {
    /// How fast a tier is: the lower the faster. Sparse.
    TierRank(u16), "rank"
}

/// An entry of a shard's log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogId {
    /// The term it was proposed in.
    pub term: u64,
    /// Its place in the log.
    pub index: u64,
}

impl fmt::Display for LogId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "entry {}.{}", self.term, self.index)
    }
}

macro_rules! name {
    ($(#[$about:meta])* $name:ident) => {
        $(#[$about])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.into())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }
    };
}

name! {
    /// A zone: nodes of one zone may fail together.
    Zone
}
name! {
    /// A pool: nodes of one kind under one policy.
    PoolName
}
name! {
    /// A tier's name, for people; its rank is what counts.
    TierName
}
