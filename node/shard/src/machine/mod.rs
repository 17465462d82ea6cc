//! The replicated state machine of a shard: what its entries do to data, sessions and descriptor.
//!
//! The same entries in the same order lead to the same state and the same answers on every replica, however they are cut
//! into batches: decisions hang on entries and earlier decisions alone, never on a clock or on what fits into a batch.
//! Knows nothing of consensus: whoever applies gives the records that say how far it is, and they are written in the batch.

mod answer;
mod hashes;
mod memory_store;
mod merging;
mod records;
mod snapshot;
mod store;

use std::sync::Arc;

use bytes::Bytes;
use thermocline_engine::{ApplyEntry, CallerRecord, Condition, EngineError, Mutation, WriteOutcome};

pub use answer::{Answer, Applied};
pub use hashes::{HashDone, Hashes};
pub use memory_store::MemoryStore;
pub use records::RecordError;
#[cfg(test)]
pub(crate) use records::encode_descriptor;
pub(crate) use records::{
    APPLIED, DESCRIPTOR, INSTALLING, JOBS, MEMBERSHIP, REMOVED, RESIDENT, Residence, SESSION, decode_descriptor,
    decode_residence, encode_residence, key, replica_of,
};
pub use snapshot::{Installed, Snapshot, SnapshotError};
pub use store::{Exported, ExportedData, RangeOf, ShardStore, StoredRecord};

use crate::command::{Command, DecodeError, Split, Write, Writes};
use crate::job::{JobChange, JobKind, Jobs};
use crate::session::{Admission, Forgotten, RequestId, Sessions};
use crate::{NodeId, ReplicaId, Role, ShardDescriptor, ShardId};

/// An entry of the log for the state machine.
#[derive(Debug)]
pub struct Step {
    /// Its index.
    pub index: u64,
    /// What it says that is done; `None` for entries of the consensus alone.
    pub command: Option<Bytes>,
    /// Says that the replica is as far as this entry. Of a batch the last one is written.
    pub applied: Bytes,
    /// Who belongs to the group from here on, where the entry changes that.
    pub membership: Option<Bytes>,
}

/// Why entries were not applied. The machine's memory is ahead of its store then: it is read again from there.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    /// Storage failed or refused.
    #[error("apply entries to {replica}")]
    Store {
        /// Whose.
        replica: ReplicaId,
        /// What happened.
        source: EngineError,
    },
    /// An entry is not understood.
    #[error("read entry {index} of the log of {replica}")]
    Entry {
        /// Whose.
        replica: ReplicaId,
        /// Which.
        index: u64,
        /// What is wrong.
        source: DecodeError,
    },
    /// How far it is cannot be read.
    #[error("read how far {replica} is")]
    Position {
        /// Whose.
        replica: ReplicaId,
        /// What is wrong.
        source: std::io::Error,
    },
    /// The place of a snapshot on its way cannot be used.
    #[error("make room for a snapshot of {replica}")]
    Staging {
        /// Whose.
        replica: ReplicaId,
        /// What happened.
        source: std::io::Error,
    },
    /// The members do not allow a group beside theirs.
    #[error("begin a group beside {replica}")]
    Beside {
        /// Whose group splits.
        replica: ReplicaId,
        /// What is wrong.
        source: std::io::Error,
    },
    /// The neighbour's replica on this node is not at the entry that froze it: its data is not what the shard is to go on from.
    #[error("absorb {right}: its replica beside {replica} is not frozen for that")]
    NotFrozen {
        /// Whose shard absorbs.
        replica: ReplicaId,
        /// The neighbour.
        right: ShardId,
    },
    /// The replica that a snapshot was to be taken of went on meanwhile.
    #[error("a snapshot for {replica} is of a later entry than it was asked for")]
    SnapshotMoved {
        /// Whose.
        replica: ReplicaId,
    },
    /// A snapshot was not taken or not installed.
    #[error(transparent)]
    Snapshot(SnapshotError),
    /// The replica's own records are not what was written.
    #[error("read the records of {replica}")]
    Record {
        /// Whose.
        replica: ReplicaId,
        /// What is wrong.
        source: RecordError,
    },
}

