//! openraft's side of the state machine: entries in, answers out, snapshots.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::{Stream, StreamExt};
use openraft::storage::{ApplyResponder, EntryResponder, RaftSnapshotBuilder, RaftStateMachine};
use tokio::sync::{mpsc, watch};

use super::encoding::{decode_log_id, decode_membership, encode_log_id, encode_membership};
use super::replaced::Replaced;
use super::types::{
    LeaderId, LogId, Member, Membership, MembershipError, Payload, SnapshotMeta, StoredMembership, TypeConfig,
};
use crate::command::Split;
use crate::job::Jobs;
use crate::machine::{
    APPLIED, Applied, Beginning, Group, Hashes, MEMBERSHIP, Machine, MachineError, ShardStore, Snapshot, Step,
};
use crate::{NodeId, ReplicaId, Role, ShardDescriptor};

/// What is applied together, at most.
const BATCH_ENTRIES: usize = 512;
const BATCH_BYTES: usize = 1 << 20;

type OpenraftSnapshot<S> = openraft::type_config::alias::SnapshotOf<TypeConfig, SnapshotData<S>>;

/// The state machine of one replica, for openraft.
pub struct ReplicaStateMachine<S: ShardStore> {
    /// `None` after a failure: what is in memory may be ahead of the store.
    machine: Option<Machine<S>>,
    source: Source<S>,
    view: watch::Sender<Arc<ShardView>>,
    news: NewsSender,
    replaced: Arc<Replaced>,
}

/// What a replica's log has said so far, for those who route and decide.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ShardView {
    /// Where the shard is; `None` until its log has told.
    pub descriptor: Option<ShardDescriptor>,
    /// Changes of its members.
    pub jobs: Jobs,
    /// The last entry of the log that is no longer needed.
    pub released: u64,
    /// The replica has no data: a snapshot of it was not wholly installed, and another one is on its way.
    pub awaits_snapshot: bool,
}

impl ShardView {
    fn of<S: ShardStore>(machine: &Machine<S>) -> Self {
        let (descriptor, jobs) = (machine.descriptor().cloned(), machine.jobs().clone());
        Self { descriptor, jobs, released: machine.released(), awaits_snapshot: machine.awaits_snapshot() }
    }
}

/// That the view of a replica changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct News {
    /// Whose.
    pub replica: ReplicaId,
    /// Whether a shard split off: its replica on this node is to be started.
    pub split: bool,
    /// Whether a neighbour became a part of its shard: the neighbour's replica on this node is to go.
    pub absorbed: bool,
}

/// Who is told. It is heard after the view has changed and before anybody is answered.
pub type NewsSender = mpsc::UnboundedSender<News>;

/// A replica of this process whose state can be taken.
pub struct Source<S> {
    store: Arc<S>,
    replica: ReplicaId,
    role: Role,
    /// Where exports are written; one folder in it for each.
    staging: PathBuf,
    /// The last entry that is known to be applied and synced: a log is let go no further.
    synced: Arc<AtomicU64>,
}

impl<S> Clone for Source<S> {
    fn clone(&self) -> Self {
        let Self { store, replica, role, staging, synced } = self;
        let (store, synced) = (Arc::clone(store), Arc::clone(synced));
        Self { store, replica: *replica, role: *role, staging: staging.clone(), synced }
    }
}

/// The content of a snapshot. openraft makes one whenever logs are to be purged, and few are ever sent: so what it holds on to
/// is where to take the content, of a store that was synced.
pub enum SnapshotData<S> {
    /// To be taken from a replica of this process.
    Source(Source<S>),
    /// Taken.
    Taken(Box<Snapshot>),
}

