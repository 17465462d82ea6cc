//! One replica of a shard: its log, state machine and part in the group.

mod errors;
mod letting_go;
mod pulse;
mod reading;
mod watchdog;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

use openraft::Raft;
use openraft::errors::{ClientWriteError, InitializeError, RaftError};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest, TransferLeaderResponse,
    VoteRequest, VoteResponse,
};
use parking_lot::Mutex;
use thermocline_engine::LogicalHash;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::freshness::SteadyClock;
use super::group_view::GroupView;
use super::log::ReplicaLog;
use super::log_size::LogSizes;
use super::logs::Logs;
use super::network::{Network, Transport};
use super::pace::{Pace, config};
use super::replaced::Replaced;
use super::state_machine::{NewsSender, ReplicaStateMachine, ShardView, SnapshotData};
use super::types::{EncodedCommand, Member, SnapshotMeta, TypeConfig, Vote};
use crate::command::Command;
use crate::machine::{Applied, Hashes, ShardStore, Snapshot};
use crate::{ReplicaId, Role};

pub use errors::{HashError, ProposeError, ReadIndexError, RefusalError, SnapshotError, StartError};
use pulse::beat;
use reading::Reader;
use watchdog::watch_over;

/// Between two looks at something that nobody tells of.
const LOOK: Duration = Duration::from_millis(20);

type OpenraftSnapshot<S> = openraft::type_config::alias::SnapshotOf<TypeConfig, SnapshotData<S>>;
type Handle<S> = Raft<TypeConfig, ReplicaStateMachine<S>>;

/// Where a replica is and what it is made of.
pub struct ReplicaPlace<S> {
    /// Its id.
    pub replica: ReplicaId,
    /// What it stores.
    pub role: Role,
    /// Its data, or its records alone.
    pub store: Arc<S>,
    /// The logs of its node.
    pub logs: Arc<dyn Logs>,
    /// A folder for snapshots on their way, on the device of the data.
    pub staging: PathBuf,
    /// How long things take.
    pub pace: Pace,
    /// Who is told when its log has said something of range or members.
    pub news: NewsSender,
    /// It was made to join a group: data comes to it by a snapshot first. By a log that goes back behind a split it would
    /// write what its shard held before, on a node where those keys may be another shard's now.
    pub joins: bool,
    /// How old its state is told by this.
    pub steady: SteadyClock,
}

/// A replica that runs.
pub struct RaftReplica<S: ShardStore> {
    replica: ReplicaId,
    role: Role,
    raft: Handle<S>,
    /// When a leader was heard last.
    heard: Arc<Mutex<Instant>>,
    view: watch::Receiver<Arc<ShardView>>,
    hashes: Arc<Hashes>,
    sizes: Arc<Mutex<LogSizes>>,
    /// The last entry that was applied and synced since the start.
    synced: Arc<AtomicU64>,
    /// What goes on beside consensus. Ends with the replica.
    tasks: Mutex<JoinSet<()>>,
    /// It was made to join a group, and takes no log from its beginning.
    joins: bool,
    /// Of one that stores data.
    reader: Option<Reader>,
    replaced: Arc<Replaced>,
}

