//! One simulated node: a process with a runtime of its own, whose clock goes only when the simulation says so, on devices that
//! outlive it. Killed, all of its tasks are gone at once; paused, nothing of it runs and its clock jumps afterwards.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context;
use parking_lot::Mutex;
use thermocline_shard::NodeId;
use thermocline_shard::host::{Host, HostPlace, LogBounds, SendRates};
use thermocline_shard::raft::Pace;
use tokio::runtime::{Builder, Runtime};

use crate::disk::Disk;
use crate::flaw::Flaw;
use crate::message::Answer;
use crate::network::{Body, Broken, Network, Packet};
use crate::observer::Observer;
use crate::service::{Service, SimulatedHost};
use crate::store::Store;
use crate::wire::{Leaders, Wire};

/// The simulated time when a run begins, in milliseconds since 1970: late enough that a clock may be off by years.
const BEGINNING: u64 = 1_800_000_000_000;
const MILLISECOND: Duration = Duration::from_millis(1);
/// Between two looks for replicas that were let go.
const SWEEP: Duration = Duration::from_secs(2);

/// A node.
pub struct Node {
    /// Its number.
    pub id: NodeId,
    /// Its logs.
    pub disk: Arc<Disk>,
    /// Its data.
    pub store: Arc<Store>,
    /// What a write to its logs takes, in milliseconds.
    pub latency: u64,
    folder: PathBuf,
    network: Arc<Network>,
    observer: Arc<Observer>,
    flaw: Option<Flaw>,
    process: Option<Process>,
    boots: u32,
    /// Milliseconds that it has missed by a pause; `None`: it runs.
    paused: Option<u64>,
    /// What came meanwhile.
    inbox: Vec<Packet>,
    now: Arc<AtomicU64>,
    /// What its wall clock is off by, in milliseconds.
    skew: Arc<AtomicI64>,
    /// All nodes.
    all: Vec<NodeId>,
}

/// A process. Dropped, it is killed.
struct Process {
    service: Arc<Mutex<Option<Arc<Service>>>>,
    failed: Arc<Mutex<Option<String>>>,
    runtime: Runtime,
}

impl Node {
    /// A node whose process does not run yet.
    pub fn new(
        id: NodeId,
        root: &Path,
        network: Arc<Network>,
        observer: Arc<Observer>,
        flaw: Option<Flaw>,
        now: Arc<AtomicU64>,
        all: Vec<NodeId>,
    ) -> Self {
        let disk = Arc::new(Disk::new(Arc::clone(&observer), flaw));
        let store = Arc::new(Store::new(id, Arc::clone(&observer), flaw));
        let folder = root.join(id.0.to_string());
        let (latency, process, inbox) = (1, None, Vec::new());
        let skew = Arc::default();
        Self {
            id,
            disk,
            store,
            latency,
            folder,
            network,
            observer,
            flaw,
            process,
            boots: 0,
            paused: None,
            inbox,
            now,
            skew,
            all,
        }
    }

    /// Starts its process.
    ///
    /// # Errors
    /// When the machine has no room for one.
    pub fn start(&mut self) -> anyhow::Result<()> {
        let runtime = paused_runtime()?;
        let (now, skew) = (Arc::clone(&self.now), Arc::clone(&self.skew));
        let steady = Arc::clone(&self.now);
        let wire = Wire::new(self.id, Arc::clone(&self.network));
        let place = HostPlace {
            node: self.id,
            store: Arc::clone(&self.store),
            logs: self.disk.clone(),
            staging: self.folder.clone(),
            pace: Pace::default(),
            log_bounds: LogBounds::default(),
            clock: Arc::new(move || {
                let millis = BEGINNING + now.load(Ordering::SeqCst);
                millis.saturating_add_signed(skew.load(Ordering::SeqCst))
            }),
            steady: Arc::new(move || Duration::from_millis(steady.load(Ordering::SeqCst))),
        };
        let (service, failed) = (Arc::new(Mutex::new(None)), Arc::new(Mutex::new(None)));
        let (opened, reason) = (Arc::clone(&service), Arc::clone(&failed));
        let (observer, flaw) = (Arc::clone(&self.observer), self.flaw);
        let leaders = Leaders::new(wire.clone(), self.all.clone());
        runtime.spawn(async move {
            match Host::open(place, wire.clone()).await {
                Ok(host) => {
                    host.drive(Arc::new(wire), Arc::new(SendRates::default()));
                    tokio::spawn(sweep(Arc::clone(&host), leaders));
                    *opened.lock() = Some(Arc::new(Service { host, observer, flaw }));
                }
                Err(error) => *reason.lock() = Some(error.to_string()),
            }
        });
        self.boots += 1;
        self.process = Some(Process { service, failed, runtime });
        Ok(())
    }

