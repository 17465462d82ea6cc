//! The replicas of one node: which there are, started and stopped, found by key; and what leaders do beside answering.
//!
//! `resident` (one replica, as services use it), `proposer` (writes become entries), `residence` (what the node remembers of its
//! replicas), `steps` (what the leader does next for a change of members: pure), `driver` (does it), `ask` (what it asks of
//! other nodes), `log_bounds` (what of a log may go: pure), `log_keeping` (lets it go), `merging` and `merge_steps` (two shards
//! become one), `missing` (makes members that a split left out), `revival` (opens anew what has stopped), `sweeping` (removes what
//! was let go while the node was away). A replica that fails is stopped for itself: the node and its other replicas go on.

mod ask;
mod driver;
mod log_bounds;
mod log_keeping;
mod merge_steps;
mod merging;
mod missing;
mod proposer;
mod removal;
mod resident;
mod revival;
mod steps;
mod sweeping;

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::PathBuf;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use openraft::errors::Fatal;
use parking_lot::RwLock;
use thermocline_engine::{EngineError, KeyRange};
use tokio::sync::mpsc;

pub use ask::{AskError, Asks, SendRate, SendRates};
pub use log_bounds::{Follower, LogBounds, LogDecision, LogFacts, decide};
pub use merging::{FrozenShard, MergeRefusal, MergeSide, Merging, MergingError, may_merge};
pub use proposer::{Proposer, WriteError};
pub use resident::{Consistency, ReadError, Reading, Resident};
pub use steps::{Progress, Step, next_step};
pub use sweeping::{Index, Indexed};

use crate::command::Command;
use crate::machine::{
    DESCRIPTOR, RESIDENT, Residence, ShardStore, decode_descriptor, decode_residence, encode_residence, key,
};
use crate::raft::{
    Logs, Member, News, NewsSender, Pace, ProposeError, RaftReplica, ReplicaPlace, SnapshotMeta, StartError,
    SteadyClock, Transport, Vote,
};
use crate::{NodeId, ReplicaId, Role, ShardDescriptor, ShardId};

/// Tells milliseconds since 1970.
pub type WallClock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// What a node's replicas are made of.
pub struct HostPlace<S> {
    /// The node.
    pub node: NodeId,
    /// The data and records of all of them.
    pub store: Arc<S>,
    /// Their logs.
    pub logs: Arc<dyn Logs>,
    /// A folder for snapshots on their way, on the device of the data.
    pub staging: PathBuf,
    /// How long things take.
    pub pace: Pace,
    /// How long logs may become.
    pub log_bounds: LogBounds,
    /// Milliseconds since 1970.
    pub clock: WallClock,
    /// How old replicas' states are is told by this.
    pub steady: SteadyClock,
}

/// Why a node's replicas cannot do something.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// A record cannot be read or written.
    #[error("read or write what the node knows of its replicas")]
    Store(#[from] EngineError),
    /// A record is not what was written.
    #[error("read what the node knows of its replicas")]
    Record(#[from] crate::machine::RecordError),
    /// A replica does not start.
    #[error("start {replica}")]
    Start {
        /// Which.
        replica: ReplicaId,
        /// Why.
        source: StartError,
    },
    /// A group is not begun.
    #[error("begin the group of {replica}")]
    Begin {
        /// Its first replica.
        replica: ReplicaId,
        /// Why.
        source: ProposeError,
    },
    /// The log of a replica cannot be removed.
    #[error("remove the log of {replica}")]
    Log {
        /// Whose.
        replica: ReplicaId,
        /// Why.
        source: std::io::Error,
    },
    /// The keys are another replica's, on this node.
    #[error(
        "{replica} on this node still has keys of the range: it has not heard yet that they went, or is to be removed first"
    )]
    Overlap {
        /// Which.
        replica: ReplicaId,
    },
    /// The replica was on this node and was removed; a number is not used twice.
    #[error("{replica} was removed from this node")]
    Removed {
        /// Which.
        replica: ReplicaId,
    },
    /// The replica has stopped.
    #[error("{replica} has stopped: {reason}")]
    Failed {
        /// Which.
        replica: ReplicaId,
        /// Why.
        reason: String,
    },
}

/// The replicas of one node.
pub struct Host<S: ShardStore, T: Transport> {
    place: HostPlace<S>,
    transport: T,
    news: NewsSender,
    residents: RwLock<Residents<S>>,
    /// One at a time creates, starts or removes.
    changing: tokio::sync::Mutex<()>,
}

struct Residents<S: ShardStore> {
    by_id: BTreeMap<ReplicaId, Arc<Resident<S>>>,
    /// By the first key of the shard, for those that know where they are; the one with data, where there are two.
    by_start: BTreeMap<Bytes, Arc<Resident<S>>>,
    /// That did not start, or stopped by themselves.
    failed: BTreeMap<ReplicaId, (Residence, String)>,
}

