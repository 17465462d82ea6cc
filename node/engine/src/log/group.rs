//! One group's log as its callers see it: what was accepted, durable or not. Pure, no I/O.
//!
//! A request is decided here, under the group's lock, and queued before the lock is released; so the order in which a group's
//! requests were decided is the order in which they are written.

use std::collections::BTreeMap;

use bytes::Bytes;
use parking_lot::Mutex;

use super::error::LogError;
use super::format::{GroupRecord, Purged, StateKey};
use super::tail::Tail;

/// One incarnation of a group.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) id: u64,
    pub(super) incarnation: u64,
    pub(super) state: Mutex<GroupState>,
}

/// Indexes that are to be removed: `from..end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) from: u64,
    pub(super) end: u64,
}

/// What the group's log is. `first == next` where it is empty.
#[derive(Debug)]
pub(super) struct GroupState {
    /// The group's record was queued: the group exists.
    pub(super) recorded: bool,
    /// The group was removed; whoever still holds this must look it up again.
    pub(super) removed: bool,
    pub(super) states: BTreeMap<StateKey, Bytes>,
    pub(super) tail: Tail,
    purged: Option<Purged>,
    first: u64,
    next: u64,
}

impl Group {
    /// A group without entries that is not recorded yet.
    pub(super) fn new(id: u64, incarnation: u64) -> Self {
        let state = GroupState {
            recorded: false,
            removed: false,
            states: BTreeMap::new(),
            tail: Tail::new(0),
            purged: None,
            first: 0,
            next: 0,
        };
        Self { id, incarnation, state: Mutex::new(state) }
    }

    /// A group as it was found on disk; `entries` are its first and last index.
    pub(super) fn recovered(
        id: u64,
        record: GroupRecord,
        states: BTreeMap<StateKey, Bytes>,
        entries: Option<(u64, u64)>,
    ) -> Self {
        let start = record.purged.as_ref().map_or(0, |purged| purged.index + 1);
        let (first, next) = entries.map_or((start, start), |(first, last)| (first, last + 1));
        let state = GroupState {
            recorded: true,
            removed: false,
            states,
            tail: Tail::new(next),
            purged: record.purged,
            first,
            next,
        };
        Self { id, incarnation: record.incarnation, state: Mutex::new(state) }
    }
}

impl GroupState {
    /// First and last index, `None` where there are no entries.
    pub(super) fn bounds(&self) -> Option<(u64, u64)> {
        (!self.is_empty()).then(|| (self.first, self.next - 1))
    }

    fn is_empty(&self) -> bool {
        self.first == self.next
    }

    /// Entries there are.
    pub(super) fn len(&self) -> u64 {
        self.next - self.first
    }

    /// What the last purge left behind.
    pub(super) fn purged(&self) -> Option<&Purged> {
        self.purged.as_ref()
    }

    /// Decides an append: the entries must follow each other and the last one. An empty log that was never purged takes any start.
    pub(super) fn append(
        &mut self,
        group: u64,
        entries: Vec<(u64, Bytes)>,
    ) -> Result<Option<(u64, Vec<Bytes>)>, LogError> {
        let Some(&(start, _)) = entries.first() else { return Ok(None) };
        let free_start = self.purged.is_none() && self.is_empty();
        let mut next = if free_start { start } else { self.next };
        for &(found, _) in &entries {
            if found != next {
                return Err(LogError::NotContiguous { group, expected: next, found });
            }
            next = found.checked_add(1).ok_or(LogError::IndexTooLarge { group })?;
        }
        if free_start {
            self.first = start;
        }
        self.next = next;
        let payloads: Vec<Bytes> = entries.into_iter().map(|(_, payload)| payload).collect();
        Ok(Some((start, payloads)))
    }

    /// Decides the removal of `index` and everything after it.
    pub(super) fn truncate(&mut self, group: u64, index: u64) -> Result<Option<Span>, LogError> {
        if let Some(purged) = self.purged.as_ref().filter(|purged| index <= purged.index) {
            return Err(LogError::TruncatesPurged { group, index, purged: purged.index });
        }
        let span = Span { from: index.max(self.first), end: self.next };
        if span.from >= span.end {
            return Ok(None);
        }
        self.next = span.from;
        Ok(Some(span))
    }

