//! Nodes in one process, and wires between them that can be cut.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest, TransferLeaderResponse,
    VoteRequest, VoteResponse,
};
use thermocline_engine::log::{LogOptions, LogStore};
use thermocline_engine::{Engine, EngineOptions, Environment, KeyRange, LogicalHash, Medium, Mutation, TierSpec};
use thermocline_shard::command::{Command, Split, Write};
use thermocline_shard::host::{AskError, Asks, Host, HostPlace, LogBounds, Resident, SendRates};
use thermocline_shard::job::{Job, JobChange, JobControl, JobKind, JobOutcome};
use thermocline_shard::machine::{Answer, Applied, ExportedData, ShardStore, Snapshot};
use thermocline_shard::raft::{Member, Pace, SnapshotMeta, Transport, TransportError, TypeConfig, Vote};
use thermocline_shard::session::{ClientId, RequestId};
use thermocline_shard::{Epoch, NodeId, ReplicaId, Role, ShardDescriptor, ShardId};
use tokio::time::Instant;

/// Nothing here takes as long on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(120);
/// What a leader waits for a hash before it asks for another one.
const HASH: Duration = Duration::from_secs(5);

type TestHost = Host<Engine, Wire<Engine>>;

/// The wires between nodes, and what is wrong with them.
pub struct Wires<S: ShardStore>(Arc<Between<S>>);

type WiredHost<S> = Arc<Host<S, Wire<S>>>;

/// What the wires share.
pub struct Between<S: ShardStore> {
    hosts: Mutex<BTreeMap<NodeId, WiredHost<S>>>,
    cut: Mutex<BTreeSet<NodeId>>,
    /// These answer, but take no entries.
    stuck: Mutex<BTreeSet<NodeId>>,
    /// What is said to and by these arrives when they go on.
    paused: Mutex<BTreeSet<NodeId>>,
}

impl<S: ShardStore> Default for Wires<S> {
    fn default() -> Self {
        let (hosts, cut, stuck, paused) = Default::default();
        Self(Arc::new(Between { hosts, cut, stuck, paused }))
    }
}

impl<S: ShardStore> Clone for Wires<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S: ShardStore> std::ops::Deref for Wires<S> {
    type Target = Between<S>;

    fn deref(&self) -> &Between<S> {
        &self.0
    }
}

impl<S: ShardStore> Wires<S> {
    pub fn from(&self, from: NodeId) -> Wire<S> {
        Wire { from, wires: self.clone() }
    }

    pub fn add(&self, host: Arc<Host<S, Wire<S>>>) {
        self.hosts.lock().unwrap().insert(host.node(), host);
    }

    pub fn remove(&self, node: NodeId) -> Option<Arc<Host<S, Wire<S>>>> {
        self.hosts.lock().unwrap().remove(&node)
    }
}

/// The way from one node to the others.
pub struct Wire<S: ShardStore> {
    from: NodeId,
    wires: Wires<S>,
}

impl<S: ShardStore> Clone for Wire<S> {
    fn clone(&self) -> Self {
        Self { from: self.from, wires: self.wires.clone() }
    }
}

type Found<S> = (Arc<Host<S, Wire<S>>>, Arc<Resident<S>>);

impl<S: ShardStore> Wire<S> {
    fn host(&self, node: NodeId) -> Option<Arc<Host<S, Self>>> {
        let cut = self.wires.cut.lock().unwrap();
        let found = self.wires.hosts.lock().unwrap().get(&node).cloned();
        found.filter(|_| !cut.contains(&self.from) && !cut.contains(&node))
    }

