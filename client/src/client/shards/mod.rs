//! Calls in a cluster with shards: the routes that were learned, the connections and lanes, and the sending of a call until
//! it is answered or its time is up.

mod asking;
mod sending;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize},
    },
    time::Duration,
};

use parking_lot::RwLock;
use thermocline_proto::v1;
use tokio::{sync::Mutex, time::Instant};
use tonic::{Response, Status};

pub(crate) use sending::{Sending, Target};

use super::{KvClient, span::KeySpan};
use crate::{
    Error, Options, RangeTable, ShardRoute, distances::Distances, lanes::Lanes, lines::Lines, retry::CallKind,
    route_table::RouteTable,
};

/// The routes of a cluster, and what calls by them need.
#[derive(Debug)]
pub(super) struct ShardRouting {
    routes: RwLock<RouteTable>,
    /// One asks at a time; who waited looks first whether it was told.
    asking: Mutex<()>,
    lines: Lines,
    /// Addresses of the endpoints, in their order.
    seeds: Vec<String>,
    /// The seed that answered last.
    seed: AtomicUsize,
    lanes: Lanes,
    calls: AtomicU64,
    distances: Distances,
    options: Options,
}

impl ShardRouting {
    /// `told` is what a node said of the first shards.
    pub(super) fn new(seeds: Vec<String>, lines: Lines, told: Vec<v1::ShardRoute>, options: &Options) -> Self {
        let routing = Self {
            routes: RwLock::default(),
            asking: Mutex::new(()),
            lines,
            seeds,
            seed: AtomicUsize::new(0),
            lanes: Lanes::new(options.client_id, options.lanes),
            calls: AtomicU64::new(0),
            distances: Distances::default(),
            options: options.clone(),
        };
        routing.learn(told, None);
        routing
    }

    /// Calls the leader of the shard that owns the keys, or a replica that is near.
    pub(super) async fn call<T, Send, Answer>(
        &self,
        mut sending: Sending,
        span: &KeySpan,
        send: Send,
    ) -> Result<T, Error>
    where
        Send: Fn(KvClient, v1::RequestHeader, Duration) -> Answer,
        Answer: Future<Output = Result<Response<T>, Status>>,
    {
        let ticket = match sending.kind() {
            CallKind::Read => None,
            CallKind::Write | CallKind::ConditionalWrite => {
                let taken = self.lanes.take(sending.deadline()).await;
                Some(taken.ok_or_else(|| sending.crowded(self.lanes.capacity()))?)
            }
        };
        loop {
            let target = self.target(&mut sending, &span.low).await?;
            if let Some(split) = target.route.split_before(&span.high) {
                return Err(sending.refused_as(Error::BatchSpansShards { split }));
            }
            let header = v1::RequestHeader {
                request_id: ticket.as_ref().map(|ticket| ticket.id.clone()),
                retry: sending.is_unsure(),
                ..target.header()
            };
            let (within, sent) = (sending.time_of_attempt(), Instant::now());
            let status = match tokio::time::timeout(within, send(target.kv.clone(), header, within)).await {
                Ok(Ok(response)) => {
                    if sending.is_near() {
                        self.distances.note(&target.address, sent.elapsed());
                    }
                    return Ok(response.into_inner());
                }
                Ok(Err(status)) => status,
                Err(_elapsed) => Status::deadline_exceeded(format!("no answer within {within:?}")),
            };
            self.after_failure(&mut sending, &target, status).await?;
        }
    }

    /// The route of a key's shard, asked for where it was not learned.
    pub(super) async fn route(&self, key: &[u8], timeout: Duration) -> Result<Arc<ShardRoute>, Error> {
        let mut sending = self.begin("route", CallKind::Read, timeout, false);
        self.route_of(&mut sending, key).await
    }

    /// Every route that was learned, in key order.
    pub(super) fn learned(&self) -> Vec<Arc<ShardRoute>> {
        self.routes.read().iter().cloned().collect()
    }

    /// The endpoint to ask about the keys: of the leader, else of a data replica.
    pub(super) fn ranges(&self) -> RangeTable {
        let seed_of = |address: &str| self.seeds.iter().position(|seed| seed == address);
        self.routes.read().ranges(|route| {
            let leader = route.data_replicas().filter(|replica| Some(replica.node) == route.leader);
            leader.chain(route.data_replicas()).find_map(|replica| seed_of(&replica.kv))
        })
    }

    pub(super) fn leader_name(&self, key: &[u8]) -> String {
        let leader = self.routes.read().owner(key).and_then(|route| route.leader);
        leader.map_or_else(|| "of its shard".to_owned(), |leader| leader.to_string())
    }

    /// Takes in routes that a node told; `not_leader` said of itself that it does not lead.
    fn learn(&self, told: Vec<v1::ShardRoute>, not_leader: Option<u64>) {
        let now = Instant::now();
        let mut routes = self.routes.write();
        for route in told.into_iter().filter_map(|route| ShardRoute::of(route, now)) {
            routes.learn(route, not_leader);
        }
    }
}
