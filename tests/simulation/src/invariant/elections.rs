//! One leader per election. openraft's leader ids are (term, replica), totally ordered: two replicas may lead in one term, one
//! after the other, and count as two elections. What must never be is one that is won twice: entries are named by it.

use std::collections::BTreeMap;

use thermocline_shard::{ReplicaId, ShardId};

use super::{Held, Violation};

/// The elections there were.
#[derive(Debug, Default)]
pub struct Elections {
    /// By shard, term and winner: the run of the process that won.
    won: BTreeMap<(ShardId, u64, ReplicaId), u32>,
}

impl Elections {
    /// A replica leads, in the `boot`-th run of its node's process.
    ///
    /// # Errors
    /// When it led in the same term before its process died: it may have named entries that it no longer has.
    pub fn leads(&mut self, shard: ShardId, term: u64, replica: ReplicaId, boot: u32) -> Held {
        let first = *self.won.entry((shard, term, replica)).or_insert(boot);
        if first == boot {
            return Ok(());
        }
        let said = format!("{replica} leads {shard} in term {term} again, which it won before its process died");
        Err(Violation::of("one leader per election", said))
    }

    /// How many there were.
    #[must_use]
    pub fn count(&self) -> usize {
        self.won.len()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_election_that_is_won_again_after_a_crash_is_found() {
        let mut elections = Elections::default();
        let mut leads = |term, replica, boot| elections.leads(ShardId(1), term, ReplicaId(replica), boot);
        leads(3, 1, 1).unwrap();
        leads(3, 1, 1).unwrap();
        leads(3, 2, 1).unwrap();
        leads(4, 1, 2).unwrap();
        assert_eq!(leads(3, 1, 2).unwrap_err().invariant, "one leader per election");
        assert_eq!(elections.count(), 3);
    }
}