impl<S: ShardStore> ReplicaStateMachine<S> {
    /// Opens the state machine of a replica. `staging` is a folder for exports of its own.
    ///
    /// # Errors
    /// When its records cannot be read, or are not what was written.
    pub fn open(
        store: Arc<S>,
        replica: ReplicaId,
        role: Role,
        staging: PathBuf,
        news: NewsSender,
    ) -> Result<Self, MachineError> {
        let machine = Machine::open(replica, role, Arc::clone(&store))?;
        let view = watch::Sender::new(Arc::new(ShardView::of(&machine)));
        let source = Source { store, replica, role, staging, synced: Arc::default() };
        Ok(Self { machine: Some(machine), source, view, news, replaced: Arc::default() })
    }

    /// What the log has said so far, kept up to date.
    pub(super) fn view(&self) -> watch::Receiver<Arc<ShardView>> {
        self.view.subscribe()
    }

    /// Whether its state is being replaced by another replica's.
    pub(super) fn replaced(&self) -> Arc<Replaced> {
        Arc::clone(&self.replaced)
    }

    /// The last entry that was applied and synced since this was opened.
    pub(super) fn synced(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.source.synced)
    }

    /// What was hashed when the log said so.
    pub(super) fn hashes(&self) -> Arc<Hashes> {
        self.machine.as_ref().map(|machine| Arc::clone(machine.hashes())).unwrap_or_default()
    }

    /// Tells what has changed, before anybody is answered who may ask for it.
    fn publish(&self, split: bool, absorbed: bool) {
        let Some(now) = self.machine.as_ref().map(ShardView::of) else { return };
        let changed = self.view.send_if_modified(|view| {
            let changed = **view != now;
            if changed {
                *view = Arc::new(now);
            }
            changed
        });
        if changed {
            // Nobody listens where the node ends.
            let _ = self.news.send(News { replica: self.source.replica, split, absorbed });
        }
    }

    /// The last entry that it applied.
    pub(super) fn applied(&self) -> Result<Option<LogId>, MachineError> {
        Ok(self.source.position()?.0)
    }

    /// Lets the machine do something, where it may wait for a device. After a failure it is gone.
    async fn with_machine<T, F>(&mut self, work: F) -> io::Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Machine<S>) -> Result<T, MachineError> + Send + 'static,
    {
        let gone = || io::Error::other("the state machine failed before: the replica is to be opened anew");
        let mut machine = self.machine.take().ok_or_else(gone)?;
        let work = move || {
            let done = work(&mut machine);
            (machine, done)
        };
        let (machine, done) = if S::WAITS { tokio::task::spawn_blocking(work).await? } else { work() };
        let done = done.map_err(io::Error::other)?;
        self.machine = Some(machine);
        Ok(done)
    }

    async fn apply_batch(&mut self, batch: Vec<EntryResponder<TypeConfig>>) -> io::Result<()> {
        let mut steps = Vec::with_capacity(batch.len());
        let mut responders = Vec::with_capacity(batch.len());
        for (entry, responder) in batch {
            steps.push(step(entry.log_id, entry.payload));
            responders.push(responder);
        }
        let source = self.source.clone();
        let applied = self.with_machine(move |machine| machine.apply(steps, &source)).await?;
        if applied.iter().any(|one| !matches!(one, Applied::Writes(_))) {
            let split = applied.iter().any(|one| matches!(one, Applied::Split { .. }));
            self.publish(split, applied.iter().any(|one| matches!(one, Applied::Absorbed(_))));
        }
        for (responder, applied) in responders.into_iter().zip(applied) {
            if let Some(responder) = responder {
                ApplyResponder::send(responder, applied);
            }
        }
        Ok(())
    }
}

/// Removes a folder, where there is one.
fn clear(folder: &std::path::Path) -> io::Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The entry that a log begins with, which openraft writes itself where a group is initialised. That of a group that splits off
/// is taken as applied: its log goes on behind it.
fn first_log_id() -> LogId {
    LogId::new(LeaderId { term: 0, node_id: ReplicaId(0) }, 0)
}

fn step(id: LogId, payload: Payload) -> Step {
    let (command, membership) = match payload {
        Payload::Blank => (None, None),
        Payload::Normal(command) => (Some(command.0), None),
        Payload::Membership(membership) => {
            (None, Some(encode_membership(&StoredMembership::new(Some(id), membership))))
        }
    };
    Step { index: id.index, command, applied: encode_log_id(&id), membership }
}

