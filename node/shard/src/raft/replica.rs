//! One replica of a shard: its log, state machine and part in the group.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use openraft::errors::{ClientWriteError, Fatal, InitializeError, RaftError};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest, TransferLeaderResponse,
    VoteRequest, VoteResponse,
};
use openraft::{Config, Raft, ReadPolicy, SnapshotPolicy};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::group_view::GroupView;
use super::log::ReplicaLog;
use super::log_size::LogSizes;
use super::logs::Logs;
use super::network::{Network, Transport};
use super::state_machine::{NewsSender, ReplicaStateMachine, ShardView, SnapshotData};
use super::types::{EncodedCommand, Member, SnapshotMeta, TypeConfig, Vote};
use crate::command::Command;
use crate::machine::{Applied, Hashes, MachineError, ShardStore, Snapshot};
use crate::{ReplicaId, Role};

type OpenraftSnapshot<S> = openraft::type_config::alias::SnapshotOf<TypeConfig, SnapshotData<S>>;
type Handle<S> = Raft<TypeConfig, ReplicaStateMachine<S>>;

/// How long things take in a group. The same for all of its replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Between two signs of life of the leader.
    pub heartbeat: Duration,
    /// The shortest silence of the leader after which another one asks for votes. The longest is half as long again, and as
    /// long is a leader's promise not to be replaced.
    pub election: Duration,
}

impl Default for Pace {
    /// An election ends well within the 3 s after which writes are to be back; not yet measured over a network with syncs.
    fn default() -> Self {
        Self { heartbeat: Duration::from_millis(150), election: Duration::from_millis(600) }
    }
}

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
    /// Ends with the replica.
    watchdog: Option<JoinHandle<()>>,
    /// It was made to join a group, and takes no log from its beginning.
    joins: bool,
}

/// Why a command was not carried out, or not known to be.
#[derive(Debug, thiserror::Error)]
pub enum ProposeError {
    /// Another replica leads; nothing was done here.
    #[error("{replica} does not lead its group; {leader:?} does")]
    NotLeader {
        /// Who was asked.
        replica: ReplicaId,
        /// Who leads, as far as is known.
        leader: Option<ReplicaId>,
    },
    /// The membership does not allow it.
    #[error("change the members of the group of {replica}: {reason}")]
    Membership {
        /// Who was asked.
        replica: ReplicaId,
        /// What is wrong.
        reason: String,
    },
    /// The replica has stopped: whether the command will be carried out is not known.
    #[error("{replica} has stopped")]
    Stopped {
        /// Who was asked.
        replica: ReplicaId,
        /// Why.
        source: Fatal<TypeConfig>,
    },
}

