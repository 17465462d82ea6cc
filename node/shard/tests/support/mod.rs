//! Replicas of one group in one process.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest, TransferLeaderResponse,
    VoteRequest, VoteResponse,
};
use thermocline_engine::log::{LogOptions, LogStore};
use thermocline_engine::{Engine, EngineOptions, Environment, KeyRange, LogicalHash, Medium, Mutation, TierSpec};
use thermocline_shard::command::{Command, Write, Writes};
use thermocline_shard::machine::{Answer, Applied, ShardStore, Snapshot};
use thermocline_shard::raft::{
    Member, Pace, RaftReplica, ReplicaPlace, SnapshotMeta, SteadyClock, Transport, TransportError, TypeConfig, Vote,
};
use thermocline_shard::session::{ClientId, RequestId};
use thermocline_shard::{Epoch, NodeId, ReplicaId, Role, ShardDescriptor, ShardId};

/// Nothing here takes as long on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// Who can be reached, and who cannot for a while.
#[derive(Clone, Default)]
pub struct Switchboard {
    replicas: Arc<Mutex<BTreeMap<ReplicaId, Arc<RaftReplica<Engine>>>>>,
    cut: Arc<Mutex<BTreeSet<ReplicaId>>>,
    /// Who is heard, and hears nothing.
    deaf: Arc<Mutex<BTreeSet<ReplicaId>>>,
    /// Of each message, one way.
    delay: Arc<Mutex<Duration>>,
    /// How often a leader was asked up to which entry a read has to see.
    asked: Arc<AtomicU64>,
    /// What the clock by which states are old is ahead, in seconds.
    ahead: Arc<AtomicU64>,
    /// So many seconds such an answer is on its way.
    late: Arc<AtomicU64>,
}

/// The way from one replica to the others.
#[derive(Clone)]
pub struct Line {
    from: ReplicaId,
    board: Switchboard,
}

impl Line {
    fn to(&self, to: ReplicaId) -> Result<Arc<RaftReplica<Engine>>, TransportError> {
        self.open_to(to).ok_or_else(|| TransportError::Unreachable { to, reason: "the line is cut".to_owned() })
    }

    fn open_to(&self, to: ReplicaId) -> Option<Arc<RaftReplica<Engine>>> {
        let cut = self.board.cut.lock().unwrap();
        let found = self.board.replicas.lock().unwrap().get(&to).cloned();
        found.filter(|_| !cut.contains(&self.from) && !cut.contains(&to))
    }

    async fn answered<T, E: std::fmt::Display>(
        &self,
        to: ReplicaId,
        within: Duration,
        answer: impl Future<Output = Result<T, E>>,
    ) -> Result<T, TransportError> {
        let delay = *self.board.delay.lock().unwrap();
        let is_deaf = |replica| self.board.deaf.lock().unwrap().contains(replica);
        let answer = async {
            tokio::time::sleep(delay).await;
            if is_deaf(&to) {
                std::future::pending::<()>().await;
            }
            let answer = answer.await;
            tokio::time::sleep(delay).await;
            if is_deaf(&self.from) {
                std::future::pending::<()>().await;
            }
            answer
        };
        match tokio::time::timeout(within, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(TransportError::Unreachable { to, reason: error.to_string() }),
            Err(_) => Err(TransportError::Silent { to, after: within }),
        }
    }
}

impl Transport for Line {
    async fn append_entries(
        &self,
        to: ReplicaId,
        _: Member,
        request: AppendEntriesRequest<TypeConfig>,
        within: Duration,
    ) -> Result<AppendEntriesResponse<TypeConfig>, TransportError> {
        let replica = self.to(to)?;
        self.answered(to, within, replica.on_append_entries(request)).await
    }

    async fn vote(
        &self,
        to: ReplicaId,
        _: Member,
        request: VoteRequest<TypeConfig>,
        pre: bool,
        within: Duration,
    ) -> Result<VoteResponse<TypeConfig>, TransportError> {
        let replica = self.to(to)?;
        self.answered(to, within, replica.on_vote(request, pre)).await
    }

    async fn read_index(&self, to: ReplicaId, _: Member, within: Duration) -> Result<u64, TransportError> {
        let replica = self.to(to)?;
        self.board.asked.fetch_add(1, Ordering::SeqCst);
        let answer = self.answered(to, within, replica.on_read_index()).await;
        self.board.ahead.fetch_add(self.board.late.load(Ordering::SeqCst), Ordering::SeqCst);
        answer
    }

    async fn transfer_leader(
        &self,
        to: ReplicaId,
        _: Member,
        request: TransferLeaderRequest<TypeConfig>,
        within: Duration,
    ) -> Result<TransferLeaderResponse<TypeConfig>, TransportError> {
        let replica = self.to(to)?;
        self.answered(to, within, replica.on_transfer_leader(request)).await
    }

