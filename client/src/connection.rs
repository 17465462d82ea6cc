//! The connections: a few lazily opened HTTP/2 channels per node, shared by all calls.
//!
//! A channel connects at its first call and again after it broke; a failed attempt fails the call that made it, so
//! the retry table decides, not the transport.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use thermocline_proto::v1::kv_client::KvClient;
use tonic::transport::{Channel, Endpoint};

use crate::{
    AdminClient, Options,
    endpoints::{EndpointsError, NodeEndpoint},
};

/// Unanswered pings close a connection after this long, so that calls to a node that vanished do not wait for their deadline alone.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// What may be on its way to us unread. The transport counts each small answer for 256 bytes of half the connection's window and
/// breaks a connection that has more unread ones: 16 MiB are 32,768 answers at once. An adaptive window begins with a few hundred.
const CONNECTION_WINDOW: u32 = 16 << 20;
const STREAM_WINDOW: u32 = 4 << 20;

/// The data channels to one address.
#[derive(Debug)]
pub(crate) struct KvLine {
    channels: Vec<Channel>,
    next: AtomicUsize,
    max_message_bytes: usize,
}

impl KvLine {
    /// Prepares the channels; nothing is sent. Must be called on a tokio runtime.
    pub(crate) fn new(name: &str, address: &str, options: &Options) -> Result<Self, EndpointsError> {
        let endpoint = endpoint(name, "kv", address, options)?;
        Ok(Self {
            channels: (0..options.channels_per_node.max(1)).map(|_| endpoint.connect_lazy()).collect(),
            next: AtomicUsize::new(0),
            max_message_bytes: options.max_message_bytes,
        })
    }

    /// The next data channel in turn.
    pub(crate) fn kv(&self) -> KvClient<Channel> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % self.channels.len();
        KvClient::new(self.channels[turn].clone()).max_decoding_message_size(self.max_message_bytes)
    }
}

/// The channels to one node of the endpoints.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) kv: Arc<KvLine>,
    admin: Channel,
    max_message_bytes: usize,
}

impl Connection {
    /// Prepares the channels; nothing is sent. Must be called on a tokio runtime.
    pub(crate) fn new(node: &NodeEndpoint, options: &Options) -> Result<Self, EndpointsError> {
        Ok(Self {
            kv: Arc::new(KvLine::new(&node.name, &node.kv, options)?),
            admin: endpoint(&node.name, "admin", &node.admin, options)?.connect_lazy(),
            max_message_bytes: options.max_message_bytes,
        })
    }

    /// The control channel.
    pub(crate) fn admin(&self) -> AdminClient {
        AdminClient::new(self.admin.clone()).max_decoding_message_size(self.max_message_bytes)
    }
}

fn endpoint(name: &str, port: &'static str, address: &str, options: &Options) -> Result<Endpoint, EndpointsError> {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(|_| EndpointsError::Address {
        name: name.to_owned(),
        port,
        address: address.to_owned(),
    })?;
    Ok(endpoint
        .connect_timeout(options.connect_timeout)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW))
}
