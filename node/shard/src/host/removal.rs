//! Removing a replica from a node: it stops, its data goes where no other replica here has the keys, and its number is never
//! used again. Restartable: a mark is set first, and whoever opens the node goes on.

use std::collections::BTreeMap;

use thermocline_engine::KeyRange;
use tokio::sync::oneshot;

use super::{Host, HostError, chain};
use crate::machine::{
    APPLIED, DESCRIPTOR, ExportedData, INSTALLING, JOBS, MEMBERSHIP, REMOVED, RESIDENT, Residence, SESSION, ShardStore,
    decode_descriptor, decode_residence, encode_residence, key, replica_of,
};
use crate::raft::Transport;
use crate::{ReplicaId, Role};

/// Numbers of removed replicas that are remembered one by one, at most; those below the smallest are all taken as used.
const REMEMBERED: usize = 4096;

impl<S: ShardStore, T: Transport> Host<S, T> {
    /// Removes a replica. Nothing where there is none.
    ///
    /// # Errors
    /// When its data cannot be wiped or the node's records not be written; to be asked again.
    pub async fn remove(&self, replica: ReplicaId) -> Result<(), HostError> {
        let _alone = self.changing.lock().await;
        let known = self.place.store.records(&key(RESIDENT, replica))?.into_iter().next();
        let Some((_, value)) = known else { return Ok(()) };
        let residence = decode_residence(replica, value)?;
        let leaving = encode_residence(Residence { leaving: true, ..residence });
        self.record(vec![(key(RESIDENT, replica), Some(leaving))])?;
        let running = {
            let mut residents = self.residents.write();
            residents.failed.remove(&replica);
            residents.by_id.remove(&replica)
        };
        self.index();
        if let Some(resident) = running {
            // Before anything is wiped: a read under way does not take what is gone for what never was.
            resident.replica().replaced().begin();
            resident.replica().stop().await;
        }
        if let Err(error) = self.take_away(replica, residence).await {
            // Tried again like one that does not start.
            let left = Residence { leaving: true, ..residence };
            self.residents.write().failed.insert(replica, (left, chain(&error)));
            return Err(error);
        }
        tracing::info!(replica = replica.0, shard = residence.shard.0, "removed a replica");
        Ok(())
    }

    async fn take_away(&self, replica: ReplicaId, residence: Residence) -> Result<(), HostError> {
        if !residence.absorbed {
            self.wipe(replica, residence.role).await?;
        }
        for folder in [self.place.staging.clone(), self.arriving()] {
            let folder = folder.join(replica.0.to_string());
            if let Err(error) = std::fs::remove_dir_all(&folder)
                && error.kind() != std::io::ErrorKind::NotFound
            {
                tracing::warn!(folder = %folder.display(), %error, "files of a replica that was removed are still there");
            }
        }
        self.forget_log(replica).await?;
        self.forget_records(replica)
    }

    pub(super) fn was_removed(&self, replica: ReplicaId) -> Result<bool, HostError> {
        let removed = self.place.store.records(&[REMOVED])?;
        let numbers: Vec<u64> =
            removed.iter().filter_map(|(key, _)| replica_of(key)).map(|removed| removed.0).collect();
        let below_all = numbers.len() >= REMEMBERED && numbers.first().is_some_and(|first| replica.0 < *first);
        Ok(below_all || numbers.contains(&replica.0))
    }

    /// Wipes the keys that were this replica's and are no other's here: one that missed a split still had those of the shard
    /// that split off, which may be here by another way.
    async fn wipe(&self, replica: ReplicaId, role: Role) -> Result<(), HostError> {
        let descriptor = self.place.store.records(&key(DESCRIPTOR, replica))?.into_iter().next();
        let (Role::Data, Some((_, descriptor))) = (role, descriptor) else { return Ok(()) };
        let range = decode_descriptor(replica, descriptor)?.range;
        // As they are stored: a node that is being opened has not started them all. Of one moment, and before the residences: of a
        // shard that splits meanwhile either the whole is among them, or both parts are.
        let descriptors = self.place.store.records(&[DESCRIPTOR])?;
        let residences: BTreeMap<ReplicaId, Residence> = self.residences()?.into_iter().collect();
        let stays = |other: &ReplicaId| {
            let residence =
                residences.get(other).filter(|residence| residence.role == Role::Data && !residence.leaving);
            *other != replica && residence.is_some()
        };
        let mut kept: Vec<KeyRange> = Vec::new();
        for (key, value) in descriptors {
            if let Some(other) = replica_of(&key).filter(stays) {
                kept.push(decode_descriptor(other, value)?.range);
            }
        }
        for part in without(range, kept) {
            let store = std::sync::Arc::clone(&self.place.store);
            let wipe = move || store.install(&part, &ExportedData::Nothing, &[]);
            if S::WAITS {
                tokio::task::spawn_blocking(wipe).await.map_err(|error| log_error(replica, error.into()))??;
            } else {
                wipe()?;
            }
        }
        Ok(())
    }

    async fn forget_log(&self, replica: ReplicaId) -> Result<(), HostError> {
        let (sender, receiver) = oneshot::channel();
        self.place.logs.remove(replica, Box::new(move |outcome| drop(sender.send(outcome))));
        let closed = |_| Err(std::io::Error::other("the log was closed before it answered"));
        receiver.await.unwrap_or_else(closed).map_err(|error| log_error(replica, error))
    }

    fn forget_records(&self, replica: ReplicaId) -> Result<(), HostError> {
        let kinds = [APPLIED, MEMBERSHIP, DESCRIPTOR, SESSION, INSTALLING, JOBS, RESIDENT];
        let mut changes = vec![(key(REMOVED, replica), Some(bytes::Bytes::new()))];
        for kind in kinds {
            let found = self.place.store.records(&key(kind, replica))?;
            changes.extend(found.into_iter().map(|(key, _)| (key, None)));
        }
        let removed = self.place.store.records(&[REMOVED])?;
        let surplus = (removed.len() + 1).saturating_sub(REMEMBERED);
        changes.extend(removed.into_iter().take(surplus).map(|(key, _)| (key, None)));
        self.record(changes)
    }
}

fn log_error(replica: ReplicaId, source: std::io::Error) -> HostError {
    HostError::Log { replica, source }
}

/// The parts of a range that are in none of the others.
fn without(range: KeyRange, mut others: Vec<KeyRange>) -> Vec<KeyRange> {
    others.retain(|other| other.overlaps(&range));
    others.sort_by(|left, right| left.start().cmp(right.start()));
    let (mut parts, mut from) = (Vec::new(), range.start().to_vec());
    for other in &others {
        if from.as_slice() < other.start() {
            parts.extend(KeyRange::new(from.clone(), other.start()));
        }
        match other.end() {
            None => return parts,
            Some(end) if end > from.as_slice() => from = end.to_vec(),
            Some(_) => {}
        }
    }
    if range.end().is_none_or(|end| from.as_slice() < end) {
        parts.extend(KeyRange::new(from, range.end().unwrap_or_default()));
    }
    parts
}

#[cfg(test)]
#[path = "removal_test.rs"]
mod tests;
