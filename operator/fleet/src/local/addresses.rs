//! Addresses that nodes are to listen on and cannot.

use std::io;
use std::net::{SocketAddr, TcpListener};

use crate::home::NodeRun;

/// An address that cannot be listened on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakenAddress {
    /// The node that wants it.
    pub node: String,
    /// The field of the cluster that gives its port.
    pub listener: &'static str,
    /// The address.
    pub address: SocketAddr,
    /// Why: mostly that something else listens there, or that this machine does not have it.
    pub reason: io::ErrorKind,
}

/// The addresses of nodes that cannot be listened on.
#[must_use]
pub fn taken_addresses<'a>(runs: impl Iterator<Item = &'a NodeRun>) -> Vec<TakenAddress> {
    let mut taken = Vec::new();
    for run in runs {
        let listen = &run.config.listen;
        for (listener, address) in [("kv", listen.kv), ("admin", listen.admin), ("http", listen.http)] {
            if let Err(error) = TcpListener::bind(address) {
                taken.push(TakenAddress { node: run.name.clone(), listener, address, reason: error.kind() });
            }
        }
    }
    taken
}
