//! The sockets of a node, bound before anything else: an address that is taken is found out while it costs nothing.

use std::net::SocketAddr;

use tokio::net::TcpListener;

use super::NodeError;
use crate::config::Settings;
use crate::ready_file::Addresses;

/// Bound sockets.
pub(super) struct Listeners {
    pub(super) kv: TcpListener,
    pub(super) admin: TcpListener,
    pub(super) http: TcpListener,
    pub(super) peer: Option<TcpListener>,
}

impl Listeners {
    pub(super) async fn bind(settings: &Settings) -> Result<Self, NodeError> {
        Ok(Self {
            kv: bind("listen.kv", settings.listen_kv).await?,
            admin: bind("listen.admin", settings.listen_admin).await?,
            http: bind("listen.http", settings.listen_http).await?,
            peer: match settings.listen_peer {
                Some(address) => Some(bind("listen.peer", address).await?),
                None => None,
            },
        })
    }

    /// Where they listen, with the ports that the system chose.
    pub(super) fn addresses(&self) -> Result<Addresses, NodeError> {
        Ok(Addresses {
            kv: local("listen.kv", &self.kv)?,
            admin: local("listen.admin", &self.admin)?,
            http: local("listen.http", &self.http)?,
            peer: self.peer.as_ref().map(|peer| local("listen.peer", peer)).transpose()?,
        })
    }
}

async fn bind(field: &'static str, address: SocketAddr) -> Result<TcpListener, NodeError> {
    TcpListener::bind(address).await.map_err(|source| NodeError::Bind { field, address, source })
}

fn local(field: &'static str, listener: &TcpListener) -> Result<SocketAddr, NodeError> {
    listener.local_addr().map_err(|source| NodeError::Bind {
        field,
        address: SocketAddr::from(([0, 0, 0, 0], 0)),
        source,
    })
}
