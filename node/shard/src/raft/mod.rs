//! Consensus of one shard: openraft over the engine's ordered log store and the shard's state machine.
//!
//! `types` and `pace` (what openraft is told), `encoding` (bytes on disk and wire), `log` (its log and vote), `logs` (where they
//! are), `log_size` (how much it is), `state_machine` (applying, snapshots), `replaced` (whether it is being replaced), `replica`
//! (one member of a group), `freshness` (how new its state is), `group_view` (the group as it sees it).
//!
//! What is durable when: votes and entries before they are answered (the log store syncs all groups together); applied state with
//! the process, and by a power loss it goes back to an earlier entry, from which the log is applied again. So a log is purged only
//! up to what was synced in the state machine.

mod encoding;
mod freshness;
mod group_view;
mod log;
mod log_size;
mod logs;
pub mod message;
mod network;
mod pace;
mod replaced;
mod replica;
mod state_machine;
mod types;

pub use freshness::SteadyClock;
pub use group_view::GroupView;
pub use log::ReplicaLog;
pub use logs::{Durable, Logs};
pub use network::{Network, Peer, Transport, TransportError};
pub use pace::Pace;
pub use replaced::Replaced;
pub use replica::{
    HashError, ProposeError, RaftReplica, ReadIndexError, RefusalError, ReplicaPlace, SnapshotError, StartError,
};
pub use state_machine::{News, NewsSender, ReplicaStateMachine, ShardView, SnapshotData};
pub use types::{EncodedCommand, Member, SnapshotMeta, TypeConfig, Vote};
