//! `thermocline.v1.Admin`: the control plane, on a port of its own so that it answers when the data plane is busy.

mod heat;
mod moves;
mod policy;
mod shards;
mod status;
mod tiers;

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use futures::Stream;
use thermocline_engine::{Engine, EngineError};
use thermocline_proto::v1;
use thermocline_proto::v1::admin_server::Admin;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

pub use moves::MoveBoard;
pub use shards::statuses as shard_statuses;

use super::{Rejection, deadline, limits};
use crate::admission::{AdmissionPool, Limits};
use crate::facade::Facade;

/// Calls of the control plane are few; what is beyond this is a client gone wild.
const LIMITS: Limits = Limits { running: 16, waiting: 64, bytes: 16 << 20 };

/// The control plane of one node.
pub struct AdminService {
    facade: Arc<Facade>,
    calls: AdmissionPool,
    moves: Arc<MoveBoard>,
    /// Ends the streams, which would otherwise keep a stopping node waiting.
    stop: CancellationToken,
}

type Answer<T> = Result<Response<T>, Status>;
type MessageStream<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl AdminService {
    /// The service over a node; its streams end with `stop`.
    pub fn new(facade: Arc<Facade>, moves: Arc<MoveBoard>, stop: CancellationToken) -> Self {
        Self { facade, calls: AdmissionPool::new(LIMITS), moves, stop }
    }

    /// Calls the engine on a blocking thread.
    async fn call<T: Send + 'static>(
        &self,
        deadline: Option<Instant>,
        call: impl FnOnce(&Engine) -> Result<T, EngineError> + Send + 'static,
    ) -> Result<T, Status> {
        let engine = self.facade.engine.clone();
        self.calls
            .run(0, deadline, move || call(&engine))
            .await
            .map_err(|error| super::status::of_admission(&error))?
            .map_err(|error| super::status::of_engine(&error))
    }
}

#[tonic::async_trait]
impl Admin for AdminService {
    type StatusStream = MessageStream<v1::NodeStatus>;

    async fn status(&self, request: Request<v1::StatusRequest>) -> Answer<Self::StatusStream> {
        let request = request.into_inner();
        let stream = status::start(Arc::clone(&self.facade), &request, self.stop.clone())?;
        Ok(Response::new(stream))
    }

    async fn heat(&self, request: Request<v1::HeatRequest>) -> Answer<v1::HeatResponse> {
        let deadline = deadline::of(request.metadata());
        let question = heat::Question::parse(&request.into_inner())?;
        let policy = self.facade.policy.lock().clone();
        let answer = self.call(deadline, move |engine| question.ask(engine, &policy)).await?;
        Ok(Response::new(answer))
    }

    async fn explain(&self, request: Request<v1::ExplainRequest>) -> Answer<v1::ExplainResponse> {
        let deadline = deadline::of(request.metadata());
        let key = request.into_inner().key;
        limits::owned_key("key", &key, &self.facade.range)?;
        let answer = self.call(deadline, move |engine| heat::explain(engine, &key)).await?;
        Ok(Response::new(answer))
    }

    async fn set_policy(&self, request: Request<v1::SetPolicyRequest>) -> Answer<v1::SetPolicyResponse> {
        let deadline = deadline::of(request.metadata());
        let policy = policy::parse(request.into_inner().policy)?;
        let generation = policy.generation;
        let facade = Arc::clone(&self.facade);
        self.call(deadline, move |engine| policy::apply(engine, &facade.policy, policy)).await??;
        self.facade.changed();
        tracing::info!(generation, "a new policy is in force");
        Ok(Response::new(v1::SetPolicyResponse { generation }))
    }

    async fn set_tiers(&self, request: Request<v1::SetTiersRequest>) -> Answer<v1::SetTiersResponse> {
        let deadline = deadline::of(request.metadata());
        let request = request.into_inner();
        let answer = tiers::set(self, deadline, request).await?;
        Ok(Response::new(answer))
    }

    async fn reclassify(&self, request: Request<v1::ReclassifyRequest>) -> Answer<v1::ReclassifyResponse> {
        let deadline = deadline::of(request.metadata());
        let moved = self.call(deadline, Engine::reclassify).await?;
        self.facade.changed();
        Ok(Response::new(v1::ReclassifyResponse { moved_records: moved.records, moved_bytes: moved.bytes }))
    }

    type MoveRangeStream = MessageStream<v1::MoveProgress>;

    async fn move_range(&self, request: Request<v1::MoveRangeRequest>) -> Answer<Self::MoveRangeStream> {
        let order = moves::Order::parse(request.into_inner(), &self.facade.range)?;
        let progress = self.moves.start(&self.facade, order)?;
        Ok(Response::new(moves::stream(progress, self.stop.clone())))
    }

    async fn list_moves(&self, _request: Request<v1::ListMovesRequest>) -> Answer<v1::ListMovesResponse> {
        let moves = self.moves.list();
        Ok(Response::new(v1::ListMovesResponse { moves }))
    }

    async fn cancel_move(&self, request: Request<v1::CancelMoveRequest>) -> Answer<v1::CancelMoveResponse> {
        self.moves.cancel(request.into_inner().move_id)?;
        Ok(Response::new(v1::CancelMoveResponse {}))
    }

    async fn checkpoint(&self, request: Request<v1::CheckpointRequest>) -> Answer<v1::CheckpointResponse> {
        let deadline = deadline::of(request.metadata());
        let folder = PathBuf::from(request.into_inner().folder);
        if !folder.is_absolute() {
            return Err(Rejection::Unknown {
                field: "folder".to_owned(),
                actual: format!("{:?}", folder.display().to_string()),
                allowed: "an absolute path on the node that does not exist yet".to_owned(),
            }
            .into());
        }
        self.call(deadline, move |engine| engine.checkpoint(&folder)).await?;
        Ok(Response::new(v1::CheckpointResponse {}))
    }

    async fn initialize(&self, request: Request<v1::InitializeRequest>) -> Answer<v1::InitializeResponse> {
        let cluster = shards::cluster(self.facade.cluster.as_ref())?;
        let answer = shards::initialize(cluster, request.into_inner()).await?;
        self.facade.changed();
        Ok(Response::new(answer))
    }

    async fn change_shard(&self, request: Request<v1::ChangeShardRequest>) -> Answer<v1::ChangeShardResponse> {
        let cluster = shards::cluster(self.facade.cluster.as_ref())?;
        let answer = shards::change(cluster, &self.facade.engine, request.into_inner()).await?;
        self.facade.changed();
        Ok(Response::new(answer))
    }

    async fn print_stats(&self, request: Request<v1::PrintStatsRequest>) -> Answer<v1::PrintStatsResponse> {
        let deadline = deadline::of(request.metadata());
        let text = self.call(deadline, |engine| Ok(engine.print_stats())).await?;
        Ok(Response::new(v1::PrintStatsResponse { text }))
    }
}