    /// Kills its process. With `tells` those that wait for it hear of it at once.
    pub fn kill(&mut self, tells: bool, lucky: bool) {
        self.process = None;
        self.paused = None;
        self.inbox.clear();
        self.disk.crash(lucky);
        self.network.crashed(self.id, tells);
    }

    /// Its runs so far.
    pub const fn boots(&self) -> u32 {
        self.boots
    }

    /// Whether its process runs, paused or not.
    pub const fn runs(&self) -> bool {
        self.process.is_some()
    }

    /// Whether it is paused.
    pub const fn is_paused(&self) -> bool {
        self.paused.is_some()
    }

    /// Stops it for a while.
    pub fn pause(&mut self) {
        if self.runs() {
            self.paused = Some(0);
        }
    }

    /// Goes on; its clock has jumped meanwhile.
    pub fn resume(&mut self) {
        let (Some(missed), Some(process)) = (self.paused.take(), &self.process) else { return };
        process.runtime.block_on(tokio::time::advance(Duration::from_millis(missed)));
        for packet in std::mem::take(&mut self.inbox) {
            self.take(packet);
        }
    }

    /// Its wall clock is off.
    pub fn set_skew(&self, millis: i64) {
        self.skew.store(millis, Ordering::SeqCst);
    }

    /// Its replicas, where it runs and has opened.
    pub fn host(&self) -> Option<Arc<SimulatedHost>> {
        let service = self.process.as_ref()?.service.lock().clone();
        service.map(|service| Arc::clone(&service.host))
    }

    /// Why its replicas cannot be opened.
    pub fn failure(&self) -> Option<String> {
        self.process.as_ref()?.failed.lock().clone()
    }

    /// Does something in its process.
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        if let Some(process) = &self.process {
            process.runtime.spawn(work);
        }
    }

    /// A message has arrived.
    pub fn take(&mut self, packet: Packet) {
        if self.paused.is_some() {
            return self.inbox.push(packet);
        }
        let Packet { from, to, body } = packet;
        match body {
            Body::Answer(id, answer) => self.network.answered(id, answer),
            Body::Call(id, call) => {
                let Some(process) = &self.process else {
                    return self.network.answer(to, from, id, Err(Broken::Refused));
                };
                let (service, network) = (process.service.lock().clone(), Arc::clone(&self.network));
                process.runtime.spawn(async move {
                    let answer = match service {
                        Some(service) => service.serve(call).await,
                        None => Answer::Unavailable("the node has only begun to open".to_owned()),
                    };
                    network.answer(to, from, id, Ok(answer));
                });
            }
        }
    }

    /// A millisecond passes.
    pub fn step(&mut self, now: u64) {
        if let Some(missed) = &mut self.paused {
            *missed += 1;
            return;
        }
        if let Some(process) = &self.process {
            self.disk.step(now, self.latency);
            process.runtime.block_on(async { tokio::time::sleep(MILLISECOND).await });
        }
    }
}

async fn sweep(host: Arc<SimulatedHost>, leaders: Leaders) {
    loop {
        tokio::time::sleep(SWEEP).await;
        // What fails here shows in what is still there in the end.
        drop(host.sweep(&leaders).await);
    }
}

/// A runtime of one thread whose clock stands still unless everything in it waits for time.
///
/// # Errors
/// When the machine has no room for one.
pub fn paused_runtime() -> anyhow::Result<Runtime> {
    Builder::new_current_thread().enable_time().start_paused(true).build().context("make a runtime")
}
