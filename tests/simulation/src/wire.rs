//! The way from one node to the others, for its replicas and leaders.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest, TransferLeaderResponse,
    VoteRequest, VoteResponse,
};
use thermocline_engine::{KeyRange, LogicalHash};
use thermocline_shard::command::{Freeze, Thaw};
use thermocline_shard::host::{AskError, Asks, FrozenShard, Index, Indexed};
use thermocline_shard::machine::Snapshot;
use thermocline_shard::raft::{Member, SnapshotMeta, Transport, TransportError, TypeConfig, Vote, message};
use thermocline_shard::{Epoch, NodeId, ReplicaId, Role, ShardId};

use crate::message::{Answer, Call};
use crate::network::{Broken, Network};

/// A snapshot is given up after this long without an answer.
const SNAPSHOT: Duration = Duration::from_secs(20);
/// What leaders ask of nodes.
const ASK: Duration = Duration::from_secs(5);

/// The way from one node.
#[derive(Clone)]
pub struct Wire {
    from: NodeId,
    network: Arc<Network>,
}

impl Wire {
    /// From a node.
    pub const fn new(from: NodeId, network: Arc<Network>) -> Self {
        Self { from, network }
    }

    async fn send(&self, to: ReplicaId, node: NodeId, call: Call, within: Duration) -> Result<Answer, TransportError> {
        match self.network.call(self.from, node, call, within).await {
            Ok(Answer::Unavailable(reason) | Answer::Refused(reason)) => {
                Err(TransportError::Unreachable { to, reason })
            }
            Ok(answer) => Ok(answer),
            Err(Broken::Refused | Broken::Off) => {
                Err(TransportError::Unreachable { to, reason: "no connection".to_owned() })
            }
            Err(Broken::Silent) => Err(TransportError::Silent { to, after: within }),
        }
    }

    async fn ask(&self, node: NodeId, call: Call, within: Duration) -> Result<Answer, AskError> {
        match self.network.call(self.from, node, call, within).await {
            Ok(Answer::Refused(reason)) => Err(AskError::Refused { node, reason }),
            Ok(Answer::Unavailable(reason)) => Err(AskError::Unreachable { node, reason }),
            Ok(answer) => Ok(answer),
            Err(broken) => Err(AskError::Unreachable { node, reason: format!("{broken:?}") }),
        }
    }
}

/// In the place of the real nodes' index, which leaders write: they are asked themselves, wherever they are.
pub struct Leaders {
    wire: Wire,
    nodes: Vec<NodeId>,
}

impl Leaders {
    /// Those on any of these nodes.
    pub const fn new(wire: Wire, nodes: Vec<NodeId>) -> Self {
        Self { wire, nodes }
    }
}

const fn age(told: &Indexed) -> (Epoch, u64) {
    (told.epoch, told.members_changed_at)
}

impl Index for Leaders {
    async fn indexed(&self, key: &[u8]) -> Option<Indexed> {
        let key = Bytes::copy_from_slice(key);
        let mut newest: Option<Indexed> = None;
        for node in &self.nodes {
            let told = self.wire.ask(*node, Call::Indexed(key.clone()), ASK).await;
            if let Ok(Answer::Indexed(told)) = told
                && newest.as_ref().is_none_or(|newest| age(newest) < age(&told))
            {
                newest = Some(told);
            }
        }
        newest
    }
}

fn understood<T>(to: ReplicaId, read: std::io::Result<T>) -> Result<T, TransportError> {
    read.map_err(|error| TransportError::Unreachable { to, reason: error.to_string() })
}

fn unexpected(to: ReplicaId, answer: &Answer) -> TransportError {
    TransportError::Unreachable { to, reason: format!("answered {answer:?}") }
}

