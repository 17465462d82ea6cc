//! Clients that read and write while things go wrong, and remember what they were told.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use thermocline_engine::{Condition, Mutation};
use thermocline_shard::command::Write;
use thermocline_shard::host::Consistency;
use thermocline_shard::machine;
use thermocline_shard::session::{ClientId, RequestId};
use thermocline_shard::{Epoch, NodeId};
use tokio::time::Instant;

use crate::invariant::{Action, Operation, Outcome};
use crate::message::{Answer, Call, Route};
use crate::network::{Broken, Network};

/// Where all clients are.
pub const CLIENTS: NodeId = NodeId(1000);
/// Keys at a time; a new generation of them comes every few seconds, so that the history of each stays short.
pub const SLOTS: u64 = 10;
const GENERATION: Duration = Duration::from_secs(4);
/// How long a client tries.
const PATIENCE: Duration = Duration::from_secs(4);
/// How long it waits for one answer.
const ANSWER: Duration = Duration::from_millis(1500);

/// What all clients were told.
#[derive(Default)]
pub struct History {
    moment: AtomicU64,
    values: AtomicU64,
    operations: Mutex<BTreeMap<String, Vec<Operation>>>,
    stopped: AtomicBool,
}

impl History {
    fn moment(&self) -> u64 {
        self.moment.fetch_add(1, Ordering::SeqCst)
    }

    /// Clients stop calling.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
    }

    /// The keys that were used.
    pub fn keys(&self) -> Vec<String> {
        self.operations.lock().keys().cloned().collect()
    }

    /// By key, what was asked and told.
    pub fn by_key(&self) -> BTreeMap<String, Vec<Operation>> {
        self.operations.lock().clone()
    }

    fn add(&self, key: &str, operation: Operation) {
        self.operations.lock().entry(key.to_owned()).or_default().push(operation);
    }
}

/// The key of a slot in a generation.
fn key(slot: u64, generation: u64) -> String {
    format!("{slot:02}/{generation:04}")
}

/// One client.
pub struct Client {
    number: u64,
    chance: ChaCha8Rng,
    nodes: Vec<NodeId>,
    network: Arc<Network>,
    history: Arc<History>,
    routes: BTreeMap<u64, Route>,
    sequence: u64,
    /// Between two calls, in milliseconds at most.
    pause: u64,
}

/// What came of a call.
enum Told {
    Outcome(Outcome),
    /// Nothing was done.
    Nothing,
    Unknown,
}

