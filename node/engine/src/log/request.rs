//! What goes through the queue to the writer.

use std::sync::Arc;

use bytes::Bytes;

use super::completion::Completion;
use super::format::{GroupRecord, StateKey};
use super::group::{Group, Span};

/// One request, decided already: the writer only carries it out.
#[derive(Debug)]
pub(super) struct Request {
    /// The group it is about; none for the store's own upkeep.
    pub(super) group: Option<Arc<Group>>,
    /// The group's record, where it is new or has changed.
    pub(super) record: Option<GroupRecord>,
    pub(super) operation: Operation,
    pub(super) done: Completion,
}

/// What a request does on disk.
#[derive(Debug)]
pub(super) enum Operation {
    /// Nothing to write; answers in its turn, so that its answer still says that everything before it is durable.
    Nothing,
    /// Entries from an index on.
    Append { first: u64, payloads: Vec<Bytes> },
    /// Entries that were cut off the end.
    Truncate(Span),
    /// Entries that were purged; the record carries the purged index.
    Purge(Option<Span>),
    /// A state record.
    SaveState { key: StateKey, value: Bytes },
    /// The whole incarnation.
    Remove,
    /// Key ranges that hold nothing alive; see `reclaim`.
    Sweep(Vec<KeyRange>),
}

/// Keys from `from` up to but without `end`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KeyRange {
    pub(super) from: Vec<u8>,
    pub(super) end: Vec<u8>,
}
