//! Changes of a shard's members that its leader carries out, whoever that is (design section 5).
//!
//! Part of a shard's replicated state: a job begins, is controlled and ends by entries of the log, so that neither a lost
//! operator nor a lost leader leaves it half done, and a cancellation and a cut-over that race are ordered. Pure; what the
//! leader does next for one is decided in `host/steps.rs`.

use std::collections::VecDeque;

use prost::Message;
use thermocline_proto::replica::v1 as wire;

use crate::{Epoch, NodeId, ReplicaId, Role, ShardId};

/// Jobs that ended and are remembered, at most.
const KEPT: usize = 8;

/// What changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobKind {
    /// A replica is added.
    Add {
        /// The new replica.
        replica: ReplicaId,
        /// Where it is.
        node: NodeId,
        /// What it stores.
        role: Role,
    },
    /// A replica is removed.
    Remove {
        /// Which.
        leaving: ReplicaId,
        /// Where it is.
        leaving_node: NodeId,
    },
    /// A replica takes another one's place.
    Move {
        /// The new replica.
        replica: ReplicaId,
        /// Where it is.
        node: NodeId,
        /// What it stores.
        role: Role,
        /// The one that it replaces.
        leaving: ReplicaId,
        /// Where that one is.
        leaving_node: NodeId,
    },
    /// A data replica and the witness trade places: on either node a new one of the other's kind. In one change of the members,
    /// for otherwise two voters would be on one node meanwhile.
    Exchange {
        /// The new data replica.
        replica: ReplicaId,
        /// Where the old witness is and the new data replica will be.
        node: NodeId,
        /// The new witness.
        witness: ReplicaId,
        /// The old data replica.
        leaving: ReplicaId,
        /// Where the old data replica is and the new witness will be.
        leaving_node: NodeId,
        /// The old witness.
        leaving_witness: ReplicaId,
    },
    /// The right neighbour becomes a part of the shard. It has the same members; nothing is copied.
    Merge {
        /// The neighbour.
        right: ShardId,
        /// The shard's epoch that it was decided by: with another one the job does not begin.
        left_epoch: Epoch,
        /// The neighbour's: with another one it does not freeze.
        right_epoch: Epoch,
    },
}

/// A replica that is new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// Which.
    pub replica: ReplicaId,
    /// Where it is.
    pub node: NodeId,
    /// What it stores.
    pub role: Role,
}

impl JobKind {
    /// The replicas that are new, those with data first.
    #[must_use]
    pub fn arrivals(&self) -> Vec<Arrival> {
        match *self {
            Self::Add { replica, node, role } | Self::Move { replica, node, role, .. } => {
                vec![Arrival { replica, node, role }]
            }
            Self::Exchange { replica, node, witness, leaving_node, .. } => vec![
                Arrival { replica, node, role: Role::Data },
                Arrival { replica: witness, node: leaving_node, role: Role::Witness },
            ],
            Self::Remove { .. } | Self::Merge { .. } => Vec::new(),
        }
    }

    /// The replicas that go, and where they are, those with data first.
    #[must_use]
    pub fn departures(&self) -> Vec<(ReplicaId, NodeId)> {
        match *self {
            Self::Remove { leaving, leaving_node } | Self::Move { leaving, leaving_node, .. } => {
                vec![(leaving, leaving_node)]
            }
            Self::Exchange { node, leaving, leaving_node, leaving_witness, .. } => {
                vec![(leaving, leaving_node), (leaving_witness, node)]
            }
            Self::Add { .. } | Self::Merge { .. } => Vec::new(),
        }
    }

    /// The replica that is new, and where; of an exchange the one with data.
    #[must_use]
    pub fn arriving(&self) -> Option<(ReplicaId, NodeId, Role)> {
        self.arrivals().first().map(|new| (new.replica, new.node, new.role))
    }

    /// The replica that goes, and where it is; of an exchange the one with data.
    #[must_use]
    pub fn leaving(&self) -> Option<(ReplicaId, NodeId)> {
        self.departures().first().copied()
    }
}

/// A change under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Job {
    /// Given by whoever asked for it.
    pub id: u64,
    /// What changes.
    pub kind: JobKind,
    /// What copying may take; 0: the node's own limit.
    pub bytes_per_second: u64,
    /// Nothing is copied meanwhile.
    pub paused: bool,
    /// What was begun is undone.
    pub cancelled: bool,
    /// From here on it is finished, not undone.
    pub cut_over: bool,
    /// When it was asked for, by the leader's clock in milliseconds since 1970.
    pub begun_at_millis: u64,
}

/// How a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobOutcome {
    /// As asked.
    Done,
    /// It was cancelled; the members are as before.
    Cancelled,
    /// It could not be done; the members are as before.
    Failed,
}

