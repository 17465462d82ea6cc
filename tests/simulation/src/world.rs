//! A run: nodes, network, clients, faults and changes, a millisecond after the other, in one thread.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context;
use thermocline_engine::KeyRange;
use thermocline_shard::machine::ShardStore;
use thermocline_shard::{Epoch, NodeId, ReplicaId, Role, ShardDescriptor, ShardId};
use tokio::runtime::Runtime;

use crate::clients::{CLIENTS, Client, History};
use crate::faults::Faults;
use crate::invariant::{Held, Outcome, Violation, linearizable};
use crate::network::{Body, Network, Packet};
use crate::node::{Node, paused_runtime};
use crate::observer::Observer;
use crate::operator::{Operator, jobs_done, leaders};
use crate::panics;
use crate::plan::{Plan, generator};
use crate::report::Report;
use crate::trace::Trace;

const FIRST_NODE: NodeId = NodeId(1);
const FIRST_SHARD: ShardId = ShardId(1);
const FIRST_REPLICA: ReplicaId = ReplicaId(10);
/// Within so long the first shard has its replicas, in milliseconds.
const GROWN: u64 = 60_000;
/// Within so long everything is at rest once nothing goes wrong any more.
const AT_REST: u64 = 120_000;
/// It has been at rest for so long: a job may be about to begin its next step.
const RESTED: u64 = 1_000;

/// A run.
pub struct World {
    plan: Plan,
    now: u64,
    clock: Arc<AtomicU64>,
    nodes: BTreeMap<NodeId, Node>,
    clients: Runtime,
    history: Arc<History>,
    network: Arc<Network>,
    observer: Arc<Observer>,
    trace: Arc<Trace>,
    faults: Faults,
    operator: Operator,
    folder: PathBuf,
    /// Jobs that were seen to be done.
    done: std::collections::BTreeSet<u64>,
}

impl World {
    /// A run that has not begun; with a file, what happens is written there too.
    ///
    /// # Errors
    /// When the machine has no room for it.
    pub fn new(plan: Plan, file: Option<&Path>) -> anyhow::Result<Self> {
        panics::listen();
        let trace = Arc::new(Trace::new(file).context("write the trace")?);
        let chance = generator(plan.seed, "network");
        let network = Arc::new(Network::new(chance, plan.weather, Arc::clone(&trace)));
        let (observer, clock) = (Arc::new(Observer::new()), Arc::new(AtomicU64::new(0)));
        let folder = std::env::temp_dir().join(format!("thermocline-simulation-{}", std::process::id()));
        let all: Vec<NodeId> = (1..=plan.nodes).map(NodeId).collect();
        let node = |number: NodeId| {
            let (network, observer, clock) = (Arc::clone(&network), Arc::clone(&observer), Arc::clone(&clock));
            (number, Node::new(number, &folder, network, observer, plan.flaw, clock, all.clone()))
        };
        let nodes = all.iter().copied().map(node).collect();
        Ok(Self {
            now: 0,
            clock,
            nodes,
            clients: paused_runtime()?,
            history: Arc::default(),
            network: Arc::clone(&network),
            observer,
            trace,
            faults: Faults::new(&plan, u64::MAX),
            operator: Operator::new(&plan),
            folder,
            done: std::collections::BTreeSet::new(),
            plan,
        })
    }

    /// Runs it to its end, or to the first invariant that does not hold.
    pub fn run(mut self) -> Report {
        let held = self.run_through();
        self.observer.judge(held);
        self.report()
    }

    fn run_through(&mut self) -> Held {
        self.begin()?;
        self.grow()?;
        self.faults = Faults::new(&self.plan, self.now);
        let until = self.now + self.plan.trouble;
        while self.now < until {
            let led: Vec<NodeId> = match self.now % 50 {
                0 => leaders(&self.nodes).into_values().map(|led| led.node).collect(),
                _ => Vec::new(),
            };
            let (faults, nodes) = (&mut self.faults, &mut self.nodes);
            faults.step(self.now, nodes, &self.network, &led, &self.trace).map_err(|error| broken(&error))?;
            self.operator.step(self.now, &self.nodes, &self.trace);
            self.step()?;
        }
        self.faults.end(self.now, &mut self.nodes, &self.network, &self.trace).map_err(|error| broken(&error))?;
        self.come_to_rest()?;
        self.read_all()?;
        self.judge_histories()?;
        self.judge_copies()
    }

    fn begin(&mut self) -> Held {
        for node in self.nodes.values_mut() {
            node.start().map_err(|error| broken(&error))?;
        }
        let nodes: Vec<NodeId> = self.nodes.keys().copied().collect();
        for number in 0..self.plan.clients {
            let (network, history) = (Arc::clone(&self.network), Arc::clone(&self.history));
            let client = Client::new(number, self.plan.seed, nodes.clone(), network, history, self.plan.pause);
            self.clients.spawn(client.run());
        }
        self.until("the first node opens", GROWN, |world| {
            let host = world.nodes.get(&FIRST_NODE)?.host()?;
            let range = KeyRange::all();
            let shard = ShardDescriptor { shard: FIRST_SHARD, range, epoch: Epoch(1), version_base: 0 };
            world.nodes.get(&FIRST_NODE)?.spawn(async move { drop(host.begin(FIRST_REPLICA, shard).await) });
            Some(())
        })
    }

