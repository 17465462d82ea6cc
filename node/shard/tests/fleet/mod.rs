//! Nodes in one process, and wires between them that can be cut.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod wires;
mod writing;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use thermocline_engine::log::{LogOptions, LogStore};
use thermocline_engine::{Engine, EngineOptions, Environment, KeyRange, LogicalHash, Medium, TierSpec};
use thermocline_shard::command::{Command, Split};
use thermocline_shard::host::{Host, HostPlace, LogBounds, Resident, SendRates};
use thermocline_shard::job::{Job, JobChange, JobControl, JobKind, JobOutcome};
use thermocline_shard::machine::{Applied, ExportedData, ShardStore};
use thermocline_shard::raft::Pace;
use thermocline_shard::{Epoch, NodeId, ReplicaId, Role, ShardDescriptor, ShardId};
use tokio::time::Instant;

pub use wires::{Wire, Wires};

/// Nothing here takes as long on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(120);

type TestHost = Host<Engine, Wire<Engine>>;

struct Node {
    folder: PathBuf,
    /// Goes with the fleet.
    _temporary: Option<tempfile::TempDir>,
}

/// The nodes.
pub struct Fleet {
    wires: Wires<Engine>,
    nodes: BTreeMap<NodeId, Node>,
    log_bounds: LogBounds,
    sequence: Arc<Mutex<u64>>,
}

fn engine(folder: &Path) -> Engine {
    let tier = |name: &str, rank, medium| TierSpec::new(name, rank, medium, folder.join(name), 1 << 30);
    let tiers = vec![tier("hot", 0, Medium::Nvme), tier("cold", 20, Medium::Hdd)];
    let options = EngineOptions { background_moves: false, ..EngineOptions::new(tiers, 64 << 20) };
    Engine::open(options, Environment::system(1)).unwrap()
}

fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as u64
}

pub fn range(start: &str, end: &str) -> KeyRange {
    KeyRange::new(start, end).unwrap()
}

impl Fleet {
    pub async fn start_with(nodes: &[NodeId], log_bounds: LogBounds) -> Self {
        let sequence = Arc::new(Mutex::new(0));
        let mut fleet = Self { wires: Wires::default(), nodes: BTreeMap::new(), log_bounds, sequence };
        for node in nodes {
            let temporary = tempfile::tempdir().unwrap();
            let folder = temporary.path().to_owned();
            fleet.nodes.insert(*node, Node { folder, _temporary: Some(temporary) });
            fleet.run(*node).await;
        }
        fleet
    }

    /// Starts nodes from a folder that stays; writes are numbered from `first` on, which no earlier run came to.
    pub async fn at(folder: &Path, nodes: &[NodeId], log_bounds: LogBounds, first: u64) -> Self {
        let sequence = Arc::new(Mutex::new(first));
        let mut fleet = Self { wires: Wires::default(), nodes: BTreeMap::new(), log_bounds, sequence };
        for node in nodes {
            let folder = folder.join(node.0.to_string());
            std::fs::create_dir_all(&folder).unwrap();
            fleet.nodes.insert(*node, Node { folder, _temporary: None });
            fleet.run(*node).await;
        }
        fleet
    }

    /// Starts a node from its folders.
    pub async fn run(&self, node: NodeId) {
        let folder = &self.nodes[&node].folder;
        let began = Instant::now();
        let place = HostPlace {
            node,
            store: Arc::new(engine(folder)),
            logs: Arc::new(LogStore::open(folder.join("log"), LogOptions::default()).unwrap()),
            staging: folder.join("staging"),
            pace: Pace::default(),
            log_bounds: self.log_bounds,
            clock: Arc::new(now),
            steady: Arc::new(move || began.elapsed()),
        };
        let wire = self.wires.from(node);
        let host = Host::open(place, wire.clone()).await.unwrap();
        host.drive(Arc::new(wire), Arc::new(SendRates::default()));
        self.wires.add(host);
    }