/// The end of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobEnd {
    /// Which.
    pub job: u64,
    /// How.
    pub outcome: JobOutcome,
    /// For a person.
    pub message: String,
    /// When, by the leader's clock in milliseconds since 1970.
    pub at_millis: u64,
}

/// What a person or the operator asks of a job under way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct JobControl {
    /// Which.
    pub job: u64,
    /// Whether it pauses; `None`: as it is.
    pub paused: Option<bool>,
    /// What copying may take; `None`: as it is.
    pub bytes_per_second: Option<u64>,
    /// Whether it is cancelled.
    pub cancel: bool,
}

/// What an entry does to a shard's jobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobChange {
    /// One begins.
    Begin(Job),
    /// One is controlled.
    Control(JobControl),
    /// One passes the point from which it is finished, not undone.
    CutOver(u64),
    /// One ends.
    End(JobEnd),
}

/// Why an entry did nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JobRefusal {
    /// One at a time.
    #[error("job {running} of the shard is under way; wait for it, or cancel it")]
    Running {
        /// The one under way.
        running: u64,
    },
    /// It has ended, or never began.
    #[error("job {job} is not under way")]
    NotRunning {
        /// Which.
        job: u64,
    },
    /// Too late.
    #[error("job {job} has changed the shard already: it can be followed by another one, not be cancelled")]
    CutOver {
        /// Which.
        job: u64,
    },
    /// It was cancelled before.
    #[error("job {job} was cancelled")]
    Cancelled {
        /// Which.
        job: u64,
    },
    /// The shard is about to become a part of its neighbour.
    #[error("the shard is being merged into {into}: wait until that has ended, or cancel it there")]
    Frozen {
        /// The neighbour.
        into: ShardId,
    },
    /// The job is another one.
    #[error("job {job} does not merge {right} into the shard")]
    NoMerge {
        /// Which.
        job: u64,
        /// What was to be merged.
        right: ShardId,
    },
}

/// That a shard is about to become a part of its left neighbour: until then, or until it is thawed, nothing in it changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frozen {
    /// The neighbour.
    pub into: ShardId,
    /// The neighbour's job.
    pub job: u64,
    /// The entry of the shard's own log that says so.
    pub index: u64,
    /// The neighbour's epoch when the job was decided: with a newer one it has absorbed the shard, or given it up.
    pub left_epoch: Epoch,
}

/// A shard's jobs: at most one under way, and the last that ended. While it is frozen for a job of its neighbour none begins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Jobs {
    running: Option<Job>,
    ended: VecDeque<(Job, JobEnd)>,
    frozen: Option<Frozen>,
}

impl Jobs {
    /// The one under way.
    #[must_use]
    pub const fn running(&self) -> Option<&Job> {
        self.running.as_ref()
    }

    /// The last that ended, the newest last.
    pub fn ended(&self) -> impl Iterator<Item = (&Job, &JobEnd)> {
        self.ended.iter().map(|(job, end)| (job, end))
    }

    /// Whether a job is under way, or one of those that ended last.
    #[must_use]
    pub fn knows(&self, id: u64) -> bool {
        self.running.is_some_and(|running| running.id == id) || self.ended.iter().any(|(ended, _)| ended.id == id)
    }

    /// The neighbour's job that the shard is frozen for.
    #[must_use]
    pub const fn frozen(&self) -> Option<&Frozen> {
        self.frozen.as_ref()
    }

    /// Whether the shard is frozen for a job of a neighbour.
    #[must_use]
    pub fn is_frozen_for(&self, into: ShardId, job: u64) -> bool {
        self.frozen.is_some_and(|frozen| (frozen.into, frozen.job) == (into, job))
    }

    /// The shard is frozen; not while a job of its own or for another one is under way.
    ///
    /// # Errors
    /// When one is; nothing changed then.
    pub(crate) fn freeze(&mut self, frozen: Frozen) -> Result<(), JobRefusal> {
        if let Some(Frozen { into, .. }) = self.frozen {
            return Err(JobRefusal::Frozen { into });
        }
        if let Some(Job { id: running, .. }) = self.running {
            return Err(JobRefusal::Running { running });
        }
        self.frozen = Some(frozen);
        Ok(())
    }

    /// The shard is no longer frozen.
    pub(crate) const fn thaw(&mut self) {
        self.frozen = None;
    }