impl<S: ShardStore> Source<S> {
    /// The id and membership that the store says it is at.
    fn position(&self) -> Result<(Option<LogId>, StoredMembership), MachineError> {
        let read = |kind| {
            let found = self.store.records(&crate::machine::key(kind, self.replica));
            let found = found.map_err(|source| MachineError::Store { replica: self.replica, source })?;
            Ok::<_, MachineError>(found.into_iter().next().map(|(_, value)| value))
        };
        let unreadable = |source| MachineError::Position { replica: self.replica, source };
        let applied = read(APPLIED)?.map(decode_log_id).transpose().map_err(unreadable)?;
        let membership = read(MEMBERSHIP)?.map(decode_membership).transpose().map_err(unreadable)?;
        Ok((applied, membership.unwrap_or_default()))
    }

    fn meta(&self) -> Result<SnapshotMeta, MachineError> {
        let (last_log_id, last_membership) = self.position()?;
        Ok(SnapshotMeta { last_log_id, last_membership })
    }

    /// Takes the state now, and says how far it is, which may be farther than what openraft asked for.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub fn take(&self, folder: &std::path::Path) -> Result<(SnapshotMeta, Snapshot), MachineError> {
        let snapshot = Snapshot::take(&*self.store, self.replica, self.role, folder)?;
        let unreadable = |source| MachineError::Position { replica: self.replica, source };
        let last_log_id = Some(decode_log_id(snapshot.applied.clone()).map_err(unreadable)?);
        let membership = snapshot.membership.clone().map(decode_membership).transpose().map_err(unreadable)?;
        Ok((SnapshotMeta { last_log_id, last_membership: membership.unwrap_or_default() }, snapshot))
    }

    /// As [`take`](Self::take), where it may wait for a device. A folder that is left from an earlier attempt is replaced.
    ///
    /// # Errors
    /// As there.
    pub(super) async fn take_now(self: Arc<Self>, folder: PathBuf) -> Result<(SnapshotMeta, Snapshot), MachineError> {
        let replica = self.replica;
        let take = move || {
            clear(&folder).map_err(|source| MachineError::Staging { replica, source })?;
            self.take(&folder)
        };
        if !S::WAITS {
            return take();
        }
        let ended = |error: tokio::task::JoinError| MachineError::Staging { replica, source: error.into() };
        tokio::task::spawn_blocking(take).await.map_err(ended)?
    }

    /// A folder for one export.
    fn folder(&self, meta: &SnapshotMeta) -> PathBuf {
        let index = meta.last_log_id.map_or(0, |id| id.index);
        self.staging.join(format!("replica-{}-{index}", self.replica.0))
    }
}

impl<S: ShardStore> Group for Source<S> {
    /// The members here, each by its neighbour. Where members have changed since, every replica finds so at this entry.
    fn beginning(&self, split: &Split) -> Result<Option<Beginning>, MachineError> {
        let (_, stored) = self.position()?;
        let beside: BTreeMap<ReplicaId, ReplicaId> = split.replicas.iter().copied().collect();
        let now = stored.membership();
        if !now.nodes().map(|(id, _)| id).eq(beside.keys()) {
            return Ok(None);
        }
        let configs = now.get_joint_config().iter();
        let configs = configs.map(|voters| voters.iter().filter_map(|id| beside.get(id).copied()).collect()).collect();
        let members = now.nodes().filter_map(|(id, member)| Some((*beside.get(id)?, *member)));
        let members: BTreeMap<ReplicaId, Member> = members.collect();
        let unusable = |error: MembershipError| MachineError::Beside {
            replica: self.replica,
            source: io::Error::new(io::ErrorKind::InvalidInput, error.to_string()),
        };
        let membership = Membership::new(configs, members).map_err(unusable)?;
        let first = first_log_id();
        Ok(Some(Beginning {
            applied: encode_log_id(&first),
            membership: encode_membership(&StoredMembership::new(Some(first), membership)),
        }))
    }

