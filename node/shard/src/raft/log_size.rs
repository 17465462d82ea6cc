//! How many bytes a log has, and how many behind an entry: one figure for each part of it, so what it takes in memory hangs on
//! bytes, not on entries. Inside of a part bytes are taken to be spread evenly. Pure.

use std::collections::VecDeque;

/// A part is closed at so many bytes ...
const PART_BYTES: u64 = 256 << 10;
/// ... or entries.
const PART_ENTRIES: u64 = 1024;
/// What an entry takes beside its bytes.
const ENTRY_OVERHEAD: u64 = 64;

/// The bytes of a log, by its entries.
#[derive(Debug, Default)]
pub struct LogSizes {
    parts: VecDeque<Part>,
    /// The index behind the last entry.
    next: u64,
    total: u64,
}

/// Entries from `first` up to where the next part begins.
#[derive(Debug, Clone, Copy)]
struct Part {
    first: u64,
    bytes: u64,
}

impl LogSizes {
    /// A log that was found, of entries of `each` bytes as far as is known.
    pub(super) fn found(first: u64, last: u64, each: u64) -> Self {
        let mut sizes = Self::default();
        let mut at = first;
        while at <= last {
            let entries = PART_ENTRIES.min(last - at + 1);
            let bytes = entries * (each + ENTRY_OVERHEAD);
            sizes.parts.push_back(Part { first: at, bytes });
            sizes.total += bytes;
            at += entries;
        }
        sizes.next = last + 1;
        sizes
    }

    /// An entry was appended.
    pub(super) fn append(&mut self, index: u64, bytes: usize) {
        let bytes = bytes as u64 + ENTRY_OVERHEAD;
        let open = |part: &&mut Part| part.bytes < PART_BYTES && index - part.first < PART_ENTRIES;
        match self.parts.back_mut().filter(open) {
            Some(part) => part.bytes += bytes,
            None => self.parts.push_back(Part { first: index, bytes }),
        }
        self.next = index + 1;
        self.total += bytes;
    }

    /// The entries from `from` on were removed.
    pub(super) fn truncate(&mut self, from: u64) {
        while self.parts.back().is_some_and(|part| part.first >= from) {
            self.total -= self.parts.pop_back().map_or(0, |part| part.bytes);
        }
        if let Some(part) = self.parts.back_mut() {
            let kept = share(*part, self.next, part.first, from);
            self.total -= part.bytes - kept;
            part.bytes = kept;
        }
        self.next = self.next.min(from);
    }

    /// The entries up to `upto` were removed.
    pub(super) fn purge(&mut self, upto: u64) {
        while let Some(part) = self.parts.front_mut() {
            let part = *part;
            let end = self.parts.get(1).map_or(self.next, |behind| behind.first);
            if part.first > upto {
                break;
            }
            self.parts.pop_front();
            let kept = share(part, end, (upto + 1).min(end), end);
            self.total -= part.bytes - kept;
            if upto + 1 < end {
                self.parts.push_front(Part { first: upto + 1, bytes: kept });
                break;
            }
        }
        self.next = self.next.max(upto + 1);
    }

    /// All of them.
    pub(super) const fn total(&self) -> u64 {
        self.total
    }

    /// Those of the entries behind `index`.
    pub(super) fn behind(&self, index: u64) -> u64 {
        let (mut end, mut bytes) = (self.next, 0);
        for part in self.parts.iter().rev() {
            if part.first <= index {
                return bytes + share(*part, end, (index + 1).min(end), end);
            }
            bytes += part.bytes;
            end = part.first;
        }
        bytes
    }
}

/// What the entries `from..to` have of a part that ends before `end`.
fn share(part: Part, end: u64, from: u64, to: u64) -> u64 {
    let (entries, wanted) = (end.saturating_sub(part.first).max(1), to.saturating_sub(from));
    u64::try_from(u128::from(part.bytes) * u128::from(wanted) / u128::from(entries))
        .unwrap_or(part.bytes)
        .min(part.bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Change {
        Append(usize),
        /// Of what there is, in percent.
        Truncate(u64),
        Purge(u64),
    }

    fn change() -> impl Strategy<Value = Change> {
        prop_oneof![
            20 => (0..40_000_usize).prop_map(Change::Append),
            1 => (0..130_u64).prop_map(Change::Truncate),
            2 => (0..130_u64).prop_map(Change::Purge),
        ]
    }

    /// So far into a log of which `next` comes next.
    fn at(log: &VecDeque<(u64, u64)>, next: u64, percent: u64) -> u64 {
        log.front().map_or(next, |(first, _)| first + log.len() as u64 * percent / 100)
    }

    proptest! {
        /// Two parts of the log, that of the index and the one that was cut, are known by what they have on average.
        #[test]
        fn the_bytes_behind_an_entry_are_those_of_the_log_but_for_the_parts_at_its_ends(
            changes in proptest::collection::vec(change(), 1..400),
        ) {
            let (mut sizes, mut log, mut next) = (LogSizes::default(), VecDeque::new(), 1);
            for change in changes {
                match change {
                    Change::Append(bytes) => {
                        sizes.append(next, bytes);
                        log.push_back((next, bytes as u64 + ENTRY_OVERHEAD));
                        next += 1;
                    }
                    Change::Truncate(percent) if at(&log, next, percent) < next => {
                        next = at(&log, next, percent);
                        sizes.truncate(next);
                        log.retain(|(index, _)| *index < next);
                    }
                    Change::Truncate(_) => {}
                    Change::Purge(percent) => {
                        let upto = at(&log, next, percent);
                        sizes.purge(upto);
                        log.retain(|(index, _)| *index > upto);
                        next = next.max(upto + 1);
                    }
                }
                let error = 3 * (PART_BYTES + 40_000);
                prop_assert!(sizes.total().abs_diff(log.iter().map(|(_, bytes)| bytes).sum()) <= error);
                prop_assert!(!log.is_empty() || sizes.total() == 0);
                let middle = at(&log, next, 50);
                let behind: u64 = log.iter().filter(|(index, _)| *index > middle).map(|(_, bytes)| bytes).sum();
                prop_assert!(sizes.behind(middle).abs_diff(behind) <= error);
                prop_assert_eq!(sizes.behind(next), 0);
                prop_assert_eq!(sizes.behind(0), sizes.total());
            }
        }
    }

    #[test]
    fn what_is_remembered_of_a_log_hangs_on_its_bytes_not_on_its_entries() {
        let mut sizes = LogSizes::default();
        for index in 0..100_000 {
            sizes.append(index, 10);
        }
        assert!(sizes.parts.len() <= 100, "{}", sizes.parts.len());
        assert_eq!(sizes.total(), 100_000 * (10 + ENTRY_OVERHEAD));
    }

    #[test]
    fn a_log_that_was_found_has_what_its_entries_have_on_average() {
        let sizes = LogSizes::found(11, 5010, 100);
        assert_eq!(sizes.total(), 5000 * (100 + ENTRY_OVERHEAD));
        assert_eq!(sizes.behind(5000), 10 * (100 + ENTRY_OVERHEAD));
        assert_eq!(LogSizes::found(5, 4, 1).total(), 0);
    }
}
