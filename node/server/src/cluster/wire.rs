//! What replicas on this node say to replicas and nodes elsewhere, over gRPC.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest, TransferLeaderResponse,
    VoteRequest, VoteResponse,
};
use thermocline_engine::{KeyRange, LogicalHash};
use thermocline_proto::replica::v1 as wire;
use thermocline_shard::command::{Freeze, Thaw};
use thermocline_shard::host::{AskError, Asks, FrozenShard, SendRates};
use thermocline_shard::machine::Snapshot;
use thermocline_shard::raft::{Member, SnapshotMeta, Transport, TransportError, TypeConfig, Vote, message};
use thermocline_shard::{NodeId, RangeError, ReplicaId, Role, ShardId};
use tonic::{Code, Response, Status};

use super::copies::Copies;
use super::lines::{Lines, PeerClient};
use super::sending;

/// A node answers so soon, or is asked again.
const ASK: Duration = Duration::from_secs(10);
/// Removing a replica wipes its data, and hashing reads it.
const LONG_ASK: Duration = Duration::from_secs(110);

/// The wire of one node. Cheap to clone.
#[derive(Clone)]
pub struct Wire {
    lines: Lines,
    rates: Arc<SendRates>,
    /// What snapshots may take together, in bytes a second.
    limit: Arc<sending::Limit>,
    /// How far they are.
    copies: Arc<Copies>,
}

impl Wire {
    /// A wire that sends snapshots by these rates, together no faster than `limit`.
    pub fn new(lines: Lines, rates: Arc<SendRates>, limit: sending::Limit, copies: Arc<Copies>) -> Self {
        Self { lines, rates, limit: Arc::new(limit), copies }
    }

    async fn call<Q, A, T, Answer>(
        &self,
        (to, node, within): (ReplicaId, NodeId, Duration),
        ask: Q,
        known: impl FnOnce(A) -> std::io::Result<T>,
    ) -> Result<T, TransportError>
    where
        Q: FnOnce(PeerClient) -> Answer,
        Answer: Future<Output = Result<Response<A>, Status>>,
    {
        let unreachable = |reason: String| TransportError::Unreachable { to, reason };
        let client = self.lines.peer(node).map_err(|error| unreachable(error.to_string()))?;
        match tokio::time::timeout(within, ask(client)).await {
            Ok(Ok(answer)) => known(answer.into_inner()).map_err(|error| unreachable(error.to_string())),
            Ok(Err(status)) => Err(unreachable(status.to_string())),
            Err(_) => Err(TransportError::Silent { to, after: within }),
        }
    }

    async fn ask<Q, A, Answer>(&self, node: NodeId, within: Duration, ask: Q) -> Result<A, AskError>
    where
        Q: FnOnce(PeerClient) -> Answer,
        Answer: Future<Output = Result<Response<A>, Status>>,
    {
        let unreachable = |reason: String| AskError::Unreachable { node, reason };
        let client = self.lines.peer(node).map_err(|error| unreachable(error.to_string()))?;
        match tokio::time::timeout(within, ask(client)).await {
            Ok(Ok(answer)) => Ok(answer.into_inner()),
            Ok(Err(status)) if status.code() == Code::FailedPrecondition => {
                Err(AskError::Refused { node, reason: status.message().to_owned() })
            }
            Ok(Err(status)) if status.code() == Code::Internal => {
                Err(AskError::Failed { node, reason: status.message().to_owned() })
            }
            Ok(Err(status)) => Err(unreachable(status.to_string())),
            Err(_) => Err(unreachable(format!("no answer within {within:?}"))),
        }
    }
}

impl Transport for Wire {
    async fn append_entries(
        &self,
        to: ReplicaId,
        member: Member,
        request: AppendEntriesRequest<TypeConfig>,
        within: Duration,
    ) -> Result<AppendEntriesResponse<TypeConfig>, TransportError> {
        let request = message::append_request(to, &request);
        let ask = |mut client: PeerClient| async move { client.append(request).await };
        self.call((to, member.node, within), ask, message::known_append_response).await
    }

