//! What goes over the simulated network: the replicas' own messages as they are between real nodes, what leaders ask of other
//! nodes, and what clients ask.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use prost::Message;
use thermocline_engine::{KeyRange, LogicalHash};
use thermocline_proto::replica::v1 as wire;
use thermocline_shard::command::{Freeze, Thaw, Write};
use thermocline_shard::host::{Consistency, FrozenShard, Indexed};
use thermocline_shard::machine::{self, ExportedData, Snapshot, StoredRecord};
use thermocline_shard::raft::{SnapshotMeta, Vote, message};
use thermocline_shard::{Epoch, NodeId, ReplicaId, Role, ShardId};

/// What is asked.
#[derive(Clone)]
pub enum Call {
    /// Entries of a log, or a heartbeat.
    Append(wire::AppendRequest),
    /// A candidate asks.
    Vote(wire::VoteRequest),
    /// A leader asks another replica to lead.
    Transfer(wire::TransferLeaderRequest),
    /// A replica asks the leader how far its reads have to see.
    ReadIndex(ReplicaId),
    /// A replica's whole state; taken by the first delivery.
    Install {
        /// For whom.
        to: ReplicaId,
        /// It.
        state: Arc<Mutex<Option<(Vote, SnapshotMeta, Snapshot)>>>,
        /// As the trace has it.
        bytes: Bytes,
    },
    /// Make a replica.
    Create(ReplicaId, ShardId, Role, KeyRange),
    /// Remove one.
    Remove(ReplicaId),
    /// What a replica held at an entry.
    Hash(ReplicaId, u64),
    /// Have a shard frozen.
    Freeze(ShardId, Freeze),
    /// Have one thawed.
    Thaw(ShardId, Thaw),
    /// Who belongs to the shard that has a key?
    Indexed(Bytes),
    /// Where is a key?
    Route(Bytes),
    /// A client writes.
    Write(ShardId, Write),
    /// A client reads.
    Read(Bytes, Consistency),
}

/// What is answered.
#[derive(Debug, Clone)]
pub enum Answer {
    /// To entries.
    Append(wire::AppendResponse),
    /// To a candidate.
    Vote(wire::VoteResponse),
    /// To a leader that wants to hand over.
    Transfer(wire::TransferLeaderResponse),
    /// To a replica that is read.
    ReadIndex(u64),
    /// To a snapshot.
    Installed(wire::InstallSnapshotResponse),
    /// It is done.
    Done,
    /// It will not be done.
    Refused(String),
    /// What a replica held.
    Hash(LogicalHash),
    /// What a shard is that is frozen; `None`: not yet.
    Frozen(Option<FrozenShard>),
    /// Whether a shard is thawed.
    Thawed(bool),
    /// Who belongs to a shard that is led here.
    Indexed(Indexed),
    /// Where a key is.
    Route(Route),
    /// What came of a write.
    Written(machine::Answer),
    /// What a read found.
    Found(Option<StoredRecord>),
    /// Nothing was done; the leader's node, if it is known.
    NotLeader(Option<NodeId>),
    /// Nothing was done; it belongs somewhere else.
    Elsewhere,
    /// It may have been done.
    Unavailable(String),
}

/// Where a key is, as a node knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// The shard.
    pub shard: ShardId,
    /// Its epoch.
    pub epoch: Epoch,
    /// The leader's node.
    pub leader: Option<NodeId>,
}

impl Call {
    /// A snapshot on its way.
    pub fn install(to: ReplicaId, vote: Vote, meta: SnapshotMeta, snapshot: Snapshot) -> Self {
        let mut bytes =
            message::install_request(wire::SnapshotOffer::default(), &vote, &meta, &snapshot).encode_to_vec();
        if let ExportedData::Records(records) = &snapshot.data {
            for (key, record) in records {
                bytes.extend_from_slice(key);
                bytes.extend_from_slice(&record.version.to_be_bytes());
                bytes.extend_from_slice(&record.value);
            }
        }
        Self::Install { to, state: Arc::new(Mutex::new(Some((vote, meta, snapshot)))), bytes: bytes.into() }
    }

    /// Its name and content, for the trace.
    pub fn traced(&self) -> (&'static str, Vec<u8>) {
        match self {
            Self::Append(request) => ("append", request.encode_to_vec()),
            Self::Vote(request) => ("vote", request.encode_to_vec()),
            Self::Transfer(request) => ("transfer", request.encode_to_vec()),
            Self::Install { bytes, .. } => ("install", bytes.to_vec()),
            Self::ReadIndex(replica) => ("read index", format!("{replica}").into_bytes()),
            Self::Create(replica, shard, role, range) => {
                ("create", format!("{replica} {shard} {role:?} {range:?}").into_bytes())
            }
            Self::Remove(replica) => ("remove", format!("{replica}").into_bytes()),
            Self::Hash(replica, index) => ("hash", format!("{replica} {index}").into_bytes()),
            Self::Freeze(shard, freeze) => ("freeze", format!("{shard} {freeze:?}").into_bytes()),
            Self::Thaw(shard, thaw) => ("thaw", format!("{shard} {thaw:?}").into_bytes()),
            Self::Indexed(key) => ("indexed", key.to_vec()),
            Self::Route(key) => ("route", key.to_vec()),
            Self::Write(shard, write) => ("write", format!("{shard} {write:?}").into_bytes()),
            Self::Read(key, consistency) => ("read", format!("{key:?} {consistency:?}").into_bytes()),
        }
    }
}

impl Answer {
    /// Its content, for the trace.
    pub fn traced(&self) -> Vec<u8> {
        match self {
            Self::Append(response) => response.encode_to_vec(),
            Self::Vote(response) => response.encode_to_vec(),
            Self::Transfer(response) => response.encode_to_vec(),
            Self::Installed(response) => response.encode_to_vec(),
            other => format!("{other:?}").into_bytes(),
        }
    }
}