    async fn snapshot(
        &self,
        to: ReplicaId,
        _: Member,
        vote: Vote,
        meta: SnapshotMeta,
        snapshot: Snapshot,
    ) -> Result<SnapshotResponse<TypeConfig>, TransportError> {
        let replica = self.to(to)?;
        self.answered(to, PATIENCE, replica.on_snapshot(vote, meta, snapshot)).await
    }
}

struct Place {
    folder: tempfile::TempDir,
    role: Role,
    joins: bool,
    engine: Arc<Engine>,
    logs: Arc<LogStore>,
}

/// The group.
pub struct Group {
    board: Switchboard,
    places: BTreeMap<ReplicaId, Place>,
    sequence: Mutex<u64>,
    began: Instant,
}

fn engine(folder: &Path) -> Engine {
    let tier = |name: &str, rank, medium| TierSpec::new(name, rank, medium, folder.join(name), 1 << 30);
    let tiers = vec![tier("hot", 0, Medium::Nvme), tier("cold", 20, Medium::Hdd)];
    let options = EngineOptions { background_moves: false, ..EngineOptions::new(tiers, 64 << 20) };
    Engine::open(options, Environment::system(1)).unwrap()
}

fn write(key: &str, sequence: u64, retry: bool) -> Command {
    let (key, value) = (Bytes::copy_from_slice(key.as_bytes()), Bytes::from_static(b"value"));
    let request = Some(RequestId { client: ClientId([1; 16]), sequence, retry });
    let mutations = vec![Mutation::Put { key, value }];
    let write = Write { request, epoch: Epoch(1), conditions: Vec::new(), mutations };
    Command::Writes(Writes { at_millis: 1000, writes: vec![write] })
}

/// A write of a client that is not the group's.
pub fn put(key: &str) -> Command {
    let Command::Writes(mut writes) = write(key, 0, false) else { unreachable!() };
    writes.writes[0].request = None;
    Command::Writes(writes)
}

/// The same write again.
pub fn retry_of(sequence: u64, key: &str) -> Command {
    write(key, sequence, true)
}

impl Group {
    pub fn member(replica: ReplicaId, role: Role) -> Member {
        Member { node: NodeId(replica.0), role }
    }

    pub async fn start(members: &[(ReplicaId, Role)]) -> Self {
        let (board, places) = (Switchboard::default(), BTreeMap::new());
        let mut group = Self { board, places, sequence: Mutex::new(0), began: Instant::now() };
        for (replica, role) in members {
            group.add(*replica, *role).await;
        }
        let first = group.replica(members[0].0);
        let all = members.iter().map(|(replica, role)| (*replica, Self::member(*replica, *role))).collect();
        first.initialize(all).await.unwrap();
        let shard = ShardDescriptor { shard: ShardId(1), range: KeyRange::all(), epoch: Epoch(1), version_base: 0 };
        let begin = Command::Begin(shard);
        group.until("the shard begins", async || first.propose(&begin).await.ok()).await;
        group
    }

    /// Makes a replica that belongs to nothing yet, and takes a log from its beginning as the first members of a group do.
    pub async fn add(&mut self, replica: ReplicaId, role: Role) {
        self.make(replica, role, false).await;
    }

    /// Makes a replica as nodes do that are asked for one.
    pub async fn add_joining(&mut self, replica: ReplicaId, role: Role) {
        self.make(replica, role, true).await;
    }

