//! A replica's whole state, taken from one and installed into another: data, descriptor, sessions, and how far the consensus
//! was, all of one moment.

use std::path::Path;

use bytes::Bytes;
use thermocline_engine::{CallerRecord, EngineError, KeyRange};

use super::records::{
    self, APPLIED, DESCRIPTOR, INSTALLING, JOBS, MEMBERSHIP, RESIDENT, RecordError, Residence, SESSION,
    decode_residence, encode_residence, key, replica_of,
};
use super::store::{Exported, ExportedData, ShardStore};
use super::{Machine, MachineError};
use crate::job::Jobs;
use crate::session::Sessions;
use crate::{ReplicaId, Role, ShardDescriptor};

/// A replica's state.
#[derive(Debug)]
pub struct Snapshot {
    /// What the replica stores that it is of.
    pub role: Role,
    /// How far it was.
    pub applied: Bytes,
    /// Who belonged to the group.
    pub membership: Option<Bytes>,
    /// Where the shard was.
    pub descriptor: Option<ShardDescriptor>,
    /// Its sessions, as their records.
    pub sessions: Vec<(Bytes, Bytes)>,
    /// Changes of the members.
    pub jobs: Jobs,
    /// Whose state it is.
    pub of: ReplicaId,
    /// What the shard held.
    pub data: ExportedData,
}

/// What installing a snapshot did beside.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Installed {
    /// Replicas on this node leave, of shards that are parts of this one now.
    pub absorbed: bool,
}

/// Why a snapshot was not taken or not installed.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// Reading or writing failed.
    #[error("{attempt} of {replica}")]
    Store {
        /// What was attempted.
        attempt: &'static str,
        /// Whose.
        replica: ReplicaId,
        /// What happened.
        source: EngineError,
    },
    /// The records are not what was written.
    #[error("read the records of a snapshot")]
    Record(#[from] RecordError),
    /// Nothing was applied yet.
    #[error("{0} has applied nothing: there is nothing to take a snapshot of")]
    Empty(ReplicaId),
    /// A snapshot of it was installed by half.
    #[error("{0} has no data: a snapshot of it was not wholly installed")]
    HalfInstalled(ReplicaId),
    /// Installed, it would leave a replica without the data that it is there for.
    #[error("{into} stores data and refuses the snapshot of the witness {of}, which has none")]
    OfWitness {
        /// The data replica.
        into: ReplicaId,
        /// The witness.
        of: ReplicaId,
    },
}

impl Snapshot {
    /// Takes the state of a replica. A store of files writes into the folder, which is new.
    ///
    /// # Errors
    /// When it has applied nothing, has no data, or cannot be read or written.
    pub fn take<S: ShardStore>(store: &S, of: ReplicaId, role: Role, folder: &Path) -> Result<Self, SnapshotError> {
        let prefixes = [APPLIED, MEMBERSHIP, DESCRIPTOR, SESSION, JOBS, INSTALLING].map(|kind| key(kind, of));
        let range = |records: &[(Bytes, Bytes)]| {
            let descriptor = find(records, &prefixes[2])?;
            let descriptor = records::decode_descriptor(of, descriptor).ok()?;
            (role == Role::Data).then_some(descriptor.range)
        };
        let exported = store.export(&prefixes, &range, folder);
        let attempt = "take a snapshot";
        let Exported { records, data } =
            exported.map_err(|source| SnapshotError::Store { attempt, replica: of, source })?;
        if find(&records, &prefixes[5]).is_some() {
            return Err(SnapshotError::HalfInstalled(of));
        }
        let descriptor = find(&records, &prefixes[2]).map(|value| records::decode_descriptor(of, value)).transpose()?;
        let sessions = records.iter().filter(|(key, _)| key.starts_with(&prefixes[3])).cloned().collect();
        let applied = find(&records, &prefixes[0]).ok_or(SnapshotError::Empty(of))?;
        let membership = find(&records, &prefixes[1]);
        let jobs = find(&records, &prefixes[4]).map(|value| records::decode_jobs(of, &value)).transpose()?;
        Ok(Self { role, applied, membership, descriptor, sessions, jobs: jobs.unwrap_or_default(), of, data })
    }
}

fn find(records: &[(Bytes, Bytes)], key: &[u8]) -> Option<Bytes> {
    records.iter().find(|(found, _)| found == key).map(|(_, value)| value.clone())
}

