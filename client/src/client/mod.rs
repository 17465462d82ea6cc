//! The client: its nodes, its connections, and the calls in modules of their own.

mod call;
mod learn;
mod read;
mod write;

use std::{
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use thermocline_proto::{MAX_KEY_BYTES, MAX_VALUE_BYTES, v1};
use tokio::sync::Mutex;
use tonic::transport::Channel;

pub(crate) use call::Attempt;

use crate::{
    AdminClient, Durability, Endpoints, Error, NodeEndpoint, Options, RangeTable, Scan, ScanOptions,
    connection::Connection, request_id::RequestIds,
};
use learn::learn;

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

/// A client of one cluster. Clones share connections and the table of ranges.
#[derive(Debug, Clone)]
pub struct Client {
    shared: Arc<Shared>,
    timeout: Duration,
    durability: Durability,
}

#[derive(Debug)]
struct Shared {
    nodes: Vec<NodeEndpoint>,
    connections: Vec<Connection>,
    ranges: ArcSwap<RangeTable>,
    /// Grows with every learned table: a call that met an outdated one learns only if nobody did since.
    generation: AtomicU64,
    learning: Mutex<()>,
    ids: RequestIds,
    options: Options,
}

impl Client {
    /// Prepares the connections and learns who owns which keys: from the endpoints where they say so, else from each
    /// node's status. Must run on a tokio runtime; it creates none.
    ///
    /// # Errors
    /// Unusable endpoints, a node that does not answer, or ranges with a gap or an overlap.
    pub async fn connect(endpoints: Endpoints, options: Options) -> Result<Self, Error> {
        let nodes = endpoints.nodes().to_vec();
        let connections = nodes.iter().map(|node| Connection::new(node, &options)).collect::<Result<Vec<_>, _>>()?;
        let known: Option<Vec<_>> =
            nodes.iter().enumerate().map(|(index, node)| node.range.clone().map(|range| (range, index))).collect();
        let entries = match known {
            Some(entries) => entries,
            None => learn(&nodes, &connections, options.timeout, |node| nodes[node].range.clone()).await?,
        };
        let shared = Shared {
            ranges: ArcSwap::from_pointee(RangeTable::new(entries)?),
            generation: AtomicU64::new(0),
            learning: Mutex::new(()),
            ids: RequestIds::new(options.client_id),
            nodes,
            connections,
            options,
        };
        Ok(Self { timeout: shared.options.timeout, durability: shared.options.durability, shared: Arc::new(shared) })
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

    /// Who owns which keys, as last learned; indices are those of [`Self::nodes`].
    #[must_use]
    pub fn ranges(&self) -> Arc<RangeTable> {
        self.shared.ranges.load_full()
    }

    /// The control plane of a node, by its index in [`Self::nodes`].
    #[must_use]
    pub fn admin(&self, node: usize) -> Option<AdminClient> {
        self.shared.connections.get(node).map(Connection::admin)
    }

    /// Scans a range over all nodes that own a part of it.
    #[must_use]
    pub fn scan(&self, options: ScanOptions) -> Scan {
        Scan::new(self.clone(), options)
    }
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