    fn voters(&self) -> Result<Option<Vec<(NodeId, Role)>>, MachineError> {
        let (_, stored) = self.position()?;
        let now = stored.membership();
        if now.get_joint_config().len() != 1 || now.learner_ids().next().is_some() {
            return Ok(None);
        }
        let mut places: Vec<_> = now.nodes().map(|(_, member)| (member.node, member.role)).collect();
        places.sort_unstable();
        Ok(Some(places))
    }
}

impl<S: ShardStore> RaftStateMachine<TypeConfig> for ReplicaStateMachine<S> {
    type SnapshotData = SnapshotData<S>;
    type SnapshotBuilder = Source<S>;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        self.source.position().map_err(io::Error::other)
    }

    async fn apply<Entries>(&mut self, mut entries: Entries) -> io::Result<()>
    where
        Entries: Stream<Item = io::Result<EntryResponder<TypeConfig>>> + Unpin + Send,
    {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while let Some(next) = entries.next().await {
            let next = next?;
            if let Payload::Normal(command) = &next.0.payload {
                bytes += command.0.len();
            }
            batch.push(next);
            if batch.len() >= BATCH_ENTRIES || bytes >= BATCH_BYTES {
                self.apply_batch(std::mem::take(&mut batch)).await?;
                bytes = 0;
            }
        }
        if batch.is_empty() { Ok(()) } else { self.apply_batch(batch).await }
    }

    async fn get_snapshot_builder(&mut self) -> Source<S> {
        self.source.clone()
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, data: SnapshotData<S>) -> io::Result<()> {
        let (expected, folder) = (meta.clone(), self.source.folder(meta));
        self.replaced.begin();
        let installed = self.with_machine(move |machine| {
            let (found, snapshot) = match data {
                SnapshotData::Taken(snapshot) => (None, *snapshot),
                SnapshotData::Source(source) => {
                    let (meta, snapshot) = source.take(&folder)?;
                    (Some(meta), snapshot)
                }
            };
            // openraft goes on behind the entry that it was told: one that is farther would be applied to twice.
            if found.is_some_and(|found| found.last_log_id != expected.last_log_id) {
                return Err(MachineError::SnapshotMoved { replica: machine.replica() });
            }
            Ok(machine.install(&snapshot)?)
        });
        let installed = installed.await?;
        self.publish(false, installed.absorbed);
        self.replaced.done();
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<OpenraftSnapshot<S>>> {
        // Whatever was applied is there to be taken. Nothing is purged by this answer: only what was built is.
        let meta = self.source.meta().map_err(io::Error::other)?;
        let snapshot = SnapshotData::Source(self.source.clone());
        Ok(meta.last_log_id.is_some().then_some(OpenraftSnapshot { meta, snapshot }))
    }
}

impl<S: ShardStore> RaftSnapshotBuilder<TypeConfig> for Source<S> {
    type SnapshotData = SnapshotData<S>;

    async fn build_snapshot(&mut self) -> io::Result<OpenraftSnapshot<S>> {
        let source = self.clone();
        let sync = move || {
            // Read first: what is synced after covers it, and a log is purged by what this says.
            let meta = source.meta()?;
            let synced = source.store.sync();
            synced.map_err(|error| MachineError::Store { replica: source.replica, source: error })?;
            source.synced.fetch_max(meta.last_log_id.map_or(0, |id| id.index), Ordering::SeqCst);
            Ok::<_, MachineError>(meta)
        };
        let meta = if S::WAITS { tokio::task::spawn_blocking(sync).await? } else { sync() };
        Ok(OpenraftSnapshot { meta: meta.map_err(io::Error::other)?, snapshot: SnapshotData::Source(self.clone()) })
    }
}

#[cfg(test)]
#[path = "state_machine_test.rs"]
mod tests;
