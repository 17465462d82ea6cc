//! The network between nodes: messages are late, lost, doubled, overtake each other, and are cut off in one direction or both;
//! all of it drawn from one generator.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use thermocline_shard::NodeId;
use tokio::sync::oneshot;

use crate::message::{Answer, Call};
use crate::trace::Trace;

/// How the network is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Weather {
    /// What a message takes, at least and at most, in milliseconds.
    pub delay: (u64, u64),
    /// The share that takes up to `slow_millis`.
    pub slow: f64,
    /// What those take at most.
    pub slow_millis: u64,
    /// The share that never arrives.
    pub lost: f64,
    /// The share that arrives twice.
    pub doubled: f64,
}

/// A call that brought no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Broken {
    /// There was no connection.
    Refused,
    /// It broke.
    Off,
    /// Nothing came.
    Silent,
}

/// A message on its way.
pub struct Packet {
    /// From where.
    pub from: NodeId,
    /// To where.
    pub to: NodeId,
    /// What.
    pub body: Body,
}

/// What a message is.
pub enum Body {
    /// A call, by its number.
    Call(u64, Call),
    /// The answer to one, or that there is none.
    Answer(u64, Result<Answer, Broken>),
}

/// The network.
pub struct Network {
    inner: Mutex<Inner>,
    trace: Arc<Trace>,
}

struct Inner {
    now: u64,
    chance: ChaCha8Rng,
    weather: Weather,
    cut: BTreeSet<(NodeId, NodeId)>,
    /// By when they arrive, then in the order of sending.
    on_their_way: BTreeMap<(u64, u64), Packet>,
    waiting: BTreeMap<u64, Waiting>,
    next: u64,
    sent: u64,
}

struct Waiting {
    from: NodeId,
    to: NodeId,
    answer: oneshot::Sender<Result<Answer, Broken>>,
}

impl Inner {
    /// When copies of a message arrive: none, one or two.
    fn fate(&mut self, from: NodeId, to: NodeId) -> Vec<u64> {
        self.sent += 1;
        let weather = self.weather;
        let lost = self.chance.random_bool(weather.lost);
        let copies = if self.chance.random_bool(weather.doubled) { 2 } else { 1 };
        if lost || self.cut.contains(&(from, to)) {
            return Vec::new();
        }
        let mut late = || match self.chance.random_bool(weather.slow) {
            true => self.chance.random_range(weather.delay.1..=weather.slow_millis),
            false => self.chance.random_range(weather.delay.0..=weather.delay.1),
        };
        (0..copies).map(|_| self.now + late()).collect()
    }

    fn put(&mut self, at: u64, packet: Packet) {
        self.next += 1;
        self.on_their_way.insert((at, self.next), packet);
    }
}

impl Network {
    /// One in fine weather.
    pub fn new(chance: ChaCha8Rng, weather: Weather, trace: Arc<Trace>) -> Self {
        let (cut, on_their_way, waiting) = (BTreeSet::new(), BTreeMap::new(), BTreeMap::new());
        let inner = Inner { now: 0, chance, weather, cut, on_their_way, waiting, next: 0, sent: 0 };
        Self { inner: Mutex::new(inner), trace }
    }

    /// Asks a node; it ends within the time given.
    ///
    /// # Errors
    /// When no answer came.
    pub async fn call(&self, from: NodeId, to: NodeId, call: Call, within: Duration) -> Result<Answer, Broken> {
        let (id, answered) = self.send(from, to, call);
        match tokio::time::timeout(within, answered).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(Broken::Off),
            Err(_) => {
                self.inner.lock().waiting.remove(&id);
                Err(Broken::Silent)
            }
        }
    }

    fn send(&self, from: NodeId, to: NodeId, call: Call) -> (u64, oneshot::Receiver<Result<Answer, Broken>>) {
        let (answer, answered) = oneshot::channel();
        let mut inner = self.inner.lock();
        inner.next += 1;
        let id = inner.next;
        inner.waiting.insert(id, Waiting { from, to, answer });
        let fate = inner.fate(from, to);
        let (kind, bytes) = call.traced();
        self.trace.note(inner.now, &format!("{from} asks {to} {kind} {id}, arrives at {fate:?}"), &bytes);
        for at in fate {
            inner.put(at, Packet { from, to, body: Body::Call(id, call.clone()) });
        }
        (id, answered)
    }

    /// A node answers a call.
    pub fn answer(&self, from: NodeId, to: NodeId, id: u64, answer: Result<Answer, Broken>) {
        let mut inner = self.inner.lock();
        let fate = inner.fate(from, to);
        let bytes = answer.as_ref().map(Answer::traced).unwrap_or_default();
        self.trace.note(inner.now, &format!("{from} answers {to} {id}, arrives at {fate:?}"), &bytes);
        for at in fate {
            inner.put(at, Packet { from, to, body: Body::Answer(id, answer.clone()) });
        }
    }

    /// An answer has arrived; nothing where nobody waits any more.
    pub fn answered(&self, id: u64, answer: Result<Answer, Broken>) {
        let waiting = self.inner.lock().waiting.remove(&id);
        if let Some(waiting) = waiting {
            // Whoever waited may have gone in this very moment.
            drop(waiting.answer.send(answer));
        }
    }

    /// What has arrived by a moment, in its order.
    pub fn arrived(&self, now: u64) -> Vec<Packet> {
        let mut inner = self.inner.lock();
        inner.now = now;
        let later = inner.on_their_way.split_off(&(now + 1, 0));
        let arrived = std::mem::replace(&mut inner.on_their_way, later);
        arrived.into_values().collect()
    }

    /// A node's process died: nobody there waits any more, and those that wait for it hear of it if its system still runs.
    pub fn crashed(&self, node: NodeId, tells: bool) {
        let mut inner = self.inner.lock();
        inner.waiting.retain(|_, waiting| waiting.from != node);
        if tells {
            let asked: Vec<(u64, NodeId)> =
                inner.waiting.iter().filter(|(_, one)| one.to == node).map(|(id, one)| (*id, one.from)).collect();
            let at = inner.now + 1;
            for (id, from) in asked {
                inner.put(at, Packet { from: node, to: from, body: Body::Answer(id, Err(Broken::Off)) });
            }
        }
    }

    /// The weather changes.
    pub fn set_weather(&self, weather: Weather) {
        self.inner.lock().weather = weather;
    }

    /// Nothing goes from one node to another any more.
    pub fn cut(&self, from: NodeId, to: NodeId) {
        self.inner.lock().cut.insert((from, to));
    }

    /// It does again.
    pub fn join(&self, from: NodeId, to: NodeId) {
        self.inner.lock().cut.remove(&(from, to));
    }

    /// Everything goes everywhere again.
    pub fn join_all(&self) {
        self.inner.lock().cut.clear();
    }

    /// Messages that were sent.
    pub fn sent(&self) -> u64 {
        self.inner.lock().sent
    }
}
