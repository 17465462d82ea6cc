//! Connections to the other nodes, made when first used and again where a node has moved.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use thermocline_proto::replica::v1::replicas_client::ReplicasClient;
use thermocline_proto::v1::kv_client::KvClient;
use thermocline_proto::{CLUSTER_METADATA, NODE_METADATA};
use thermocline_shard::NodeId;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use super::book::Book;
use crate::service::limits::MAX_MESSAGE_BYTES;

/// A node that does not take a connection so soon is away.
const CONNECT: Duration = Duration::from_secs(2);
/// A connection over which nothing comes back is given up.
const KEEPALIVE: Duration = Duration::from_secs(5);

/// What speaks to the replicas of a node.
pub type PeerClient = ReplicasClient<InterceptedService<Channel, Stamp>>;

/// Says in each call which cluster it is of and, but in a greeting, which node it is for.
#[derive(Clone)]
pub struct Stamp {
    cluster: MetadataValue<Ascii>,
    node: Option<NodeId>,
}

impl Interceptor for Stamp {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert(CLUSTER_METADATA, self.cluster.clone());
        if let Some(node) = self.node {
            request.metadata_mut().insert(NODE_METADATA, node.0.into());
        }
        Ok(request)
    }
}

/// An address that cannot be called.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LineError {
    /// Nobody said where the node is.
    #[error("{0} is not known")]
    Unknown(NodeId),
    /// What was said is no address.
    #[error("{address:?} is no host:port")]
    Address {
        /// What was said.
        address: String,
    },
}

/// The connections of one node. Cheap to clone.
#[derive(Clone)]
pub struct Lines {
    book: Arc<Book>,
    cluster: MetadataValue<Ascii>,
    source: Option<IpAddr>,
    open: Arc<Mutex<BTreeMap<String, Channel>>>,
}

impl Lines {
    /// Connections to the nodes in a book, of the cluster with this id, that leave from `source` where it is given.
    pub fn new(book: Arc<Book>, cluster: &str, source: Option<IpAddr>) -> Self {
        // An id is letters, digits and `-`: the configuration is checked.
        let cluster = MetadataValue::try_from(cluster).unwrap_or_else(|_| MetadataValue::from_static("unnamed"));
        Self { book, cluster, source, open: Arc::default() }
    }

    /// The replicas of a node, and of no other that has its address by now.
    ///
    /// # Errors
    /// When it is not known where it is.
    pub fn peer(&self, node: NodeId) -> Result<PeerClient, LineError> {
        let entry = self.book.node(node).ok_or(LineError::Unknown(node))?;
        self.replicas(&entry.peer, Some(node))
    }

    /// Whoever is at an address.
    ///
    /// # Errors
    /// When it is no address.
    pub fn peer_at(&self, address: &str) -> Result<PeerClient, LineError> {
        self.replicas(address, None)
    }

    fn replicas(&self, address: &str, node: Option<NodeId>) -> Result<PeerClient, LineError> {
        let stamp = Stamp { cluster: self.cluster.clone(), node };
        let client = ReplicasClient::with_interceptor(self.channel(address)?, stamp);
        Ok(client.max_decoding_message_size(MAX_MESSAGE_BYTES))
    }

    /// The data plane of a node.
    ///
    /// # Errors
    /// When it is not known where it is.
    pub fn kv(&self, node: NodeId) -> Result<KvClient<Channel>, LineError> {
        let entry = self.book.node(node).ok_or(LineError::Unknown(node))?;
        Ok(KvClient::new(self.channel(&entry.kv)?).max_decoding_message_size(MAX_MESSAGE_BYTES))
    }

    fn channel(&self, address: &str) -> Result<Channel, LineError> {
        let mut open = self.open.lock();
        if let Some(channel) = open.get(address) {
            return Ok(channel.clone());
        }
        let wrong = |_| LineError::Address { address: address.to_owned() };
        let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(wrong)?;
        let endpoint = endpoint
            .local_address(self.source)
            .connect_timeout(CONNECT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEPALIVE)
            .keep_alive_timeout(KEEPALIVE)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(4 << 20)
            .initial_connection_window_size(16 << 20);
        let channel = endpoint.connect_lazy();
        open.insert(address.to_owned(), channel.clone());
        Ok(channel)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::net::Ipv4Addr;

    use thermocline_proto::replica::v1::GreetRequest;
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn connections_leave_from_the_address_that_is_given() {
        let source = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 77));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let book = Arc::new(Book::open(folder.path(), "c", 7).unwrap());
        let lines = Lines::new(book, "c", Some(source));
        let mut client = lines.peer_at(&listener.local_addr().unwrap().to_string()).unwrap();
        let asking = tokio::spawn(async move { client.greet(GreetRequest { from: None }).await.map(drop) });
        let accepted = tokio::time::timeout(Duration::from_secs(60), listener.accept()).await.unwrap();
        asking.abort();
        assert_eq!(accepted.unwrap().1.ip(), source);
    }
}
