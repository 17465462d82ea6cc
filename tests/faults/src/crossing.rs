//! A TCP proxy before one process: who connects follows a rule of its own, found by the address it connects from.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;

use crate::carry::{Settings, carry};
use crate::rule::Rule;

/// Where all connections to a process cross. It ends, with its connections, when it is dropped.
#[derive(Debug)]
pub struct Crossing {
    ways: BTreeMap<IpAddr, watch::Sender<Settings>>,
    /// Of all others, which pass.
    _others: watch::Sender<Settings>,
    serving: JoinHandle<()>,
}

impl Crossing {
    /// Listens on `listen` and carries connections to `target`. Those from each address of `from` follow a rule of their own;
    /// everything passes at first, and always what comes from elsewhere.
    ///
    /// # Errors
    /// That the address cannot be listened on.
    pub async fn open(
        listen: SocketAddr,
        target: SocketAddr,
        from: impl IntoIterator<Item = IpAddr>,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(listen).await?;
        let open = || watch::Sender::new(Settings { rule: Rule::PASS, target });
        let ways: BTreeMap<_, _> = from.into_iter().map(|from| (from, open())).collect();
        let others = open();
        let watched = ways.iter().map(|(from, way)| (*from, way.subscribe())).collect();
        let serving = tokio::spawn(serve(listener, watched, others.subscribe()));
        Ok(Self { ways, _others: others, serving })
    }

    /// Does this from now on to what comes from an address, to the connections there are as well. Nothing where the address
    /// was not named at the beginning.
    pub fn set(&self, from: IpAddr, rule: Rule) {
        if let Some(way) = self.ways.get(&from) {
            way.send_modify(|settings| settings.rule = rule);
        }
    }
}

impl Drop for Crossing {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(
    listener: TcpListener,
    ways: BTreeMap<IpAddr, watch::Receiver<Settings>>,
    others: watch::Receiver<Settings>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((connection, from)) => {
                    let way = ways.get(&from.ip()).unwrap_or(&others).clone();
                    connections.spawn(carry(connection, way));
                }
                Err(_) => sleep(Duration::from_millis(10)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}
