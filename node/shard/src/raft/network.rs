//! How replicas reach each other: openraft's calls over whatever carries messages between nodes.

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyerror::AnyError;
use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest, TransferLeaderResponse,
    VoteRequest, VoteResponse,
};

use super::state_machine::SnapshotData;
use super::types::{Member, SnapshotMeta, TypeConfig, Vote};
use crate::ReplicaId;
use crate::machine::{ShardStore, Snapshot};

type Rpc = RPCError<TypeConfig>;
type OpenraftSnapshot<S> = openraft::type_config::alias::SnapshotOf<TypeConfig, SnapshotData<S>>;

/// A call that brought no answer. Whether it arrived is not known.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The node cannot be reached, or does not have the replica.
    #[error("{to} cannot be reached: {reason}")]
    Unreachable {
        /// Who was called.
        to: ReplicaId,
        /// Why.
        reason: String,
    },
    /// No answer came in time.
    #[error("{to} did not answer within {after:?}")]
    Silent {
        /// Who was called.
        to: ReplicaId,
        /// How long was waited.
        after: Duration,
    },
}

/// What carries messages to replicas on other nodes. Each call ends within the time given to it.
pub trait Transport: Clone + Send + Sync + 'static {
    /// Entries of the log, or none: a heartbeat.
    fn append_entries(
        &self,
        to: ReplicaId,
        member: Member,
        request: AppendEntriesRequest<TypeConfig>,
        within: Duration,
    ) -> impl Future<Output = Result<AppendEntriesResponse<TypeConfig>, TransportError>> + Send;

    /// A candidate asks for a vote; with `pre`, whether it would get one.
    fn vote(
        &self,
        to: ReplicaId,
        member: Member,
        request: VoteRequest<TypeConfig>,
        pre: bool,
        within: Duration,
    ) -> impl Future<Output = Result<VoteResponse<TypeConfig>, TransportError>> + Send;

    /// Asks the leader up to which entry a read has to see ([`on_read_index`](super::RaftReplica::on_read_index)).
    fn read_index(
        &self,
        to: ReplicaId,
        member: Member,
        within: Duration,
    ) -> impl Future<Output = Result<u64, TransportError>> + Send;

    /// The leader asks the receiver to lead.
    fn transfer_leader(
        &self,
        to: ReplicaId,
        member: Member,
        request: TransferLeaderRequest<TypeConfig>,
        within: Duration,
    ) -> impl Future<Output = Result<TransferLeaderResponse<TypeConfig>, TransportError>> + Send;

    /// A replica's whole state. Resumed by the transport, and throttled; it takes as long as it takes.
    fn snapshot(
        &self,
        to: ReplicaId,
        member: Member,
        vote: Vote,
        meta: SnapshotMeta,
        snapshot: Snapshot,
    ) -> impl Future<Output = Result<SnapshotResponse<TypeConfig>, TransportError>> + Send;
}

/// Makes the connections of one replica's group.
pub struct Network<S, T> {
    transport: T,
    /// Where snapshots that are sent are written first.
    outgoing: PathBuf,
    unheard: Arc<AtomicBool>,
    store: std::marker::PhantomData<fn() -> S>,
}

/// What one replica says to another.
pub struct Peer<S, T> {
    to: ReplicaId,
    member: Member,
    transport: T,
    outgoing: PathBuf,
    unheard: Arc<AtomicBool>,
    store: std::marker::PhantomData<fn() -> S>,
}

impl<S, T> Network<S, T> {
    /// Connections over a transport; snapshots that are sent are written to `outgoing` first. While no quorum answers the
    /// replica, `unheard`, it sends no entries.
    pub const fn new(transport: T, outgoing: PathBuf, unheard: Arc<AtomicBool>) -> Self {
        Self { transport, outgoing, unheard, store: std::marker::PhantomData }
    }
}

impl<S: ShardStore, T: Transport> RaftNetworkFactory<TypeConfig> for Network<S, T> {
    type Network = Peer<S, T>;

    async fn new_client(&mut self, to: ReplicaId, member: &Member) -> Peer<S, T> {
        let (transport, outgoing) = (self.transport.clone(), self.outgoing.clone());
        let unheard = Arc::clone(&self.unheard);
        Peer { to, member: *member, transport, outgoing, unheard, store: std::marker::PhantomData }
    }
}

fn unreachable(error: impl std::error::Error + 'static) -> Unreachable<TypeConfig> {
    Unreachable::new(&AnyError::new(&error))
}

impl<S: ShardStore, T: Transport> RaftNetworkV2<TypeConfig> for Peer<S, T> {
    type SnapshotData = SnapshotData<S>;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, Rpc> {
        if !request.entries.is_empty() && self.unheard.load(Ordering::Relaxed) {
            let reason = "no quorum answers this leader: it is not to be heard either".to_owned();
            return Err(unreachable(TransportError::Unreachable { to: self.to, reason }).into());
        }
        let answer = self.transport.append_entries(self.to, self.member, request, option.hard_ttl()).await;
        answer.map_err(|error| unreachable(error).into())
    }

    async fn vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, Rpc> {
        let answer = self.transport.vote(self.to, self.member, request, false, option.hard_ttl()).await;
        answer.map_err(|error| unreachable(error).into())
    }

    // Without this a pre-vote counts as granted by everybody, and one that was cut off would end the leader's term when it
    // comes back.
    async fn pre_vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, Rpc> {
        let answer = self.transport.vote(self.to, self.member, request, true, option.hard_ttl()).await;
        answer.map_err(|error| unreachable(error).into())
    }

    // Without this a transfer waits for an election.
    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, Rpc> {
        let answer = self.transport.transfer_leader(self.to, self.member, request, option.hard_ttl()).await;
        answer.map_err(|error| unreachable(error).into())
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: OpenraftSnapshot<S>,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        _: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let SnapshotData::Source(source) = snapshot.snapshot else {
            let received = std::io::Error::other("a snapshot that was received is not sent on");
            return Err(unreachable(received).into());
        };
        let folder = self.outgoing.join(format!("to-{}", self.to.0));
        // It may be as large as the shard, and the numbers of replicas do not come again.
        let _goes = GoesAfterwards(folder.clone());
        let sent = async {
            // Of now, not of when openraft asked: the receiver is told what it really gets.
            let (meta, taken) = Arc::new(source).take_now(folder).await.map_err(unreachable)?;
            let sent = self.transport.snapshot(self.to, self.member, vote, meta, taken).await;
            sent.map_err(|error| StreamingError::from(unreachable(error)))
        };
        tokio::select! {
            sent = sent => sent,
            closed = cancel => Err(closed.into()),
        }
    }
}

/// A folder that goes once it was sent, or nobody waits for it any more.
struct GoesAfterwards(PathBuf);

impl Drop for GoesAfterwards {
    fn drop(&mut self) {
        let Self(folder) = self;
        if let Err(error) = std::fs::remove_dir_all(&*folder)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(folder = %folder.display(), %error, "a snapshot that was sent is still there");
        }
    }
}
