//! Shards: ranges of the key space, each replicated by a log of its own (docs/architecture.md, "Shards").
//!
//! Reading order: `descriptor` (where a shard is), `command` (what its log says), `session` (which writes were applied),
//! `job` (changes of members under way), `machine` (what an entry does), `raft` (who agrees on entries), `host` (the replicas of one node, and what leaders do beside
//! answering). Below `raft` nothing knows of consensus, and nothing here knows of the network: messages go through traits.

#![cfg_attr(test, allow(clippy::disallowed_methods))]

pub mod command;
pub mod host;
pub mod job;
pub mod machine;
pub mod raft;
pub mod session;

mod descriptor;
mod id;

pub use descriptor::{MAX_WRITES_PER_ENTRY, NotAdjacent, RangeError, ShardDescriptor, SplitError};
pub use id::{Epoch, NodeId, ReplicaId, Role, ShardId};
