//! A TCP proxy for one pair of addresses: where one process believes another one to be.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;

use crate::carry::{Settings, carry, refusal};
use crate::rule::Rule;

/// A link. It ends, with its connections, when it is dropped.
#[derive(Debug)]
pub struct Link {
    address: SocketAddr,
    settings: watch::Sender<Settings>,
    serving: JoinHandle<()>,
}

impl Link {
    /// Listens on `listen` (port 0 for any) and carries connections to `target`.
    ///
    /// # Errors
    /// That the address cannot be listened on.
    pub async fn open(listen: SocketAddr, target: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        let (settings, watched) = watch::channel(Settings { rule: Rule::PASS, target });
        Ok(Self { address, settings, serving: tokio::spawn(serve(listener, address, watched)) })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Does this from now on, to the connections there are as well.
    pub fn set(&self, rule: Rule) {
        self.settings.send_modify(|settings| settings.rule = rule);
    }

    /// Carries new connections to another address: a process came back elsewhere.
    pub fn redirect(&self, target: SocketAddr) {
        self.settings.send_modify(|settings| settings.target = target);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(listener: TcpListener, address: SocketAddr, mut settings: watch::Receiver<Settings>) {
    let mut listening = Some(listener);
    loop {
        let Some(listener) = listening.take() else {
            if settings.wait_for(|settings| settings.rule != Rule::Refuse).await.is_err() {
                return;
            }
            // The address may be held for a moment by a connection that was reset.
            listening = TcpListener::bind(address).await.ok();
            if listening.is_none() {
                sleep(Duration::from_millis(10)).await;
            }
            continue;
        };
        accept(&listener, &mut settings).await;
        if settings.has_changed().is_err() {
            return;
        }
    }
}

/// Takes connections until they are to be refused. Each resets itself then; the listener is closed by the caller.
async fn accept(listener: &TcpListener, settings: &mut watch::Receiver<Settings>) {
    let mut connections = JoinSet::new();
    let mut refusing = settings.clone();
    loop {
        tokio::select! {
            () = refusal(&mut refusing) => break,
            accepted = listener.accept() => match accepted {
                Ok((connection, _)) => {
                    connections.spawn(carry(connection, settings.clone()));
                }
                Err(_) => sleep(Duration::from_millis(10)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
    while connections.join_next().await.is_some() {}
}
