//! A node's control plane that plays its part: it serves, takes moves and notes what it was asked.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use futures::{Stream, stream};
use parking_lot::Mutex;
use thermocline_proto::v1;
use thermocline_proto::v1::admin_server::{Admin, AdminServer};
use thermocline_proto::v1::change_shard_request::Change;
use tokio::sync::{Barrier, mpsc};
use tonic::{Request, Response, Status};

/// Between two messages of its status.
const EVERY: std::time::Duration = std::time::Duration::from_millis(20);

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;
type Told = mpsc::UnboundedSender<Result<v1::MoveProgress, Status>>;

#[derive(Default)]
pub struct Played {
    /// What it was asked about moves, in order.
    pub asked: Vec<String>,
    /// Whether it refuses to end moves for now.
    pub refuses_cancel: bool,
    /// Whom those who ask it to end a move wait for, before they are answered.
    pub cancels_meet: Option<Arc<Barrier>>,
    /// Its number, and what it says of shards.
    pub node_id: u64,
    pub shards: Vec<v1::ShardStatus>,
    /// The jobs of shards that it was asked to begin, each time.
    pub begun: Vec<u64>,
    last_id: u64,
    moves: BTreeMap<u64, Told>,
}

#[derive(Clone)]
pub struct PlayedNode {
    pub name: &'static str,
    pub played: Arc<Mutex<Played>>,
    pub address: SocketAddr,
}

impl PlayedNode {
    pub async fn start(name: &'static str) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let node = Self { name, played: Arc::default(), address: listener.local_addr().unwrap() };
        let service = AdminServer::new(node.clone());
        let incoming = stream::unfold(listener, |listener| async move {
            let accepted = listener.accept().await.map(|(connection, _)| connection);
            Some((accepted, listener))
        });
        tokio::spawn(tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming));
        node
    }

    pub fn asked(&self) -> Vec<String> {
        self.played.lock().asked.clone()
    }

    /// Its connections to whoever follows its moves break; the moves go on.
    pub fn break_streams(&self) {
        for told in std::mem::take(&mut self.played.lock().moves).into_values() {
            told.send(Err(Status::unavailable("the connection broke"))).unwrap();
        }
    }
}

impl PlayedNode {
    fn now(&self) -> v1::NodeStatus {
        let played = self.played.lock();
        let tier = v1::TierStatus {
            name: "hot".to_owned(),
            capacity_bytes: 1 << 30,
            high_watermark: 0.85,
            low_watermark: 0.75,
            ..v1::TierStatus::default()
        };
        v1::NodeStatus {
            node: self.name.to_owned(),
            health: v1::Health::Serving.into(),
            uptime_ms: 3_600_000,
            policy_generation: 1,
            tiers_generation: 1,
            tiers: vec![tier],
            node_id: played.node_id,
            shards: played.shards.clone(),
            ..v1::NodeStatus::default()
        }
    }
}

fn not_here<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("it is not asked for here"))
}

#[tonic::async_trait]
impl Admin for PlayedNode {
    type StatusStream = Answers<v1::NodeStatus>;
    type MoveRangeStream = Answers<v1::MoveProgress>;

    async fn status(&self, _: Request<v1::StatusRequest>) -> Result<Response<Self::StatusStream>, Status> {
        let node = self.clone();
        let told = stream::unfold(node, |node| async {
            let status = node.now();
            tokio::time::sleep(EVERY).await;
            Some((Ok(status), node))
        });
        Ok(Response::new(Box::pin(told)))
    }

    async fn move_range(
        &self,
        request: Request<v1::MoveRangeRequest>,
    ) -> Result<Response<Self::MoveRangeStream>, Status> {
        let mut played = self.played.lock();
        played.asked.push(format!("move to {}", request.into_inner().to_tier));
        played.last_id += 1;
        let (told, following) = mpsc::unbounded_channel();
        let running =
            v1::MoveProgress { move_id: played.last_id, state: "running".to_owned(), ..v1::MoveProgress::default() };
        told.send(Ok(running)).unwrap();
        let id = played.last_id;
        played.moves.insert(id, told);
        let following = stream::unfold(following, |mut following| async { Some((following.recv().await?, following)) });
        Ok(Response::new(Box::pin(following)))
    }

