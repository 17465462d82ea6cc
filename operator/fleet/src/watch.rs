//! The nodes' Status streams: one task a node, the latest message of each.
//!
//! Contract: what is here was told by a node that answered within `SILENCE`; a node that is silent or gone has no entry.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use thermocline_proto::v1;
use thermocline_proto::v1::admin_client::AdminClient;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tonic::transport::{Channel, Endpoint};

/// A node says something at least every 5 s; after three times that it is not there.
const SILENCE: Duration = Duration::from_secs(15);
/// Between two attempts to reach a node.
const AGAIN: Duration = Duration::from_millis(250);
const CONNECT: Duration = Duration::from_secs(2);
/// At most one message in this time from each node.
const INTERVAL_MS: u32 = 500;

type Latest = Arc<Mutex<BTreeMap<String, v1::NodeStatus>>>;

/// The streams of all nodes.
#[derive(Debug, Default)]
pub struct Watches {
    latest: Latest,
    changed: Arc<Notify>,
    tasks: BTreeMap<String, (String, AbortHandle)>,
}

/// A connection to a node's control plane, made when it is first used.
///
/// # Errors
/// That the URI is none.
pub fn admin(uri: &str) -> Result<AdminClient<Channel>, tonic::transport::Error> {
    Ok(AdminClient::new(Endpoint::from_shared(uri.to_owned())?.connect_timeout(CONNECT).connect_lazy()))
}

impl Watches {
    /// Watches these nodes (name to URI) and no others.
    pub fn watch(&mut self, nodes: &BTreeMap<String, String>) {
        let latest = Arc::clone(&self.latest);
        self.tasks.retain(|name, (uri, task)| {
            let stays = nodes.get(name) == Some(uri);
            if !stays {
                task.abort();
                latest.lock().remove(name);
            }
            stays
        });
        for (name, uri) in nodes {
            if !self.tasks.contains_key(name) {
                let follow = follow(name.clone(), uri.clone(), Arc::clone(&self.latest), Arc::clone(&self.changed));
                let task = tokio::spawn(follow).abort_handle();
                self.tasks.insert(name.clone(), (uri.clone(), task));
            }
        }
    }

    /// What the nodes said last.
    #[must_use]
    pub fn latest(&self) -> BTreeMap<String, v1::NodeStatus> {
        self.latest.lock().clone()
    }

    /// Notes what a node has just confirmed, so that it is not asked again before its stream says so too.
    pub fn note(&self, node: &str, change: impl FnOnce(&mut v1::NodeStatus)) {
        if let Some(status) = self.latest.lock().get_mut(node) {
            change(status);
        }
    }

    /// Waits until a node says something.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }
}

impl Drop for Watches {
    fn drop(&mut self) {
        for (_, task) in self.tasks.values() {
            task.abort();
        }
    }
}

async fn follow(name: String, uri: String, latest: Latest, changed: Arc<Notify>) {
    loop {
        if let Err(reason) = follow_once(&name, &uri, &latest, &changed).await {
            tracing::debug!(node = name, reason, "the node's status is not heard");
        }
        if latest.lock().remove(&name).is_some() {
            changed.notify_one();
        }
        tokio::time::sleep(AGAIN).await;
    }
}

async fn follow_once(name: &str, uri: &str, latest: &Latest, changed: &Notify) -> Result<(), String> {
    let text = |error: &dyn std::error::Error| error.to_string();
    let mut client = admin(uri).map_err(|error| text(&error))?;
    let request = v1::StatusRequest { interval_ms: INTERVAL_MS, once: false };
    let answer = tokio::time::timeout(SILENCE, client.status(request)).await.map_err(|error| text(&error))?;
    let mut stream = answer.map_err(|status| status.message().to_owned())?.into_inner();
    loop {
        let message = tokio::time::timeout(SILENCE, stream.message()).await.map_err(|error| text(&error))?;
        let Some(status) = message.map_err(|status| status.message().to_owned())? else {
            return Ok(());
        };
        // Somebody else may listen on that address.
        if status.node != name {
            return Err(format!("{uri} is the node {}, not {name}", status.node));
        }
        latest.lock().insert(name.to_owned(), status);
        changed.notify_one();
    }
}
