//! A whole node: log, votes, applied state, records, all of it on disks that stop at one write.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use thermocline_engine::log::{LogOptions, LogStore};
use thermocline_engine::{KeyRange, Mutation};
use thermocline_shard::command::{Command, Write};
use thermocline_shard::host::{Host, HostPlace, LogBounds, Resident, SendRates};
use thermocline_shard::job::{Job, JobChange, JobKind, JobOutcome};
use thermocline_shard::machine::{Answer, MemoryStore, ShardStore};
use thermocline_shard::raft::Pace;
use thermocline_shard::session::{ClientId, RequestId};
use thermocline_shard::{Epoch, NodeId, ReplicaId, Role, ShardDescriptor, ShardId};
use tokio::time::Instant;

use super::stopping::{Left, Stopping};
use crate::fleet::{Wire, Wires};

const PATIENCE: Duration = Duration::from_secs(120);
const SHARD: ShardId = ShardId(1);
const FIRST: ReplicaId = ReplicaId(1);
const SECOND: ReplicaId = ReplicaId(2);
/// Logs are let go of within a test.
const BOUNDS: LogBounds = LogBounds {
    step_bytes: 1 << 30,
    step_entries: 4,
    lag_bytes: 1 << 30,
    kept_bytes: 1 << 30,
    patience: Duration::from_secs(1),
    stuck: Duration::from_secs(2),
};

/// Of one that is alone: nobody's silence is mistaken for its end.
const ALONE: Pace = Pace { heartbeat: Duration::from_millis(30), election: Duration::from_millis(120) };
/// The first one leads on.
const TOGETHER: Pace = Pace { heartbeat: Duration::from_millis(100), election: Duration::from_secs(3) };

/// What of a node survives.
struct Disks {
    folder: tempfile::TempDir,
    store: Arc<MemoryStore>,
    pace: Pace,
}

impl Disks {
    fn new(pace: Pace) -> Self {
        Self { folder: tempfile::tempdir().unwrap(), store: Arc::default(), pace }
    }

    /// Starts a node from what is there, which takes so many writes.
    async fn run(&self, node: NodeId, wires: &Wires<Stopping>, left: &Left) -> Option<Running> {
        let options = LogOptions { fault: Some(Arc::new(left.clone())), ..LogOptions::default() };
        let logs = Arc::new(open(&self.folder.path().join("log"), options).await?);
        let place = HostPlace {
            node,
            store: Arc::new(Stopping::new(Arc::clone(&self.store), left.clone())),
            logs: logs.clone(),
            staging: self.folder.path().join("staging"),
            pace: self.pace,
            log_bounds: BOUNDS,
            clock: Arc::new(|| 1000),
            steady: Arc::new(Duration::default),
        };
        let host = Host::open(place, wires.from(node)).await.ok()?;
        host.drive(Arc::new(wires.from(node)), Arc::new(SendRates::default()));
        wires.add(Arc::clone(&host));
        Some(Running { host, logs })
    }
}