    /// Copies of shards that a node has written to send them, and that are still there.
    pub fn copies_left(&self, node: NodeId) -> Vec<PathBuf> {
        let staging = std::fs::read_dir(self.nodes[&node].folder.join("staging")).unwrap();
        let of_replicas = staging.flat_map(|folder| std::fs::read_dir(folder.unwrap().path()).unwrap());
        let left = of_replicas.map(|entry| entry.unwrap().path());
        left.filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("to-"))).collect()
    }

    /// Ends a node and starts it again from its folders.
    pub async fn restart(&self, node: NodeId) {
        self.end(node).await;
        self.run(node).await;
    }

    /// Ends a node; its folders stay.
    pub async fn end(&self, node: NodeId) {
        let host = self.wires.remove(node).unwrap();
        host.stop().await;
        // The folders are free once the last task of the node is gone.
        let store = Arc::downgrade(host.store());
        drop(host);
        self.until("the node has ended", async || (store.strong_count() == 0).then_some(())).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }

    /// Leaves on a node that has ended what a crash in the middle of installing a snapshot leaves: the old records, the mark
    /// that a snapshot was begun, and no data.
    pub fn leave_half_installed(&self, node: NodeId, replica: ReplicaId) {
        let engine = engine(&self.nodes[&node].folder);
        let mark: Bytes = [&[5][..], &replica.0.to_be_bytes()].concat().into();
        ShardStore::apply(&engine, &[], &mut |_| vec![(mark.clone(), Some(Bytes::new()))]).unwrap();
        ShardStore::install(&engine, &KeyRange::all(), &ExportedData::Nothing, &[]).unwrap();
    }

    pub fn host(&self, node: NodeId) -> Arc<TestHost> {
        self.wires.hosts.lock().unwrap()[&node].clone()
    }

    pub fn cut(&self, node: NodeId) {
        self.wires.cut.lock().unwrap().insert(node);
    }

    pub fn join(&self, node: NodeId) {
        self.wires.cut.lock().unwrap().remove(&node);
    }

    /// From now on a node answers, but takes no entries; or again.
    pub fn stick(&self, node: NodeId, stuck: bool) {
        let mut all = self.wires.stuck.lock().unwrap();
        if stuck {
            all.insert(node)
        } else {
            all.remove(&node)
        };
    }

    /// From now on a node does what a merge asks of it and does not say so; or again.
    pub fn silence(&self, node: NodeId, silent: bool) {
        let mut all = self.wires.silent.lock().unwrap();
        if silent {
            all.insert(node)
        } else {
            all.remove(&node)
        };
    }

    /// From now on nothing that is said to or by a node arrives, until it goes on: then all of it does.
    pub fn pause(&self, node: NodeId) {
        self.wires.paused.lock().unwrap().insert(node);
    }

    pub fn go_on(&self, node: NodeId) {
        self.wires.paused.lock().unwrap().remove(&node);
    }

    pub async fn begin(&self, node: NodeId, replica: ReplicaId, shard: ShardId) {
        let descriptor = ShardDescriptor { shard, range: KeyRange::all(), epoch: Epoch(1), version_base: 0 };
        self.host(node).begin(replica, descriptor).await.unwrap();
    }

    fn reachable(&self) -> Vec<Arc<TestHost>> {
        let mut cut = self.wires.cut.lock().unwrap().clone();
        cut.extend(self.wires.paused.lock().unwrap().iter());
        let hosts = self.wires.hosts.lock().unwrap();
        hosts.iter().filter(|(node, _)| !cut.contains(node)).map(|(_, host)| host.clone()).collect()
    }

    fn leading(&self, shard: ShardId) -> Option<(Arc<TestHost>, Arc<Resident<Engine>>)> {
        let all = self.reachable().into_iter().flat_map(|host| {
            let of_it = host.all().into_iter().filter(|resident| resident.shard() == shard);
            of_it.map(|resident| (host.clone(), resident)).collect::<Vec<_>>()
        });
        let data = all.filter(|(_, resident)| resident.replica().role() == Role::Data);
        data.filter(|(_, resident)| resident.replica().group().leads())
            .max_by_key(|(_, resident)| resident.replica().group().term)
    }

    pub async fn leader(&self, shard: ShardId) -> (NodeId, ReplicaId) {
        let found = self.until("somebody leads", async || self.leading(shard)).await;
        (found.0.node(), found.1.replica().id())
    }

    pub async fn begin_job(&self, shard: ShardId, id: u64, kind: JobKind) {
        let job = Job {
            id,
            kind,
            bytes_per_second: 0,
            paused: false,
            cancelled: false,
            cut_over: false,
            begun_at_millis: now(),
        };
        self.change(shard, JobChange::Begin(job)).await;
    }

    pub async fn control(&self, shard: ShardId, control: JobControl) {
        self.change(shard, JobChange::Control(control)).await;
    }

    async fn change(&self, shard: ShardId, change: JobChange) {
        self.propose(shard, &Command::Job(change)).await;
    }

    async fn propose(&self, shard: ShardId, command: &Command) {
        self.until("the log takes a command", async || {
            let (_, resident) = self.leading(shard)?;
            match resident.replica().propose(command).await.ok()? {
                Applied::Refused(reason) => panic!("{reason}"),
                _ => Some(()),
            }
        })
        .await;
    }

    /// Begins a job and waits until it is done.
    pub async fn job(&self, shard: ShardId, id: u64, kind: JobKind) {
        self.begin_job(shard, id, kind).await;
        self.ended(shard, id, JobOutcome::Done).await;
    }

    pub async fn ended(&self, shard: ShardId, id: u64, outcome: JobOutcome) {
        let end = self.until("the job ends", async || {
            let view = self.leading(shard)?.1.view();
            view.jobs.ended().find(|(job, _)| job.id == id).map(|(_, end)| end.clone())
        });
        let end = end.await;
        assert_eq!(end.outcome, outcome, "{}", end.message);
    }

    /// Begins a job that makes the right shard a part of the left one.
    pub async fn begin_merge(&self, id: u64, left: ShardId, right: ShardId) {
        let epoch = async |shard| {
            self.until("a shard is led and not frozen", async || {
                let view = self.leading(shard)?.1.view();
                view.jobs.frozen().is_none().then_some(())?;
                Some(view.descriptor.clone()?.epoch)
            })
            .await
        };
        let (left_epoch, right_epoch) = (epoch(left).await, epoch(right).await);
        self.begin_job(left, id, JobKind::Merge { right, left_epoch, right_epoch }).await;
    }

    /// How a job ended.
    pub async fn outcome(&self, shard: ShardId, id: u64) -> JobOutcome {
        self.until("the job ends", async || {
            let view = self.leading(shard)?.1.view();
            view.jobs.ended().find(|(job, _)| job.id == id).map(|(_, end)| end.outcome)
        })
        .await
    }

    /// Waits until the right shard is frozen wherever it is.
    pub async fn frozen(&self, shard: ShardId, nodes: &[NodeId]) {
        let is_frozen = |node: &NodeId| {
            let resident = self.host(*node).of_shard(shard);
            resident.is_some_and(|resident| resident.view().jobs.frozen().is_some())
        };
        self.until("the shard is frozen", async || nodes.iter().all(is_frozen).then_some(())).await;
    }

    /// Waits until no node has a replica of a shard any more.
    pub async fn gone(&self, shard: ShardId) {
        self.until("the shard is gone", async || {
            let hosts = self.reachable();
            hosts.iter().all(|host| host.of_shard(shard).is_none()).then_some(())
        })
        .await;
    }

    pub async fn split(&self, shard: ShardId, at: &str, right: ShardId, first: u64) {
        let (_, resident) = self.until("somebody leads", async || self.leading(shard)).await;
        let members = resident.replica().group().members;
        let replicas = members.keys().zip(first..).map(|(of, beside)| (*of, ReplicaId(beside))).collect();
        let epoch = resident.descriptor().unwrap().epoch;
        let split = Split { at: Bytes::copy_from_slice(at.as_bytes()), epoch, right, replicas };
        self.propose(shard, &Command::Split(split)).await;
    }

    /// Has a node's replica let go of all of its log that it may.
    pub async fn forget_log(&self, node: NodeId, shard: ShardId) {
        let resident = self.host(node).of_shard(shard).unwrap();
        let replica = resident.replica();
        let upto = replica.applied().unwrap();
        replica.shorten_log().await.unwrap();
        self.until("the log is shorter", async || {
            replica.purge_log(upto).await.unwrap();
            (replica.purged() >= upto).then_some(())
        })
        .await;
    }

    pub async fn nodes_of(&self, shard: ShardId) -> BTreeSet<NodeId> {
        let (_, resident) = self.until("somebody leads", async || self.leading(shard)).await;
        resident.replica().group().members.values().map(|member| member.node).collect()
    }

    pub fn hash(&self, node: NodeId) -> LogicalHash {
        ShardStore::logical_hash(&**self.host(node).store(), &KeyRange::all()).unwrap()
    }

    /// Waits until all members of a shard have applied what the leader has.
    pub async fn settled(&self, shard: ShardId) {
        self.until("they have applied everything", async || {
            let (_, leader) = self.leading(shard)?;
            let group = leader.replica().group();
            let applied = |replica: &ReplicaId| {
                let hosts = self.reachable();
                hosts
                    .iter()
                    .any(|host| host.resident(*replica).is_some_and(|one| one.replica().group().applied >= group.last))
            };
            group.members.keys().all(applied).then_some(())
        })
        .await;
    }

    pub async fn until<T>(&self, what: &str, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
        let started = Instant::now();
        loop {
            if let Some(found) = condition().await {
                return found;
            }
            assert!(started.elapsed() < PATIENCE, "waited too long until {what}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub async fn stop(self) {
        let hosts: Vec<_> = std::mem::take(&mut *self.wires.hosts.lock().unwrap()).into_values().collect();
        for host in hosts {
            host.stop().await;
        }
    }
}
