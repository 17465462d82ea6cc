//! What a replica promised in an election it never takes back: it is synced before others are told.

use std::collections::BTreeMap;

use thermocline_shard::ReplicaId;

use super::{Held, Violation};

/// The promises of replicas.
#[derive(Debug, Default)]
pub struct Votes {
    /// The highest of each, as others were told.
    told: BTreeMap<ReplicaId, Promise>,
    /// What a crash leaves.
    synced: BTreeMap<ReplicaId, Promise>,
}

/// The term and the candidate or leader that a replica stands by.
pub type Promise = (u64, u64);

impl Votes {
    /// What a replica has promised so far.
    #[must_use]
    pub fn of(&self, replica: ReplicaId) -> Promise {
        self.told.get(&replica).copied().unwrap_or_default()
    }

    /// A replica's promise is safe from a crash.
    pub fn synced(&mut self, replica: ReplicaId, promise: Promise) {
        self.synced.insert(replica, promise);
    }

    /// A replica gives its vote, or takes entries. `before` is what it had promised when it was asked: an answer may come
    /// later than one to a later question.
    ///
    /// # Errors
    /// When it stood by a later one before it was asked, or this one is not synced.
    pub fn promised(&mut self, replica: ReplicaId, before: Promise, now: Promise) -> Held {
        let highest = self.told.entry(replica).or_default();
        *highest = now.max(*highest);
        if now < before {
            let said = format!("{replica} stood by (term, replica) {before:?}, and then by {now:?}");
            return Err(Violation::of("a promise is never taken back", said));
        }
        let synced = self.synced.get(&replica).copied().unwrap_or_default();
        if synced < now {
            let said = format!("{replica} stands by (term, replica) {now:?}, and {synced:?} is synced");
            return Err(Violation::of("a promise is synced before it is given", said));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_promise_that_is_forgotten_is_found() {
        let (mut votes, replica) = (Votes::default(), ReplicaId(1));
        for now in [(2, 7), (2, 8), (3, 1)] {
            votes.synced(replica, now);
            votes.promised(replica, votes.of(replica), now).unwrap();
        }
        assert_eq!(votes.of(ReplicaId(2)), (0, 0));
        // It was asked before it promised the later one.
        votes.promised(replica, (2, 8), (2, 8)).unwrap();
        assert!(votes.promised(replica, votes.of(replica), (2, 8)).is_err());
    }

    #[test]
    fn a_promise_that_is_given_before_it_is_synced_is_found() {
        let (mut votes, replica) = (Votes::default(), ReplicaId(1));
        votes.synced(replica, (2, 7));
        votes.promised(replica, votes.of(replica), (2, 7)).unwrap();
        assert!(votes.promised(replica, votes.of(replica), (3, 7)).is_err());
    }
}
