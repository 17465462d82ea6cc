//! `thermocline.replica.v1.Replicas`: what other nodes say to the replicas here.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use thermocline_engine::{Engine, KeyRange};
use thermocline_proto::replica::v1 as wire;
use thermocline_proto::replica::v1::replicas_server::Replicas;
use thermocline_proto::{CLUSTER_METADATA, NODE_METADATA};
use thermocline_shard::command::Freeze;
use thermocline_shard::host::{HostError, MergingError, Resident};
use thermocline_shard::raft::message;
use thermocline_shard::{NodeId, ReplicaId, Role, ShardId};
use tonic::{Request, Response, Status, Streaming};

use super::NodeHost;
use super::arriving;
use super::book::{Book, entry};
use crate::telemetry::chain;

/// How long a hash is waited for before whoever asked asks again.
const HASH: Duration = Duration::from_secs(100);

/// The replicas of one node, as others reach them.
pub struct ReplicasService {
    host: Arc<NodeHost>,
    book: Arc<Book>,
    arriving: PathBuf,
}

type Answer<T> = Result<Response<T>, Status>;

impl ReplicasService {
    /// The service over a node's replicas.
    pub fn new(host: Arc<NodeHost>, book: Arc<Book>) -> Self {
        let arriving = host.arriving();
        Self { host, book, arriving }
    }

    fn resident(&self, replica: u64) -> Result<Arc<Resident<Engine>>, Status> {
        let found = self.host.resident(ReplicaId(replica));
        found.ok_or_else(|| Status::not_found(format!("replica {replica} is not on this node")))
    }

    /// Does file work where it may wait for a device.
    async fn file_work<T: Send + 'static>(
        work: impl FnOnce() -> Result<T, arriving::ArrivalError> + Send + 'static,
    ) -> Result<T, Status> {
        let done = tokio::task::spawn_blocking(work).await.map_err(|error| Status::internal(error.to_string()))?;
        done.map_err(|error| Status::failed_precondition(chain(&error)))
    }
}

/// Refuses calls of another cluster, and those for another node: one that lost its disks comes back as a new node at the old
/// address, and a replica that went with the disks must never come back there, since what it promised is forgotten.
pub fn only_for(cluster: String, me: NodeId) -> impl FnMut(Request<()>) -> Result<Request<()>, Status> + Clone {
    move |request| {
        let said = |key| request.metadata().get(key).and_then(|value| value.to_str().ok());
        let theirs = said(CLUSTER_METADATA);
        if theirs != Some(cluster.as_str()) {
            let theirs = theirs.map_or_else(|| "no cluster".to_owned(), |theirs| format!("cluster {theirs}"));
            let why = format!("this node is of cluster {cluster}, the caller of {theirs}");
            return Err(Status::failed_precondition(why));
        }
        match said(NODE_METADATA) {
            Some(meant) if meant != me.0.to_string() => {
                Err(Status::unavailable(format!("the call is for node {meant}, and here is {me} now")))
            }
            _ => Ok(request),
        }
    }
}

fn unreadable(error: std::io::Error) -> Status {
    Status::invalid_argument(error.to_string())
}

fn stopped(error: impl std::fmt::Display) -> Status {
    Status::unavailable(error.to_string())
}

fn refused(error: &HostError) -> Status {
    match error {
        HostError::Overlap { .. } | HostError::Removed { .. } | HostError::Failed { .. } => {
            Status::failed_precondition(chain(error))
        }
        // Not as if the node were away: what it was asked for is not done, and it is asked again.
        _ => Status::internal(chain(error)),
    }
}

fn not_merged(error: &MergingError) -> Status {
    match error {
        MergingError::Refused { .. } => Status::failed_precondition(chain(error)),
        _ => Status::internal(chain(error)),
    }
}

#[tonic::async_trait]
impl Replicas for ReplicasService {
    async fn append(&self, request: Request<wire::AppendRequest>) -> Answer<wire::AppendResponse> {
        let request = request.into_inner();
        let resident = self.resident(request.to)?;
        let request = message::known_append_request(request).map_err(unreadable)?;
        let answer = resident.replica().on_append_entries(request).await.map_err(stopped)?;
        Ok(Response::new(message::append_response(&answer)))
    }

    async fn vote(&self, request: Request<wire::VoteRequest>) -> Answer<wire::VoteResponse> {
        let request = request.into_inner();
        let resident = self.resident(request.to)?;
        let (request, pre) = message::known_vote_request(&request).map_err(unreadable)?;
        let answer = resident.replica().on_vote(request, pre).await.map_err(stopped)?;
        Ok(Response::new(message::vote_response(&answer)))
    }

    async fn transfer_leader(
        &self,
        request: Request<wire::TransferLeaderRequest>,
    ) -> Answer<wire::TransferLeaderResponse> {
        let request = request.into_inner();
        let resident = self.resident(request.to)?;
        let request = message::known_transfer_request(&request).map_err(unreadable)?;
        let answer = resident.replica().on_transfer_leader(request).await.map_err(stopped)?;
        Ok(Response::new(message::transfer_response(&answer)))
    }

    async fn read_index(&self, request: Request<wire::ReadIndexRequest>) -> Answer<wire::ReadIndexResponse> {
        let resident = self.resident(request.into_inner().to)?;
        let index = resident.replica().on_read_index().await.map_err(stopped)?;
        Ok(Response::new(wire::ReadIndexResponse { index }))
    }

