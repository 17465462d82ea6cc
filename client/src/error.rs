//! The one error of the library: what was attempted, whether anything was changed, and what is allowed.

use std::time::Duration;

use bytes::Bytes;
use thermocline_proto::{MAX_KEY_BYTES, MAX_VALUE_BYTES};
use tonic::Status;

use crate::{DisplayKey, EndpointsError, RangeError};

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The endpoints cannot be used.
    #[error(transparent)]
    Endpoints(#[from] EndpointsError),
    /// The ranges that the nodes own do not make one key space.
    #[error("the nodes do not divide the keys among them")]
    Ranges(#[from] RangeError),
    /// A node did not tell which keys it owns.
    #[error("node {node} at {address} did not say which keys it owns; start it, or correct its address")]
    Silent {
        /// The node.
        node: String,
        /// Its admin address.
        address: String,
        /// What came instead.
        #[source]
        source: Box<Status>,
    },
    /// A key that no node takes.
    #[error("a key of {bytes} bytes is not allowed; keys have 1 to {MAX_KEY_BYTES} bytes")]
    KeyLength {
        /// Its length.
        bytes: usize,
    },
    /// A value that no node takes.
    #[error("a value of {bytes} bytes is not allowed; values have up to {MAX_VALUE_BYTES} bytes: store it in parts")]
    ValueLength {
        /// Its length.
        bytes: usize,
    },
    /// A batch that changes nothing.
    #[error("the batch holds no mutation; add at least one put or delete")]
    EmptyBatch,
    /// A batch whose keys belong to more than one shard; where nodes stand alone, to more than one node.
    #[error(
        "the batch covers more than one shard; write the keys before {} and the keys from it on as batches of their own",
        DisplayKey(split)
    )]
    BatchSpansShards {
        /// The first key of the next shard or node.
        split: Bytes,
    },
    /// A condition did not hold; nothing was written.
    #[error("condition {index} of the batch did not hold: {}; nothing was written, read the key again and decide anew", actual_text(*actual_version))]
    ConditionFailed {
        /// Which of the batch's conditions, from 0.
        index: u32,
        /// The version its key has; `None` for no record.
        actual_version: Option<u64>,
    },
    /// Time ran out; a write was not applied.
    #[error(
        "{operation} at node {node} was not answered within {timeout:?}; nothing was changed, try again or allow more time"
    )]
    Deadline {
        /// The call.
        operation: &'static str,
        /// The node.
        node: String,
        /// The time it had.
        timeout: Duration,
        /// What the last attempt met.
        #[source]
        source: Option<Box<Status>>,
    },
    /// No node said in time where the key's shard is; nothing was sent.
    #[error(
        "{operation}: no node said within {timeout:?} where the key's shard is; nothing was changed, see whether nodes run"
    )]
    Unrouted {
        /// The call.
        operation: &'static str,
        /// The time it had.
        timeout: Duration,
        /// What the last node that was asked said.
        #[source]
        source: Option<Box<Status>>,
    },
    /// This client had too many writes under way for the whole time; nothing was sent.
    #[error(
        "{operation}: {writes} writes of this client were under way for {timeout:?}; nothing was changed, write less at once"
    )]
    Crowded {
        /// The call.
        operation: &'static str,
        /// As many as may be under way at once.
        writes: usize,
        /// The time it had.
        timeout: Duration,
    },
    /// A write was sent and not answered: it may or may not have been applied.
    #[error(
        "{operation} was sent to node {node} but not acknowledged; it may or may not have been applied: read the key, or write again if a second time does no harm"
    )]
    OutcomeUnknown {
        /// The call.
        operation: &'static str,
        /// The node.
        node: String,
        /// What came instead of an answer; `None` where time ran out.
        #[source]
        source: Option<Box<Status>>,
    },
    /// The node could not be reached in all attempts; nothing was changed.
    #[error(
        "{operation}: node {node} was not available in {attempts} attempts; nothing was changed, see whether it runs"
    )]
    Unavailable {
        /// The call.
        operation: &'static str,
        /// The node.
        node: String,
        /// How often it was tried.
        attempts: u32,
        /// The last failure.
        #[source]
        source: Box<Status>,
    },
    /// The node refused the call in all attempts because it is busy or its device is full; nothing was changed.
    #[error("{operation}: node {node} took no more work in {attempts} attempts: {}; nothing was changed, send less at once or free space", source.message())]
    Overloaded {
        /// The call.
        operation: &'static str,
        /// The node.
        node: String,
        /// How often it was tried.
        attempts: u32,
        /// The last refusal.
        source: Box<Status>,
    },
    /// The ranges changed faster than they could be learned; nothing was changed.
    #[error(
        "{operation}: node {node} does not own the key after {attempts} attempts to learn the ranges; check that the nodes agree on them"
    )]
    Misrouted {
        /// The call.
        operation: &'static str,
        /// The node.
        node: String,
        /// How often it was tried.
        attempts: u32,
        /// The last refusal.
        #[source]
        source: Box<Status>,
    },
    /// The node refused the call.
    #[error("{operation}: node {node} refused: {}", refusal_text(source))]
    Refused {
        /// The call.
        operation: &'static str,
        /// The node.
        node: String,
        /// Its answer.
        source: Box<Status>,
    },
    /// An answer that the contract does not allow.
    #[error("{operation}: node {node} broke the contract: {detail}; client and node may be of different versions")]
    Contract {
        /// The call.
        operation: &'static str,
        /// The node.
        node: String,
        /// What was wrong.
        detail: String,
    },
}

fn actual_text(version: Option<u64>) -> String {
    version.map_or_else(|| "its key has no record".to_owned(), |version| format!("its key has version {version}"))
}

fn refusal_text(status: &Status) -> String {
    if status.message().is_empty() { status.code().description().to_owned() } else { status.message().to_owned() }
}

/// What a caller may do about an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// Correct the call; sending it again changes nothing.
    InvalidInput,
    /// Read again and decide anew.
    ConditionFailed,
    /// Try again later; nothing was changed.
    Unavailable,
    /// Find out whether the write was applied before trying again.
    OutcomeUnknown,
    /// A failure of the node or a disagreement of versions.
    Failed,
}

impl Error {
    /// What a caller may do about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Endpoints(_)
            | Self::Ranges(_)
            | Self::KeyLength { .. }
            | Self::ValueLength { .. }
            | Self::EmptyBatch
            | Self::BatchSpansShards { .. } => ErrorKind::InvalidInput,
            Self::ConditionFailed { .. } => ErrorKind::ConditionFailed,
            Self::Silent { .. }
            | Self::Deadline { .. }
            | Self::Unrouted { .. }
            | Self::Crowded { .. }
            | Self::Unavailable { .. }
            | Self::Overloaded { .. }
            | Self::Misrouted { .. } => ErrorKind::Unavailable,
            Self::OutcomeUnknown { .. } => ErrorKind::OutcomeUnknown,
            Self::Refused { source, .. } if source.code() == tonic::Code::InvalidArgument => ErrorKind::InvalidInput,
            Self::Refused { source, .. } if source.code() == tonic::Code::DeadlineExceeded => ErrorKind::Unavailable,
            Self::Refused { .. } | Self::Contract { .. } => ErrorKind::Failed,
        }
    }
}
