//! An ordered log store: many logs ("groups") in one folder, one writer that syncs for all of them. Made for Raft logs, knows
//! nothing of Raft.
//!
//! # Contract
//! - **Order.** Requests of one group take effect, become durable and answer in the order in which they were made; across groups
//!   answers come in the order of the queue. What is answered is durable, and so is everything of that group before it: a vote
//!   saved after an append is never on disk without the append.
//! - **Whole.** One request is in one batch: after a crash all of its entries are there or none. A log has no gaps.
//! - **Synced.** Nothing is answered before its batch is synced, in one sync with everything that waited.
//! - **Readable at once.** What was accepted can be read when the call returns, durable or not; only answers speak of durability.
//! - **One answer.** Every request's [`Completion`] is called exactly once.
//! - **Fail and stop.** After the first storage failure nothing is written, read or acknowledged; the reason is told to everyone.
//!   Opening again shows what is durable. A full device is not a failure: appends are refused from the reserve on.
//! - **Checked.** Each entry carries a checksum over its bytes and its place; a store that lost acknowledged writes does not open.
//!
//! # Reading order
//! `format` (bytes), `group` and `tail` (decisions, in memory), `store` (the handle), `queue` and `writer` (group commit),
//! `reader` and `recovery` (opening, with the crate's `synced_mark`), `reclaim` and `reserve` (space).

mod completion;
mod error;
mod fault;
mod format;
mod group;
#[cfg(test)]
mod model_test;
mod options;
mod queue;
mod reader;
mod reclaim;
mod recovery;
mod request;
mod reserve;
mod stats;
mod store;
mod tail;
#[cfg(test)]
mod tests;
mod writer;

pub use completion::{Completion, Pending};
pub use error::{LogError, StorageFailure};
pub use fault::{BatchFacts, Fault};
pub use format::{FormatError, Purged, StateKey};
pub use options::LogOptions;
pub use stats::{EntriesPerSync, LogStats};
pub use store::LogStore;