/// The folder is free a moment after the last one who used it is gone.
async fn open(folder: &Path, options: LogOptions) -> Option<LogStore> {
    let started = Instant::now();
    loop {
        match LogStore::open(folder, options.clone()) {
            Ok(logs) => return Some(logs),
            Err(_) if options.fault.is_some() && started.elapsed() > PATIENCE => return None,
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

struct Running {
    host: Arc<Host<Stopping, Wire<Stopping>>>,
    logs: Arc<LogStore>,
}

impl Running {
    /// Ends it; what is on its disks stays as it is.
    async fn kill(self, wires: &Wires<Stopping>) {
        wires.remove(self.host.node());
        self.logs.close();
        self.host.stop().await;
    }

    async fn put(&self, replica: ReplicaId, number: u64) -> bool {
        let Some(resident) = self.host.resident(replica) else { return false };
        let Some(descriptor) = resident.descriptor() else { return false };
        let request = Some(RequestId { client: ClientId([1; 16]), sequence: number, retry: false });
        let put = Mutation::Put { key: key(number), value: Bytes::from_static(b"value") };
        let write = Write { request, epoch: descriptor.epoch, conditions: Vec::new(), mutations: vec![put] };
        let answer = tokio::time::timeout(Duration::from_secs(5), resident.write(write)).await;
        matches!(answer, Ok(Ok(Answer::Written { .. })))
    }

    /// Writes until it is acknowledged.
    async fn must_put(&self, replica: ReplicaId, number: u64) {
        until("a write is acknowledged", async || self.put(replica, number).await.then_some(())).await;
    }
}

fn key(number: u64) -> Bytes {
    format!("key{number:03}").into()
}

async fn until<T>(what: &str, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = condition().await {
            return found;
        }
        assert!(started.elapsed() < PATIENCE, "waited too long until {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn shard() -> ShardDescriptor {
    ShardDescriptor { shard: SHARD, range: KeyRange::all(), epoch: Epoch(1), version_base: 0 }
}

async fn log_is_let_go(resident: &Resident<Stopping>, left: &Left) {
    let gone = async || (resident.replica().purged() >= 4 || left.is_over()).then_some(());
    until("a part of the log is let go", gone).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_killed_before_any_write_of_log_or_state_has_all_that_it_acknowledged() {
    for count in 0.. {
        let (disks, wires, left) = (Disks::new(ALONE), Wires::default(), Left::writes(count));
        let mut acknowledged = Vec::new();
        if let Some(running) = disks.run(NodeId(1), &wires, &left).await {
            let began = tokio::time::timeout(Duration::from_secs(2), running.host.begin(FIRST, shard())).await;
            if matches!(began, Ok(Ok(()))) {
                for number in 0..8 {
                    if !left.is_over() && running.put(FIRST, number).await {
                        acknowledged.push(number);
                    }
                }
                if let Some(resident) = running.host.resident(FIRST) {
                    log_is_let_go(&resident, &left).await;
                }
            }
            running.kill(&wires).await;
        }
        let killed = left.is_over();
        let again = disks.run(NodeId(1), &wires, &Left::all()).await.unwrap();
        until("it begins", async || again.host.begin(FIRST, shard()).await.ok()).await;
        again.must_put(FIRST, 50).await;
        for number in &acknowledged {
            assert!(disks.store.get(&key(*number)).unwrap().is_some(), "killed before write {count}: {number} is lost");
        }
        again.kill(&wires).await;
        if !killed {
            println!("{count} writes");
            assert!(count > 20, "{count} writes are not all of them");
            assert_eq!(acknowledged.len(), 8);
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_killed_before_any_write_of_a_snapshot_it_gets_ends_with_all_of_it() {
    let (first, wires) = (Disks::new(TOGETHER), Wires::default());
    let leading = first.run(NodeId(1), &wires, &Left::all()).await.unwrap();
    leading.host.begin(FIRST, shard()).await.unwrap();
    for number in 0..20 {
        leading.must_put(FIRST, number).await;
    }
    let leader = leading.host.resident(FIRST).unwrap();
    log_is_let_go(&leader, &Left::all()).await;
    let mut replica = SECOND;
    for count in 0.. {
        let (disks, left) = (Disks::new(TOGETHER), Left::writes(count));
        let running = disks.run(NodeId(2), &wires, &left).await;
        let kind = JobKind::Add { replica, node: NodeId(2), role: Role::Data };
        change(&leader, replica.0, kind).await;
        let ended = async || (left.is_over() || outcome(&leader, replica.0).is_some()).then_some(());
        until("it joins or is killed", ended).await;
        let killed = left.is_over();
        if let Some(running) = running {
            running.kill(&wires).await;
        }
        let again = disks.run(NodeId(2), &wires, &Left::all()).await.unwrap();
        // Killed early it could not be made, and the job has failed: another one is begun.
        while until("the job ends", async || outcome(&leader, replica.0)).await != JobOutcome::Done {
            replica = ReplicaId(replica.0 + 1);
            change(&leader, replica.0, JobKind::Add { replica, node: NodeId(2), role: Role::Data }).await;
        }
        leading.must_put(FIRST, 100 + replica.0).await;
        let held = |disks: &Disks| disks.store.logical_hash(&KeyRange::all()).unwrap();
        let whole = async || (held(&disks) == held(&first)).then_some(());
        if tokio::time::timeout(PATIENCE / 2, until("it holds what the leader does", whole)).await.is_err() {
            let of = |running: &Running| running.host.all().iter().map(|one| one.replica().group()).collect::<Vec<_>>();
            let groups = (of(&leading), of(&again), again.host.failed());
            panic!("killed before write {count}: {:?} instead of {:?}; {groups:?}", held(&disks), held(&first));
        }
        // A number is used once.
        let id = 1000 + replica.0;
        change(&leader, id, JobKind::Remove { leaving: replica, leaving_node: NodeId(2) }).await;
        until("it has left", async || outcome(&leader, id)).await;
        again.kill(&wires).await;
        replica = ReplicaId(replica.0 + 1);
        if !killed {
            println!("{count} writes");
            assert!(count > 8, "{count} writes are not all of them");
            break;
        }
    }
    leading.kill(&wires).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_takes_long_to_compare_is_hashed_once() {
    let (first, second, wires) = (Disks::new(TOGETHER), Disks::new(TOGETHER), Wires::default());
    let leading = first.run(NodeId(1), &wires, &Left::all()).await.unwrap();
    let joining = second.run(NodeId(2), &wires, &Left::all()).await.unwrap();
    leading.host.begin(FIRST, shard()).await.unwrap();
    leading.must_put(FIRST, 1).await;
    let leader = leading.host.resident(FIRST).unwrap();
    let hashing = Arc::clone(&joining.host.store().hashing);
    hashing.held.store(true, Ordering::SeqCst);
    change(&leader, 1, JobKind::Add { replica: SECOND, node: NodeId(2), role: Role::Data }).await;
    let asked = || hashing.asked.load(Ordering::SeqCst);
    until("the copy is hashed", async || (asked() > 0).then_some(())).await;
    until("the leader has asked for the hash again and again", async || (wires.hashes_asked() > 3).then_some(())).await;
    hashing.held.store(false, Ordering::SeqCst);
    assert_eq!(until("the job ends", async || outcome(&leader, 1)).await, JobOutcome::Done);
    assert_eq!(asked(), 1);
    joining.kill(&wires).await;
    leading.kill(&wires).await;
}

/// Begins a job of the shard.
async fn change(leader: &Resident<Stopping>, id: u64, kind: JobKind) {
    let (paused, cancelled, cut_over) = (false, false, false);
    let job = Job { id, kind, bytes_per_second: 0, paused, cancelled, cut_over, begun_at_millis: 1 };
    let begin = Command::Job(JobChange::Begin(job));
    until("a job begins", async || leader.replica().propose(&begin).await.ok()).await;
}

/// How a job ended, if it has.
fn outcome(leader: &Resident<Stopping>, id: u64) -> Option<JobOutcome> {
    leader.view().jobs.ended().find(|(job, _)| job.id == id).map(|(_, end)| end.outcome)
}
