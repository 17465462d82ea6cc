//! The deletes that moves leave in the fastest tier until they are compacted away.
//!
//! Seeks over a pile of deletes were seen 90,000 times slower. One move of a policy is small, many of them are not: what
//! counts is the sum since the last compaction.

use crate::range::KeyRange;

/// After so many deletes their ranges are compacted.
const ENOUGH: u64 = 8 << 10;
/// Ranges remembered at most; more are compacted sooner.
const MAX_RANGES: usize = 64;

/// Deletes since the last compaction and where they are.
#[derive(Debug, Default)]
pub(crate) struct Deletes {
    count: u64,
    ranges: Vec<KeyRange>,
}

impl Deletes {
    /// Notes deletes in a range. Returns what is to be compacted now; neighbouring ranges come as one.
    pub(crate) fn note(&mut self, range: &KeyRange, count: u64) -> Vec<KeyRange> {
        if count == 0 {
            return Vec::new();
        }
        self.count += count;
        self.ranges.push(range.clone());
        if self.ranges.len() > MAX_RANGES {
            self.ranges = joined(std::mem::take(&mut self.ranges));
        }
        if self.count < ENOUGH && self.ranges.len() <= MAX_RANGES {
            return Vec::new();
        }
        self.count = 0;
        joined(std::mem::take(&mut self.ranges))
    }
}

/// The same keys in ranges that neither overlap nor touch.
fn joined(mut ranges: Vec<KeyRange>) -> Vec<KeyRange> {
    ranges.sort_by(|a, b| a.start().cmp(b.start()));
    let mut joined: Vec<KeyRange> = Vec::new();
    for range in ranges {
        let touching = joined.last_mut().filter(|last| last.end().is_none_or(|end| range.start() <= end));
        match touching {
            None => joined.push(range),
            Some(last) => *last = last.extended_to(&range),
        }
    }
    joined
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn range(start: &str, end: &str) -> KeyRange {
        KeyRange::new(start, end).unwrap()
    }

    #[test]
    fn many_small_moves_are_compacted_together_and_neighbours_as_one() {
        let mut deletes = Deletes::default();
        assert!(deletes.note(&range("c", "d"), ENOUGH / 2).is_empty());
        assert!(deletes.note(&range("a", "b"), 0).is_empty());
        assert!(deletes.note(&range("d", "e"), 1).is_empty());
        let due = deletes.note(&range("x", ""), ENOUGH / 2);
        assert_eq!(due, [range("c", "e"), range("x", "")]);
        assert!(deletes.note(&range("c", "d"), ENOUGH - 1).is_empty());
    }

    #[test]
    fn scattered_moves_are_compacted_before_too_many_ranges_are_remembered() {
        let mut deletes = Deletes::default();
        let due = (0..=MAX_RANGES).map(|n| deletes.note(&range(&format!("{n:04}a"), &format!("{n:04}b")), 1));
        assert_eq!(due.map(|due| due.len()).max(), Some(MAX_RANGES + 1));
        assert!(deletes.ranges.is_empty());
    }

    #[test]
    fn a_range_within_another_does_not_shorten_it() {
        assert_eq!(joined(vec![range("a", ""), range("b", "c")]), [range("a", "")]);
        assert_eq!(joined(vec![range("a", "d"), range("b", "c"), range("e", "f")]), [range("a", "d"), range("e", "f")]);
    }
}
