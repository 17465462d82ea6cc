//! The client: its nodes, its connections, and the calls in modules of their own.

mod call;
mod learn;
mod nodes;
mod part;
mod read;
mod shards;
mod span;
mod write;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use thermocline_proto::{MAX_KEY_BYTES, MAX_VALUE_BYTES, v1};
use tonic::transport::Channel;

pub(crate) use part::{Part, Tries};

use crate::{
    AdminClient, Consistency, Durability, Endpoints, Error, KeyRange, NodeEndpoint, Options, RangeTable, Scan,
    ScanOptions, ShardRoute, connection::Connection, lines::Lines, request_id::RequestIds,
};
use learn::{Told, ask_first, learn};
use nodes::NodeRanges;
use shards::ShardRouting;

type KvClient = v1::kv_client::KvClient<Channel>;

/// A key with its value and version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The key.
    pub key: Bytes,
    /// The value; empty in a scan of keys only.
    pub value: Bytes,
    /// The version, for [`Batch::when_version`](crate::Batch::when_version).
    pub version: u64,
}

pub(crate) fn record(record: v1::Record) -> Record {
    Record { key: record.key, value: record.value, version: record.version }
}

/// A client of one cluster. Clones share connections, what was learned of who owns which keys, and the ids of writes.
#[derive(Debug, Clone)]
pub struct Client {
    shared: Arc<Shared>,
    timeout: Duration,
    durability: Durability,
    consistency: Consistency,
}

#[derive(Debug)]
struct Shared {
    nodes: Vec<NodeEndpoint>,
    connections: Vec<Connection>,
    routing: Routing,
    options: Options,
}

/// How keys are found.
#[derive(Debug)]
enum Routing {
    /// Nodes that stand alone own a fixed range each.
    Nodes(NodeRanges),
    /// A cluster has shards, which split and move.
    Shards(Box<ShardRouting>),
}

impl Client {
    /// Prepares the connections and learns who owns which keys: from the endpoints where they all say so, else of the first
    /// node that answers where the shards are, else, where nodes stand alone, from each node's status. Must run on a tokio
    /// runtime; it creates none.
    ///
    /// # Errors
    /// Unusable endpoints, no node that answers, or ranges with a gap or an overlap.
    pub async fn connect(endpoints: Endpoints, options: Options) -> Result<Self, Error> {
        let nodes = endpoints.nodes().to_vec();
        let connections = nodes.iter().map(|node| Connection::new(node, &options)).collect::<Result<Vec<_>, _>>()?;
        let routing = match known_ranges(&nodes) {
            Some(entries) => Routing::nodes(entries, &options)?,
            None => match ask_first(&nodes, &connections, options.timeout).await? {
                Told::StandsAlone => {
                    let known = |node: usize| nodes[node].range.clone();
                    Routing::nodes(learn(&nodes, &connections, options.timeout, known).await?, &options)?
                }
                Told::Shards(told) => {
                    let lines =
                        nodes.iter().zip(&connections).map(|(node, one)| (node.kv.clone(), Arc::clone(&one.kv)));
                    let seeds = nodes.iter().map(|node| node.kv.clone()).collect();
                    Routing::Shards(Box::new(ShardRouting::new(seeds, Lines::new(lines, &options), told, &options)))
                }
            },
        };
        let shared = Shared { nodes, connections, routing, options };
        let Options { timeout, durability, consistency, .. } = shared.options;
        Ok(Self { timeout, durability, consistency, shared: Arc::new(shared) })
    }

    /// The same client with another deadline for its calls.
    #[must_use]
    pub fn with_timeout(&self, timeout: Duration) -> Self {
        Self { timeout, ..self.clone() }
    }

    /// The same client with another durability for its writes.
    #[must_use]
    pub fn with_durability(&self, durability: Durability) -> Self {
        Self { durability, ..self.clone() }
    }

    /// The same client whose reads other replicas may answer, too.
    #[must_use]
    pub fn with_consistency(&self, consistency: Consistency) -> Self {
        Self { consistency, ..self.clone() }
    }

    /// The deadline of its calls.
    #[must_use]
    pub const fn timeout(&self) -> Duration {
        self.timeout
    }

    /// The nodes, in the order of the endpoints.
    #[must_use]
    pub fn nodes(&self) -> &[NodeEndpoint] {
        &self.shared.nodes
    }

    /// Who owns which keys, as last learned; indices are those of [`Self::nodes`]. In a cluster with shards, whom of them to
    /// ask about which keys: of each shard that was learned one that has a replica, of other keys the first one.
    #[must_use]
    pub fn ranges(&self) -> Arc<RangeTable> {
        match &self.shared.routing {
            Routing::Nodes(nodes) => nodes.ranges.load_full(),
            Routing::Shards(shards) => Arc::new(shards.ranges()),
        }
    }

    /// The shards that were learned so far, in key order and with gaps where no call went yet. None where nodes stand alone.
    #[must_use]
    pub fn routes(&self) -> Vec<Arc<ShardRoute>> {
        match &self.shared.routing {
            Routing::Nodes(_) => Vec::new(),
            Routing::Shards(shards) => shards.learned(),
        }
    }

    /// Where a key's shard is, asked for where it was not learned yet; `None` where nodes stand alone.
    ///
    /// # Errors
    /// [`Error::Unrouted`] where no node says it in time.
    pub async fn route(&self, key: &[u8]) -> Result<Option<Arc<ShardRoute>>, Error> {
        match &self.shared.routing {
            Routing::Nodes(_) => Ok(None),
            Routing::Shards(shards) => shards.route(key, self.timeout).await.map(Some),
        }
    }

    /// The control plane of a node, by its index in [`Self::nodes`].
    #[must_use]
    pub fn admin(&self, node: usize) -> Option<AdminClient> {
        self.shared.connections.get(node).map(Connection::admin)
    }

    /// Scans a range over all shards or nodes that own a part of it.
    #[must_use]
    pub fn scan(&self, options: ScanOptions) -> Scan {
        Scan::new(self.clone(), options)
    }
}

impl Routing {
    fn nodes(entries: Vec<(KeyRange, usize)>, options: &Options) -> Result<Self, Error> {
        Ok(Self::Nodes(NodeRanges::new(RangeTable::new(entries)?, RequestIds::new(options.client_id))))
    }
}

/// The ranges that the endpoints name, where all do: those nodes stand alone, and nobody has to be asked.
fn known_ranges(nodes: &[NodeEndpoint]) -> Option<Vec<(KeyRange, usize)>> {
    nodes.iter().enumerate().map(|(index, node)| node.range.clone().map(|range| (range, index))).collect()
}

fn checked_key(key: Bytes) -> Result<Bytes, Error> {
    check_key_length(&key)?;
    Ok(key)
}

const fn check_key_length(key: &[u8]) -> Result<(), Error> {
    match key.len() {
        1..=MAX_KEY_BYTES => Ok(()),
        bytes => Err(Error::KeyLength { bytes }),
    }
}

const fn check_value_length(value: &[u8]) -> Result<(), Error> {
    match value.len() {
        0..=MAX_VALUE_BYTES => Ok(()),
        bytes => Err(Error::ValueLength { bytes }),
    }
}