    /// From one replica to two with data and a witness.
    fn grow(&mut self) -> Held {
        for (node, role, members) in [(2, Role::Data, 2), (3, Role::Witness, 3)] {
            self.until("the first shard is led", GROWN, |world| {
                let led = leaders(&world.nodes);
                let led = led.get(&FIRST_SHARD).filter(|led| led.resident.descriptor().is_some())?;
                world.operator.add(led, &world.nodes, NodeId(node), role, world.now);
                Some(())
            })?;
            self.until("the first shard has grown", GROWN, |world| {
                let led = leaders(&world.nodes);
                let led = led.get(&FIRST_SHARD)?;
                let voters = led.group.wanted_voters().len();
                (voters == members && led.resident.view().jobs.running().is_none()).then_some(())
            })?;
        }
        Ok(())
    }

    fn until(&mut self, what: &str, within: u64, mut look: impl FnMut(&mut Self) -> Option<()>) -> Held {
        let until = self.now + within;
        while look(self).is_none() {
            if self.now > until {
                return Err(Violation::of(
                    "it goes on once nothing is wrong",
                    format!("not within {within} ms: {what}"),
                ));
            }
            self.step()?;
        }
        Ok(())
    }

    /// A millisecond.
    fn step(&mut self) -> Held {
        self.now += 1;
        self.clock.store(self.now, Ordering::SeqCst);
        self.observer.at(self.now);
        for packet in self.network.arrived(self.now) {
            self.deliver(packet);
        }
        for node in self.nodes.values_mut() {
            node.step(self.now);
        }
        self.clients.block_on(async { tokio::time::sleep(Duration::from_millis(1)).await });
        self.look();
        match self.observer.violation() {
            None => Ok(()),
            Some((_, violation)) => Err(violation),
        }
    }

    fn deliver(&mut self, packet: Packet) {
        match (self.nodes.get_mut(&packet.to), packet.body) {
            (Some(node), body) => node.take(Packet { from: packet.from, to: packet.to, body }),
            (None, Body::Answer(id, answer)) if packet.to == CLIENTS => self.network.answered(id, answer),
            (None, _) => {}
        }
    }

    /// Who leads, and what failed.
    fn look(&mut self) {
        for node in self.nodes.values().filter(|node| !node.is_paused()) {
            if let Some(reason) = node.failure() {
                self.observer.judge(Err(Violation::of("a node opens", format!("{} does not: {reason}", node.id))));
            }
            let Some(host) = node.host() else { continue };
            for resident in host.all() {
                let group = resident.replica().group();
                if group.leads() {
                    self.observer.leads(resident.shard(), group.term, group.replica, node.boots());
                }
            }
            if let Some((replica, shard, reason)) = host.failed().into_iter().next() {
                let said = format!("{replica} of {shard} on {} does not start: {reason}", node.id);
                self.observer.judge(Err(Violation::of("a replica starts from what it wrote", said)));
            }
        }
        if let Some(said) = panics::first() {
            self.observer.judge(Err(Violation::of("nothing panics", said)));
        }
        if self.now.is_multiple_of(1000) {
            self.done.extend(jobs_done(&self.nodes));
        }
    }

    /// All changes of members end, and all replicas have everything.
    fn come_to_rest(&mut self) -> Held {
        // As long as clients write, near is enough.
        self.rest(50)?;
        self.history.stop();
        // What is still on its way.
        let until = self.now + 6000;
        while self.now < until {
            self.step()?;
        }
        self.rest(0)
    }

    /// Waits until everything has been at rest for a while, and nobody is farther behind than so many entries.
    fn rest(&mut self, behind: u64) -> Held {
        let (mut since, until) = (self.now, self.now + AT_REST);
        loop {
            self.step()?;
            if self.now.is_multiple_of(1000) {
                self.operator.end(&self.nodes);
            }
            match self.restless(behind) {
                None if self.now >= since + RESTED => return Ok(()),
                None => {}
                Some(why) if self.now > until => {
                    let said = format!("{AT_REST} ms after the last fault: {why}");
                    return Err(Violation::of("every change of members ends, and everybody catches up", said));
                }
                Some(_) => since = self.now,
            }
        }
    }