    /// The shard absorbs a neighbour: from here on the job that it does so for is finished, not undone.
    ///
    /// # Errors
    /// When that job is not under way, was cancelled, or has done so before; nothing changed then.
    pub(crate) fn absorb(&mut self, id: u64, right: ShardId) -> Result<(), JobRefusal> {
        let job = self.find(id)?;
        match job.kind {
            JobKind::Merge { right: of, .. } if of == right => {}
            _ => return Err(JobRefusal::NoMerge { job: id, right }),
        }
        if job.cancelled {
            return Err(JobRefusal::Cancelled { job: id });
        }
        if job.cut_over {
            return Err(JobRefusal::CutOver { job: id });
        }
        job.cut_over = true;
        Ok(())
    }

    /// Does what an entry says. What was done before is not done again and is no refusal: the leader may have been replaced.
    ///
    /// # Errors
    /// When it is not possible as things are; nothing changed then.
    pub fn change(&mut self, change: JobChange) -> Result<(), JobRefusal> {
        match change {
            JobChange::Begin(job) => self.begin(job),
            JobChange::Control(control) => self.control(control),
            JobChange::CutOver(id) => {
                let job = self.find(id)?;
                if job.cancelled {
                    return Err(JobRefusal::Cancelled { job: id });
                }
                job.cut_over = true;
                Ok(())
            }
            JobChange::End(end) => {
                let job = *self.find(end.job)?;
                self.running = None;
                self.ended.push_back((job, end));
                if self.ended.len() > KEPT {
                    self.ended.pop_front();
                }
                Ok(())
            }
        }
    }

    fn begin(&mut self, job: Job) -> Result<(), JobRefusal> {
        if self.knows(job.id) {
            return Ok(());
        }
        if let Some(Job { id: running, .. }) = self.running {
            return Err(JobRefusal::Running { running });
        }
        if let Some(Frozen { into, .. }) = self.frozen {
            return Err(JobRefusal::Frozen { into });
        }
        self.running = Some(job);
        Ok(())
    }

    fn control(&mut self, control: JobControl) -> Result<(), JobRefusal> {
        let JobControl { job: id, paused, bytes_per_second, cancel } = control;
        let job = self.find(id)?;
        if cancel && job.cut_over {
            return Err(JobRefusal::CutOver { job: id });
        }
        job.cancelled |= cancel;
        job.paused = paused.unwrap_or(job.paused);
        job.bytes_per_second = bytes_per_second.unwrap_or(job.bytes_per_second);
        Ok(())
    }

    fn find(&mut self, id: u64) -> Result<&mut Job, JobRefusal> {
        self.running.as_mut().filter(|job| job.id == id).ok_or(JobRefusal::NotRunning { job: id })
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        wire::Jobs::from(self).encode_to_vec()
    }

    /// Reads what [`encode`](Self::encode) wrote; `None` where it did not.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        Self::of(wire::Jobs::decode(bytes).ok()?)
    }

    /// The jobs of a message; `None` where this version does not know them.
    pub(crate) fn of(message: wire::Jobs) -> Option<Self> {
        let wire::Jobs { running, ended, frozen } = message;
        let running = running.map(|job| Job::of(&job)).map_or(Some(None), |known| known.map(Some))?;
        let ended = ended.into_iter().map(|both| Some((Job::of(&both.job?)?, JobEnd::of(both.end?)?)));
        let known = |wire::Frozen { into, job, index, left_epoch }| Frozen {
            into: ShardId(into),
            job,
            index,
            left_epoch: Epoch(left_epoch),
        };
        Some(Self { running, ended: ended.collect::<Option<_>>()?, frozen: frozen.map(known) })
    }
}

impl From<&Jobs> for wire::Jobs {
    fn from(jobs: &Jobs) -> Self {
        let ended = jobs.ended.iter().map(|(job, end)| wire::EndedJob { job: Some(job.into()), end: Some(end.into()) });
        let frozen = |Frozen { into, job, index, left_epoch }: Frozen| wire::Frozen {
            into: into.0,
            job,
            index,
            left_epoch: left_epoch.0,
        };
        Self { running: jobs.running.as_ref().map(Into::into), ended: ended.collect(), frozen: jobs.frozen.map(frozen) }
    }
}