impl<S: ShardStore, T: Transport> Host<S, T> {
    /// Begins to carry out the jobs of shards that are led here; ends with the host. `rates` is what the transport sends by.
    pub fn drive<A: Asks>(self: &Arc<Self>, asks: Arc<A>, rates: Arc<SendRates>) {
        tokio::spawn(missing::make(Arc::downgrade(self), Arc::clone(&asks)));
        tokio::spawn(driver::drive(Arc::downgrade(self), asks, rates));
    }

    /// Starts all replicas that are on this node. One that does not start is noted and left; the others serve.
    ///
    /// # Errors
    /// When what the node knows of its replicas cannot be read.
    pub async fn open(place: HostPlace<S>, transport: T) -> Result<Arc<Self>, HostError> {
        let (news, heard) = mpsc::unbounded_channel();
        let residents = Residents { by_id: BTreeMap::new(), by_start: BTreeMap::new(), failed: BTreeMap::new() };
        let changing = tokio::sync::Mutex::new(());
        let host = Arc::new(Self { place, transport, news, residents: RwLock::new(residents), changing });
        let residences = host.residences()?;
        // What a shard that split off begins with outlives what its log will say.
        host.place.store.sync()?;
        for (replica, residence) in residences {
            if residence.leaving {
                if let Err(error) = host.remove(replica).await {
                    tracing::warn!(replica = replica.0, error = chain(&error), "a replica that is to go is still here");
                }
            } else {
                host.start(replica, residence).await;
            }
        }
        host.index();
        tokio::spawn(hear(Arc::downgrade(&host), heard));
        tokio::spawn(revival::revive(Arc::downgrade(&host)));
        tokio::spawn(log_keeping::keep(Arc::downgrade(&host)));
        Ok(host)
    }

    /// The node.
    pub const fn node(&self) -> NodeId {
        self.place.node
    }

    /// The data of all replicas.
    pub const fn store(&self) -> &Arc<S> {
        &self.place.store
    }

    /// Milliseconds since 1970.
    pub fn now_millis(&self) -> u64 {
        (self.place.clock)()
    }

    /// A replica that runs here.
    pub fn resident(&self, replica: ReplicaId) -> Option<Arc<Resident<S>>> {
        self.residents.read().by_id.get(&replica).cloned()
    }

    /// All that run here.
    pub fn all(&self) -> Vec<Arc<Resident<S>>> {
        self.residents.read().by_id.values().cloned().collect()
    }

    /// Those that do not run, and why.
    pub fn failed(&self) -> Vec<(ReplicaId, ShardId, String)> {
        let residents = self.residents.read();
        residents.failed.iter().map(|(replica, (residence, why))| (*replica, residence.shard, why.clone())).collect()
    }

    /// The replica here of the shard that owns a key; a witness knows at least who leads.
    pub fn owner(&self, key: &[u8]) -> Option<Arc<Resident<S>>> {
        let residents = self.residents.read();
        let (_, found) = residents.by_start.range::<[u8], _>((Bound::Unbounded, Bound::Included(key))).next_back()?;
        let owns = found.view().descriptor.as_ref().is_some_and(|descriptor| descriptor.range.contains(key));
        owns.then(|| Arc::clone(found))
    }

    /// The replica here of a shard: the one with data, where a witness has not gone yet.
    pub fn of_shard(&self, shard: ShardId) -> Option<Arc<Resident<S>>> {
        let residents = self.residents.read();
        let of_it = residents.by_id.values().filter(|resident| resident.shard() == shard);
        of_it.min_by_key(|resident| (resident.replica().role(), std::cmp::Reverse(resident.replica().id()))).cloned()
    }

    /// Makes a replica that belongs to no group yet; a leader will tell it of one. Nothing where it runs.
    ///
    /// # Errors
    /// When another replica here still has keys of `range`, it was here before, or it does not start.
    pub async fn create(
        self: &Arc<Self>,
        replica: ReplicaId,
        shard: ShardId,
        role: Role,
        range: Option<&KeyRange>,
    ) -> Result<(), HostError> {
        let _alone = self.changing.lock().await;
        if self.resident(replica).is_some() {
            return Ok(());
        }
        if let Some((_, reason)) = self.residents.read().failed.get(&replica) {
            return Err(HostError::Failed { replica, reason: reason.clone() });
        }
        if self.was_removed(replica)? {
            return Err(HostError::Removed { replica });
        }
        let residence = Residence::of(shard, role);
        if let Some(replica) = range.map(|range| self.overlapping(range, residence)).transpose()?.flatten() {
            return Err(HostError::Overlap { replica });
        }
        self.record(vec![(key(RESIDENT, replica), Some(encode_residence(residence)))])?;
        self.start(replica, residence).await;
        match self.residents.read().failed.get(&replica) {
            Some((_, reason)) => Err(HostError::Failed { replica, reason: reason.clone() }),
            None => Ok(()),
        }
    }