impl Client {
    /// A client that draws from a seed.
    pub fn new(
        number: u64,
        seed: u64,
        nodes: Vec<NodeId>,
        network: Arc<Network>,
        history: Arc<History>,
        pause: u64,
    ) -> Self {
        let chance = ChaCha8Rng::seed_from_u64(seed ^ number.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        Self { number, chance, nodes, network, history, routes: BTreeMap::new(), sequence: 0, pause }
    }

    /// Calls until it is told to stop.
    pub async fn run(mut self) {
        let began = Instant::now();
        let mut versions: BTreeMap<String, u64> = BTreeMap::new();
        while !self.history.stopped.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(self.chance.random_range(1..=self.pause))).await;
            let slot = self.chance.random_range(0..SLOTS);
            let generation = began.elapsed().as_millis() / GENERATION.as_millis();
            let key = key(slot, u64::try_from(generation).unwrap_or_default());
            let value = self.history.values.fetch_add(1, Ordering::SeqCst) + 1;
            let known = versions.get(&key).copied().unwrap_or(0);
            let action = match self.chance.random_range(0..100) {
                0..40 => Action::Get,
                40..70 => Action::Put { value },
                70..80 => Action::Delete,
                _ => Action::PutIf { expected: known, value },
            };
            if let Some(version) = self.call(slot, &key, action).await {
                versions.insert(key, version);
            }
        }
    }

    /// Reads keys once more, each until it is answered.
    pub async fn read_all(mut self, keys: Vec<String>, unread: Arc<AtomicU64>) {
        for key in keys {
            let slot = key.get(..2).and_then(|slot| slot.parse().ok()).unwrap_or(0);
            for _ in 0..20 {
                let before = self.history.by_key().get(&key).map_or(0, Vec::len);
                self.call(slot, &key, Action::Get).await;
                if self.history.by_key().get(&key).map_or(0, Vec::len) > before {
                    unread.fetch_sub(1, Ordering::SeqCst);
                    break;
                }
            }
        }
    }

    /// One call; the version that the key is known to have since.
    async fn call(&mut self, slot: u64, key: &str, action: Action) -> Option<u64> {
        let called = self.history.moment();
        self.sequence += 1;
        let told = self.try_until_told(slot, key, action).await;
        let mut operation = Operation { client: self.number, action, called, answered: None };
        match told {
            Told::Nothing => None,
            Told::Unknown if action == Action::Get => None,
            Told::Unknown => {
                self.history.add(key, operation);
                None
            }
            Told::Outcome(outcome) => {
                operation.answered = Some((self.history.moment(), outcome));
                self.history.add(key, operation);
                match outcome {
                    Outcome::Found { version, .. } | Outcome::Written { version } if action != Action::Delete => {
                        Some(version)
                    }
                    Outcome::Failed { actual } => Some(actual),
                    _ => Some(0),
                }
            }
        }
    }

    async fn try_until_told(&mut self, slot: u64, key: &str, action: Action) -> Told {
        let until = Instant::now() + PATIENCE;
        // Whether a sending may have been applied.
        let mut open = false;
        while Instant::now() < until {
            if let Some(told) = self.try_once(slot, key, action, &mut open).await {
                return told;
            }
            tokio::time::sleep(Duration::from_millis(self.chance.random_range(5..50))).await;
        }
        if open { Told::Unknown } else { Told::Nothing }
    }

    async fn try_once(&mut self, slot: u64, key: &str, action: Action, open: &mut bool) -> Option<Told> {
        let name = Bytes::copy_from_slice(key.as_bytes());
        let any = self.nodes[self.chance.random_range(0..self.nodes.len())];
        let route = match self.routes.get(&slot) {
            Some(route) => *route,
            None => match self.network.call(CLIENTS, any, Call::Route(name.clone()), ANSWER).await {
                Ok(Answer::Route(route)) => *self.routes.entry(slot).or_insert(route),
                _ => return None,
            },
        };
        let mut to = route.leader.unwrap_or(any);
        let call = match write(action, &name) {
            // Of any node that has data, as often as of the leader.
            None if self.chance.random_bool(0.5) => {
                to = any;
                Call::Read(name, Consistency::Follower)
            }
            None => Call::Read(name, Consistency::Leader),
            Some((conditions, mutation)) => {
                let client = ClientId((u128::from(self.number) + 1).to_be_bytes());
                let request = Some(RequestId { client, sequence: self.sequence, retry: *open });
                let Epoch(epoch) = route.epoch;
                let write = Write { request, epoch: Epoch(epoch), conditions, mutations: vec![mutation] };
                Call::Write(route.shard, write)
            }
        };
        match self.network.call(CLIENTS, to, call, ANSWER).await {
            Ok(Answer::Found(None)) => Some(Told::Outcome(Outcome::Absent)),
            Ok(Answer::Found(Some(record))) => {
                let value = record.value.as_ref().try_into().map(u64::from_be_bytes).unwrap_or(u64::MAX);
                Some(Told::Outcome(Outcome::Found { version: record.version, value }))
            }
            Ok(Answer::Written(answer)) => self.written(slot, answer, *open),
            Ok(Answer::NotLeader(leader)) => {
                // Who is said to lead may have said so of this one.
                let leader = leader.filter(|leader| *leader != to);
                self.routes.insert(slot, Route { leader, ..route });
                None
            }
            Ok(Answer::Elsewhere | Answer::Refused(_)) | Err(Broken::Refused) => {
                self.routes.remove(&slot);
                None
            }
            _ => {
                *open = true;
                self.routes.remove(&slot);
                None
            }
        }
    }

    fn written(&mut self, slot: u64, answer: machine::Answer, open: bool) -> Option<Told> {
        match answer {
            machine::Answer::Written { version } => Some(Told::Outcome(Outcome::Written { version })),
            machine::Answer::ConditionFailed { actual, .. } => {
                Some(Told::Outcome(Outcome::Failed { actual: actual.unwrap_or(0) }))
            }
            machine::Answer::WrongEpoch { .. } | machine::Answer::OutOfRange | machine::Answer::Frozen => {
                self.routes.remove(&slot);
                None
            }
            machine::Answer::Expired | machine::Answer::TooManyClients | machine::Answer::VersionsExhausted => {
                Some(if open { Told::Unknown } else { Told::Nothing })
            }
        }
    }
}

fn write(action: Action, key: &Bytes) -> Option<(Vec<Condition>, Mutation)> {
    let put = |value: u64| Mutation::Put { key: key.clone(), value: Bytes::copy_from_slice(&value.to_be_bytes()) };
    match action {
        Action::Get => None,
        Action::Put { value } => Some((Vec::new(), put(value))),
        Action::Delete => Some((Vec::new(), Mutation::Delete { key: key.clone() })),
        Action::PutIf { expected: 0, value } => Some((vec![Condition::Absent(key.clone())], put(value))),
        Action::PutIf { expected, value } => Some((vec![Condition::VersionEquals(key.clone(), expected)], put(value))),
    }
}
