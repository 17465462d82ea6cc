//! The nodes' Status streams: one task a node, the latest message of each.
//!
//! Contract: what is here was told by a node that answered within `SILENCE`; a node that is silent or gone has no status.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use thermocline_proto::v1;
use thermocline_proto::v1::admin_client::AdminClient;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tonic::transport::{Channel, Endpoint};

/// A node says something every 5 s; after three times that it is not there.
const SILENCE: Duration = Duration::from_secs(15);
/// Between two attempts to reach a node.
const AGAIN: Duration = Duration::from_millis(250);
const CONNECT: Duration = Duration::from_secs(2);
/// A call of a node's control plane that is not a stream takes no longer.
pub(crate) const CALL: Duration = Duration::from_secs(5);
/// A connection on which a node has said nothing for so long is tried, and given up if it does not answer that.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// At most one message in this time from each node.
const INTERVAL_MS: u32 = 500;

/// What is heard of one node.
#[derive(Debug)]
struct Voice {
    latest: Option<v1::NodeStatus>,
    /// When it last said something; before that, since when it is listened to.
    heard: Instant,
}

type Voices = Arc<Mutex<BTreeMap<String, Voice>>>;

/// The streams of all nodes.
#[derive(Debug, Default)]
pub struct Watches {
    voices: Voices,
    changed: Arc<Notify>,
    tasks: BTreeMap<String, (String, AbortHandle)>,
}

/// A connection to a node's control plane, made when it is first used.
///
/// # Errors
/// That the URI is none.
pub fn admin(uri: &str) -> Result<AdminClient<Channel>, tonic::transport::Error> {
    let endpoint = Endpoint::from_shared(uri.to_owned())?
        .connect_timeout(CONNECT)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(CALL);
    Ok(AdminClient::new(endpoint.connect_lazy()))
}

impl Watches {
    /// Watches these nodes (name to URI) and no others.
    pub fn watch(&mut self, nodes: &BTreeMap<String, String>) {
        let voices = Arc::clone(&self.voices);
        self.tasks.retain(|name, (uri, task)| {
            let stays = nodes.get(name) == Some(uri);
            if !stays {
                task.abort();
                voices.lock().remove(name);
            }
            stays
        });
        for (name, uri) in nodes {
            if !self.tasks.contains_key(name) {
                self.voices.lock().insert(name.clone(), Voice { latest: None, heard: Instant::now() });
                let follow = follow(name.clone(), uri.clone(), Arc::clone(&self.voices), Arc::clone(&self.changed));
                let task = tokio::spawn(follow).abort_handle();
                self.tasks.insert(name.clone(), (uri.clone(), task));
            }
        }
    }

    /// What the nodes said last.
    #[must_use]
    pub fn latest(&self) -> BTreeMap<String, v1::NodeStatus> {
        let voices = self.voices.lock();
        voices.iter().filter_map(|(name, voice)| Some((name.clone(), voice.latest.clone()?))).collect()
    }

    /// What the nodes said last, and when: on a stream that is still open, one that hangs has said nothing for a while.
    #[must_use]
    pub fn heard(&self) -> BTreeMap<String, (v1::NodeStatus, Instant)> {
        let voices = self.voices.lock();
        let heard = voices.iter().filter_map(|(name, voice)| {
            let status = voice.latest.clone()?;
            Some((name.clone(), (status, voice.heard)))
        });
        heard.collect()
    }

    /// The nodes that have said nothing for so long that nothing is expected of them.
    #[must_use]
    pub fn silent(&self) -> BTreeSet<String> {
        let voices = self.voices.lock();
        let silent = voices.iter().filter(|(_, voice)| voice.latest.is_none() && voice.heard.elapsed() >= SILENCE);
        silent.map(|(name, _)| name.clone()).collect()
    }

    /// Where the control plane of a node is that is heard now; the others are not worth waiting for.
    #[must_use]
    pub fn heard_at(&self, node: &str) -> Option<String> {
        self.voices.lock().get(node)?.latest.as_ref()?;
        self.tasks.get(node).map(|(uri, _)| uri.clone())
    }

    /// Notes what a node has just confirmed, so that it is not asked again before its stream says so too.
    pub fn note(&self, node: &str, change: impl FnOnce(&mut v1::NodeStatus)) {
        if let Some(status) = self.voices.lock().get_mut(node).and_then(|voice| voice.latest.as_mut()) {
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

async fn follow(name: String, uri: String, voices: Voices, changed: Arc<Notify>) {
    loop {
        if let Err(reason) = follow_once(&name, &uri, &voices, &changed).await {
            tracing::debug!(node = name, reason, "the node's status is not heard");
        }
        if voices.lock().get_mut(&name).is_some_and(|voice| voice.latest.take().is_some()) {
            changed.notify_one();
        }
        tokio::time::sleep(AGAIN).await;
    }
}

async fn follow_once(name: &str, uri: &str, voices: &Voices, changed: &Notify) -> Result<(), String> {
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
        if let Some(voice) = voices.lock().get_mut(name) {
            *voice = Voice { latest: Some(status), heard: Instant::now() };
        }
        changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_node_counts_as_silent_when_it_was_not_heard_for_a_while_and_not_at_once() {
        let mut watches = Watches::default();
        // Nothing listens there.
        let nodes = [("main-0".to_owned(), "http://127.255.255.254:9".to_owned())].into();
        watches.watch(&nodes);
        assert!(watches.silent().is_empty(), "it was not given time to say something");
        tokio::time::sleep(SILENCE).await;
        watches.watch(&nodes);
        assert_eq!(watches.silent(), ["main-0".to_owned()].into());
        assert_eq!((watches.latest().len(), watches.heard_at("main-0")), (0, None));
        watches.watch(&[("main-0".to_owned(), "http://127.255.255.254:10".to_owned())].into());
        assert!(watches.silent().is_empty(), "it is listened to elsewhere");
    }
}