    /// Begins a shard with one replica, here. Nothing where that has been done.
    ///
    /// # Errors
    /// When it does not start, or its log cannot be written.
    pub async fn begin(self: &Arc<Self>, replica: ReplicaId, shard: ShardDescriptor) -> Result<(), HostError> {
        self.create(replica, shard.shard, Role::Data, Some(&shard.range)).await?;
        let Some(resident) = self.resident(replica) else { return Err(HostError::Removed { replica }) };
        let began = |source| HostError::Begin { replica, source };
        let members = BTreeMap::from([(replica, Member { node: self.place.node, role: Role::Data })]);
        resident.replica().initialize(members).await.map_err(began)?;
        // It elects itself within one timeout.
        let mut patience = 200;
        while resident.descriptor().is_none() {
            match resident.replica().propose(&Command::Begin(shard.clone())).await {
                Ok(_) => break,
                Err(ProposeError::NotLeader { .. }) if patience > 0 => patience -= 1,
                Err(error) => return Err(began(error)),
            }
            tokio::time::sleep(self.place.pace.heartbeat / 2).await;
        }
        Ok(())
    }

    /// A snapshot has arrived for a replica.
    ///
    /// # Errors
    /// When it cannot be installed.
    pub async fn install(
        &self,
        resident: &Arc<Resident<S>>,
        vote: Vote,
        meta: SnapshotMeta,
        snapshot: crate::machine::Snapshot,
    ) -> Result<Vote, ProposeError> {
        // Also reads of those that are parts of its shard now, of which this node has not heard. They are frozen for it, so that
        // none begins later, however this ends.
        let replaces = |other: &Arc<Resident<S>>| {
            let (new, old) = (snapshot.descriptor.as_ref(), other.descriptor());
            let overlaps = new.is_some_and(|new| old.is_some_and(|old| old.range.overlaps(&new.range)));
            overlaps && resident.replica().role() == Role::Data && other.shard() != resident.shard()
        };
        let others: Vec<_> = self.all().into_iter().filter(replaces).collect();
        others.iter().for_each(|other| other.replica().replaced().begin());
        let replica = Arc::clone(resident.replica());
        // Goes on where the sender gives up: the others' keys are not whole before it ends.
        let installed = tokio::spawn(async move {
            let answer = replica.on_snapshot(vote, meta, snapshot).await;
            others.iter().for_each(|other| other.replica().replaced().done());
            Ok(answer?.vote)
        });
        let stopped = |_| ProposeError::Stopped { replica: resident.replica().id(), source: Fatal::Stopped };
        installed.await.map_err(stopped)?
    }

    /// Where snapshots on their way to this node wait.
    pub fn arriving(&self) -> PathBuf {
        self.place.staging.join("arriving")
    }

    /// Ends all replicas; their logs and data stay.
    pub async fn stop(&self) {
        let all = std::mem::take(&mut self.residents.write().by_id);
        futures::future::join_all(all.values().map(|resident| resident.replica().stop())).await;
    }

