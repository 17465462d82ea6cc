//! Nodes in one process, and wires between them that can be cut.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
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
use thermocline_shard::host::{AskError, Asks, Host, HostPlace, Resident, SendRates};
use thermocline_shard::job::{Job, JobChange, JobControl, JobKind, JobOutcome};
use thermocline_shard::machine::{Answer, Applied, ShardStore, Snapshot};
use thermocline_shard::raft::{Member, Pace, SnapshotMeta, Transport, TransportError, TypeConfig, Vote};
use thermocline_shard::session::{ClientId, RequestId};
use thermocline_shard::{Epoch, NodeId, ReplicaId, Role, ShardDescriptor, ShardId};
use tokio::time::Instant;

/// Nothing here takes as long on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(120);

type TestHost = Host<Engine, Wire>;

#[derive(Clone, Default)]
struct Wires {
    hosts: Arc<Mutex<BTreeMap<NodeId, Arc<TestHost>>>>,
    cut: Arc<Mutex<BTreeSet<NodeId>>>,
}

/// The way from one node to the others.
#[derive(Clone)]
pub struct Wire {
    from: NodeId,
    wires: Wires,
}

impl Wire {
    fn host(&self, node: NodeId) -> Option<Arc<TestHost>> {
        let cut = self.wires.cut.lock().unwrap();
        let found = self.wires.hosts.lock().unwrap().get(&node).cloned();
        found.filter(|_| !cut.contains(&self.from) && !cut.contains(&node))
    }

    fn resident(&self, to: ReplicaId, node: NodeId) -> Result<(Arc<TestHost>, Arc<Resident<Engine>>), TransportError> {
        let unreachable = |reason: &str| TransportError::Unreachable { to, reason: reason.to_owned() };
        let host = self.host(node).ok_or_else(|| unreachable("the wire is cut"))?;
        let resident = host.resident(to).ok_or_else(|| unreachable("the replica is not there"))?;
        Ok((host, resident))
    }

    fn asked(&self, node: NodeId) -> Result<Arc<TestHost>, AskError> {
        self.host(node).ok_or_else(|| AskError::Unreachable { node, reason: "the wire is cut".to_owned() })
    }
}

async fn answered<T, E: std::fmt::Display>(
    to: ReplicaId,
    within: Duration,
    answer: impl Future<Output = Result<T, E>>,
) -> Result<T, TransportError> {
    match tokio::time::timeout(within, answer).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(TransportError::Unreachable { to, reason: error.to_string() }),
        Err(_) => Err(TransportError::Silent { to, after: within }),
    }
}

impl Transport for Wire {
    async fn append_entries(
        &self,
        to: ReplicaId,
        member: Member,
        request: AppendEntriesRequest<TypeConfig>,
        within: Duration,
    ) -> Result<AppendEntriesResponse<TypeConfig>, TransportError> {
        let (_, resident) = self.resident(to, member.node)?;
        answered(to, within, resident.replica().on_append_entries(request)).await
    }

    async fn vote(
        &self,
        to: ReplicaId,
        member: Member,
        request: VoteRequest<TypeConfig>,
        pre: bool,
        within: Duration,
    ) -> Result<VoteResponse<TypeConfig>, TransportError> {
        let (_, resident) = self.resident(to, member.node)?;
        answered(to, within, resident.replica().on_vote(request, pre)).await
    }

    async fn transfer_leader(
        &self,
        to: ReplicaId,
        member: Member,
        request: TransferLeaderRequest<TypeConfig>,
        within: Duration,
    ) -> Result<TransferLeaderResponse<TypeConfig>, TransportError> {
        let (_, resident) = self.resident(to, member.node)?;
        answered(to, within, resident.replica().on_transfer_leader(request)).await
    }

    async fn snapshot(
        &self,
        to: ReplicaId,
        member: Member,
        vote: Vote,
        meta: SnapshotMeta,
        snapshot: Snapshot,
    ) -> Result<SnapshotResponse<TypeConfig>, TransportError> {
        let (host, resident) = self.resident(to, member.node)?;
        let vote = answered(to, PATIENCE, host.install(&resident, vote, meta, snapshot)).await?;
        Ok(SnapshotResponse { vote })
    }
}