    async fn vote(
        &self,
        to: ReplicaId,
        member: Member,
        request: VoteRequest<TypeConfig>,
        pre: bool,
        within: Duration,
    ) -> Result<VoteResponse<TypeConfig>, TransportError> {
        let request = message::vote_request(to, &request, pre);
        let ask = |mut client: PeerClient| async move { client.vote(request).await };
        self.call((to, member.node, within), ask, |answer| message::known_vote_response(&answer)).await
    }

    async fn read_index(&self, to: ReplicaId, member: Member, within: Duration) -> Result<u64, TransportError> {
        let request = wire::ReadIndexRequest { to: to.0 };
        let ask = |mut client: PeerClient| async move { client.read_index(request).await };
        self.call((to, member.node, within), ask, |answer: wire::ReadIndexResponse| Ok(answer.index)).await
    }

    async fn transfer_leader(
        &self,
        to: ReplicaId,
        member: Member,
        request: TransferLeaderRequest<TypeConfig>,
        within: Duration,
    ) -> Result<TransferLeaderResponse<TypeConfig>, TransportError> {
        let request = message::transfer_request(to, &request);
        let ask = |mut client: PeerClient| async move { client.transfer_leader(request).await };
        self.call((to, member.node, within), ask, message::known_transfer_response).await
    }

    async fn snapshot(
        &self,
        to: ReplicaId,
        member: Member,
        vote: Vote,
        meta: SnapshotMeta,
        snapshot: Snapshot,
    ) -> Result<SnapshotResponse<TypeConfig>, TransportError> {
        let sending = sending::Sending {
            lines: &self.lines,
            rates: &self.rates,
            limit: &self.limit,
            own: sending::Account::default(),
            copies: &self.copies,
            to,
            node: member.node,
        };
        let sent = sending.send(&vote, &meta, &snapshot).await;
        let vote = sent.map_err(|error| TransportError::Unreachable { to, reason: crate::telemetry::chain(&error) })?;
        Ok(SnapshotResponse { vote })
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
        let request = wire::CreateReplicaRequest {
            replica: replica.0,
            shard: shard.0,
            role: wire::Role::from(role).into(),
            start: range.start().to_vec().into(),
            end: range.end().unwrap_or_default().to_vec().into(),
        };
        self.ask(on, ASK, |mut client| async move { client.create_replica(request).await }).await.map(drop)
    }

    async fn remove(&self, on: NodeId, replica: ReplicaId) -> Result<(), AskError> {
        let request = wire::RemoveReplicaRequest { replica: replica.0 };
        self.ask(on, LONG_ASK, |mut client| async move { client.remove_replica(request).await }).await.map(drop)
    }

    async fn freeze(&self, on: NodeId, shard: ShardId, freeze: Freeze) -> Result<Option<FrozenShard>, AskError> {
        let request = wire::FreezeShardRequest { shard: shard.0, freeze: Some((&freeze).into()) };
        let answer = self.ask(on, ASK, |mut client| async move { client.freeze_shard(request).await }).await?;
        let unreadable = |error: RangeError| AskError::Failed { node: on, reason: crate::telemetry::chain(&error) };
        answer.frozen.map(|frozen| FrozenShard::try_from(frozen).map_err(unreadable)).transpose()
    }

    async fn thaw(&self, on: NodeId, shard: ShardId, thaw: Thaw) -> Result<bool, AskError> {
        let request = wire::ThawShardRequest { shard: shard.0, thaw: Some((&thaw).into()) };
        let answer = self.ask(on, ASK, |mut client| async move { client.thaw_shard(request).await }).await?;
        Ok(answer.thawed)
    }

    async fn hash(&self, on: NodeId, replica: ReplicaId, index: u64) -> Result<LogicalHash, AskError> {
        let request = wire::HashReplicaRequest { replica: replica.0, index };
        let answer = self.ask(on, LONG_ASK, |mut client| async move { client.hash_replica(request).await }).await?;
        let sum = answer.sum.as_ref().try_into().map(u128::from_be_bytes);
        let reason = || "its hash does not have 16 bytes".to_owned();
        let hash = sum.map_err(|_| AskError::Unreachable { node: on, reason: reason() })?;
        Ok(LogicalHash { hash, records: answer.records, bytes: answer.bytes })
    }
}
