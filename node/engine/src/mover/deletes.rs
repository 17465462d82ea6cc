//! What moves leave behind in the tier that they empty until it is compacted: deletes, and the bytes that these hide.
//!
//! Seeks over a pile of deletes were seen 90,000 times slower, and hidden bytes count as used: a tier over its watermark
//! would be emptied on and on. One move of a policy is small, many of them are not: what counts is the sum since the last
//! compaction.

use crate::range::KeyRange;

/// After so many deletes of single keys their ranges are compacted ...
const ENOUGH: u64 = 8 << 10;
/// ... and after this part of the tier's capacity, but at most so many bytes: closing waits for a compaction.
const ENOUGH_OF_TIER: u64 = 32;
const ENOUGH_BYTES: u64 = 1 << 30;
/// Ranges remembered at most; more are compacted sooner.
const MAX_RANGES: usize = 64;

/// What one move left behind.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Left {
    /// Deletes of single keys; none where whole ranges were dropped.
    pub(crate) deletes: u64,
    /// Bytes that these or a dropped range hide.
    pub(crate) bytes: u64,
}

/// What moves left in one tier since its last compaction, and where.
#[derive(Debug, Default)]
pub(crate) struct Deletes {
    left: Left,
    ranges: Vec<KeyRange>,
}

impl Deletes {
    /// Notes what a move left in a range of a tier. Returns what is to be compacted now.
    pub(crate) fn note(&mut self, range: &KeyRange, left: Left, capacity: u64) -> Vec<KeyRange> {
        if left.deletes == 0 && left.bytes == 0 {
            return Vec::new();
        }
        self.left.deletes += left.deletes;
        self.left.bytes += left.bytes;
        self.ranges.push(range.clone());
        if self.ranges.len() > MAX_RANGES {
            self.ranges = joined(std::mem::take(&mut self.ranges));
        }
        let enough_bytes = (capacity / ENOUGH_OF_TIER).min(ENOUGH_BYTES);
        let due = self.left.deletes >= ENOUGH || self.left.bytes >= enough_bytes || self.ranges.len() > MAX_RANGES;
        if due { self.take() } else { Vec::new() }
    }

    /// All that was noted, to be compacted now; neighbouring ranges come as one.
    pub(crate) fn take(&mut self) -> Vec<KeyRange> {
        self.left = Left::default();
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

    const ROOMY: u64 = 1 << 40;

    fn keys(deletes: u64) -> Left {
        Left { deletes, bytes: 0 }
    }

    #[test]
    fn many_small_moves_are_compacted_together_and_neighbours_as_one() {
        let mut deletes = Deletes::default();
        assert!(deletes.note(&range("c", "d"), keys(ENOUGH / 2), ROOMY).is_empty());
        assert!(deletes.note(&range("a", "b"), keys(0), ROOMY).is_empty());
        assert!(deletes.note(&range("d", "e"), keys(1), ROOMY).is_empty());
        let due = deletes.note(&range("x", ""), keys(ENOUGH / 2), ROOMY);
        assert_eq!(due, [range("c", "e"), range("x", "")]);
        assert!(deletes.note(&range("c", "d"), keys(ENOUGH - 1), ROOMY).is_empty());
    }

    #[test]
    fn few_deletes_that_hide_much_of_a_tier_are_compacted_too() {
        let (mut deletes, capacity) = (Deletes::default(), 64 << 20);
        let megabyte = Left { deletes: 1, bytes: 1 << 20 };
        assert!(deletes.note(&range("a", "b"), megabyte, capacity).is_empty());
        assert_eq!(deletes.note(&range("b", "c"), megabyte, capacity), [range("a", "c")]);
        // As much again, and no sooner.
        assert!(deletes.note(&range("c", "d"), Left { deletes: 0, ..megabyte }, capacity).is_empty());
        assert_eq!(deletes.take(), [range("c", "d")]);
        assert!(deletes.note(&range("d", "e"), megabyte, capacity).is_empty());
    }

    #[test]
    fn scattered_moves_are_compacted_before_too_many_ranges_are_remembered() {
        let mut deletes = Deletes::default();
        let due =
            (0..=MAX_RANGES).map(|n| deletes.note(&range(&format!("{n:04}a"), &format!("{n:04}b")), keys(1), ROOMY));
        assert_eq!(due.map(|due| due.len()).max(), Some(MAX_RANGES + 1));
        assert!(deletes.ranges.is_empty());
    }

    #[test]
    fn a_range_within_another_does_not_shorten_it() {
        assert_eq!(joined(vec![range("a", ""), range("b", "c")]), [range("a", "")]);
        assert_eq!(joined(vec![range("a", "d"), range("b", "c"), range("e", "f")]), [range("a", "d"), range("e", "f")]);
    }
}
