//! The types that openraft works with.

use std::fmt;

use bytes::Bytes;

use crate::command::Command;
use crate::machine::Applied;
use crate::{NodeId, ReplicaId, Role};

openraft::declare_raft_types!(
    /// A shard's group. Ids are replicas', not nodes': a replica that lost its disk never comes back under its id.
    pub TypeConfig:
        D = EncodedCommand,
        R = Applied,
        NodeId = ReplicaId,
        Node = Member,
);

/// A command as the log has it: only the state machine looks inside.
#[derive(Clone, PartialEq, Eq)]
pub struct EncodedCommand(pub Bytes);

impl From<&Command> for EncodedCommand {
    fn from(command: &Command) -> Self {
        Self(command.encode())
    }
}

impl fmt::Display for EncodedCommand {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "command of {} bytes", self.0.len())
    }
}

impl fmt::Debug for EncodedCommand {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// Where a replica is and what it does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Member {
    /// The node it is on.
    pub node: NodeId,
    /// What it does beside voting.
    pub role: Role,
}

pub(super) type LeaderId = openraft::impls::leader_id_adv::LeaderId<u64, ReplicaId>;
pub(super) type LogId = openraft::type_config::alias::LogIdOf<TypeConfig>;
/// What a replica promised in an election.
pub type Vote = openraft::type_config::alias::VoteOf<TypeConfig>;
pub(super) type Entry = openraft::type_config::alias::EntryOf<TypeConfig>;
pub(super) type Payload = openraft::EntryPayload<EncodedCommand, ReplicaId, Member>;
pub(super) type Membership = openraft::Membership<ReplicaId, Member>;
pub(super) type StoredMembership = openraft::type_config::alias::StoredMembershipOf<TypeConfig>;
/// How far a snapshot is, and who belonged to the group then.
pub type SnapshotMeta = openraft::type_config::alias::SnapshotMetaOf<TypeConfig>;
pub(super) type MembershipError = openraft::errors::MembershipError<ReplicaId>;