impl<S: ShardStore> Machine<S> {
    /// Replaces the replica's state by a snapshot of another.
    ///
    /// # Errors
    /// When it is a witness's and this one stores data: nothing was changed. When storage fails: the machine is to be opened
    /// anew, and is as it was or has nothing, which its records tell.
    pub fn install(&mut self, snapshot: &Snapshot) -> Result<Installed, SnapshotError> {
        let into = self.replica;
        if self.role == Role::Data && snapshot.role == Role::Witness {
            return Err(SnapshotError::OfWitness { into, of: snapshot.of });
        }
        let mut sessions = Sessions::default();
        for (key, value) in &snapshot.sessions {
            sessions.restore(records::decode_session(snapshot.of, key, value.clone())?);
        }
        let unread = |source| SnapshotError::Store { attempt: "read the records", replica: into, source };
        let mut changes = self.changed_to(snapshot, &sessions).map_err(unread)?;
        let leaving = self.absorbed_by(snapshot)?;
        let installed = Installed { absorbed: !leaving.is_empty() };
        changes.extend(leaving);
        let written = match (self.role, self.replaced_by(snapshot)) {
            (Role::Data, Some(range)) if !self.holds_the_same(snapshot) => self.replace(&range, snapshot, changes),
            // No data to replace: a witness's, of a shard that has not begun, or what is here.
            _ => self.store.apply(&[], &mut |_| changes.clone()).and_then(|_| self.store.sync()),
        };
        written.map_err(|source| SnapshotError::Store { attempt: "install a snapshot", replica: into, source })?;
        self.descriptor.clone_from(&snapshot.descriptor);
        self.sessions = sessions;
        self.jobs.clone_from(&snapshot.jobs);
        self.awaits_snapshot = false;
        Ok(installed)
    }

    /// A shard that is frozen takes no writes: a replica of it that is as far has its data. It may be its neighbour's by now, who
    /// writes there.
    fn holds_the_same(&self, snapshot: &Snapshot) -> bool {
        let frozen = self.jobs.frozen();
        frozen.is_some() && frozen == snapshot.jobs.frozen() && !self.awaits_snapshot
    }

    /// Replicas on this node of shards that this one has absorbed while it was away, as records that have them leave. Of two
    /// shards that had a key the later one has the newer epoch.
    fn absorbed_by(&self, snapshot: &Snapshot) -> Result<Vec<CallerRecord>, SnapshotError> {
        let Some(new) = &snapshot.descriptor else { return Ok(Vec::new()) };
        let into = self.replica;
        let unread = |source| SnapshotError::Store { attempt: "read the neighbours' records", replica: into, source };
        let mut leaving = Vec::new();
        for (key, value) in self.store.records(&[DESCRIPTOR]).map_err(unread)? {
            let Some(other) = replica_of(&key) else { continue };
            let old = records::decode_descriptor(other, value)?;
            if old.shard == new.shard || old.epoch >= new.epoch || !new.range.contains(old.range.start()) {
                continue;
            }
            let found = self.store.records(&records::key(RESIDENT, other)).map_err(unread)?;
            let Some((name, value)) = found.into_iter().next() else { continue };
            let residence = decode_residence(other, value)?;
            if !residence.leaving {
                // What is not this one's now is nobody's here.
                let absorbed = self.role == Role::Data && new.range.covers(&old.range);
                leaving.push((name, Some(encode_residence(Residence { leaving: true, absorbed, ..residence }))));
            }
        }
        Ok(leaving)
    }

    /// Replaces data and records. A crash half way leaves the range empty and the old records, which would say that its data
    /// is there: a mark beside them says that it is not, until everything is.
    fn replace(
        &self,
        range: &KeyRange,
        snapshot: &Snapshot,
        mut changes: Vec<CallerRecord>,
    ) -> Result<(), EngineError> {
        let mark = key(INSTALLING, self.replica);
        self.store.apply(&[], &mut |_| vec![(mark.clone(), Some(Bytes::new()))])?;
        self.store.sync()?;
        changes.push((mark, None));
        self.store.install(range, &snapshot.data, &changes)
    }

    /// The keys that were this replica's or are now: one that missed a split gives up what is another shard's.
    fn replaced_by(&self, snapshot: &Snapshot) -> Option<KeyRange> {
        let (old, new) = (self.descriptor.as_ref(), snapshot.descriptor.as_ref());
        match (old.map(|known| &known.range), new.map(|known| &known.range)) {
            (Some(old), Some(new)) => Some(old.hull(new)),
            (old, new) => old.or(new).cloned(),
        }
    }

    /// The replica's records as they are with the snapshot.
    fn changed_to(&self, snapshot: &Snapshot, sessions: &Sessions) -> Result<Vec<CallerRecord>, EngineError> {
        let replica = self.replica;
        let old = self.store.records(&key(SESSION, replica))?;
        let mut changes: Vec<CallerRecord> = old.into_iter().map(|(key, _)| (key, None)).collect();
        changes.push((key(APPLIED, replica), Some(snapshot.applied.clone())));
        changes.push((key(MEMBERSHIP, replica), snapshot.membership.clone()));
        let descriptor = snapshot.descriptor.as_ref().map(records::encode_descriptor);
        changes.push((key(DESCRIPTOR, replica), descriptor));
        changes.push((key(JOBS, replica), Some(snapshot.jobs.encode().into())));
        if self.role == Role::Data {
            changes.extend(sessions.stored().map(|write| {
                let (key, value) = records::encode_session(replica, &write);
                (key, Some(value))
            }));
        }
        Ok(changes)
    }
}

impl From<SnapshotError> for MachineError {
    fn from(error: SnapshotError) -> Self {
        Self::Snapshot(error)
    }
}
