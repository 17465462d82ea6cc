//! What a replica applies is committed: synced on a quorum, the same everywhere, and there for ever.

use std::collections::{BTreeMap, BTreeSet};

use thermocline_shard::{ReplicaId, ShardId};

use super::{EntryId, Held, Violation};

/// The sets of voters: two while the members change, and a quorum is needed of each.
pub type Configs = Vec<BTreeSet<ReplicaId>>;

/// Whether these are a quorum.
#[must_use]
pub fn on_quorum(configs: &Configs, holders: &BTreeSet<ReplicaId>) -> bool {
    let majority = |voters: &BTreeSet<ReplicaId>| voters.intersection(holders).count() * 2 > voters.len();
    !configs.is_empty() && configs.iter().all(majority)
}

/// The entries that were applied by anybody.
#[derive(Debug, Default)]
pub struct Commits {
    committed: BTreeMap<(ShardId, u64), EntryId>,
    applied: BTreeMap<ReplicaId, u64>,
}

impl Commits {
    /// A replica applied an entry. `holders` have it synced; `configs` are the members that may have committed it, as its
    /// log says.
    ///
    /// # Errors
    /// When no quorum had it when it was first applied, or another one was applied there before.
    pub fn committed(
        &mut self,
        shard: ShardId,
        replica: ReplicaId,
        id: EntryId,
        holders: impl FnOnce() -> BTreeSet<ReplicaId>,
        configs: &[Configs],
    ) -> Held {
        if let Some(known) = self.committed.get(&(shard, id.index)) {
            if *known == id {
                return Ok(());
            }
            let said = format!("{replica} applied {id} of {shard} where another one applied {known}");
            return Err(Violation::of("what is committed stays", said));
        }
        self.committed.insert((shard, id.index), id);
        let holders = holders();
        if configs.is_empty() || configs.iter().any(|configs| on_quorum(configs, &holders)) {
            return Ok(());
        }
        let said = format!("{replica} applied {id} of {shard}, which only {holders:?} have synced, of {configs:?}");
        Err(Violation::of("committed on a quorum", said))
    }

    /// A replica is as far as an entry now.
    ///
    /// # Errors
    /// When it was farther.
    pub fn advanced(&mut self, replica: ReplicaId, to: u64) -> Held {
        let before = self.applied.insert(replica, to);
        if before.is_none_or(|before| before <= to) {
            return Ok(());
        }
        let said = format!("{replica} had applied entry {} and is at entry {to}", before.unwrap_or_default());
        Err(Violation::of("applied only grows", said))
    }

    /// A power loss took a replica back to an entry; `None`: to its beginning.
    pub fn went_back(&mut self, replica: ReplicaId, to: Option<u64>) {
        match to {
            Some(to) => drop(self.applied.insert(replica, to)),
            None => drop(self.applied.remove(&replica)),
        }
    }

    /// How far a replica is.
    #[must_use]
    pub fn applied(&self, replica: ReplicaId) -> Option<u64> {
        self.applied.get(&replica).copied()
    }

    /// What was committed at an index.
    #[must_use]
    pub fn at(&self, shard: ShardId, index: u64) -> Option<EntryId> {
        self.committed.get(&(shard, index)).copied()
    }

    /// The first committed entry of a shard that a log lacks behind what it let go, up to the last one there is.
    #[must_use]
    pub fn lacked_by(&self, shard: ShardId, has: impl Fn(EntryId) -> bool) -> Option<EntryId> {
        let of_shard = self.committed.range((shard, 0)..=(shard, u64::MAX));
        of_shard.map(|(_, id)| *id).find(|id| !has(*id))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn set(of: &[u64]) -> BTreeSet<ReplicaId> {
        of.iter().copied().map(ReplicaId).collect()
    }

    const fn id(term: u64, index: u64) -> EntryId {
        EntryId { term, leader: 1, index }
    }

    #[test]
    fn a_quorum_is_needed_of_both_sets_while_members_change() {
        let joint = vec![set(&[1, 2, 3]), set(&[3, 4, 5])];
        assert!(on_quorum(&joint, &set(&[1, 3, 4])));
        assert!(!on_quorum(&joint, &set(&[1, 2, 3])));
        assert!(!on_quorum(&vec![set(&[1, 2])], &set(&[1])));
        assert!(!on_quorum(&Vec::new(), &set(&[1])), "nobody is no quorum");
    }

    #[test]
    fn an_entry_that_is_applied_before_a_quorum_has_it_is_found() {
        let mut commits = Commits::default();
        let three = [vec![set(&[1, 2, 3])]];
        let mut apply = |id, holders: &[u64]| commits.committed(ShardId(1), ReplicaId(1), id, || set(holders), &three);
        apply(id(1, 1), &[1, 2]).unwrap();
        assert_eq!(apply(id(1, 2), &[1]).unwrap_err().invariant, "committed on a quorum");
    }

    #[test]
    fn another_entry_in_the_place_of_a_committed_one_is_found() {
        let mut commits = Commits::default();
        let three = [vec![set(&[1, 2, 3])]];
        let mut apply = |replica, id| commits.committed(ShardId(1), ReplicaId(replica), id, || set(&[1, 2]), &three);
        apply(1, id(1, 1)).unwrap();
        apply(2, id(1, 1)).unwrap();
        assert_eq!(apply(3, id(2, 1)).unwrap_err().invariant, "what is committed stays");
    }

    #[test]
    fn a_leader_that_lacks_a_committed_entry_is_found() {
        let mut commits = Commits::default();
        for index in 1..4 {
            commits.committed(ShardId(1), ReplicaId(1), id(1, index), || set(&[1, 2]), &[vec![set(&[1])]]).unwrap();
        }
        assert_eq!(commits.lacked_by(ShardId(1), |id| id.index < 3), Some(id(1, 3)));
        assert_eq!(commits.lacked_by(ShardId(1), |_| true), None);
        assert_eq!(commits.lacked_by(ShardId(2), |_| false), None);
    }

    #[test]
    fn a_replica_that_goes_back_without_a_power_loss_is_found() {
        let mut commits = Commits::default();
        commits.advanced(ReplicaId(1), 5).unwrap();
        commits.went_back(ReplicaId(1), Some(3));
        commits.advanced(ReplicaId(1), 4).unwrap();
        assert_eq!(commits.advanced(ReplicaId(1), 3).unwrap_err().invariant, "applied only grows");
    }
}
