//! What the entries of a merge do (`host/merge_steps.rs`): the right shard is frozen, or thawed again, and the left one absorbs it.
//!
//! The neighbour's data is in the same store under the same keys, so nothing is copied. What the left shard's replica takes over
//! is what the right one's on this node was when it was frozen; nothing of it has changed since.

use bytes::Bytes;

use super::records::{self, REMOVED};
use super::{
    Applied, Batch, INSTALLING, JOBS, Machine, MachineError, RESIDENT, Residence, SESSION, ShardStore,
    decode_residence, encode_residence, key,
};
use crate::command::{Absorb, Freeze, Thaw};
use crate::job::Frozen;
use crate::{Epoch, NodeId, ReplicaId, Role, ShardId};

impl<S: ShardStore> Machine<S> {
    /// Why a job that merges does not begin, as far as the left shard knows.
    pub(super) fn cannot_merge(&self, right: ShardId, epoch: Epoch) -> Option<String> {
        let Some(descriptor) = &self.descriptor else { return Some("the shard has not begun".to_owned()) };
        if descriptor.shard == ShardId::META || right == ShardId::META {
            return Some("shard 0 holds the index of all shards and stays alone".to_owned());
        }
        let now = descriptor.epoch;
        (now != epoch).then(|| format!("merge decided by {epoch}, but the shard is at {now}: look again"))
    }

    /// From here on the shard takes nothing. Its epoch grows, so that a delayed entry of a merge that was given up does nothing.
    pub(super) fn freeze(
        &mut self,
        index: u64,
        freeze: &Freeze,
        voters: Option<Vec<(NodeId, Role)>>,
        batch: &mut Batch,
    ) -> Applied {
        let Freeze { into, job, epoch, left_epoch, .. } = *freeze;
        let Some(descriptor) = &self.descriptor else {
            return Applied::Refused("the shard has not begun".to_owned());
        };
        if self.jobs.is_frozen_for(into, job) {
            return Applied::Nothing;
        }
        if descriptor.epoch != epoch {
            let now = descriptor.epoch;
            return Applied::Refused(format!("merge decided by {epoch}, but the shard is at {now}: look again"));
        }
        if voters.as_ref() != Some(&freeze.members) {
            return Applied::Refused("the shard does not have the same members".to_owned());
        }
        if let Err(refusal) = self.jobs.freeze(Frozen { into, job, index, left_epoch }) {
            return Applied::Refused(refusal.to_string());
        }
        self.grow_older(batch);
        Applied::Nothing
    }

    /// The shard goes on by itself, and cannot be frozen by that job any more.
    pub(super) fn thaw(&mut self, thaw: Thaw, batch: &mut Batch) -> Applied {
        let Some(descriptor) = &self.descriptor else {
            return Applied::Refused("the shard has not begun".to_owned());
        };
        if self.jobs.is_frozen_for(thaw.into, thaw.job) {
            self.jobs.thaw();
        } else if descriptor.epoch != thaw.epoch {
            // Another change of the shard was faster: the job freezes nothing now.
            return Applied::Nothing;
        }
        self.grow_older(batch);
        Applied::Nothing
    }

    fn grow_older(&mut self, batch: &mut Batch) {
        if let Some(descriptor) = &mut self.descriptor {
            descriptor.epoch = descriptor.epoch.next();
            let record = records::encode_descriptor(descriptor);
            batch.records.push((key(records::DESCRIPTOR, self.replica), Some(record)));
        }
        batch.records.push((key(JOBS, self.replica), Some(self.jobs.encode().into())));
    }

