//! Where one shard is.

use bytes::Bytes;
use thermocline_proto::v1;
use tokio::time::Instant;

use crate::KeyRange;

/// A shard: its keys, and the nodes that have replicas of it. As far as the node knew that told it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardRoute {
    /// Its number.
    pub shard: u64,
    /// How often its range has changed; each half of a split has the next one.
    pub epoch: u64,
    /// Its keys.
    pub range: KeyRange,
    /// Its replicas.
    pub replicas: Vec<ReplicaRoute>,
    /// The node whose replica leads, where known.
    pub leader: Option<u64>,
    pub(crate) learned: Instant,
}

/// A replica of a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaRoute {
    /// Its node.
    pub node: u64,
    /// `host:port` of the node's data plane; empty where not known.
    pub kv: String,
    /// Whether it votes alone and has no data.
    pub witness: bool,
    /// Where its node is; empty where not known.
    pub zone: String,
}

impl ShardRoute {
    /// `None` where its range holds no key.
    pub(crate) fn of(route: v1::ShardRoute, learned: Instant) -> Option<Self> {
        let v1::ShardRoute { shard, epoch, start, end, replicas, leader } = route;
        let replica = |replica: v1::ReplicaRoute| {
            let v1::ReplicaRoute { node, kv, witness, replica: _, zone } = replica;
            ReplicaRoute { node, kv, witness, zone }
        };
        Some(Self {
            shard,
            epoch,
            range: KeyRange::new(start, end).ok()?,
            replicas: replicas.into_iter().map(replica).collect(),
            leader: (leader != 0).then_some(leader),
            learned,
        })
    }

    /// The replicas that can be asked: they have data, and their address is known.
    pub fn data_replicas(&self) -> impl Iterator<Item = &ReplicaRoute> {
        self.replicas.iter().filter(|replica| !replica.witness && !replica.kv.is_empty())
    }

    /// Who is asked next, after those that were asked in vain: the leader, else the data replicas in turn.
    pub(crate) fn next_replica(&self, in_vain: impl Fn(u64) -> bool) -> Option<&ReplicaRoute> {
        let left = || self.data_replicas().filter(|replica| !in_vain(replica.node));
        left().find(|replica| Some(replica.node) == self.leader).or_else(|| left().next())
    }

    /// Where keys up to `high` part from this shard's; `None` where it has them.
    pub(crate) fn split_before(&self, high: &[u8]) -> Option<Bytes> {
        let end = self.range.end();
        (!end.is_empty() && high >= end.as_ref()).then(|| end.clone())
    }

    /// Whether both say the same of a shard's keys.
    pub(crate) const fn is_same_shard(&self, other: &Self) -> bool {
        self.shard == other.shard && self.epoch == other.epoch
    }
}