/// Why a replica does not take what another one says.
#[derive(Debug, thiserror::Error)]
pub enum RefusalError {
    /// The replica has stopped.
    #[error("the replica has stopped")]
    Stopped(#[from] RaftError<TypeConfig>),
    /// It has no data, and must not seem to.
    #[error("{replica} takes nothing but a snapshot: it joins, or one was not wholly installed")]
    AwaitsSnapshot {
        /// Who was asked.
        replica: ReplicaId,
    },
}

/// Why there is no snapshot.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The replica has stopped.
    #[error("ask the group for a snapshot")]
    Group(#[source] Box<RaftError<TypeConfig>>),
    /// Nothing was applied yet.
    #[error("{replica} has applied nothing yet")]
    Nothing {
        /// Who was asked.
        replica: ReplicaId,
    },
    /// It cannot be read or written.
    #[error("take a snapshot")]
    Machine(#[from] MachineError),
}

/// Why a replica did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its state machine cannot be opened.
    #[error("open the state machine")]
    Machine(#[from] MachineError),
    /// Its configuration contradicts itself.
    #[error("configure the group")]
    Config(#[from] openraft::ConfigError),
    /// The log of a shard that split off cannot be begun.
    #[error("begin the log")]
    Log(std::io::Error),
    /// The log cannot be read.
    #[error("measure the log")]
    ReadLog(#[source] std::io::Error),
    /// Log or state cannot be read.
    #[error("start the group")]
    Group(#[from] Fatal<TypeConfig>),
}

/// What openraft is told; its defaults are made for a demonstration.
fn config(pace: Pace, may_lead: bool) -> Result<Config, openraft::ConfigError> {
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let config = Config {
        heartbeat_interval: millis(pace.heartbeat),
        election_timeout_min: millis(pace.election),
        election_timeout_max: millis(pace.election * 3 / 2),
        // One that was cut off does not end the others' term when it comes back.
        enable_pre_vote: Some(true),
        // A leader that restarts stands for election like everybody: entries that it had sent and not synced are gone with a
        // power loss, and in its old term it would give their names to others.
        enable_leader_restore: Some(false),
        // A witness leads only where nobody else can: the watchdog sees to that. A replica whose snapshot was installed by half
        // never does.
        enable_elect: may_lead,
        // The shard's log says what of it may go (`host/log_bounds.rs`): a count of entries here would not know who needs them.
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: u64::MAX,
        ..Config::default()
    };
    config.validate()
}

/// Up to this entry, the first after that of the first members, a log is let go before anybody joins.
const BEGINNING: u64 = 1;
const LOOK: Duration = Duration::from_millis(20);

impl<S: ShardStore> RaftReplica<S> {
    /// Opens a replica and lets it take part.
    ///
    /// # Errors
    /// When its log or its state cannot be read.
    pub async fn start(place: ReplicaPlace<S>, transport: impl Transport) -> Result<Self, StartError> {
        let ReplicaPlace { replica, role, store, logs, staging, pace, news, joins } = place;
        let machine = ReplicaStateMachine::open(store, replica, role, staging.clone(), news)?;
        let (view, hashes, synced) = (machine.view(), machine.hashes(), machine.synced());
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
        let raft = Raft::new(replica, config, Network::<S, _>::new(transport, staging), log, machine).await?;
        let heard = Arc::new(Mutex::new(Instant::now()));
        let watch = || tokio::spawn(watch_over(raft.clone(), Arc::clone(&heard), pace));
        let watchdog = (role == Role::Witness).then(watch);
        Ok(Self { replica, role, raft, heard, view, hashes, sizes, synced, watchdog, joins })
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

    /// Waits until a read here sees everything that was acknowledged before this call.
    ///
    /// By ReadIndex: a quorum says that nobody else leads. A lease would be cheaper and is wrong after a fast restart.
    ///
    /// # Errors
    /// When another replica leads, or this one has stopped.
    pub async fn read_barrier(&self) -> Result<(), ProposeError> {
        use openraft::errors::LinearizableReadError;
        match self.raft.ensure_linearizable(ReadPolicy::ReadIndex).await {
            Ok(_) => Ok(()),
            Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(forward))) => {
                Err(ProposeError::NotLeader { replica: self.replica, leader: forward.leader_id })
            }
            // No quorum says so: this one may have been replaced.
            Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(_))) => {
                Err(ProposeError::NotLeader { replica: self.replica, leader: None })
            }
            Err(RaftError::Fatal(source)) => Err(ProposeError::Stopped { replica: self.replica, source }),
        }
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

    /// What was hashed when the log said so.
    pub const fn hashes(&self) -> &Arc<Hashes> {
        &self.hashes
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

    /// The bytes of the log.
    pub fn log_bytes(&self) -> u64 {
        self.sizes.lock().total()
    }

    /// The bytes of the log behind an entry.
    pub fn log_bytes_behind(&self, index: u64) -> u64 {
        self.sizes.lock().behind(index)
    }

    /// The last entry that the log no longer has.
    pub fn purged(&self) -> u64 {
        use openraft::async_runtime::WatchReceiver;
        self.raft.metrics().borrow_watched().purged.map_or(0, |id| id.index)
    }

    /// Lets go of the log up to an entry, as far as what was applied is synced; otherwise has it synced. To be called until
    /// it has gone.
    ///
    /// # Errors
    /// When this one has stopped.
    pub async fn let_go(&self, upto: u64) -> Result<(), ProposeError> {
        let upto = upto.min(self.applied().unwrap_or_default());
        let synced = self.synced.load(Ordering::SeqCst);
        if synced < upto {
            self.shorten_log().await?;
        }
        match upto.min(synced) {
            upto if upto > self.purged() => self.purge_log(upto).await,
            _ => Ok(()),
        }
    }

    /// Has what was applied synced, so that the log up to there may go.
    ///
    /// # Errors
    /// When this one has stopped.
    pub async fn shorten_log(&self) -> Result<(), ProposeError> {
        let asked = self.raft.trigger().snapshot().await;
        asked.map_err(|source| ProposeError::Stopped { replica: self.replica, source })
    }

    /// Lets go of the log up to an entry that is applied and synced, whoever may still want it.
    ///
    /// # Errors
    /// When this one has stopped.
    pub async fn purge_log(&self, upto: u64) -> Result<(), ProposeError> {
        let asked = self.raft.trigger().purge_log(upto).await;
        asked.map_err(|source| ProposeError::Stopped { replica: self.replica, source })
    }

    /// Makes sure that the log has lost its beginning, so that a replica that has nothing is sent a snapshot instead of the log.
    /// Entries before a split write keys that are another shard's now; a replica that began with them would write over what that
    /// shard's replica on the same node holds. Replicas that began with a snapshot have no beginning of the log either, so
    /// whoever leads later cannot send it.
    ///
    /// # Errors
    /// When this one has stopped.
    pub async fn lose_beginning(&self) -> Result<(), ProposeError> {
        use openraft::async_runtime::WatchReceiver;
        loop {
            let (snapshot, purged) = {
                let metrics = self.raft.metrics();
                let metrics = metrics.borrow_watched();
                (metrics.snapshot.is_some(), metrics.purged.is_some())
            };
            match (snapshot, purged) {
                (_, true) => return Ok(()),
                (true, false) => self.purge_log(BEGINNING).await?,
                (false, false) => self.shorten_log().await?,
            }
            tokio::time::sleep(LOOK).await;
        }
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
        if let Some(watchdog) = &self.watchdog {
            watchdog.abort();
        }
        if let Err(error) = self.raft.shutdown().await {
            tracing::warn!(replica = self.replica.0, %error, "a replica ended badly");
        }
    }
}

/// A witness asks for votes where nobody has led for so long that no data replica can: the last entries are on it alone. It
/// hands the group over as soon as a data replica has them.
async fn watch_over<S: ShardStore>(raft: Handle<S>, heard: Arc<Mutex<Instant>>, pace: Pace) {
    use openraft::async_runtime::WatchReceiver;
    // 2.2 of the longest election: data replicas go first.
    let patience = pace.election * 33 / 10;
    // Not `heard`: by that one is found that nobody speaks to it any more, however often it asks for votes.
    let mut asked: Option<Instant> = None;
    loop {
        tokio::time::sleep(pace.heartbeat).await;
        let metrics = raft.metrics().borrow_watched().clone();
        if metrics.running_state.is_err() {
            return;
        }
        if metrics.current_leader == Some(metrics.id) {
            *heard.lock() = Instant::now();
            if let Some(to) = caught_up(&metrics) {
                drop(raft.trigger().transfer_leader(to).await);
            }
        } else if heard.lock().elapsed() > patience && asked.is_none_or(|asked| asked.elapsed() > patience) {
            asked = Some(Instant::now());
            drop(raft.trigger().elect(true).await);
        }
    }
}

/// A data replica that votes and has all of the log.
fn caught_up(metrics: &openraft::RaftMetrics<TypeConfig>) -> Option<ReplicaId> {
    let membership = metrics.membership_config.membership();
    let voters: std::collections::BTreeSet<ReplicaId> = membership.voter_ids().collect();
    metrics.replication.as_ref()?.iter().find_map(|(id, matched)| {
        let stores = membership.get_node(id).is_some_and(|member| member.role == Role::Data);
        let whole = matched.as_ref().map(|matched| matched.index) >= metrics.last_log_index;
        (stores && whole && voters.contains(id)).then_some(*id)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn no_default_of_the_library_that_is_meant_for_a_demonstration_is_left() {
        let config = config(Pace::default(), true).unwrap();
        assert_eq!(config.enable_pre_vote, Some(true));
        assert_eq!(
            (config.heartbeat_interval, config.election_timeout_min, config.election_timeout_max),
            (150, 600, 900)
        );
        // What of a log may go is decided by those who know who needs it.
        assert_eq!((config.snapshot_policy, config.max_in_snapshot_log_to_keep), (SnapshotPolicy::Never, u64::MAX));
        // A follower whose log went back has lost its disk under its old number.
        assert_ne!(config.allow_log_reversion, Some(true));
    }

    #[test]
    fn a_witness_and_a_replica_without_data_ask_for_no_votes_by_themselves() {
        assert!(config(Pace::default(), true).unwrap().enable_elect);
        assert!(!config(Pace::default(), false).unwrap().enable_elect);
    }

    #[test]
    fn the_library_is_pinned_to_a_version_that_has_the_fixes_it_needs() {
        let manifest = include_str!("../../../../Cargo.toml");
        let line = manifest.lines().find(|line| line.starts_with("openraft = ")).unwrap();
        let version = line.split('"').nth(1).unwrap();
        // Before alpha 37 it commits on less than a quorum after some changes of members; exactly one version, for each next one
        // is to pass the whole suite first.
        let alpha: u32 = version.strip_prefix("=0.10.0-alpha.").unwrap().parse().unwrap();
        assert!(alpha >= 37, "{version}");
    }
}
