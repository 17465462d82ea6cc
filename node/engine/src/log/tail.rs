//! The recent entries of one group, in memory: what replicating reads, and what is not durable yet.
//!
//! The tail always reaches up to the last entry of the group. An entry that is not durable is *pinned*: it stays until its batch
//! is synced, so that everything below the tail can be read from RocksDB. Durable entries are evicted by size, oldest first; how
//! far is decided for all groups together by [`fair_level`].

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

/// What an entry takes beside its bytes.
const ENTRY_OVERHEAD_BYTES: usize = size_of::<Bytes>();

/// The tail of one group.
#[derive(Debug, Default)]
pub(super) struct Tail {
    // Index of `entries[0]`; the index that comes next if there is none.
    start: u64,
    entries: VecDeque<Bytes>,
    bytes: usize,
    // The first index of every append that is not durable yet, in the order of the appends.
    unsynced: VecDeque<u64>,
}

fn cost(entry: &Bytes) -> usize {
    entry.len() + ENTRY_OVERHEAD_BYTES
}

impl Tail {
    /// An empty tail before `next`.
    pub(super) fn new(next: u64) -> Self {
        Self { start: next, ..Self::default() }
    }

    /// The first index in memory.
    pub(super) fn start(&self) -> u64 {
        self.start
    }

    /// Bytes in memory.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds the entries of one append, which follow the last one, and pins them.
    pub(super) fn append(&mut self, first: u64, entries: &[Bytes]) {
        if self.entries.is_empty() {
            self.start = first;
        }
        self.unsynced.push_back(first);
        self.bytes += entries.iter().map(cost).sum::<usize>();
        self.entries.extend(entries.iter().cloned());
    }

    /// The oldest append is durable.
    pub(super) fn synced(&mut self) {
        self.unsynced.pop_front();
    }

    /// Removes `index` and everything after it.
    pub(super) fn truncate(&mut self, index: u64) {
        while self.start + self.entries.len() as u64 > index {
            match self.entries.pop_back() {
                Some(entry) => self.bytes -= cost(&entry),
                None => break,
            }
        }
        self.start = self.start.min(index);
    }

    /// Removes everything before `first`.
    pub(super) fn purge(&mut self, first: u64) {
        while self.start < first && self.drop_oldest() {}
        self.start = self.start.max(first);
    }

    /// Evicts the oldest durable entries until at most `level` bytes are left, or only pinned ones.
    pub(super) fn evict_to(&mut self, level: usize) {
        let pinned_from = self.unsynced.iter().copied().min().unwrap_or(u64::MAX);
        while self.bytes > level && self.start < pinned_from && self.drop_oldest() {}
    }

    fn drop_oldest(&mut self) -> bool {
        let Some(entry) = self.entries.pop_front() else { return false };
        self.bytes -= cost(&entry);
        self.start += 1;
        true
    }

    /// The entries from `index` on, none if it is before the tail.
    pub(super) fn from(&self, index: u64) -> impl Iterator<Item = (u64, &Bytes)> {
        let skip = index.checked_sub(self.start).and_then(|skip| usize::try_from(skip).ok()).unwrap_or(usize::MAX);
        (index..).zip(self.entries.iter().skip(skip))
    }
}

/// The memory that all tails may use together, and what they use.
#[derive(Debug)]
pub(super) struct TailBudget {
    limit: usize,
    used: AtomicUsize,
}

impl TailBudget {
    /// A budget of `limit` bytes, none used.
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, used: AtomicUsize::new(0) }
    }

    /// Changes a tail and takes account of the bytes it gained or lost.
    pub(super) fn change<R>(&self, tail: &mut Tail, change: impl FnOnce(&mut Tail) -> R) -> R {
        let before = tail.bytes;
        let result = change(tail);
        // Statistics and a threshold hang on the sum, no other memory does.
        if tail.bytes >= before {
            self.used.fetch_add(tail.bytes - before, Ordering::Relaxed);
        } else {
            self.used.fetch_sub(before - tail.bytes, Ordering::Relaxed);
        }
        result
    }

    /// Bytes used by all tails.
    pub(super) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Where the tails shall be cut down to together, if they are over the limit: an eighth below it, so that a cut, which looks
    /// at every group, is rare.
    pub(super) fn target(&self) -> Option<usize> {
        (self.used() > self.limit).then_some(self.limit - self.limit / 8)
    }
}

/// The level to which every tail has to be cut so that all together take at most `target` bytes: small tails stay whole and
/// the room they leave goes to the large ones.
pub(super) fn fair_level(mut sizes: Vec<usize>, target: usize) -> usize {
    sizes.sort_unstable();
    let mut left = target;
    let mut tails = sizes.len();
    for size in sizes {
        let share = left / tails;
        if size > share {
            return share;
        }
        left -= size;
        tails -= 1;
    }
    usize::MAX
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn entries(count: usize, bytes: usize) -> Vec<Bytes> {
        vec![Bytes::from(vec![0; bytes]); count]
    }

    fn indexes(tail: &Tail, from: u64) -> Vec<u64> {
        tail.from(from).map(|(index, _)| index).collect()
    }

    #[test]
    fn an_entry_that_is_not_durable_is_never_evicted() {
        let mut tail = Tail::new(0);
        tail.append(10, &entries(5, 100));
        tail.append(15, &entries(5, 100));
        tail.evict_to(0);
        assert_eq!(indexes(&tail, 10), (10..20).collect::<Vec<_>>());
        tail.synced();
        tail.evict_to(0);
        assert_eq!((tail.start(), indexes(&tail, 15)), (15, (15..20).collect()));
        tail.synced();
        tail.evict_to(0);
        assert_eq!((tail.start(), tail.bytes()), (20, 0));
    }

    #[test]
    fn entries_that_replace_truncated_ones_stay_pinned_after_the_truncated_ones_are_durable() {
        let mut tail = Tail::new(0);
        tail.append(10, &entries(10, 100));
        tail.truncate(15);
        tail.append(15, &entries(2, 100));
        tail.synced();
        tail.evict_to(0);
        assert_eq!(indexes(&tail, 15), [15, 16], "10 to 14 are durable and gone, the new 15 and 16 are not durable");
    }

    #[test]
    fn truncating_and_purging_keep_the_bytes_exact_and_the_start_right() {
        let mut tail = Tail::new(1);
        tail.append(1, &entries(10, 7));
        tail.purge(4);
        tail.truncate(9);
        assert_eq!(indexes(&tail, 4), [4, 5, 6, 7, 8]);
        assert_eq!(tail.bytes(), 5 * cost(&Bytes::from_static(&[0; 7])));
        assert!(indexes(&tail, 3).is_empty(), "an index before the tail is not answered from it");
        tail.truncate(2);
        assert_eq!((tail.start(), tail.bytes()), (2, 0), "a truncation below the tail empties it");
        tail.purge(100);
        assert_eq!(tail.start(), 100);
    }

    #[test]
    fn the_fair_level_keeps_small_tails_whole_and_fills_the_target() {
        assert_eq!(fair_level(vec![1, 2, 3], 10), usize::MAX);
        assert_eq!(fair_level(vec![100, 2, 100], 42), 20);
        assert_eq!(fair_level(vec![100, 100], 0), 0);
        let sizes = vec![5, 1000, 40, 700, 0, 63];
        let level = fair_level(sizes.clone(), 900);
        let kept: usize = sizes.iter().map(|size| size.min(&level)).sum();
        assert!(kept <= 900 && kept > 900 - sizes.len(), "{kept}");
    }
}