    async fn offer_snapshot(
        &self,
        request: Request<wire::OfferSnapshotRequest>,
    ) -> Answer<wire::OfferSnapshotResponse> {
        let offer = request.into_inner().offer.unwrap_or_default();
        self.resident(offer.to)?;
        let arriving = self.arriving.clone();
        let have = Self::file_work(move || arriving::offered(&arriving, &offer)).await?;
        Ok(Response::new(wire::OfferSnapshotResponse { have }))
    }

    async fn send_snapshot(
        &self,
        request: Request<Streaming<wire::SnapshotPart>>,
    ) -> Answer<wire::SendSnapshotResponse> {
        let mut parts = request.into_inner();
        while let Some(part) = parts.message().await? {
            let arriving = self.arriving.clone();
            Self::file_work(move || arriving::part(&arriving, &part)).await?;
        }
        Ok(Response::new(wire::SendSnapshotResponse {}))
    }

    async fn install_snapshot(
        &self,
        request: Request<wire::InstallSnapshotRequest>,
    ) -> Answer<wire::InstallSnapshotResponse> {
        let request = request.into_inner();
        let offer = request.offer.clone().unwrap_or_default();
        let resident = self.resident(offer.to)?;
        let (to, arriving) = (offer.to, self.arriving.clone());
        let has_data = request.state.as_ref().is_some_and(|state| state.data);
        let folder = if has_data {
            let arriving = arriving.clone();
            Self::file_work(move || arriving::checked(&arriving, &offer)).await?
        } else {
            PathBuf::new()
        };
        let (vote, meta, snapshot) = message::known_install_request(request, folder).map_err(unreadable)?;
        let vote = self.host.install(&resident, vote, meta, snapshot).await.map_err(stopped)?;
        Self::file_work(move || {
            arriving::forget(&arriving, to);
            Ok(())
        })
        .await?;
        Ok(Response::new(message::install_response(&vote)))
    }

    async fn create_replica(
        &self,
        request: Request<wire::CreateReplicaRequest>,
    ) -> Answer<wire::CreateReplicaResponse> {
        let request = request.into_inner();
        let role = match request.role() {
            wire::Role::Data => Role::Data,
            wire::Role::Witness => Role::Witness,
            wire::Role::Unspecified => return Err(Status::failed_precondition("this version does not know the role")),
        };
        let (replica, shard) = (ReplicaId(request.replica), ShardId(request.shard));
        let range = KeyRange::new(request.start, request.end);
        let range = range.ok_or_else(|| Status::invalid_argument("the range ends before it starts"))?;
        let created = self.host.create(replica, shard, role, Some(&range)).await;
        created.map_err(|error| refused(&error))?;
        Ok(Response::new(wire::CreateReplicaResponse {}))
    }

    async fn remove_replica(
        &self,
        request: Request<wire::RemoveReplicaRequest>,
    ) -> Answer<wire::RemoveReplicaResponse> {
        let replica = ReplicaId(request.into_inner().replica);
        // Goes on where the caller does not wait.
        let host = Arc::clone(&self.host);
        let removed = tokio::spawn(async move { host.remove(replica).await }).await;
        removed.map_err(stopped)?.map_err(|error| refused(&error))?;
        Ok(Response::new(wire::RemoveReplicaResponse {}))
    }

    async fn hash_replica(&self, request: Request<wire::HashReplicaRequest>) -> Answer<wire::HashReplicaResponse> {
        let request = request.into_inner();
        let resident = self.resident(request.replica)?;
        let hash = tokio::time::timeout(HASH, resident.replica().hash_at(request.index)).await;
        let hash = hash.map_err(|_| Status::unavailable(format!("entry {} is not hashed yet", request.index)))?;
        let hash = hash.map_err(|error| Status::internal(chain(&error)))?;
        let sum = hash.hash.to_be_bytes().to_vec().into();
        Ok(Response::new(wire::HashReplicaResponse { sum, records: hash.records, bytes: hash.bytes }))
    }

    async fn freeze_shard(&self, request: Request<wire::FreezeShardRequest>) -> Answer<wire::FreezeShardResponse> {
        let wire::FreezeShardRequest { shard, freeze } = request.into_inner();
        let freeze = Freeze::try_from(freeze.unwrap_or_default());
        let freeze = freeze.map_err(|error| Status::failed_precondition(chain(&error)))?;
        let frozen = self.host.freeze(ShardId(shard), &freeze).await.map_err(|error| not_merged(&error))?;
        Ok(Response::new(wire::FreezeShardResponse { frozen: frozen.as_ref().map(Into::into) }))
    }

    async fn thaw_shard(&self, request: Request<wire::ThawShardRequest>) -> Answer<wire::ThawShardResponse> {
        let wire::ThawShardRequest { shard, thaw } = request.into_inner();
        let thawed = self.host.thaw(ShardId(shard), thaw.unwrap_or_default().into()).await;
        Ok(Response::new(wire::ThawShardResponse { thawed: thawed.map_err(|error| not_merged(&error))? }))
    }

    async fn greet(&self, request: Request<wire::GreetRequest>) -> Answer<wire::GreetResponse> {
        if let Some(from) = request.into_inner().from {
            self.book.learn(vec![entry(from)], &[], 0);
        }
        Ok(Response::new(self.book.told()))
    }
}