    /// Asks a replica. What is paused meanwhile hears of it later, also where nobody waits for the answer any more.
    async fn ask<A, E, F>(
        &self,
        to: ReplicaId,
        node: NodeId,
        within: Duration,
        ask: impl FnOnce(Found<S>) -> F + Send + 'static,
    ) -> Result<A, TransportError>
    where
        A: Send + 'static,
        E: std::fmt::Display,
        F: Future<Output = Result<A, E>> + Send,
    {
        let wire = self.clone();
        let asked = tokio::spawn(async move {
            wire.pass(node).await;
            let found = wire.resident(to, node)?;
            let unreachable = |error: E| TransportError::Unreachable { to, reason: error.to_string() };
            let answer = ask(found).await.map_err(unreachable);
            wire.pass(node).await;
            answer
        });
        match tokio::time::timeout(within, asked).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(TransportError::Unreachable { to, reason: "it ended".to_owned() }),
            Err(_) => Err(TransportError::Silent { to, after: within }),
        }
    }

    /// Waits until neither end is paused.
    async fn pass(&self, node: NodeId) {
        let is_paused = || {
            let paused = self.wires.paused.lock().unwrap();
            paused.contains(&self.from) || paused.contains(&node)
        };
        while is_paused() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn resident(&self, to: ReplicaId, node: NodeId) -> Result<Found<S>, TransportError> {
        let unreachable = |reason: &str| TransportError::Unreachable { to, reason: reason.to_owned() };
        let host = self.host(node).ok_or_else(|| unreachable("the wire is cut"))?;
        let resident = host.resident(to).ok_or_else(|| unreachable("the replica is not there"))?;
        Ok((host, resident))
    }

    fn asked(&self, node: NodeId) -> Result<Arc<Host<S, Self>>, AskError> {
        self.host(node).ok_or_else(|| AskError::Unreachable { node, reason: "the wire is cut".to_owned() })
    }
}

impl<S: ShardStore> Transport for Wire<S> {
    async fn append_entries(
        &self,
        to: ReplicaId,
        member: Member,
        request: AppendEntriesRequest<TypeConfig>,
        within: Duration,
    ) -> Result<AppendEntriesResponse<TypeConfig>, TransportError> {
        if !request.entries.is_empty() && self.wires.stuck.lock().unwrap().contains(&member.node) {
            return Err(TransportError::Unreachable { to, reason: "it takes no entries".to_owned() });
        }
        let append = move |(_, resident): Found<S>| async move { resident.replica().on_append_entries(request).await };
        self.ask(to, member.node, within, append).await
    }

    async fn vote(
        &self,
        to: ReplicaId,
        member: Member,
        request: VoteRequest<TypeConfig>,
        pre: bool,
        within: Duration,
    ) -> Result<VoteResponse<TypeConfig>, TransportError> {
        let vote = move |(_, resident): Found<S>| async move { resident.replica().on_vote(request, pre).await };
        self.ask(to, member.node, within, vote).await
    }

    async fn transfer_leader(
        &self,
        to: ReplicaId,
        member: Member,
        request: TransferLeaderRequest<TypeConfig>,
        within: Duration,
    ) -> Result<TransferLeaderResponse<TypeConfig>, TransportError> {
        let lead = move |(_, resident): Found<S>| async move { resident.replica().on_transfer_leader(request).await };
        self.ask(to, member.node, within, lead).await
    }

    async fn snapshot(
        &self,
        to: ReplicaId,
        member: Member,
        vote: Vote,
        meta: SnapshotMeta,
        snapshot: Snapshot,
    ) -> Result<SnapshotResponse<TypeConfig>, TransportError> {
        let install =
            move |(host, resident): Found<S>| async move { host.install(&resident, vote, meta, snapshot).await };
        let vote = self.ask(to, member.node, PATIENCE, install).await?;
        Ok(SnapshotResponse { vote })
    }
}

impl<S: ShardStore> Asks for Wire<S> {
    async fn create(
        &self,
        on: NodeId,
        replica: ReplicaId,
        shard: ShardId,
        role: Role,
        range: KeyRange,
    ) -> Result<(), AskError> {
        let refused =
            |error: thermocline_shard::host::HostError| AskError::Refused { node: on, reason: error.to_string() };
        self.asked(on)?.create(replica, shard, role, Some(&range)).await.map_err(refused)
    }

    async fn remove(&self, on: NodeId, replica: ReplicaId) -> Result<(), AskError> {
        let refused =
            |error: thermocline_shard::host::HostError| AskError::Refused { node: on, reason: error.to_string() };
        self.asked(on)?.remove(replica).await.map_err(refused)
    }