impl<S: ShardStore> RaftReplica<S> {
    /// Opens a replica and lets it take part.
    ///
    /// # Errors
    /// When its log or its state cannot be read.
    pub async fn start(place: ReplicaPlace<S>, transport: impl Transport) -> Result<Self, StartError> {
        let ReplicaPlace { replica, role, store, logs, staging, pace, news, joins, steady } = place;
        let machine = ReplicaStateMachine::open(store, replica, role, staging.clone(), news)?;
        let (view, hashes, synced) = (machine.view(), machine.hashes(), machine.synced());
        let replaced = machine.replaced();
        let may_lead = role == Role::Data && !view.borrow().awaits_snapshot;
        let config = Arc::new(config(pace, may_lead)?);
        // One that began the group has a log of its own.
        let empty = logs.last_index(replica).is_none() && logs.purged(replica).is_none();
        let joins = joins && empty && role == Role::Data && machine.applied()?.is_none();
        let log = ReplicaLog::new(logs, replica);
        if let Some(applied) = machine.applied()? {
            log.begin_behind(applied).await.map_err(StartError::Log)?;
        }
        let sizes = log.sizes().await.map_err(StartError::ReadLog)?;
        let unheard = Arc::<AtomicBool>::default();
        let network = Network::<S, _>::new(transport.clone(), staging, Arc::clone(&unheard));
        let raft = Raft::new(replica, config, network, log, machine).await?;
        let heard = Arc::new(Mutex::new(Instant::now()));
        let mut tasks = JoinSet::new();
        tasks.spawn(beat(raft.clone(), pace, unheard));
        if role == Role::Witness {
            tasks.spawn(watch_over(raft.clone(), Arc::clone(&heard), pace));
        }
        let tasks = Mutex::new(tasks);
        let reader = (role == Role::Data).then(|| Reader::start(replica, raft.clone(), transport, steady, pace));
        Ok(Self { replica, role, raft, heard, view, hashes, sizes, synced, tasks, joins, reader, replaced })
    }

    /// Begins the group, once and on one replica; the others join by hearing of it. Nothing where it has begun.
    ///
    /// # Errors
    /// When the members are not possible, or the replica has stopped.
    pub async fn initialize(&self, members: BTreeMap<ReplicaId, Member>) -> Result<(), ProposeError> {
        match self.raft.initialize(members).await {
            Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => Ok(()),
            Err(RaftError::APIError(error)) => {
                Err(ProposeError::Membership { replica: self.replica, reason: error.to_string() })
            }
            Err(RaftError::Fatal(source)) => Err(ProposeError::Stopped { replica: self.replica, source }),
        }
    }

    /// Has the group agree on a command; what came of it, once it is durable on a quorum and applied here.
    ///
    /// # Errors
    /// When another replica leads, or this one has stopped.
    pub async fn propose(&self, command: &Command) -> Result<Applied, ProposeError> {
        // A witness that leads is about to hand over, and has no data to answer from.
        if self.role == Role::Witness {
            return Err(ProposeError::NotLeader { replica: self.replica, leader: None });
        }
        let written = self.raft.client_write(EncodedCommand::from(command)).await;
        written.map(|response| response.data).map_err(|error| self.refused(error))
    }

    /// As [`propose`](Self::propose); the index of the entry.
    ///
    /// # Errors
    /// As there.
    pub async fn propose_at(&self, command: &Command) -> Result<u64, ProposeError> {
        let written = self.raft.client_write(EncodedCommand::from(command)).await;
        written.map(|response| response.log_id.index).map_err(|error| self.refused(error))
    }

    /// Takes a replica that does not vote out of the group.
    ///
    /// # Errors
    /// When another replica leads, or this one has stopped.
    pub async fn forget_learner(&self, replica: ReplicaId) -> Result<(), ProposeError> {
        let change = openraft::ChangeMembers::RemoveNodes(std::collections::BTreeSet::from([replica]));
        self.raft.change_membership(change, false).await.map(drop).map_err(|error| self.refused(error))
    }

    /// Asks another replica to lead; it does once it has everything.
    ///
    /// # Errors
    /// When this one has stopped.
    pub async fn transfer_to(&self, to: ReplicaId) -> Result<(), ProposeError> {
        let asked = self.raft.trigger().transfer_leader(to).await;
        asked.map_err(|source| ProposeError::Stopped { replica: self.replica, source })
    }

    /// Adds a replica that does not vote. It is then sent what it lacks.
    ///
    /// # Errors
    /// When another replica leads, the members do not allow it, or this one has stopped.
    pub async fn add_learner(&self, replica: ReplicaId, member: Member) -> Result<(), ProposeError> {
        self.raft.add_learner(replica, member, false).await.map(drop).map_err(|error| self.refused(error))
    }