/// Who belongs to the group that entries are applied for, as of the entries that the store has.
pub trait Group {
    /// What the group of a shard begins with that splits off; `None`: the split was made for other members than the group has.
    ///
    /// # Errors
    /// When that cannot be read.
    fn beginning(&self, split: &Split) -> Result<Option<Beginning>, MachineError>;

    /// Where its replicas are and what they store, in order; `None`: they are changing, or one does not vote.
    ///
    /// # Errors
    /// When that cannot be read.
    fn voters(&self) -> Result<Option<Vec<(NodeId, Role)>>, MachineError>;
}

/// One replica's state machine.
pub struct Machine<S> {
    replica: ReplicaId,
    role: Role,
    store: Arc<S>,
    /// `None` until the log has told.
    descriptor: Option<ShardDescriptor>,
    sessions: Sessions,
    jobs: Jobs,
    hashes: Arc<Hashes>,
    /// Up to where the log may go; not remembered over a restart, for it is said again.
    released: u64,
    /// A snapshot was installed by half: there is no data, and nothing is applied until one is installed wholly.
    awaits_snapshot: bool,
}

/// What the consensus of a shard that splits off begins with.
#[derive(Debug, Clone)]
pub struct Beginning {
    /// Says that its replicas are as far as their beginning.
    pub applied: Bytes,
    /// Who belongs to it.
    pub membership: Bytes,
}

/// Steps that go to the store together. Always whole ones: an entry of the log that was applied by half would be applied
/// again from its start after a crash, over what its own later writes have left.
#[derive(Default)]
struct Batch {
    entries: Vec<ApplyEntry>,
    /// For each entry the request that it was named by.
    requests: Vec<Option<RequestId>>,
    records: Vec<CallerRecord>,
    /// The id of the last step in it.
    applied: Option<Bytes>,
    /// By step, in the order of its writes.
    answers: Vec<(usize, Planned)>,
}

/// An answer that is known, or what comes of an entry of the batch.
enum Planned {
    Known(Answer),
    Outcome(usize),
}

impl<S: ShardStore> Machine<S> {
    /// Opens a replica from its records; one that has none begins with its log.
    ///
    /// # Errors
    /// When they cannot be read, or are not what was written.
    pub fn open(replica: ReplicaId, role: Role, store: Arc<S>) -> Result<Self, MachineError> {
        let stored = |source| MachineError::Store { replica, source };
        let awaits_snapshot = !store.records(&key(records::INSTALLING, replica)).map_err(stored)?.is_empty();
        let wrong = |source| MachineError::Record { replica, source };
        let descriptor = store.records(&key(records::DESCRIPTOR, replica)).map_err(stored)?.into_iter().next();
        let descriptor = descriptor.map(|(_, value)| records::decode_descriptor(replica, value));
        let descriptor = descriptor.transpose().map_err(wrong)?;
        let mut sessions = Sessions::default();
        for (key, value) in store.records(&key(records::SESSION, replica)).map_err(stored)? {
            sessions.restore(records::decode_session(replica, &key, value).map_err(wrong)?);
        }
        let jobs = store.records(&key(JOBS, replica)).map_err(stored)?.into_iter().next();
        let jobs = jobs.map(|(_, value)| records::decode_jobs(replica, &value)).transpose().map_err(wrong)?;
        let (jobs, hashes) = (jobs.unwrap_or_default(), Arc::default());
        Ok(Self { replica, role, store, descriptor, sessions, jobs, hashes, released: 0, awaits_snapshot })
    }

    /// Whose it is.
    pub const fn replica(&self) -> ReplicaId {
        self.replica
    }

    /// What it stores.
    pub const fn role(&self) -> Role {
        self.role
    }

    /// Where the shard is; `None` until its log has told.
    pub const fn descriptor(&self) -> Option<&ShardDescriptor> {
        self.descriptor.as_ref()
    }

