//! `thermocline.v1.Kv`: the data plane.
//!
//! Every call goes the same way: header, limits and ownership are checked here, then the engine is called on a blocking
//! thread under admission. Reads too: a read that misses the row cache may wait for a disk, and one slow device must
//! not hold the threads that serve all connections. What the row cache answers is the exception: it never blocks, so it
//! is asked in place, which saves the two thread switches that would cost more than the read itself.

mod counted;
mod read;
mod scan;
mod sharded;
mod write;

use std::sync::Arc;

use thermocline_engine::{Durability, Engine};
use thermocline_proto::v1;
use thermocline_proto::v1::kv_server::Kv;
use tonic::{Request, Response, Status};

use crate::admission::AdmissionPool;
use crate::metrics::{NodeMetrics, Rpc};
use crate::owned_range::OwnedRange;

use counted::AnswerHeld;
pub use counted::Counted;
pub use sharded::{ShardPlane, with_routes};

/// The data plane of one node. Cheap to clone.
#[derive(Clone)]
pub struct KvService {
    plane: Plane,
    metrics: Arc<NodeMetrics>,
}

/// Whose keys the node answers for.
#[derive(Clone)]
pub enum Plane {
    /// Its own: it stands alone.
    Alone(Arc<DataPlane>),
    /// Those of the cluster's shards.
    Shards(Arc<ShardPlane>),
}

/// What the calls share.
pub struct DataPlane {
    /// The store.
    pub engine: Engine,
    /// The keys it owns.
    pub range: OwnedRange,
    /// What an unspecified durability means.
    pub durability: Durability,
    /// Gets and writes.
    pub requests: AdmissionPool,
    /// Scans, which last as long as their readers take.
    pub scans: AdmissionPool,
    /// Counts and times every call.
    pub metrics: Arc<NodeMetrics>,
}

impl KvService {
    /// The service over these parts.
    pub fn new(plane: Plane, metrics: Arc<NodeMetrics>) -> Self {
        Self { plane, metrics }
    }

    async fn timed<T>(&self, rpc: Rpc, call: impl Future<Output = Result<T, Status>>) -> Result<Response<T>, Status> {
        let timer = self.metrics.start(rpc);
        let outcome = call.await;
        timer.finish(outcome.as_ref().err().map(Status::code));
        outcome.map(Response::new)
    }
}

#[tonic::async_trait]
impl Kv for KvService {
    async fn get(&self, request: Request<v1::GetRequest>) -> Result<Response<v1::GetResponse>, Status> {
        match &self.plane {
            Plane::Alone(plane) => self.timed(Rpc::Get, plane.get(request)).await,
            Plane::Shards(plane) => self.timed(Rpc::Get, plane.get(request)).await,
        }
    }

    async fn batch_get(&self, request: Request<v1::BatchGetRequest>) -> Result<Response<v1::BatchGetResponse>, Status> {
        let answered = match &self.plane {
            Plane::Alone(plane) => self.timed(Rpc::BatchGet, plane.batch_get(request)).await?,
            Plane::Shards(plane) => self.timed(Rpc::BatchGet, plane.batch_get(request)).await?,
        };
        let (metadata, (answer, held), mut extensions) = answered.into_parts();
        extensions.insert::<AnswerHeld>(Arc::new(held));
        Ok(Response::from_parts(metadata, answer, extensions))
    }

    async fn put(&self, request: Request<v1::PutRequest>) -> Result<Response<v1::WriteResponse>, Status> {
        match &self.plane {
            Plane::Alone(plane) => self.timed(Rpc::Put, plane.put(request)).await,
            Plane::Shards(plane) => self.timed(Rpc::Put, plane.put(request)).await,
        }
    }

    async fn delete(&self, request: Request<v1::DeleteRequest>) -> Result<Response<v1::WriteResponse>, Status> {
        match &self.plane {
            Plane::Alone(plane) => self.timed(Rpc::Delete, plane.delete(request)).await,
            Plane::Shards(plane) => self.timed(Rpc::Delete, plane.delete(request)).await,
        }
    }

    async fn write(&self, request: Request<v1::WriteRequest>) -> Result<Response<v1::WriteResponse>, Status> {
        match &self.plane {
            Plane::Alone(plane) => self.timed(Rpc::Write, plane.write(request)).await,
            Plane::Shards(plane) => self.timed(Rpc::Write, plane.write(request)).await,
        }
    }

    type ScanStream = scan::ScanStream;

    async fn scan(&self, request: Request<v1::ScanRequest>) -> Result<Response<Self::ScanStream>, Status> {
        let timer = self.metrics.start(Rpc::Scan);
        let started = match &self.plane {
            Plane::Alone(plane) => scan::start(Arc::clone(plane), request, timer).await,
            Plane::Shards(plane) => Arc::clone(plane).scan(request, timer).await,
        };
        started.map(Response::new)
    }

    async fn route(&self, request: Request<v1::RouteRequest>) -> Result<Response<v1::RouteResponse>, Status> {
        match &self.plane {
            Plane::Alone(_) => {
                Err(Status::unimplemented("this node stands alone: it has one range, which its status tells"))
            }
            Plane::Shards(plane) => plane.route(request.into_inner()).await.map(Response::new),
        }
    }
}
