//! Puts the services behind the sockets.

use std::sync::Arc;
use std::time::Duration;

use thermocline_engine::Durability;
use thermocline_proto::DESCRIPTOR_SET;
use thermocline_proto::replica::v1::replicas_server::ReplicasServer;
use thermocline_proto::v1::admin_server::AdminServer;
use thermocline_proto::v1::kv_server::KvServer;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic_health::server::HealthReporter;

use super::listener::Listeners;
use super::{Node, NodeError};
use crate::cluster::{ReplicasService, only_for};
use crate::service::admin::AdminService;
use crate::service::kv::{Counted, DataPlane, KvService, Plane, ShardPlane};
use crate::service::limits::MAX_MESSAGE_BYTES;
use crate::{health, http};

/// Calls of one connection that are read at once. What they all hold together is bounded by [`Counted`] while they
/// arrive, and by admission from then on.
const CALLS_PER_CONNECTION: usize = 256;
/// Time for a request to arrive: a largest batch at 10 Mbit/s.
const ARRIVAL: Duration = Duration::from_secs(60);
/// A client whose machine has vanished is noticed after this and the time of the answer.
const KEEPALIVE: Duration = Duration::from_secs(30);
const KEEPALIVE_ANSWER: Duration = Duration::from_secs(10);
/// Windows of a stream and a connection: a batch of the largest size passes without waiting for every 64 KiB of it.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;

impl Node {
    pub(super) fn serve(&mut self, listeners: Listeners, durability: Durability) -> Result<(), NodeError> {
        let facade = Arc::clone(&self.facade);
        let plane = Arc::new(DataPlane {
            engine: facade.engine.clone(),
            range: facade.range.clone(),
            durability,
            requests: facade.requests.clone(),
            scans: facade.scans.clone(),
            metrics: Arc::clone(&facade.metrics),
        });
        let plane = match &facade.cluster {
            None => Plane::Alone(plane),
            Some(cluster) => Plane::Shards(Arc::new(ShardPlane::new(Arc::clone(cluster), plane))),
        };
        let kv = KvServer::new(KvService::new(plane, Arc::clone(&facade.metrics)))
            .max_decoding_message_size(MAX_MESSAGE_BYTES);
        let kv = Counted::new(kv, facade.requests.clone(), ARRIVAL);
        let admin =
            AdminServer::new(AdminService::new(Arc::clone(&facade), Arc::clone(&self.moves), self.accepting.clone()));

        let (reporter, service) = tonic_health::server::health_reporter();
        self.report(reporter);
        let router = server().add_service(kv).add_service(service).add_service(reflection()?);
        let (incoming, stop) = (TcpIncoming::from(listeners.kv), self.accepting.clone());
        self.servers.spawn(async move {
            let served = router.serve_with_incoming_shutdown(incoming.with_nodelay(Some(true)), stop.cancelled_owned());
            served.await.map_err(|error| ended("listen.kv", &error))
        });

        let (reporter, service) = tonic_health::server::health_reporter();
        self.report(reporter);
        let router = server().add_service(admin).add_service(service).add_service(reflection()?);
        let (incoming, stop) = (TcpIncoming::from(listeners.admin), self.accepting.clone());
        self.servers.spawn(async move {
            let served = router.serve_with_incoming_shutdown(incoming.with_nodelay(Some(true)), stop.cancelled_owned());
            served.await.map_err(|error| ended("listen.admin", &error))
        });

        if let (Some(cluster), Some(listener)) = (&facade.cluster, listeners.peer) {
            let service = ReplicasService::new(Arc::clone(&cluster.host), Arc::clone(&cluster.book));
            let service = ReplicasServer::new(service).max_decoding_message_size(MAX_MESSAGE_BYTES);
            let service = InterceptedService::new(service, only_for(cluster.id.clone(), cluster.host.node()));
            // Until the very end: others need this node's votes while they take over what it led.
            let (incoming, stop) = (TcpIncoming::from(listener), self.running.clone());
            let router = peer_server().add_service(service);
            self.servers.spawn(async move {
                let served =
                    router.serve_with_incoming_shutdown(incoming.with_nodelay(Some(true)), stop.cancelled_owned());
                served.await.map_err(|error| ended("listen.peer", &error))
            });
        }

        let (routes, stop) = (http::routes(Arc::clone(&facade)), self.running.clone());
        self.servers.spawn(async move {
            let served = axum::serve(listeners.http, routes).with_graceful_shutdown(stop.cancelled_owned());
            served.await.map_err(|error| ended("listen.http", &error))
        });
        Ok(())
    }

    fn report(&mut self, reporter: HealthReporter) {
        let board = self.facade.health.clone();
        self.background.spawn(health::report(board, reporter, self.accepting.clone()));
    }
}

fn server() -> Server {
    Server::builder()
        .concurrency_limit_per_connection(CALLS_PER_CONNECTION)
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE_ANSWER))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
}

/// Other nodes are trusted not to overrun this one, and a vote must not wait behind a snapshot.
fn peer_server() -> Server {
    Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE_ANSWER))
        .initial_stream_window_size(CONNECTION_WINDOW)
        .initial_connection_window_size(4 * CONNECTION_WINDOW)
}

fn reflection() -> Result<
    tonic_reflection::server::v1::ServerReflectionServer<impl tonic_reflection::server::v1::ServerReflection>,
    NodeError,
> {
    Ok(tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()?)
}

fn ended(listener: &'static str, error: &dyn std::error::Error) -> NodeError {
    NodeError::Ended { listener, reason: error.to_string() }
}