    async fn start(&self, replica: ReplicaId, residence: Residence) {
        let staging = self.place.staging.join(replica.0.to_string());
        let place = ReplicaPlace {
            replica,
            role: residence.role,
            store: Arc::clone(&self.place.store),
            logs: Arc::clone(&self.place.logs),
            staging: staging.clone(),
            pace: self.place.pace,
            news: self.news.clone(),
            joins: true,
            steady: Arc::clone(&self.place.steady),
        };
        // Of an earlier run: nobody waits for what is in it.
        let cleared = match std::fs::remove_dir_all(&staging) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => std::fs::create_dir_all(&staging),
        };
        let started = match cleared {
            Ok(()) => RaftReplica::start(place, self.transport.clone()).await.map_err(|error| chain(&error)),
            Err(error) => Err(format!("make its staging folder: {error}")),
        };
        let mut residents = self.residents.write();
        match started {
            Ok(started) => {
                let resident = Resident::new(residence.shard, started, Arc::clone(&self.place.clock));
                residents.failed.remove(&replica);
                residents.by_id.insert(replica, Arc::new(resident));
            }
            Err(reason) => {
                tracing::error!(replica = replica.0, shard = residence.shard.0, reason, "a replica does not start");
                residents.failed.insert(replica, (residence, reason));
            }
        }
    }

    /// What the node remembers of its replicas.
    fn residences(&self) -> Result<Vec<(ReplicaId, Residence)>, HostError> {
        let mut found = Vec::new();
        for (key, value) in self.place.store.records(&[RESIDENT])? {
            let Some(id) = key.get(1..9).and_then(|bytes| bytes.try_into().ok()) else { continue };
            let replica = ReplicaId(u64::from_be_bytes(id));
            found.push((replica, decode_residence(replica, value)?));
        }
        Ok(found)
    }

    fn record(&self, records: Vec<thermocline_engine::CallerRecord>) -> Result<(), HostError> {
        self.place.store.apply(&[], &mut |_| records.clone())?;
        Ok(self.place.store.sync()?)
    }

    /// A replica here, running or not, that stands against a new one with the keys of a range: one with data of them, where the new
    /// one has data too, and one of another shard, which has not heard yet that they went.
    fn overlapping(&self, range: &KeyRange, new: Residence) -> Result<Option<ReplicaId>, HostError> {
        for (replica, residence) in self.residences()? {
            let both_store = (residence.role, new.role) == (Role::Data, Role::Data);
            if !both_store && residence.shard == new.shard {
                continue;
            }
            let descriptor = self.place.store.records(&key(DESCRIPTOR, replica))?.into_iter().next();
            let descriptor = descriptor.map(|(_, value)| decode_descriptor(replica, value)).transpose()?;
            if descriptor.is_some_and(|known| known.range.overlaps(range)) {
                return Ok(Some(replica));
            }
        }
        Ok(None)
    }

    /// Finds replicas by where their shards are now.
    fn index(&self) {
        let mut residents = self.residents.write();
        let by_start = |role: Role| {
            let of_role = residents.by_id.values().filter(move |resident| resident.replica().role() == role);
            of_role.filter_map(|resident| {
                let start = Bytes::copy_from_slice(resident.view().descriptor.as_ref()?.range.start());
                Some((start, Arc::clone(resident)))
            })
        };
        // The later of two with the same key stays.
        let by_start: BTreeMap<_, _> = by_start(Role::Witness).chain(by_start(Role::Data)).collect();
        residents.by_start = without_absorbed(by_start);
    }

    /// Removes the replicas that the log of their neighbour has leave.
    async fn remove_absorbed(&self) -> Result<(), HostError> {
        for (replica, residence) in self.residences()? {
            let is_to_go = residence.absorbed || (residence.leaving && self.resident(replica).is_some());
            if is_to_go && let Err(error) = self.remove(replica).await {
                tracing::warn!(replica = replica.0, error = chain(&error), "a replica that is to go is still here");
            }
        }
        Ok(())
    }

    /// Starts what has split off on this node.
    async fn start_new(&self) -> Result<(), HostError> {
        let _alone = self.changing.lock().await;
        // Its log is synced from the first entry on: what it begins with must not be lost by a power loss that leaves the log.
        self.place.store.sync()?;
        for (replica, residence) in self.residences()? {
            let known = {
                let residents = self.residents.read();
                residents.by_id.contains_key(&replica) || residents.failed.contains_key(&replica)
            };
            if !known && !residence.leaving {
                self.start(replica, residence).await;
            }
        }
        Ok(())
    }
}

/// Follows what the replicas' logs say, as long as there is somebody to tell.
async fn hear<S: ShardStore, T: Transport>(host: Weak<Host<S, T>>, mut heard: mpsc::UnboundedReceiver<News>) {
    while let Some(news) = heard.recv().await {
        let Some(host) = host.upgrade() else { return };
        if news.split
            && let Err(error) = host.start_new().await
        {
            tracing::error!(replica = news.replica.0, error = chain(&error), "a shard that split off is not started");
        }
        host.index();
        if news.absorbed {
            // Not here: to stop a replica takes a moment, and others have news too.
            tokio::spawn(async move {
                if let Err(error) = host.remove_absorbed().await {
                    tracing::warn!(
                        replica = news.replica.0,
                        error = chain(&error),
                        "a neighbour that is absorbed is still here"
                    );
                }
            });
        }
    }
}

/// Without those whose keys a neighbour has absorbed on this node and that are still about to go: of two that claim a key the
/// one with the newer epoch has it.
fn without_absorbed<S: ShardStore>(by_start: BTreeMap<Bytes, Arc<Resident<S>>>) -> BTreeMap<Bytes, Arc<Resident<S>>> {
    let mut kept: BTreeMap<Bytes, Arc<Resident<S>>> = BTreeMap::new();
    let mut last: Option<ShardDescriptor> = None;
    for (start, resident) in by_start {
        let Some(descriptor) = resident.descriptor() else { continue };
        let claims = |last: &ShardDescriptor| last.range.contains(&start) && last.epoch > descriptor.epoch;
        if !last.as_ref().is_some_and(claims) {
            last = Some(descriptor);
            kept.insert(start, resident);
        }
    }
    kept
}

/// An error with what caused it.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