    /// Makes these the voters; others stay as learners if `keep` is said.
    ///
    /// # Errors
    /// When another replica leads, one of them is no learner yet, or this one has stopped.
    pub async fn change_voters(&self, voters: Vec<ReplicaId>, keep: bool) -> Result<(), ProposeError> {
        let voters: std::collections::BTreeSet<ReplicaId> = voters.into_iter().collect();
        self.raft.change_membership(voters, keep).await.map(drop).map_err(|error| self.refused(error))
    }

    fn refused(&self, error: RaftError<TypeConfig, ClientWriteError<TypeConfig>>) -> ProposeError {
        let replica = self.replica;
        match error {
            RaftError::APIError(ClientWriteError::ForwardToLeader(forward)) => {
                ProposeError::NotLeader { replica, leader: forward.leader_id }
            }
            RaftError::APIError(error) => ProposeError::Membership { replica, reason: error.to_string() },
            RaftError::Fatal(source) => ProposeError::Stopped { replica, source },
        }
    }

    /// What the log has said so far of range and members, kept up to date.
    pub const fn view(&self) -> &watch::Receiver<Arc<ShardView>> {
        &self.view
    }

    /// Whether it has no data because a snapshot was not wholly installed. It votes, but neither leads nor takes entries.
    pub fn awaits_snapshot(&self) -> bool {
        self.view.borrow().awaits_snapshot
    }

    /// What the shard held at an entry that asked for a hash, once that is applied and hashed.
    ///
    /// # Errors
    /// Where it could not be read, or was applied before the replica was opened: there will be none then.
    pub async fn hash_at(&self, index: u64) -> Result<LogicalHash, HashError> {
        let replica = self.replica;
        loop {
            // Before the look: what was applied by this process has begun to be hashed.
            let was_applied = self.applied() >= Some(index);
            match self.hashes.wait(index).await {
                Some(hash) => return hash.map_err(|reason| HashError::Read { replica, index, reason }),
                None if was_applied => return Err(HashError::NotBegun { replica, index }),
                None => tokio::time::sleep(LOOK).await,
            }
        }
    }

    /// Whether it believes to lead; cheaper than [`group`](Self::group).
    pub fn leads(&self) -> bool {
        use openraft::async_runtime::WatchReceiver;
        self.raft.metrics().borrow_watched().current_leader == Some(self.replica)
    }

    /// How long ago a leader was heard, or this replica was started.
    pub fn heard_ago(&self) -> Duration {
        self.heard.lock().elapsed()
    }

    /// The group as this replica sees it now.
    pub fn group(&self) -> GroupView {
        use openraft::async_runtime::WatchReceiver;
        GroupView::of(&self.raft.metrics().borrow_watched())
    }

    /// Who leads, as far as this one knows.
    pub async fn leader(&self) -> Option<ReplicaId> {
        self.raft.current_leader().await
    }

    /// The term that it is in.
    pub fn term(&self) -> u64 {
        use openraft::async_runtime::WatchReceiver;
        self.raft.metrics().borrow_watched().current_term
    }

    /// Its id.
    pub const fn id(&self) -> ReplicaId {
        self.replica
    }

    /// What it stores.
    pub const fn role(&self) -> Role {
        self.role
    }

    /// The index of the last entry applied.
    pub fn applied(&self) -> Option<u64> {
        use openraft::async_runtime::WatchReceiver;
        self.raft.metrics().borrow_watched().last_applied.map(|id| id.index)
    }

