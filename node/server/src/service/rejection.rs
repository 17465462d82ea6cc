//! Requests that are refused before they reach the engine, and the gRPC status of each.

use prost::Message;
use thermocline_proto::{RANGE_MISMATCH_METADATA, v1};
use thiserror::Error;
use tonic::metadata::{BinaryMetadataValue, MetadataMap};
use tonic::{Code, Status};

use crate::owned_range::{OwnedRange, printable};

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Rejection {
    /// A key without bytes.
    #[error("{field} is empty; a key has 1 to 4096 bytes")]
    EmptyKey {
        /// Where in the request.
        field: String,
    },
    /// More of something than allowed.
    #[error("{field} has {actual} {what}, the limit is {limit}")]
    OverLimit {
        /// Where in the request.
        field: String,
        /// What is counted.
        what: &'static str,
        /// How many there are.
        actual: usize,
        /// How many there may be.
        limit: usize,
    },
    /// A part that must be there is not.
    #[error("{field} is missing; {allowed}")]
    Missing {
        /// Where in the request.
        field: String,
        /// What to put there.
        allowed: &'static str,
    },
    /// A value that means nothing.
    #[error("{field} is {actual}; {allowed}")]
    Unknown {
        /// Where in the request.
        field: String,
        /// What it is.
        actual: String,
        /// What it may be.
        allowed: String,
    },
    /// The client's part of a request id has the wrong length.
    #[error("header.request_id.client has {actual} bytes, it must have 16")]
    RequestId {
        /// Its length.
        actual: usize,
    },
    /// A shard that is not here.
    #[error("shard {shard} is not on this node: it has no shards yet, send shard 0")]
    UnknownShard {
        /// Which.
        shard: u64,
    },
    /// An epoch that the shard does not have.
    #[error("epoch {epoch} is not that of shard 0, which is 0: ask for the layout again")]
    UnknownEpoch {
        /// Which.
        epoch: u64,
    },
    /// A key that another node owns.
    #[error("key {} is outside of this node's range, {}", printable(key), shown(range))]
    OutsideRange {
        /// The key.
        key: Vec<u8>,
        /// What the node owns.
        range: OwnedRange,
    },
    /// Keys of which only some are this node's.
    #[error(
        "the batch spans nodes: key {} is outside of this node's range, {}; split the batch at key {}",
        printable(key),
        shown(range),
        printable(split)
    )]
    SpansRange {
        /// The first key outside.
        key: Vec<u8>,
        /// What the node owns.
        range: OwnedRange,
        /// The bound between.
        split: Vec<u8>,
    },
    /// A scan that would leave the node's range: its answer would silently be incomplete.
    #[error("the scan leaves this node's range, {}; scan each node within its range", shown(range))]
    ScanOutsideRange {
        /// What the node owns.
        range: OwnedRange,
    },
    /// Keys of more than one shard.
    #[error(
        "the keys are of more than one shard; those before {} and those from it on are to be asked apart",
        printable(split)
    )]
    SpansShards {
        /// The first key of the next shard.
        split: Vec<u8>,
    },
    /// A key that only the cluster itself may name.
    #[error("{field} is from FF FF on: those keys are the cluster's own")]
    OwnKey {
        /// Where in the request.
        field: String,
    },
    /// An answer that is larger than a message may be.
    #[error("the answer has more than {limit} bytes; ask for fewer keys at once")]
    AnswerTooLarge {
        /// The bound.
        limit: usize,
    },
}

impl Rejection {
    fn range(&self) -> Option<&OwnedRange> {
        match self {
            Self::OutsideRange { range, .. } | Self::SpansRange { range, .. } | Self::ScanOutsideRange { range } => {
                Some(range)
            }
            _ => None,
        }
    }

    fn code(&self) -> Code {
        match self {
            Self::UnknownShard { .. }
            | Self::UnknownEpoch { .. }
            | Self::OutsideRange { .. }
            | Self::SpansRange { .. }
            | Self::SpansShards { .. }
            | Self::ScanOutsideRange { .. } => Code::FailedPrecondition,
            // As the transport answers where a message is too large; not RESOURCE_EXHAUSTED, which invites a retry.
            Self::AnswerTooLarge { .. } => Code::OutOfRange,
            _ => Code::InvalidArgument,
        }
    }
}

impl From<Rejection> for Status {
    fn from(rejection: Rejection) -> Self {
        let mut metadata = MetadataMap::new();
        if let Some(range) = rejection.range() {
            let detail = v1::RangeMismatch { start: range.start().to_vec().into(), end: range.end().to_vec().into() };
            metadata.insert_bin(RANGE_MISMATCH_METADATA, BinaryMetadataValue::from_bytes(&detail.encode_to_vec()));
        }
        Self::with_metadata(rejection.code(), rejection.to_string(), metadata)
    }
}

fn shown(range: &OwnedRange) -> String {
    match (range.start(), range.end()) {
        ([], []) => "which is every key".to_owned(),
        (start, []) => format!("which begins at {}", printable(start)),
        ([], end) => format!("which ends before {}", printable(end)),
        (start, end) => format!("{} to before {}", printable(start), printable(end)),
    }
}