    async fn hash(&self, on: NodeId, replica: ReplicaId, index: u64) -> Result<LogicalHash, AskError> {
        let unreachable = |reason: String| AskError::Unreachable { node: on, reason };
        let resident = self.asked(on)?.resident(replica).ok_or_else(|| unreachable("not there".to_owned()))?;
        let started = Instant::now();
        loop {
            match resident.replica().hashes().wait(index).await {
                Some(Ok(hash)) => return Ok(hash),
                Some(Err(error)) => return Err(unreachable(error)),
                // It was opened anew since it applied the entry: another one is asked for.
                None if started.elapsed() > HASH => return Err(unreachable("no hash".to_owned())),
                None => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }
}

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
        let place = HostPlace {
            node,
            store: Arc::new(engine(folder)),
            logs: Arc::new(LogStore::open(folder.join("log"), LogOptions::default()).unwrap()),
            staging: folder.join("staging"),
            pace: Pace::default(),
            log_bounds: self.log_bounds,
            clock: Arc::new(now),
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

    /// Writes, wherever the leader is; the same request until it is acknowledged.
    pub async fn put(&self, key: &str) {
        self.put_value(key, Bytes::from_static(b"value")).await;
    }

    pub async fn put_value(&self, key: &str, value: Bytes) {
        let sequence = {
            let mut sequence = self.sequence.lock().unwrap();
            *sequence += 1;
            *sequence
        };
        let (mut retry, started) = (false, Instant::now());
        while !self.try_put(key, value.clone(), sequence, &mut retry).await {
            assert!(started.elapsed() < PATIENCE, "waited too long until {key} is acknowledged");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn try_put(&self, key: &str, value: Bytes, sequence: u64, retry: &mut bool) -> bool {
        let owner = self.reachable().into_iter().find_map(|host| {
            let owner = host.owner(key.as_bytes())?;
            owner.replica().group().leads().then_some(owner)
        });
        let Some((owner, descriptor)) = owner.and_then(|owner| Some((owner.clone(), owner.descriptor()?))) else {
            return false;
        };
        let put = Mutation::Put { key: Bytes::copy_from_slice(key.as_bytes()), value };
        let request = Some(RequestId { client: ClientId([1; 16]), sequence, retry: *retry });
        let write = Write { request, epoch: descriptor.epoch, conditions: Vec::new(), mutations: vec![put] };
        let answer = tokio::time::timeout(Duration::from_secs(2), owner.write(write)).await;
        *retry = true;
        match answer {
            Ok(Ok(Answer::Written { .. })) => true,
            Ok(Ok(Answer::WrongEpoch { .. } | Answer::OutOfRange) | Err(_)) | Err(_) => false,
            Ok(Ok(answer)) => panic!("{key}: {answer:?}"),
        }
    }

    /// Writes keys one after the other until it is told to stop.
    pub fn write_until_told(&self, prefix: &'static str) -> Writing {
        self.write_values(prefix, Bytes::from_static(b"value"))
    }

    pub fn write_values(&self, prefix: &'static str, value: Bytes) -> Writing {
        let (wires, sequence) = (self.wires.clone(), self.sequence.clone());
        let fleet = Self { wires, nodes: BTreeMap::new(), log_bounds: self.log_bounds, sequence };
        let (told, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stop, count) = (told.clone(), acknowledged.clone());
        let task = tokio::spawn(async move {
            while !stop.load(Ordering::SeqCst) {
                let written = count.load(Ordering::SeqCst);
                fleet.put_value(&format!("{prefix}{written:06}"), value.clone()).await;
                count.fetch_add(1, Ordering::SeqCst);
            }
        });
        Writing { told, acknowledged, task }
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

/// Writes that go on beside the test.
pub struct Writing {
    told: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<()>,
}

impl Writing {
    /// Ends them; how many were acknowledged.
    pub async fn stop(self) -> u64 {
        self.told.store(true, Ordering::SeqCst);
        self.task.await.unwrap();
        self.acknowledged.load(Ordering::SeqCst)
    }

    /// How many were acknowledged so far.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::SeqCst)
    }
}
