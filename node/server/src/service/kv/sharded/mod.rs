//! The data plane of a node in a cluster with shards: a call goes to the shard that owns its keys, here where its leader is
//! here, else one hop on to where it is. A call that was sent on is not sent on again, and none is ever sent twice from here:
//! that is the client's business, who gives it a number.

mod elsewhere;
mod read;
mod write;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub use elsewhere::with_routes;
use parking_lot::Mutex;
use thermocline_engine::{Engine, KeyRange};
use thermocline_proto::{FIRST_OWN_KEY, v1};
use thermocline_shard::host::Resident;
use thermocline_shard::session::{ClientId, RequestId};
use thermocline_shard::{Epoch, NodeId, ShardId};
use tokio::time::Instant;
use tonic::Status;

use super::DataPlane;
use crate::cluster::Cluster;
use crate::owned_range::printable;
use crate::service::{Rejection, limits};
use crate::telemetry::chain;

/// What the calls share.
pub struct ShardPlane {
    pub(super) cluster: Arc<Cluster>,
    /// The engine and its admission; the node owns no range of its own.
    pub(super) local: Arc<DataPlane>,
    /// Nodes that did not answer, and when.
    away: Mutex<BTreeMap<NodeId, Instant>>,
}

/// A node that did not answer is asked last for so long.
const AWAY: Duration = Duration::from_secs(2);

/// What a request says of itself.
#[derive(Debug, Clone, Default)]
pub(super) struct Routed {
    header: v1::RequestHeader,
    /// The shard it was routed to, where it says so.
    shard: Option<(ShardId, Epoch)>,
    request: Option<RequestId>,
}

/// Where a request belongs.
pub(super) enum Place {
    /// To a replica here, which may lead.
    Here(Arc<Resident<Engine>>, Epoch),
    /// To another node; which one has to be found out.
    Elsewhere,
}

impl Routed {
    pub(super) fn parse(header: Option<v1::RequestHeader>) -> Result<Self, Rejection> {
        let header = header.unwrap_or_default();
        let request = match &header.request_id {
            None => None,
            Some(id) => {
                let client: [u8; 16] =
                    id.client.as_ref().try_into().map_err(|_| Rejection::RequestId { actual: id.client.len() })?;
                Some(RequestId { client: ClientId(client), sequence: id.sequence, retry: header.retry })
            }
        };
        // Shard 0 is the meta group, which nobody names: its keys are found like any others.
        let shard = (header.shard != 0).then_some((ShardId(header.shard), Epoch(header.epoch)));
        Ok(Self { header, shard, request })
    }

    /// A key that this request may name.
    pub(super) fn key(&self, field: &str, key: &[u8]) -> Result<(), Rejection> {
        limits::key(field, key)?;
        if key >= FIRST_OWN_KEY && !self.header.own_keys {
            return Err(Rejection::OwnKey { field: field.to_owned() });
        }
        Ok(())
    }
}

impl ShardPlane {
    /// The data plane over a node's replicas.
    pub fn new(cluster: Arc<Cluster>, local: Arc<DataPlane>) -> Self {
        Self { cluster, local, away: Mutex::default() }
    }

    /// Where a request for these keys belongs.
    pub(super) fn place(&self, routed: &Routed, keys: &KeyRange) -> Result<Place, Status> {
        let host = &self.cluster.host;
        // By the key first: by the number of the shard all replicas of the node are looked at.
        let owner = host.owner(keys.start());
        let found = match (routed.shard, owner) {
            (Some((shard, epoch)), Some(owner)) if owner.shard() != shard => {
                let found = host.of_shard(shard);
                if found.is_none() && owner.descriptor().is_some_and(|descriptor| descriptor.epoch > epoch) {
                    // It is a part of this one now.
                    return Err(self.changed(keys.start()));
                }
                found
            }
            (Some((shard, _)), None) => host.of_shard(shard),
            (_, owner) => owner,
        };
        let Some(resident) = found else { return Ok(Place::Elsewhere) };
        let view = resident.view();
        let Some(descriptor) = &view.descriptor else { return Ok(Place::Elsewhere) };
        if let Some((_, epoch)) = routed.shard {
            if epoch > descriptor.epoch {
                // This replica has not heard of it yet; the leader has.
                return Ok(Place::Elsewhere);
            }
            if epoch < descriptor.epoch {
                return Err(self.changed(keys.start()));
            }
        }
        if descriptor.range.covers(keys) {
            return Ok(Place::Here(resident, descriptor.epoch));
        }
        if !descriptor.range.contains(keys.start()) {
            return Err(self.changed(keys.start()));
        }
        let split = descriptor.range.end().unwrap_or_default().to_vec();
        Err(self.misrouted(Rejection::SpansShards { split }.into(), keys.start()))
    }

    /// The shard of a key is another one than the request was routed by.
    pub(super) fn changed(&self, key: &[u8]) -> Status {
        let message = format!("the shard of key {} has changed; ask for its route again", printable(key));
        self.misrouted(Status::failed_precondition(message), key)
    }

    /// The shard of a key is about to become a part of its neighbour.
    pub(super) fn frozen(&self, key: &[u8]) -> Status {
        let message = format!("the shard of key {} is being merged into its neighbour; try again", printable(key));
        self.misrouted(Status::unavailable(message), key)
    }

    /// With what this node knows of the shard of a key; says too that nothing was done.
    pub(super) fn misrouted(&self, status: Status, key: &[u8]) -> Status {
        elsewhere::with_routes(status, self.cluster.router.here(key).into_iter().collect())
    }

    /// Which shards own the keys from one on.
    pub(super) async fn route(&self, request: v1::RouteRequest) -> Result<v1::RouteResponse, Status> {
        let limit = match request.limit {
            0 => 64,
            limit => limit.min(1000) as usize,
        };
        limits::at_most("key", "bytes of a key", request.key.len(), thermocline_proto::MAX_KEY_BYTES)?;
        let found = self.cluster.router.from(&request.key, limit).await;
        let shards = found.map_err(|error| Status::unavailable(chain(&error)))?;
        Ok(v1::RouteResponse { shards })
    }

    fn is_away(&self, node: NodeId) {
        self.away.lock().insert(node, Instant::now());
    }

    /// The node whose replica is to be asked instead of the ones here.
    async fn other_node(&self, key: &[u8], leader: Option<NodeId>) -> Result<NodeId, Status> {
        let me = self.cluster.book.me();
        if let Some(leader) = leader {
            return Ok(leader);
        }
        let route = self.cluster.router.owner(key).await.map_err(|error| Status::unavailable(chain(&error)))?;
        let data = route.replicas.iter().filter(|replica| !replica.witness).map(|replica| replica.node);
        let others: Vec<u64> = data.filter(|node| *node != me.0).collect();
        let known = Some(route.leader).filter(|leader| *leader != 0 && *leader != me.0);
        let away = self.away.lock();
        let answers = |node: &u64| away.get(&NodeId(*node)).is_none_or(|since| since.elapsed() >= AWAY);
        let node =
            known.filter(answers).or_else(|| others.iter().copied().find(answers)).or_else(|| others.first().copied());
        node.map(NodeId).ok_or_else(|| {
            let status = Status::unavailable("no replica of the shard leads, as far as this node knows; try again");
            elsewhere::with_routes(status, vec![route])
        })
    }
}