    /// Changes of the members: the one under way, and the last ones.
    pub const fn jobs(&self) -> &Jobs {
        &self.jobs
    }

    /// Whether the replica has no data because a snapshot of it was installed by half.
    pub const fn awaits_snapshot(&self) -> bool {
        self.awaits_snapshot
    }

    /// The last entry of its log that is no longer needed, as far as was said since it was opened.
    pub const fn released(&self) -> u64 {
        self.released
    }

    /// What was hashed when the log said so.
    pub const fn hashes(&self) -> &Arc<Hashes> {
        &self.hashes
    }

    /// The store.
    pub const fn store(&self) -> &Arc<S> {
        &self.store
    }

    /// Applies entries in their order; one answer for each.
    ///
    /// # Errors
    /// When one is not understood or the store fails. The machine is not to be used again then: what was not written is
    /// applied by one that is opened anew.
    pub fn apply(&mut self, steps: Vec<Step>, group: &impl Group) -> Result<Vec<Applied>, MachineError> {
        if self.awaits_snapshot {
            // The records stay at the entry before the snapshot, and the snapshot is of a later one than all of these.
            return Ok(steps.iter().map(|_| Applied::Nothing).collect());
        }
        let mut applied = Vec::with_capacity(steps.len());
        let mut batch = Batch::default();
        for step in steps {
            let (replica, index) = (self.replica, step.index);
            let command = step.command.map(Command::decode).transpose();
            let command = command.map_err(|source| MachineError::Entry { replica, index, source })?;
            if let Some(membership) = step.membership {
                batch.records.push((key(MEMBERSHIP, replica), Some(membership)));
            }
            let done = match command {
                Some(Command::Writes(writes)) if self.role == Role::Data => {
                    let room = writes.writes.len();
                    self.plan_writes(applied.len(), index, writes, &mut batch);
                    Applied::Writes(Vec::with_capacity(room))
                }
                // A witness has no data to write to, and leaves what was written to those who have.
                Some(Command::Writes(_)) | None => Applied::Nothing,
                Some(Command::Split(split)) => {
                    // What is before it belongs to the sessions that the new shard begins with.
                    self.write(std::mem::take(&mut batch), &mut applied)?;
                    self.split(index, &split, group.beginning(&split)?, &mut batch)?
                }
                Some(Command::Freeze(freeze)) => {
                    // What is before it says who belongs to the group.
                    self.write(std::mem::take(&mut batch), &mut applied)?;
                    self.freeze(index, &freeze, group.voters()?, &mut batch)
                }
                Some(Command::Thaw(thaw)) => self.thaw(thaw, &mut batch),
                Some(Command::Absorb(absorb)) => {
                    // What is before it belongs to the sessions that the neighbour's are added to.
                    self.write(std::mem::take(&mut batch), &mut applied)?;
                    self.absorb(&absorb, &mut batch)?
                }
                Some(Command::Begin(descriptor)) => self.begin(descriptor, &mut batch),
                Some(Command::Job(change)) => self.change_jobs(change, &mut batch),
                Some(Command::Verify) => {
                    // What is before it belongs to the hash.
                    self.write(std::mem::take(&mut batch), &mut applied)?;
                    self.hash(index);
                    Applied::Nothing
                }
                Some(Command::Release(release)) => {
                    self.released = self.released.max(release.upto);
                    Applied::Nothing
                }
            };
            applied.push(done);
            batch.applied = Some(step.applied);
        }
        self.write(batch, &mut applied)?;
        Ok(applied)
    }

    fn plan_writes(&mut self, step: usize, index: u64, writes: Writes, batch: &mut Batch) {
        for (number, write) in writes.writes.into_iter().enumerate() {
            let planned = match self.judge(&write, index, number, writes.at_millis, batch) {
                Judged::Planned(planned) => planned,
                Judged::Apply(version) => {
                    let Write { request, epoch: _, conditions, mutations } = write;
                    batch.entries.push(ApplyEntry { version, conditions, mutations });
                    batch.requests.push(request);
                    Planned::Outcome(batch.entries.len() - 1)
                }
            };
            batch.answers.push((step, planned));
        }
    }

