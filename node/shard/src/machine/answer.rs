//! What a client is told of a write.

use crate::{Epoch, ShardDescriptor};

/// What came of a write that was proposed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Written, now or by an earlier sending of the same request.
    Written {
        /// The version of its records.
        version: u64,
    },
    /// A condition did not hold; nothing was written.
    ConditionFailed {
        /// Which, in the order given.
        index: usize,
        /// The version found; `None`: no record.
        actual: Option<u64>,
    },
    /// It was routed by another epoch than the shard's. Nothing was written; the same request may be sent again.
    WrongEpoch {
        /// The shard's.
        now: Epoch,
    },
    /// It has a key that is not the shard's. Nothing was written.
    OutOfRange,
    /// The shard is about to become a part of its neighbour. Nothing was written; the same request may be sent again.
    Frozen,
    /// Whether an earlier sending was applied is no longer known. Nothing was written now.
    Expired,
    /// More clients write to the shard than it can remember. Nothing was written.
    TooManyClients,
    /// The shard has given out all versions there are.
    VersionsExhausted,
}

/// What came of an entry of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Applied {
    /// It had nothing to do.
    Nothing,
    /// One answer for each of its writes, in their order.
    Writes(Vec<Answer>),
    /// The shard is two now.
    Split {
        /// What is left of it.
        left: ShardDescriptor,
        /// The new one.
        right: ShardDescriptor,
    },
    /// The shard has absorbed its right neighbour: this is what it is now. Whose replica is here leaves.
    Absorbed(ShardDescriptor),
    /// Nothing happened, and why.
    Refused(String),
}