    /// Decides the removal of everything up to `index`, also of what is not there yet: the next entry is then `index + 1`.
    /// Nothing to do where that much is purged already or was never there. The span, if there is one, are the entries that go.
    pub(super) fn purge(&mut self, group: u64, index: u64, mark: Bytes) -> Result<Option<Option<Span>>, LogError> {
        if self.purged.as_ref().is_some_and(|purged| index <= purged.index) {
            return Ok(None);
        }
        let first = index.checked_add(1).ok_or(LogError::IndexTooLarge { group })?;
        // A log that began later has nothing there, and would have a gap behind the purged index.
        if !self.is_empty() && first < self.first {
            return Ok(None);
        }
        let span = Span { from: self.first, end: first.min(self.next) };
        // An empty log that may start anywhere keeps no start of its own.
        self.next = if self.is_empty() { first } else { self.next.max(first) };
        self.purged = Some(Purged { index, mark });
        self.first = first;
        Ok(Some((span.from < span.end).then_some(span)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn group() -> GroupState {
        Group::new(1, 1).state.into_inner()
    }

    fn entries(range: std::ops::Range<u64>) -> Vec<(u64, Bytes)> {
        range.map(|index| (index, Bytes::new())).collect()
    }

    #[test]
    fn an_append_with_a_gap_is_refused_and_changes_nothing() {
        let mut group = group();
        group.append(1, entries(5..8)).unwrap();
        assert!(matches!(group.append(1, entries(9..10)), Err(LogError::NotContiguous { expected: 8, found: 9, .. })));
        let mut torn = entries(8..12);
        torn.remove(2);
        assert!(matches!(group.append(1, torn), Err(LogError::NotContiguous { expected: 10, found: 11, .. })));
        assert!(matches!(group.append(1, entries(7..8)), Err(LogError::NotContiguous { .. })), "overwriting");
        assert_eq!(group.bounds(), Some((5, 7)));
        assert!(matches!(
            group.append(1, vec![(8, Bytes::new()), (u64::MAX, Bytes::new())]),
            Err(LogError::NotContiguous { .. })
        ));
    }

    #[test]
    fn a_truncated_log_goes_on_where_it_was_cut_and_never_below_the_purged_index() {
        let mut group = group();
        group.append(1, entries(1..11)).unwrap();
        assert_eq!(group.truncate(1, 6).unwrap(), Some(Span { from: 6, end: 11 }));
        assert_eq!(group.truncate(1, 6).unwrap(), None);
        assert!(group.append(1, entries(7..8)).is_err());
        group.append(1, entries(6..8)).unwrap();
        group.purge(1, 3, Bytes::new()).unwrap();
        assert!(matches!(group.truncate(1, 3), Err(LogError::TruncatesPurged { purged: 3, .. })));
        assert_eq!(group.truncate(1, 4).unwrap(), Some(Span { from: 4, end: 8 }));
        assert_eq!(group.bounds(), None);
        assert!(group.append(1, entries(5..6)).is_err(), "a purged log has no free start");
        group.append(1, entries(4..5)).unwrap();
    }

    #[test]
    fn a_purge_before_a_log_that_began_later_leaves_no_gap() {
        let mut group = group();
        group.append(1, entries(5..8)).unwrap();
        assert_eq!(group.purge(1, 3, Bytes::new()).unwrap(), None);
        assert_eq!(group.purged(), None);
        assert_eq!(
            group.purge(1, 4, Bytes::new()).unwrap(),
            Some(None),
            "right before the first entry: only remembered"
        );
        assert_eq!((group.bounds(), group.purged().unwrap().index), (Some((5, 7)), 4));
    }

    #[test]
    fn a_purge_below_a_log_that_was_emptied_leaves_it_empty() {
        let mut group = group();
        group.append(1, entries(5..8)).unwrap();
        group.truncate(1, 0).unwrap();
        assert_eq!(group.purge(1, 2, Bytes::new()).unwrap(), Some(None));
        assert_eq!((group.bounds(), group.len()), (None, 0));
        group.append(1, entries(3..4)).unwrap();
    }

    #[test]
    fn a_purge_beyond_the_end_moves_the_end_and_a_smaller_one_does_nothing() {
        let mut group = group();
        group.append(1, entries(1..4)).unwrap();
        assert_eq!(group.purge(1, 10, Bytes::from_static(b"a")).unwrap(), Some(Some(Span { from: 1, end: 4 })));
        assert_eq!(group.bounds(), None);
        assert_eq!(group.purge(1, 9, Bytes::from_static(b"b")).unwrap(), None);
        assert_eq!(group.purged(), Some(&Purged { index: 10, mark: Bytes::from_static(b"a") }));
        assert!(group.append(1, entries(4..5)).is_err());
        group.append(1, entries(11..12)).unwrap();
        assert!(matches!(group.purge(1, u64::MAX, Bytes::new()), Err(LogError::IndexTooLarge { .. })));
        assert_eq!(group.purge(1, 10, Bytes::new()).unwrap(), None);
    }
}