    /// What is to be done with a write.
    fn judge(&mut self, write: &Write, index: u64, number: usize, now: u64, batch: &mut Batch) -> Judged {
        let known = |answer| Judged::Planned(Planned::Known(answer));
        let Some(descriptor) = self.descriptor.as_ref().filter(|descriptor| descriptor.epoch == write.epoch) else {
            let now = self.descriptor.as_ref().map(|descriptor| descriptor.epoch).unwrap_or_default();
            return known(Answer::WrongEpoch { now });
        };
        if self.jobs.frozen().is_some() {
            return known(Answer::Frozen);
        }
        let range = &descriptor.range;
        let mut keys = write.conditions.iter().map(Condition::key).chain(write.mutations.iter().map(Mutation::key));
        if keys.any(|key| !range.contains(key)) {
            return known(Answer::OutOfRange);
        }
        let Some(version) = descriptor.version(index, number) else {
            return known(Answer::VersionsExhausted);
        };
        let Some(request) = write.request else {
            return Judged::Apply(version);
        };
        let admitted = self.sessions.admit(request, now);
        batch.forget(self.replica, admitted.forgotten);
        match admitted.admission {
            Admission::New => Judged::Apply(version),
            Admission::Repeated(outcome) => known(outcome.into()),
            Admission::Undecided => Judged::Planned(batch.first_sending(request)),
            Admission::Expired => known(Answer::Expired),
            Admission::NoRoom => known(Answer::TooManyClients),
        }
    }

    /// Begins the shard; what begins it again changes nothing.
    fn begin(&mut self, descriptor: ShardDescriptor, batch: &mut Batch) -> Applied {
        if let Some(known) = &self.descriptor {
            return Applied::Refused(format!("{} has begun already", known.shard));
        }
        let record = records::encode_descriptor(&descriptor);
        batch.records.push((key(records::DESCRIPTOR, self.replica), Some(record)));
        self.descriptor = Some(descriptor);
        Applied::Nothing
    }

    fn change_jobs(&mut self, change: JobChange, batch: &mut Batch) -> Applied {
        if let JobChange::Begin(job) = &change
            && let JobKind::Merge { right, left_epoch, .. } = job.kind
            && !self.jobs.knows(job.id)
            && let Some(reason) = self.cannot_merge(right, left_epoch)
        {
            return Applied::Refused(reason);
        }
        if let Err(refusal) = self.jobs.change(change) {
            return Applied::Refused(refusal.to_string());
        }
        batch.records.push((key(JOBS, self.replica), Some(self.jobs.encode().into())));
        Applied::Nothing
    }

    /// Begins to hash what the shard holds now.
    fn hash(&self, index: u64) {
        if let (Role::Data, Some(descriptor)) = (self.role, &self.descriptor) {
            self.store.hash_later(descriptor.range.clone(), self.hashes.begin(index));
        }
    }

    /// Makes the shard two. The neighbour on this node begins with all that its keys' writes need: range, sessions, and
    /// how far its own log is. What every replica decides alike hangs on the entries alone, not on which replica this is.
    fn split(
        &mut self,
        index: u64,
        split: &Split,
        begin: Option<Beginning>,
        batch: &mut Batch,
    ) -> Result<Applied, MachineError> {
        let Some(begin) = begin else {
            return Ok(Applied::Refused("the split is made for other members than the shard has".to_owned()));
        };
        let Some(descriptor) = &self.descriptor else {
            return Ok(Applied::Refused("the shard has not begun".to_owned()));
        };
        if let Some(job) = self.jobs.running() {
            return Ok(Applied::Refused(format!("job {} of the shard is under way", job.id)));
        }
        if let Some(frozen) = self.jobs.frozen() {
            return Ok(Applied::Refused(format!("the shard is being merged into {}", frozen.into)));
        }
        let (left, right) = match descriptor.split(split.epoch, &split.at, split.right, index) {
            Ok(parts) => parts,
            Err(refusal) => return Ok(Applied::Refused(refusal.to_string())),
        };
        batch.records.push((key(records::DESCRIPTOR, self.replica), Some(records::encode_descriptor(&left))));
        self.descriptor = Some(left.clone());
        // None where this one joined later and was told by the log.
        if let Some((_, beside)) = split.replicas.iter().find(|(of, _)| *of == self.replica) {
            self.begin_beside(*beside, &right, begin, batch)?;
        }
        Ok(Applied::Split { left, right })
    }

