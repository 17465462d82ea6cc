//! Which shard owns a key, and where: at first hand where a replica is here, else as the meta group has it, remembered for a
//! while.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use thermocline_engine::Engine;
use thermocline_proto::v1;
use thermocline_shard::host::Resident;
use thermocline_shard::raft::Member;
use thermocline_shard::{NodeId, ReplicaId, Role};
use tokio::time::Instant;

use super::NodeHost;
use super::book::Book;
use super::directory::{Directory, DirectoryError};

/// What was read of the index holds for so long.
const FRESH: Duration = Duration::from_secs(5);
/// Shards that are remembered, at most.
const REMEMBERED: usize = 10_000;
/// Shards that are read at once: who asks for one soon asks for its neighbours.
const AT_ONCE: u64 = 64;

/// Finds shards.
pub struct Router {
    host: Arc<NodeHost>,
    book: Arc<Book>,
    directory: Directory,
    known: Mutex<BTreeMap<Bytes, (v1::ShardRoute, Instant)>>,
}

impl Router {
    /// A router of one node.
    pub fn new(host: Arc<NodeHost>, book: Arc<Book>, directory: Directory) -> Self {
        Self { host, book, directory, known: Mutex::default() }
    }

    /// Where the shard of a replica here is; `None` until it has heard.
    pub fn of_resident(&self, resident: &Resident<Engine>) -> Option<v1::ShardRoute> {
        let descriptor = resident.descriptor()?;
        let group = resident.replica().group();
        let leader = group.leader.and_then(|leader| group.members.get(&leader)).map_or(0, |member| member.node.0);
        let replica = |(id, member): (&ReplicaId, &Member)| v1::ReplicaRoute {
            replica: id.0,
            witness: member.role == Role::Witness,
            ..self.address(member.node)
        };
        Some(v1::ShardRoute {
            shard: descriptor.shard.0,
            epoch: descriptor.epoch.0,
            start: Bytes::copy_from_slice(descriptor.range.start()),
            end: Bytes::copy_from_slice(descriptor.range.end().unwrap_or_default()),
            replicas: group.members.iter().map(replica).collect(),
            leader,
        })
    }

    /// The shard that owns a key, as far as is known without asking.
    pub fn here(&self, key: &[u8]) -> Option<v1::ShardRoute> {
        let resident = self.host.owner(key)?;
        self.of_resident(&resident)
    }

    /// The shards from the one that owns a key on, at most `limit` of them.
    ///
    /// # Errors
    /// When the meta group has to be asked and does not answer.
    pub async fn from(&self, key: &[u8], limit: usize) -> Result<Vec<v1::ShardRoute>, DirectoryError> {
        let mut found: Vec<v1::ShardRoute> = Vec::new();
        let mut next = Bytes::copy_from_slice(key);
        while found.len() < limit {
            let route = self.owner(&next).await?;
            let end = route.end.clone();
            found.push(route);
            if end.is_empty() {
                break;
            }
            next = end;
        }
        Ok(found)
    }

    /// The shard that owns a key.
    ///
    /// # Errors
    /// When the meta group has to be asked and does not answer.
    pub async fn owner(&self, key: &[u8]) -> Result<v1::ShardRoute, DirectoryError> {
        if let Some(route) = self.here(key).or_else(|| self.remembered(key)) {
            return Ok(route);
        }
        let routes = self.directory.shards_from(key, AT_ONCE).await?;
        self.remember(routes);
        self.remembered(key).ok_or(DirectoryError::Damaged("no shard of the index owns the key"))
    }

    /// Forgets what was read of a key's shard: it proved wrong.
    pub fn forget(&self, key: &[u8]) {
        let mut known = self.known.lock();
        let start = known.range::<[u8], _>((Bound::Unbounded, Bound::Included(key))).next_back();
        if let Some(start) = start.map(|(start, _)| start.clone()) {
            known.remove(&start);
        }
    }

    fn remembered(&self, key: &[u8]) -> Option<v1::ShardRoute> {
        let known = self.known.lock();
        let (_, (route, read)) = known.range::<[u8], _>((Bound::Unbounded, Bound::Included(key))).next_back()?;
        let owns = route.end.is_empty() || key < route.end.as_ref();
        (owns && read.elapsed() < FRESH).then(|| self.with_addresses(route.clone()))
    }

    fn remember(&self, routes: Vec<v1::ShardRoute>) {
        let mut known = self.known.lock();
        if known.len() + routes.len() > REMEMBERED {
            known.clear();
        }
        let now = Instant::now();
        known.extend(routes.into_iter().map(|route| (route.start.clone(), (route, now))));
    }

    /// Addresses are the book's: a node may have moved since.
    fn with_addresses(&self, mut route: v1::ShardRoute) -> v1::ShardRoute {
        for replica in &mut route.replicas {
            let v1::ReplicaRoute { kv, zone, .. } = self.address(NodeId(replica.node));
            if !kv.is_empty() {
                (replica.kv, replica.zone) = (kv, zone);
            }
        }
        route
    }

    /// Where a node is, in the route of a replica that is on it.
    fn address(&self, node: NodeId) -> v1::ReplicaRoute {
        let known = self.book.node(node);
        let (kv, zone) = known.map(|node| (node.kv, node.zone)).unwrap_or_default();
        v1::ReplicaRoute { node: node.0, kv, zone, ..v1::ReplicaRoute::default() }
    }
}