impl Transport for Wire {
    async fn append_entries(
        &self,
        to: ReplicaId,
        member: Member,
        request: AppendEntriesRequest<TypeConfig>,
        within: Duration,
    ) -> Result<AppendEntriesResponse<TypeConfig>, TransportError> {
        let call = Call::Append(message::append_request(to, &request));
        match self.send(to, member.node, call, within).await? {
            Answer::Append(response) => understood(to, message::known_append_response(response)),
            other => Err(unexpected(to, &other)),
        }
    }

    async fn vote(
        &self,
        to: ReplicaId,
        member: Member,
        request: VoteRequest<TypeConfig>,
        pre: bool,
        within: Duration,
    ) -> Result<VoteResponse<TypeConfig>, TransportError> {
        let call = Call::Vote(message::vote_request(to, &request, pre));
        match self.send(to, member.node, call, within).await? {
            Answer::Vote(response) => understood(to, message::known_vote_response(&response)),
            other => Err(unexpected(to, &other)),
        }
    }

    async fn read_index(&self, to: ReplicaId, member: Member, within: Duration) -> Result<u64, TransportError> {
        match self.send(to, member.node, Call::ReadIndex(to), within).await? {
            Answer::ReadIndex(index) => Ok(index),
            other => Err(unexpected(to, &other)),
        }
    }

    async fn transfer_leader(
        &self,
        to: ReplicaId,
        member: Member,
        request: TransferLeaderRequest<TypeConfig>,
        within: Duration,
    ) -> Result<TransferLeaderResponse<TypeConfig>, TransportError> {
        let call = Call::Transfer(message::transfer_request(to, &request));
        match self.send(to, member.node, call, within).await? {
            Answer::Transfer(response) => understood(to, message::known_transfer_response(response)),
            other => Err(unexpected(to, &other)),
        }
    }

    async fn snapshot(
        &self,
        to: ReplicaId,
        member: Member,
        vote: Vote,
        meta: SnapshotMeta,
        snapshot: Snapshot,
    ) -> Result<SnapshotResponse<TypeConfig>, TransportError> {
        let call = Call::install(to, vote, meta, snapshot);
        match self.send(to, member.node, call, SNAPSHOT).await? {
            Answer::Installed(response) => {
                let vote = understood(to, message::known_install_response(&response))?;
                Ok(SnapshotResponse { vote })
            }
            other => Err(unexpected(to, &other)),
        }
    }
}

impl Asks for Wire {
    async fn create(
        &self,
        on: NodeId,
        replica: ReplicaId,
        shard: ShardId,
        role: Role,
        range: KeyRange,
    ) -> Result<(), AskError> {
        self.ask(on, Call::Create(replica, shard, role, range), ASK).await.map(drop)
    }

    async fn remove(&self, on: NodeId, replica: ReplicaId) -> Result<(), AskError> {
        self.ask(on, Call::Remove(replica), ASK).await.map(drop)
    }

    async fn freeze(&self, on: NodeId, shard: ShardId, freeze: Freeze) -> Result<Option<FrozenShard>, AskError> {
        match self.ask(on, Call::Freeze(shard, freeze), ASK).await? {
            Answer::Frozen(frozen) => Ok(frozen),
            other => Err(AskError::Unreachable { node: on, reason: format!("answered {other:?}") }),
        }
    }

    async fn thaw(&self, on: NodeId, shard: ShardId, thaw: Thaw) -> Result<bool, AskError> {
        match self.ask(on, Call::Thaw(shard, thaw), ASK).await? {
            Answer::Thawed(thawed) => Ok(thawed),
            other => Err(AskError::Unreachable { node: on, reason: format!("answered {other:?}") }),
        }
    }

    async fn hash(&self, on: NodeId, replica: ReplicaId, index: u64) -> Result<LogicalHash, AskError> {
        match self.ask(on, Call::Hash(replica, index), ASK).await? {
            Answer::Hash(hash) => Ok(hash),
            other => Err(AskError::Unreachable { node: on, reason: format!("answered {other:?}") }),
        }
    }
}
