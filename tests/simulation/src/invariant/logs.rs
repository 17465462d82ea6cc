//! Logs of one shard: where two have an entry of the same name, they are equal up to there.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use thermocline_proto::replica::v1 as wire;
use thermocline_shard::{ReplicaId, ShardId};

use super::{Held, Violation};

/// The name of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct EntryId {
    /// The term in which it was made ...
    pub term: u64,
    /// ... and the replica that led.
    pub leader: u64,
    /// Its place in the log.
    pub index: u64,
}

impl From<&wire::LogId> for EntryId {
    fn from(id: &wire::LogId) -> Self {
        Self { term: id.term, leader: id.leader, index: id.index }
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "entry {} of term {} and replica {}", self.index, self.term, self.leader)
    }
}

/// What is known of one replica's log.
#[derive(Debug, Clone, Default)]
pub struct Mirror {
    /// The entries' names.
    pub entries: BTreeMap<u64, EntryId>,
    /// The last one that was let go.
    pub purged: Option<EntryId>,
}

impl Mirror {
    /// The entry before an index, where it is known.
    #[must_use]
    pub fn before(&self, index: u64) -> Option<EntryId> {
        let purged = self.purged.filter(|purged| purged.index + 1 == index);
        self.entries.get(&index.checked_sub(1)?).copied().or(purged)
    }

    /// Whether the log has or had an entry.
    #[must_use]
    pub fn has(&self, id: EntryId) -> bool {
        self.entries.get(&id.index) == Some(&id) || self.purged.is_some_and(|purged| purged.index >= id.index)
    }

    /// The last entry that goes, where everything up to an index is let go.
    #[must_use]
    pub fn last_until(&self, index: u64) -> Option<EntryId> {
        self.entries.range(..=index).next_back().map(|(_, id)| *id)
    }

    /// Lets go of everything up to an entry.
    pub fn purge(&mut self, upto: EntryId) {
        if self.purged.is_none_or(|purged| purged.index < upto.index) {
            self.entries = self.entries.split_off(&(upto.index + 1));
            self.purged = Some(upto);
        }
    }
}

/// All entries that were ever in a log.
#[derive(Debug, Default)]
pub struct LogMatching {
    /// Of each its content and the one before it, where that is known.
    known: BTreeMap<(ShardId, EntryId), (u64, Option<EntryId>)>,
}

impl LogMatching {
    /// A log has an entry, behind another one.
    ///
    /// # Errors
    /// When a log of the shard had an entry of that name with another content, or behind another one.
    pub fn appended(&mut self, shard: ShardId, id: EntryId, content: u64, before: Option<EntryId>) -> Held {
        let (known, behind) = self.known.entry((shard, id)).or_insert((content, before));
        let matches = *known == content && (before.is_none() || behind.is_none() || *behind == before);
        *behind = behind.or(before);
        if matches {
            return Ok(());
        }
        let said = format!("two logs of {shard} differ up to {id}, which both have");
        Err(Violation::of("log matching", said))
    }
}

/// An entry goes from a witness's log for good: every data replica that votes has it, or what came of it.
///
/// # Errors
/// When one does not: it may be the only copy.
pub fn before_all(witness: ReplicaId, last: EntryId, lacking: &BTreeSet<ReplicaId>) -> Held {
    let Some(one) = lacking.first() else { return Ok(()) };
    let said = format!("{witness} let go of {last}, which {one} has not got yet");
    Err(Violation::of("a witness keeps what a data replica lacks", said))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const fn id(term: u64, index: u64) -> EntryId {
        EntryId { term, leader: 1, index }
    }

    #[test]
    fn two_entries_of_one_name_are_found_by_content_and_by_what_is_before_them() {
        let mut logs = LogMatching::default();
        let shard = ShardId(1);
        logs.appended(shard, id(1, 1), 10, None).unwrap();
        logs.appended(shard, id(1, 2), 20, Some(id(1, 1))).unwrap();
        logs.appended(shard, id(1, 2), 20, None).unwrap();
        logs.appended(ShardId(2), id(1, 2), 21, None).unwrap();
        assert_eq!(logs.appended(shard, id(1, 2), 21, Some(id(1, 1))).unwrap_err().invariant, "log matching");
        assert_eq!(logs.appended(shard, id(1, 2), 20, Some(id(0, 1))).unwrap_err().invariant, "log matching");
    }

    #[test]
    fn a_mirror_knows_what_was_let_go() {
        let mut mirror = Mirror { entries: (1..6).map(|index| (index, id(1, index))).collect(), purged: None };
        assert_eq!(mirror.last_until(3), Some(id(1, 3)));
        mirror.purge(id(1, 3));
        assert!(mirror.has(id(1, 2)) && mirror.has(id(1, 5)) && !mirror.has(id(1, 6)));
        assert_eq!((mirror.before(4), mirror.before(3)), (Some(id(1, 3)), None));
        assert_eq!(mirror.last_until(3), None);
    }

    #[test]
    fn a_witness_that_lets_go_of_the_only_copy_is_found() {
        let witness = ReplicaId(3);
        before_all(witness, id(1, 4), &BTreeSet::new()).unwrap();
        assert!(before_all(witness, id(1, 4), &BTreeSet::from([ReplicaId(2)])).is_err());
    }
}