impl Asks for Wire {
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
                None if started.elapsed() > PATIENCE => return Err(unreachable("no hash".to_owned())),
                None => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }
}

struct Node {
    folder: tempfile::TempDir,
}

/// The nodes.
pub struct Fleet {
    wires: Wires,
    nodes: BTreeMap<NodeId, Node>,
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
    pub async fn start(nodes: &[NodeId]) -> Self {
        let sequence = Arc::new(Mutex::new(0));
        let mut fleet = Self { wires: Wires::default(), nodes: BTreeMap::new(), sequence };
        for node in nodes {
            fleet.nodes.insert(*node, Node { folder: tempfile::tempdir().unwrap() });
            fleet.run(*node).await;
        }
        fleet
    }

    async fn run(&self, node: NodeId) {
        let folder = self.nodes[&node].folder.path();
        let place = HostPlace {
            node,
            store: Arc::new(engine(folder)),
            logs: Arc::new(LogStore::open(folder.join("log"), LogOptions::default()).unwrap()),
            staging: folder.join("staging"),
            pace: Pace::default(),
            clock: Arc::new(now),
        };
        let wire = Wire { from: node, wires: self.wires.clone() };
        let host = Host::open(place, wire.clone()).await.unwrap();
        host.drive(Arc::new(wire), Arc::new(SendRates::default()));
        self.wires.hosts.lock().unwrap().insert(node, host);
    }

    /// Ends a node and starts it again from its folders.
    pub async fn restart(&mut self, node: NodeId) {
        let host = self.wires.hosts.lock().unwrap().remove(&node).unwrap();
        host.stop().await;
        // The folders are free once the last task of the node is gone.
        let store = Arc::downgrade(host.store());
        drop(host);
        self.until("the node has ended", async || (store.strong_count() == 0).then_some(())).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        self.run(node).await;
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

    pub async fn begin(&self, node: NodeId, replica: ReplicaId, shard: ShardId) {
        let descriptor = ShardDescriptor { shard, range: KeyRange::all(), epoch: Epoch(1), version_base: 0 };
        self.host(node).begin(replica, descriptor).await.unwrap();
    }

    fn reachable(&self) -> Vec<Arc<TestHost>> {
        let cut = self.wires.cut.lock().unwrap().clone();
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
        let sequence = {
            let mut sequence = self.sequence.lock().unwrap();
            *sequence += 1;
            *sequence
        };
        let (mut retry, started) = (false, Instant::now());
        while !self.try_put(key, sequence, &mut retry).await {
            assert!(started.elapsed() < PATIENCE, "waited too long until {key} is acknowledged");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn try_put(&self, key: &str, sequence: u64, retry: &mut bool) -> bool {
        let owner = self.reachable().into_iter().find_map(|host| {
            let owner = host.owner(key.as_bytes())?;
            owner.replica().group().leads().then_some(owner)
        });
        let Some((owner, descriptor)) = owner.and_then(|owner| Some((owner.clone(), owner.descriptor()?))) else {
            return false;
        };
        let put = Mutation::Put { key: Bytes::copy_from_slice(key.as_bytes()), value: Bytes::from_static(b"value") };
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
        let fleet = Self { wires: self.wires.clone(), nodes: BTreeMap::new(), sequence: self.sequence.clone() };
        let told = Arc::new(AtomicBool::new(false));
        let stop = told.clone();
        let task = tokio::spawn(async move {
            let mut written = 0;
            while !stop.load(Ordering::SeqCst) {
                fleet.put(&format!("{prefix}{written:06}")).await;
                written += 1;
            }
            written
        });
        Writing { told, task }
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
    task: tokio::task::JoinHandle<u64>,
}

impl Writing {
    /// Ends them; how many were acknowledged.
    pub async fn stop(self) -> u64 {
        self.told.store(true, Ordering::SeqCst);
        self.task.await.unwrap()
    }
}