    /// The neighbour's keys become the shard's own. Whether they do hangs on the shard's own log alone: its job waits until the
    /// neighbour is frozen wherever it has data.
    pub(super) fn absorb(&mut self, absorb: &Absorb, batch: &mut Batch) -> Result<Applied, MachineError> {
        let Some(descriptor) = &self.descriptor else {
            return Ok(Applied::Refused("the shard has not begun".to_owned()));
        };
        let merged = match descriptor.absorb(&absorb.right, absorb.frozen_at) {
            Ok(merged) => merged,
            Err(refusal) => return Ok(Applied::Refused(refusal.to_string())),
        };
        if let Err(refusal) = self.jobs.absorb(absorb.job, absorb.right.shard) {
            return Ok(Applied::Refused(refusal.to_string()));
        }
        self.take_over(absorb, batch)?;
        batch.records.push((key(records::DESCRIPTOR, self.replica), Some(records::encode_descriptor(&merged))));
        batch.records.push((key(JOBS, self.replica), Some(self.jobs.encode().into())));
        self.descriptor = Some(merged.clone());
        Ok(Applied::Absorbed(merged))
    }

    /// Takes over what the neighbour's replica on this node remembers, and has it leave.
    fn take_over(&mut self, absorb: &Absorb, batch: &mut Batch) -> Result<(), MachineError> {
        let beside = absorb.replicas.iter().find(|(of, _)| *of == self.replica).map(|(_, beside)| *beside);
        if self.role == Role::Data {
            let beside = beside.ok_or_else(|| self.not_frozen(absorb))?;
            self.must_be_frozen(beside, absorb)?;
            self.take_sessions(beside, absorb.at_millis, batch)?;
        }
        let Some(beside) = beside else { return Ok(()) };
        let residence = self.record_of(RESIDENT, beside)?;
        batch.records.push(match residence {
            Some(found) => {
                let found = decode_residence(beside, found).map_err(|source| self.wrong(source))?;
                let leaving = Residence { leaving: true, absorbed: true, ..found };
                (key(RESIDENT, beside), Some(encode_residence(leaving)))
            }
            // A witness that was not made yet must not be made any more.
            None => (key(REMOVED, beside), Some(Bytes::new())),
        });
        Ok(())
    }

    /// Nobody proposes to absorb a shard before this holds. Were it not so, the shard would go on from less than it had.
    fn must_be_frozen(&self, beside: ReplicaId, absorb: &Absorb) -> Result<(), MachineError> {
        let jobs = self.record_of(JOBS, beside)?;
        let jobs = jobs.map(|value| records::decode_jobs(beside, &value)).transpose();
        let jobs = jobs.map_err(|source| self.wrong(source))?.unwrap_or_default();
        let into = self.descriptor.as_ref().map(|descriptor| descriptor.shard).unwrap_or_default();
        let half_installed = self.record_of(INSTALLING, beside)?.is_some();
        if jobs.is_frozen_for(into, absorb.job) && !half_installed { Ok(()) } else { Err(self.not_frozen(absorb)) }
    }

    fn take_sessions(&mut self, beside: ReplicaId, now: u64, batch: &mut Batch) -> Result<(), MachineError> {
        let found = self.store.records(&key(SESSION, beside)).map_err(|source| self.unread(source))?;
        let theirs = found.into_iter().map(|(key, value)| records::decode_session(beside, &key, value));
        let theirs: Vec<_> = theirs.collect::<Result<_, _>>().map_err(|source| self.wrong(source))?;
        let absorbed = self.sessions.absorb(theirs.into_iter(), now);
        batch.forget(self.replica, absorbed.forgotten);
        batch.records.extend(absorbed.taken.iter().map(|write| {
            let (key, value) = records::encode_session(self.replica, write);
            (key, Some(value))
        }));
        Ok(())
    }

    fn record_of(&self, kind: u8, replica: ReplicaId) -> Result<Option<Bytes>, MachineError> {
        let found = self.store.records(&key(kind, replica)).map_err(|source| self.unread(source))?;
        Ok(found.into_iter().next().map(|(_, value)| value))
    }

    const fn not_frozen(&self, absorb: &Absorb) -> MachineError {
        MachineError::NotFrozen { replica: self.replica, right: absorb.right.shard }
    }

    const fn unread(&self, source: thermocline_engine::EngineError) -> MachineError {
        MachineError::Store { replica: self.replica, source }
    }

    const fn wrong(&self, source: records::RecordError) -> MachineError {
        MachineError::Record { replica: self.replica, source }
    }
}