    /// What is not at rest.
    fn restless(&self, behind: u64) -> Option<String> {
        let mut led = leaders(&self.nodes);
        led.retain(|shard, _| !self.observer.is_absorbed(*shard));
        if led.len() < self.observer.sights().shards {
            return Some(format!("only {:?} are led", led.keys()));
        }
        if let Some(left) = self.left_behind() {
            return Some(left);
        }
        led.into_iter().find_map(|(shard, led)| {
            if let Some(frozen) = led.resident.view().jobs.frozen() {
                return Some(format!("{shard} is {frozen:?}"));
            }
            if led.group.is_joint() {
                return Some(format!("the members of {shard} are changing: {:?}", led.group.voters));
            }
            if let Some(job) = led.resident.view().jobs.running() {
                return Some(format!("{shard} has a job: {job:?}"));
            }
            led.group.members.iter().find_map(|(replica, member)| {
                let resident =
                    self.nodes.get(&member.node).and_then(Node::host).and_then(|host| host.resident(*replica));
                let applied = resident.map(|resident| resident.replica().group().applied);
                let lags = applied.is_none_or(|applied| applied + behind < led.group.applied);
                lags.then(|| {
                    let (of, known) = (led.group.applied, led.group.matched.get(replica));
                    format!(
                        "{replica} of {shard} on {} is at {applied:?} of {of}, as {} knows at {known:?}",
                        member.node, led.node
                    )
                })
            })
        })
    }

    /// A replica of a shard that is a part of another one now.
    fn left_behind(&self) -> Option<String> {
        self.nodes.values().find_map(|node| {
            let all = node.host()?.all();
            let left = all.iter().find(|resident| self.observer.is_absorbed(resident.shard()))?;
            let (replica, shard) = (left.replica().id(), left.shard());
            Some(format!("{replica} of {shard}, which is a part of another one, is still on {}", node.id))
        })
    }

    /// Every key is read once more.
    fn read_all(&mut self) -> Held {
        let keys = self.history.keys();
        let unread = Arc::new(AtomicU64::new(keys.len() as u64));
        let nodes = self.nodes.keys().copied().collect();
        let (network, history) = (Arc::clone(&self.network), Arc::clone(&self.history));
        let reader = Client::new(self.plan.clients, self.plan.seed, nodes, network, history, 1);
        self.clients.spawn(reader.read_all(keys, Arc::clone(&unread)));
        self.until("every key is read", AT_REST, |_| (unread.load(Ordering::SeqCst) == 0).then_some(()))
    }

    fn judge_histories(&self) -> Held {
        for (key, operations) in self.history.by_key() {
            let acknowledged = operations.iter().filter_map(|one| match one.answered {
                Some((_, Outcome::Written { version })) => Some(version),
                _ => None,
            });
            let last = operations.iter().rev().find_map(|one| match (one.client, one.answered) {
                (client, Some((_, Outcome::Found { version, .. }))) if client == self.plan.clients => Some(version),
                _ => None,
            });
            if let (Some(acknowledged), Some(last)) = (acknowledged.max(), last)
                && last < acknowledged
            {
                let said = format!("{key} has version {last} in the end; {acknowledged} was acknowledged");
                return Err(Violation::of("no acknowledged write is lost", said));
            }
            linearizable(&key, &operations)?;
        }
        Ok(())
    }

    /// Data replicas of a shard hold the same.
    fn judge_copies(&self) -> Held {
        for (shard, led) in leaders(&self.nodes) {
            if self.observer.is_absorbed(shard) {
                continue;
            }
            let Some(descriptor) = led.resident.descriptor() else { continue };
            let data = led.group.members.iter().filter(|(_, member)| member.role == Role::Data);
            let hashes = data.filter_map(|(replica, member)| {
                let hash = self.nodes.get(&member.node)?.store.logical_hash(&descriptor.range).ok()?;
                Some((*replica, hash))
            });
            let hashes: Vec<_> = hashes.collect();
            let Some(((one, _), (other, _))) = hashes.first().zip(hashes.iter().find(|(_, hash)| *hash != hashes[0].1))
            else {
                continue;
            };
            let look = |replica: &ReplicaId, key: &str| {
                let member = led.group.members.get(replica)?;
                self.nodes.get(&member.node)?.store.look(key.as_bytes()).ok()?
            };
            let inside = |key: &String| descriptor.range.contains(key.as_bytes());
            let mut differing = self.history.keys().into_iter().filter(inside);
            let key = differing.find(|key| look(one, key) != look(other, key)).unwrap_or_default();
            let said =
                format!("{one} and {other} of {shard} differ at {key}: {:?}, {:?}", look(one, &key), look(other, &key));
            return Err(Violation::of("replicas of a shard hold the same", said));
        }
        Ok(())
    }

    fn report(&self) -> Report {
        let (hash, events) = self.trace.hash();
        let by_key = self.history.by_key();
        let all = || by_key.values().flatten();
        Report {
            seed: self.plan.seed,
            violation: self.observer.violation(),
            hash,
            events,
            messages: self.network.sent(),
            millis: self.now,
            answered: all().filter(|one| one.answered.is_some()).count(),
            open: all().filter(|one| one.answered.is_none()).count(),
            sights: self.observer.sights(),
            asked: self.operator.asked(),
            done: self.done.len(),
            wrongs: self.faults.counts(),
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.nodes.clear();
        // Empty folders for snapshots; what cannot be removed harms nobody.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn broken(error: &anyhow::Error) -> Violation {
    Violation::of("the simulation goes on", format!("{error:#}"))
}