    fn begin_beside(
        &self,
        beside: ReplicaId,
        right: &ShardDescriptor,
        begin: Beginning,
        batch: &mut Batch,
    ) -> Result<(), MachineError> {
        let failed = |source| MachineError::Store { replica: self.replica, source };
        // A witness that was late may have been made by the new shard's leader, and be past its beginning.
        if !self.store.records(&key(APPLIED, beside)).map_err(failed)?.is_empty() {
            return Ok(());
        }
        let mut write = |kind, value| batch.records.push((key(kind, beside), Some(value)));
        write(records::DESCRIPTOR, records::encode_descriptor(right));
        write(RESIDENT, encode_residence(Residence::of(right.shard, self.role)));
        write(APPLIED, begin.applied);
        write(MEMBERSHIP, begin.membership);
        batch.records.extend(self.sessions.stored().map(|write| {
            let (key, value) = records::encode_session(beside, &write);
            (key, Some(value))
        }));
        Ok(())
    }

    /// Writes a batch and gives out its answers.
    fn write(&mut self, batch: Batch, applied: &mut [Applied]) -> Result<(), MachineError> {
        let Batch { entries, requests, records, applied: mark, answers } = batch;
        if entries.is_empty() && records.is_empty() && mark.is_none() && answers.is_empty() {
            return Ok(());
        }
        let (replica, sessions) = (self.replica, &mut self.sessions);
        let mut records = Some(records);
        let outcomes = self.store.apply(&entries, &mut |outcomes| {
            let mut all = records.take().unwrap_or_default();
            for (request, outcome) in requests.iter().zip(outcomes) {
                let stored = request.and_then(|request| sessions.settle(request, *outcome));
                all.extend(stored.map(|write| {
                    let (key, value) = records::encode_session(replica, &write);
                    (key, Some(value))
                }));
            }
            all.extend(mark.clone().map(|mark| (key(APPLIED, replica), Some(mark))));
            all
        });
        let outcomes = outcomes.map_err(|source| MachineError::Store { replica, source })?;
        for (step, planned) in answers {
            let answer = match planned {
                Planned::Known(answer) => answer,
                Planned::Outcome(entry) => outcomes[entry].into(),
            };
            if let Applied::Writes(answers) = &mut applied[step] {
                answers.push(answer);
            }
        }
        Ok(())
    }
}

/// What is to be done with a write.
enum Judged {
    /// Nothing: this is its answer.
    Planned(Planned),
    /// With this version.
    Apply(u64),
}

impl Batch {
    /// Forgets clients of a replica.
    fn forget(&mut self, replica: ReplicaId, forgotten: Vec<Forgotten>) {
        for (client, slots) in forgotten {
            let slots = slots.into_iter().map(|slot| (records::session_key(replica, client, slot), None));
            self.records.extend(slots);
        }
    }

    /// The answer to a request whose first sending is in the batch.
    fn first_sending(&self, request: RequestId) -> Planned {
        let same = |known: &RequestId| (known.client, known.sequence) == (request.client, request.sequence);
        let first = self.requests.iter().rposition(|known| known.as_ref().is_some_and(same));
        first.map_or(Planned::Known(Answer::Expired), Planned::Outcome)
    }
}

impl From<WriteOutcome> for Answer {
    fn from(outcome: WriteOutcome) -> Self {
        match outcome {
            WriteOutcome::Written(version) => Self::Written { version },
            WriteOutcome::ConditionFailed { index, actual } => Self::ConditionFailed { index, actual },
        }
    }
}

#[cfg(test)]
#[path = "machine_test.rs"]
mod tests;