    /// The replica's state now, as another one would install it, written to a new folder.
    ///
    /// # Errors
    /// When nothing was applied yet, or it cannot be read or written.
    pub async fn take_snapshot(&self, folder: PathBuf) -> Result<(Vote, SnapshotMeta, Snapshot), SnapshotError> {
        use openraft::async_runtime::WatchReceiver;
        let vote = self.raft.metrics().borrow_watched().vote;
        let current = self.raft.get_snapshot().await.map_err(|source| SnapshotError::Group(Box::new(source)))?;
        match current.map(|current| current.snapshot) {
            Some(SnapshotData::Source(source)) => {
                let (meta, snapshot) = Arc::new(source).take_now(folder).await?;
                Ok((vote, meta, snapshot))
            }
            Some(SnapshotData::Taken(_)) | None => Err(SnapshotError::Nothing { replica: self.replica }),
        }
    }

    // What other replicas say.

    /// Entries or a heartbeat of the leader.
    ///
    /// # Errors
    /// When this one has stopped, or needs a snapshot: as long as it takes no entries the leader finds that out.
    pub async fn on_append_entries(
        &self,
        request: AppendEntriesRequest<TypeConfig>,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RefusalError> {
        // Behind an entry that it lacks a new one takes none anyway, and says so: the leader sends a snapshot then.
        let from_the_start = request.prev_log_id.is_none() && self.joins && self.applied().is_none();
        if !request.entries.is_empty() && (self.awaits_snapshot() || from_the_start) {
            return Err(RefusalError::AwaitsSnapshot { replica: self.replica });
        }
        let answer = self.raft.append_entries(request).await?;
        if !matches!(answer, AppendEntriesResponse::HigherVote(_)) {
            *self.heard.lock() = Instant::now();
        }
        Ok(answer)
    }

    /// A candidate asks for a vote.
    ///
    /// # Errors
    /// When this one has stopped.
    pub async fn on_vote(
        &self,
        request: VoteRequest<TypeConfig>,
        pre: bool,
    ) -> Result<VoteResponse<TypeConfig>, RaftError<TypeConfig>> {
        if pre { self.raft.pre_vote(request).await } else { self.raft.vote(request).await }
    }

    /// The leader asks this one to lead.
    ///
    /// # Errors
    /// When this one has stopped, or has no data.
    pub async fn on_transfer_leader(
        &self,
        request: TransferLeaderRequest<TypeConfig>,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RefusalError> {
        if self.awaits_snapshot() {
            return Err(RefusalError::AwaitsSnapshot { replica: self.replica });
        }
        let answer = self.raft.handle_transfer_leader(request).await;
        answer.map_err(|fatal| RefusalError::Stopped(RaftError::Fatal(fatal)))
    }

    /// A snapshot has arrived.
    ///
    /// # Errors
    /// When it is a witness's and this one stores data, or this one has stopped.
    pub async fn on_snapshot(
        &self,
        vote: Vote,
        meta: SnapshotMeta,
        snapshot: Snapshot,
    ) -> Result<SnapshotResponse<TypeConfig>, ProposeError> {
        // Handed on it would end this replica: its state machine refuses it.
        if self.role == Role::Data && snapshot.role == Role::Witness {
            let reason = "a witness's snapshot has no data for a replica that stores some".to_owned();
            return Err(ProposeError::Membership { replica: self.replica, reason });
        }
        let snapshot = OpenraftSnapshot { meta, snapshot: SnapshotData::Taken(Box::new(snapshot)) };
        let installed = self.raft.install_full_snapshot(vote, snapshot).await;
        let answer = installed.map_err(|source| ProposeError::Stopped { replica: self.replica, source })?;
        if self.role == Role::Data && !self.awaits_snapshot() {
            self.raft.runtime_config().elect(true);
        }
        Ok(answer)
    }

    /// Ends the replica's part; its log and state stay.
    pub async fn stop(&self) {
        self.tasks.lock().abort_all();
        if let Some(reader) = &self.reader {
            reader.stop();
        }
        if let Err(error) = self.raft.shutdown().await {
            tracing::warn!(replica = self.replica.0, %error, "a replica ended badly");
        }
    }
}