    async fn make(&mut self, replica: ReplicaId, role: Role, joins: bool) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("staging")).unwrap();
        let engine = Arc::new(engine(folder.path()));
        let logs = Arc::new(LogStore::open(folder.path().join("log"), LogOptions::default()).unwrap());
        self.places.insert(replica, Place { folder, role, joins, engine, logs });
        self.run(replica).await;
    }

    async fn run(&self, replica: ReplicaId) {
        let place = &self.places[&replica];
        let line = Line { from: replica, board: self.board.clone() };
        let started = RaftReplica::start(
            ReplicaPlace {
                replica,
                role: place.role,
                store: Arc::clone(&place.engine),
                logs: place.logs.clone(),
                staging: place.folder.path().join("staging"),
                pace: Pace::default(),
                news: tokio::sync::mpsc::unbounded_channel().0,
                joins: place.joins,
                steady: self.steady(),
            },
            line,
        );
        let started = Arc::new(started.await.unwrap());
        self.board.replicas.lock().unwrap().insert(replica, started);
    }

    fn steady(&self) -> SteadyClock {
        let (began, ahead) = (self.began, Arc::clone(&self.board.ahead));
        Arc::new(move || began.elapsed() + Duration::from_secs(ahead.load(Ordering::SeqCst)))
    }

    /// From now on the clock by which states are old is so much further, as after a long pause.
    pub fn pass(&self, time: Duration) {
        self.board.ahead.fetch_add(time.as_secs(), Ordering::SeqCst);
    }

    /// From now on answers of how far a read has to see are on their way for so long.
    pub fn answer_late(&self, time: Duration) {
        self.board.late.store(time.as_secs(), Ordering::SeqCst);
    }

    /// How often leaders were asked how far a read has to see.
    pub fn asked(&self) -> u64 {
        self.board.asked.load(Ordering::SeqCst)
    }

    pub fn replica(&self, replica: ReplicaId) -> Arc<RaftReplica<Engine>> {
        self.board.replicas.lock().unwrap()[&replica].clone()
    }

    pub fn store(&self, replica: ReplicaId) -> &Engine {
        &self.places[&replica].engine
    }

    /// Ends a replica; its folders stay.
    pub async fn kill(&mut self, replica: ReplicaId) {
        let ended = self.board.replicas.lock().unwrap().remove(&replica).unwrap();
        ended.stop().await;
    }

    pub async fn restart(&mut self, replica: ReplicaId) {
        self.run(replica).await;
    }

    pub fn cut(&self, replica: ReplicaId) {
        self.board.cut.lock().unwrap().insert(replica);
    }

    pub fn join(&self, replica: ReplicaId) {
        self.board.cut.lock().unwrap().remove(&replica);
    }

    /// One is heard by the others and hears nothing from now on.
    pub fn deafen(&self, replica: ReplicaId) {
        self.board.deaf.lock().unwrap().insert(replica);
    }

    /// It hears again.
    pub fn undeafen(&self, replica: ReplicaId) {
        self.board.deaf.lock().unwrap().remove(&replica);
    }

    /// Every message takes so long from now on, one way.
    pub fn delay(&self, delay: Duration) {
        *self.board.delay.lock().unwrap() = delay;
    }

    /// Who leads, as those say who can be reached.
    pub async fn leader(&self) -> ReplicaId {
        self.until("somebody leads", async || {
            let replicas: Vec<_> = self.board.replicas.lock().unwrap().values().cloned().collect();
            // One that was cut off may still believe that it leads.
            let mut newest = None;
            for replica in replicas {
                let cut = self.board.cut.lock().unwrap().contains(&replica.id());
                let deaf = self.board.deaf.lock().unwrap().contains(&replica.id());
                if !cut && !deaf && replica.leader().await == Some(replica.id()) {
                    newest = newest.max(Some((replica.term(), replica.id())));
                }
            }
            newest.map(|(_, leader)| leader)
        })
        .await
    }

    /// Writes, wherever the leader is; the same request until it is acknowledged.
    pub async fn put(&self, key: &str) {
        let sequence = self.next();
        let mut retry = false;
        self.until("the write is acknowledged", async || {
            let leader = self.leader().await;
            // It may have been killed since.
            let replica = self.board.replicas.lock().unwrap().get(&leader).cloned()?;
            let command = write(key, sequence, retry);
            let proposed = tokio::time::timeout(Duration::from_secs(2), replica.propose(&command)).await;
            retry = true;
            match proposed {
                Ok(Ok(Applied::Writes(answers))) => {
                    assert!(matches!(answers[..], [Answer::Written { .. }]), "{answers:?}");
                    Some(())
                }
                // A witness leads until it has handed over: it answers nothing.
                Ok(Ok(_)) | Ok(Err(_)) | Err(_) => None,
            }
        })
        .await;
    }

    pub async fn put_at(&self, replica: ReplicaId, key: &str) {
        let sequence = self.next();
        self.replica(replica).propose(&write(key, sequence, false)).await.unwrap();
    }

    fn next(&self) -> u64 {
        let mut sequence = self.sequence.lock().unwrap();
        *sequence += 1;
        *sequence - 1
    }

    pub fn hash(&self, replica: ReplicaId) -> LogicalHash {
        ShardStore::logical_hash(self.store(replica), &KeyRange::all()).unwrap()
    }

    pub fn version_of(&self, key: &str) -> u64 {
        let records = self.places.values().filter_map(|place| place.engine.get(key.as_bytes()).unwrap());
        records.map(|record| record.version).max().unwrap()
    }

    /// Waits until these have applied what the leader has.
    pub async fn settled(&self, replicas: &[ReplicaId]) {
        self.until("they have applied everything", async || {
            let leader = self.leader().await;
            let last = self.places[&leader].logs.last_index(leader.0)?;
            replicas.iter().all(|replica| self.replica(*replica).applied() >= Some(last)).then_some(())
        })
        .await;
    }

    /// Has a replica let go of all of its log that it may.
    pub async fn forget_log(&self, replica: ReplicaId) {
        let last = self.replica(replica).applied().unwrap();
        self.replica(replica).shorten_log().await.unwrap();
        let logs = &self.places[&replica].logs;
        self.until("the log is shorter", async || {
            self.replica(replica).purge_log(last).await.unwrap();
            logs.purged(replica.0).filter(|purged| purged.index >= last)
        })
        .await;
    }

    pub async fn snapshot_of(&self, replica: ReplicaId) -> (Vote, SnapshotMeta, Snapshot) {
        let folder = self.places[&replica].folder.path().join("staging/taken");
        self.replica(replica).take_snapshot(folder).await.unwrap()
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
        let replicas: Vec<_> = std::mem::take(&mut *self.board.replicas.lock().unwrap()).into_values().collect();
        for replica in replicas {
            replica.stop().await;
        }
    }
}
