//! What an engine operation can answer instead of a result.

use std::path::PathBuf;

use crate::limits::{
    MAX_BATCH_BYTES, MAX_KEY_BYTES, MAX_QUEUED_BYTES, MAX_QUEUED_ENTRIES, MAX_VALUE_BYTES, MAX_VERSION,
};

/// Why an operation on an open engine did not succeed. Nothing is written when an error is returned, except where a
/// variant says so.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The key is empty or too long.
    #[error("a key has 1 to {MAX_KEY_BYTES} bytes, this one has {actual}")]
    KeyLength {
        /// Its length in bytes.
        actual: usize,
    },
    /// The value is too long.
    #[error("a value has at most {MAX_VALUE_BYTES} bytes, this one has {actual}")]
    ValueLength {
        /// Its length in bytes.
        actual: usize,
    },
    /// The batch is too large.
    #[error("a batch has at most {MAX_BATCH_BYTES} bytes, this one has {actual}; split it")]
    BatchLength {
        /// Its size in bytes.
        actual: usize,
    },
    /// The caller gave a version that no record may have.
    #[error("a version is at most {MAX_VERSION}, this one is {version}")]
    VersionTooHigh {
        /// The version.
        version: u64,
    },
    /// The store's own versions are used up: a version from outside was close to the highest one.
    #[error("every version up to {MAX_VERSION} has been given out; export the records and load them into a new store")]
    VersionsUsedUp,
    /// A device has less free space than its reserve, or would have: reads go on, writes wait for space.
    #[error(
        "writes are refused: the device of {device} has {free} bytes free, less than its reserve of {reserve}{}; \
         free space there or move data down", beside(*needed)
    )]
    OutOfSpace {
        /// `tier NAME` or `log`.
        device: String,
        /// Bytes free.
        free: u64,
        /// The reserve, in bytes.
        reserve: u64,
        /// Bytes to be written beside it, where they are known beforehand; else 0.
        needed: u64,
    },
    /// Buffered writes cannot be written to storage and no more fit into their queue. This one was not taken; the ones
    /// that wait stay visible and are written when storage takes them.
    #[error(
        "the queue of buffered writes is full: {entries} with {bytes} bytes wait, at most {MAX_QUEUED_ENTRIES} and \
         {MAX_QUEUED_BYTES} bytes may; retry when storage takes writes ({reason})"
    )]
    BufferFull {
        /// Writes that wait.
        entries: usize,
        /// Their bytes.
        bytes: usize,
        /// Why they could not be written.
        reason: String,
    },
    /// The store closed while buffered writes that it had accepted could not be written.
    #[error("{entries} buffered writes could not be written and end with the store")]
    BufferLost {
        /// How many.
        entries: usize,
        /// Why they could not be written.
        #[source]
        source: Box<Self>,
    },
    /// The log could not be synced. The write was made and is seen, unlike with other errors; whether it survives a loss
    /// of power shows when the store is opened again.
    #[error("the write was made, but it may not survive a loss of power: {reason}")]
    NotSynced {
        /// Why the sync failed.
        reason: String,
    },
    /// An earlier write to storage failed; nothing is written any more until the store is reopened.
    #[error("writes are refused since storage failed: {reason}")]
    StorageFailed {
        /// The first failure.
        reason: String,
    },
    /// Stored bytes are damaged: this range cannot be read, the rest can.
    #[error("unreadable data in tier {tier} near key {key}: {detail}")]
    Corrupt {
        /// The tier whose file is damaged.
        tier: String,
        /// The key asked for, printable.
        key: String,
        /// What RocksDB or the decoder found.
        detail: String,
    },
    /// Compactions of a tier meet damaged blocks, again and again, and it can take no more.
    #[error(
        "{refused}: tier {tier} has damaged blocks that no compaction gets past ({detail}); restore that range from a \
         copy, or replace the device"
    )]
    TierDamaged {
        /// What was refused: `writes are refused` or `nothing moves there`.
        refused: &'static str,
        /// The damaged tier.
        tier: String,
        /// What RocksDB found.
        detail: String,
    },
    /// The key is in a range that is being wiped or installed.
    #[error(
        "the range of key {key} is being {operation}, or that failed half way; retry, and if it stays so wipe or install the range again, or reopen the store"
    )]
    RangeFenced {
        /// The key, printable.
        key: String,
        /// `wiped` or `installed`.
        operation: &'static str,
    },
    /// Somebody else holds the range.
    #[error("the range is held by {holder}; retry when it is released")]
    RangeHeld {
        /// Who.
        holder: String,
    },
    /// The lease was revoked before its effect.
    #[error("the lease on the range was lost before {before}")]
    LeaseLost {
        /// The step that did not happen.
        before: &'static str,
    },
    /// No such tier.
    #[error("there is no tier {name:?}; the tiers are {known}")]
    UnknownTier {
        /// What was asked for.
        name: String,
        /// What there is, comma separated.
        known: String,
    },
    /// The request contradicts itself or the store.
    #[error("{0}")]
    Invalid(String),
    /// A scan outlived its bound.
    #[error("the scan outlived its bound; resume it from the last key")]
    ScanExpired,
    /// A move was cancelled.
    #[error("the move was cancelled")]
    Cancelled,
    /// The policy does not fit the store.
    #[error("check the policy")]
    Policy(#[from] crate::classify::PolicyError),
    /// RocksDB refused.
    #[error("{attempt}")]
    Rocks {
        /// What was attempted.
        attempt: &'static str,
        /// RocksDB's answer.
        #[source]
        source: rocksdb::Error,
    },
    /// The file system refused.
    #[error("{attempt} {}", path.display())]
    Io {
        /// What was attempted.
        attempt: &'static str,
        /// On which path.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
}

fn beside(needed: u64) -> String {
    if needed == 0 { String::new() } else { format!(" and the {needed} bytes to be written") }
}

/// The result of an engine operation.
pub type Result<T, E = EngineError> = std::result::Result<T, E>;

/// Adds what was attempted to a RocksDB error.
pub(crate) trait RocksContext<T> {
    fn attempting(self, attempt: &'static str) -> Result<T>;
}

impl<T> RocksContext<T> for std::result::Result<T, rocksdb::Error> {
    fn attempting(self, attempt: &'static str) -> Result<T> {
        self.map_err(|source| EngineError::Rocks { attempt, source })
    }
}

/// Adds what was attempted, and where, to an I/O error.
pub(crate) trait IoContext<T> {
    fn on(self, attempt: &'static str, path: &std::path::Path) -> Result<T>;
}

impl<T> IoContext<T> for std::io::Result<T> {
    fn on(self, attempt: &'static str, path: &std::path::Path) -> Result<T> {
        self.map_err(|source| EngineError::Io { attempt, path: path.to_owned(), source })
    }
}

/// A key as people read it: text where it is text, escaped bytes elsewhere, at most 64 characters.
#[must_use]
pub fn printable_key(key: &[u8]) -> String {
    let mut text: String = key.escape_ascii().to_string();
    if text.len() > 64 {
        text.truncate(61);
        text.push_str("...");
    }
    text
}

/// An error with everything that led to it, for the edge: `what was attempted: why: why`.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