impl From<&Job> for wire::Job {
    fn from(job: &Job) -> Self {
        let Job { id, kind, bytes_per_second, paused, cancelled, cut_over, begun_at_millis } = *job;
        let arriving = kind.arriving();
        let (of, role, witnesses) = match kind {
            JobKind::Add { role, .. } => (wire::JobKind::Add, role, (0, 0)),
            JobKind::Remove { .. } => (wire::JobKind::Remove, Role::Data, (0, 0)),
            JobKind::Move { role, .. } => (wire::JobKind::Move, role, (0, 0)),
            JobKind::Exchange { witness, leaving_witness, .. } => {
                (wire::JobKind::Exchange, Role::Data, (witness.0, leaving_witness.0))
            }
            JobKind::Merge { .. } => (wire::JobKind::Merge, Role::Data, (0, 0)),
        };
        let (right, left_epoch, right_epoch) = match kind {
            JobKind::Merge { right, left_epoch, right_epoch } => (right.0, left_epoch.0, right_epoch.0),
            _ => (0, 0, 0),
        };
        Self {
            id,
            kind: of.into(),
            replica: arriving.map_or(0, |(replica, ..)| replica.0),
            node: arriving.map_or(0, |(_, node, _)| node.0),
            role: wire::Role::from(role).into(),
            leaving: kind.leaving().map_or(0, |(replica, _)| replica.0),
            leaving_node: kind.leaving().map_or(0, |(_, node)| node.0),
            bytes_per_second,
            paused,
            cancelled,
            begun_at_millis,
            cut_over,
            witness: witnesses.0,
            leaving_witness: witnesses.1,
            right,
            left_epoch,
            right_epoch,
        }
    }
}

impl Job {
    /// A job of a message; `None` where it is of a kind that this version does not know.
    pub(crate) fn of(message: &wire::Job) -> Option<Self> {
        let (replica, node) = (ReplicaId(message.replica), NodeId(message.node));
        let (leaving, leaving_node) = (ReplicaId(message.leaving), NodeId(message.leaving_node));
        let role = || Role::known(message.role());
        let kind = match message.kind() {
            wire::JobKind::Add => JobKind::Add { replica, node, role: role()? },
            wire::JobKind::Remove => JobKind::Remove { leaving, leaving_node },
            wire::JobKind::Move => JobKind::Move { replica, node, role: role()?, leaving, leaving_node },
            wire::JobKind::Exchange => {
                let (witness, leaving_witness) = (ReplicaId(message.witness), ReplicaId(message.leaving_witness));
                JobKind::Exchange { replica, node, witness, leaving, leaving_node, leaving_witness }
            }
            wire::JobKind::Merge => JobKind::Merge {
                right: ShardId(message.right),
                left_epoch: Epoch(message.left_epoch),
                right_epoch: Epoch(message.right_epoch),
            },
            wire::JobKind::Unspecified => return None,
        };
        Some(Self {
            id: message.id,
            kind,
            bytes_per_second: message.bytes_per_second,
            paused: message.paused,
            cancelled: message.cancelled,
            cut_over: message.cut_over,
            begun_at_millis: message.begun_at_millis,
        })
    }
}

impl From<&JobEnd> for wire::JobEnd {
    fn from(end: &JobEnd) -> Self {
        let outcome = match end.outcome {
            JobOutcome::Done => wire::JobOutcome::Done,
            JobOutcome::Cancelled => wire::JobOutcome::Cancelled,
            JobOutcome::Failed => wire::JobOutcome::Failed,
        };
        Self { job: end.job, outcome: outcome.into(), message: end.message.clone(), at_millis: end.at_millis }
    }
}

impl JobEnd {
    fn of(message: wire::JobEnd) -> Option<Self> {
        let outcome = match message.outcome() {
            wire::JobOutcome::Done => JobOutcome::Done,
            wire::JobOutcome::Cancelled => JobOutcome::Cancelled,
            wire::JobOutcome::Failed => JobOutcome::Failed,
            wire::JobOutcome::Unspecified => return None,
        };
        Some(Self { job: message.job, outcome, message: message.message, at_millis: message.at_millis })
    }
}

impl From<&JobChange> for wire::ChangeJob {
    fn from(change: &JobChange) -> Self {
        use wire::change_job::Change;
        let change = match change {
            JobChange::Begin(job) => Change::Begin(job.into()),
            JobChange::Control(control) => {
                let JobControl { job, paused, bytes_per_second, cancel } = *control;
                Change::Control(wire::JobControl { job, paused, bytes_per_second, cancel })
            }
            JobChange::CutOver(job) => Change::CutOver(*job),
            JobChange::End(end) => Change::End(end.into()),
        };
        Self { change: Some(change) }
    }
}

impl JobChange {
    /// What a message asks; `None` where this version does not know it.
    pub(crate) fn of(message: wire::ChangeJob) -> Option<Self> {
        use wire::change_job::Change;
        Some(match message.change? {
            Change::Begin(job) => Self::Begin(Job::of(&job)?),
            Change::Control(control) => {
                let wire::JobControl { job, paused, bytes_per_second, cancel } = control;
                Self::Control(JobControl { job, paused, bytes_per_second, cancel })
            }
            Change::CutOver(job) => Self::CutOver(job),
            Change::End(end) => Self::End(JobEnd::of(end)?),
        })
    }
}

#[cfg(test)]
#[path = "job_test.rs"]
mod tests;