    async fn cancel_move(
        &self,
        request: Request<v1::CancelMoveRequest>,
    ) -> Result<Response<v1::CancelMoveResponse>, Status> {
        let id = request.into_inner().move_id;
        let meet = self.played.lock().cancels_meet.clone();
        if let Some(meet) = meet {
            meet.wait().await;
        }
        let mut played = self.played.lock();
        if played.refuses_cancel {
            return Err(Status::unavailable("not now"));
        }
        played.asked.push(format!("end {id}"));
        if let Some(told) = played.moves.remove(&id) {
            let end = v1::MoveProgress { move_id: id, state: "cancelled".to_owned(), ..v1::MoveProgress::default() };
            // Who followed it may be gone.
            let _ = told.send(Ok(end));
        }
        Ok(Response::new(v1::CancelMoveResponse {}))
    }

    async fn heat(&self, _: Request<v1::HeatRequest>) -> Result<Response<v1::HeatResponse>, Status> {
        not_here()
    }
    async fn explain(&self, _: Request<v1::ExplainRequest>) -> Result<Response<v1::ExplainResponse>, Status> {
        not_here()
    }
    async fn set_policy(&self, _: Request<v1::SetPolicyRequest>) -> Result<Response<v1::SetPolicyResponse>, Status> {
        not_here()
    }
    async fn set_tiers(&self, _: Request<v1::SetTiersRequest>) -> Result<Response<v1::SetTiersResponse>, Status> {
        not_here()
    }
    async fn reclassify(&self, _: Request<v1::ReclassifyRequest>) -> Result<Response<v1::ReclassifyResponse>, Status> {
        not_here()
    }
    async fn list_moves(&self, _: Request<v1::ListMovesRequest>) -> Result<Response<v1::ListMovesResponse>, Status> {
        not_here()
    }
    async fn checkpoint(&self, _: Request<v1::CheckpointRequest>) -> Result<Response<v1::CheckpointResponse>, Status> {
        not_here()
    }
    async fn initialize(&self, _: Request<v1::InitializeRequest>) -> Result<Response<v1::InitializeResponse>, Status> {
        not_here()
    }
    async fn change_shard(
        &self,
        request: Request<v1::ChangeShardRequest>,
    ) -> Result<Response<v1::ChangeShardResponse>, Status> {
        let request = request.into_inner();
        let mut played = self.played.lock();
        let begins = match &request.change {
            Some(Change::MoveReplica(order)) => Some(*order),
            _ => None,
        };
        played.begun.extend(begins.map(|order| order.job));
        let of_shard = |shard: &&mut v1::ShardStatus| shard.shard == request.shard && shard.leads;
        let Some(shard) = played.shards.iter_mut().find(of_shard) else {
            return Err(Status::not_found("it has no such shard"));
        };
        match (begins, request.change) {
            (Some(order), _) if shard.job.is_none() => {
                let leaving = shard.replica;
                let v1::MoveReplica { job, from, to, bytes_per_second } = order;
                shard.job = Some(v1::ShardJob { job, from, to, leaving, bytes_per_second, ..v1::ShardJob::default() });
            }
            (_, Some(Change::ControlJob(control))) => {
                if let Some(job) = shard.job.as_mut().filter(|job| job.job == control.job) {
                    job.cancelled |= control.cancel;
                }
            }
            _ => {}
        }
        Ok(Response::new(v1::ChangeShardResponse::default()))
    }
    async fn print_stats(&self, _: Request<v1::PrintStatsRequest>) -> Result<Response<v1::PrintStatsResponse>, Status> {
        not_here()
    }
}
