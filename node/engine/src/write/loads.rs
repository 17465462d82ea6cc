//! The sorted bulk loads under way, and what was changed since they began.
//!
//! The records of a load have its version, taken when it begins. At its end it is refused if something in its range was
//! changed since, or versions would go backwards. The store does not show that cheaply: it would have to be read from the
//! load's first key to its last, while writers are kept out, and a delete may have left nothing to read. So changes are
//! noted while a load is under way. Nothing of it is stored: a load does not outlive its process.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::guard::Guard;
use crate::range::KeyRange;

/// Keys that are remembered; where there are more, only so much of each that there are half as many beginnings.
const MAX_KEYS: usize = 4096;
/// Ranges that are remembered one by one.
const MAX_RANGES: usize = 256;

/// What was changed, each with the version of its last change.
#[derive(Debug)]
struct Changes {
    keys: BTreeMap<Bytes, u64>,
    /// So many bytes are remembered of a key: what is as long stands for every key that begins so.
    length: usize,
    ranges: Vec<(KeyRange, u64)>,
}

/// The sorted loads under way.
#[derive(Debug, Default)]
pub(crate) struct Loads {
    /// How many: mostly none, then nothing is noted.
    open: AtomicUsize,
    changes: Mutex<Changes>,
}

impl Loads {
    /// A load begins. Called before it takes its version: who writes with a higher one sees it.
    pub(crate) fn begin(&self) {
        let _changes = self.changes.lock();
        self.open.fetch_add(1, Ordering::SeqCst);
    }

    /// A load has ended.
    pub(crate) fn end(&self) {
        let mut changes = self.changes.lock();
        if self.open.fetch_sub(1, Ordering::SeqCst) == 1 {
            *changes = Changes::default();
        }
    }

    /// Notes a write or a delete. Called under the key's stripe, with the version taken in it.
    pub(crate) fn note(&self, key: &[u8], version: u64) {
        if self.open.load(Ordering::SeqCst) > 0 {
            self.changes.lock().note(key, version);
        }
    }

    /// Notes that records of versions up to this one come into a range. Called behind its fence, before they do.
    pub(crate) fn note_range(&self, range: &KeyRange, version: u64) {
        if self.open.load(Ordering::SeqCst) > 0 {
            self.changes.lock().note_range(range, version);
        }
    }

    /// Where in a range something was changed after this version, or may have been. Asked behind the range's fence: who
    /// changed something before has noted it.
    pub(crate) fn changed_since(&self, range: &KeyRange, version: u64) -> Option<KeyRange> {
        if !Guard::LoadSeesChanges.on() {
            return None;
        }
        let changes = self.changes.lock();
        let by_key = changes.keys.iter().filter(|(_, at)| **at > version).map(|(key, _)| changes.meant(key));
        let by_range = changes.ranges.iter().filter(|(_, at)| *at > version).map(|(changed, _)| changed.clone());
        by_key.chain(by_range).find(|changed| changed.overlaps(range))
    }
}

impl Default for Changes {
    fn default() -> Self {
        Self { keys: BTreeMap::new(), length: usize::MAX, ranges: Vec::new() }
    }
}

impl Changes {
    fn note(&mut self, key: &[u8], version: u64) {
        let beginning = &key[..key.len().min(self.length)];
        match self.keys.get_mut(beginning) {
            Some(at) => *at = version.max(*at),
            None => {
                self.keys.insert(Bytes::copy_from_slice(beginning), version);
            }
        }
        if self.keys.len() > MAX_KEYS {
            self.shorten();
        }
    }

    fn note_range(&mut self, range: &KeyRange, version: u64) {
        self.ranges.push((range.clone(), version));
        if self.ranges.len() > MAX_RANGES {
            let highest = self.ranges.drain(..).map(|(_, at)| at).max().unwrap_or(version);
            self.ranges.push((KeyRange::all(), highest));
        }
    }

    /// The keys that a remembered one stands for.
    fn meant(&self, key: &[u8]) -> KeyRange {
        if key.len() < self.length { KeyRange::single(key) } else { KeyRange::prefix(key) }
    }

    /// Remembers as much of each key as leaves half of the beginnings that there may be.
    fn shorten(&mut self) {
        let keys: Vec<&Bytes> = self.keys.keys().collect();
        let mut shared: Vec<usize> = keys.windows(2).map(|pair| shared(pair[0], pair[1])).collect();
        // Two neighbours stay apart where what they share is shorter than what is remembered.
        shared.sort_unstable();
        self.length = shared[MAX_KEYS / 2];
        for (key, version) in std::mem::take(&mut self.keys) {
            self.note(&key, version);
        }
    }
}

/// How many bytes two keys have in common at the beginning.
fn shared(one: &[u8], other: &[u8]) -> usize {
    one.iter().zip(other).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn range(start: &str, end: &str) -> KeyRange {
        KeyRange::new(start, end).unwrap()
    }

    #[test]
    fn changes_are_remembered_while_a_load_is_under_way_and_count_for_the_loads_before_them() {
        let loads = Loads::default();
        loads.note(b"k", 1);
        loads.begin();
        assert_eq!(loads.changed_since(&KeyRange::all(), 0), None);
        loads.note(b"k", 5);
        loads.begin();
        loads.end();
        assert_eq!(loads.changed_since(&range("a", "z"), 4).unwrap(), KeyRange::single(b"k"));
        assert_eq!(loads.changed_since(&range("a", "z"), 5), None);
        assert_eq!(loads.changed_since(&range("l", "z"), 4), None);
        loads.end();
        assert_eq!(loads.changed_since(&KeyRange::all(), 0), None);
    }

    #[test]
    fn of_more_changes_than_are_remembered_their_beginnings_count() {
        let loads = Loads::default();
        loads.begin();
        for i in 0..20_000_u64 {
            loads.note(format!("a/{i:06}").as_bytes(), 10 + i);
            loads.note(format!("c/{i:06}/x").as_bytes(), 10 + i);
        }
        let remembered = loads.changes.lock().keys.len();
        assert!((MAX_KEYS / 8..=MAX_KEYS).contains(&remembered), "{remembered}");
        // Everything that was changed counts, with the version of its last change at least ...
        for i in (0..20_000_u64).step_by(997) {
            let changed = |version| loads.changed_since(&KeyRange::single(format!("a/{i:06}").as_bytes()), version);
            assert!(changed(9 + i).is_some(), "{i}");
            assert!(changed(10 + 20_000).is_none(), "{i}");
        }
        // ... and what lies between the two tables, or beside what was changed of one, does not.
        for untouched in [range("", "a/"), range("a/1", "a/2"), range("a/2", "c/"), range("b", "c"), range("c/5", "")] {
            assert_eq!(loads.changed_since(&untouched, 9), None);
        }
    }

    #[test]
    fn keys_that_share_little_count_by_their_first_byte_once_there_are_too_many() {
        let loads = Loads::default();
        loads.begin();
        for i in 0..70_000_u32 {
            loads.note(&(i % 65_536).to_le_bytes()[..2], u64::from(i));
        }
        assert!(loads.changes.lock().keys.len() <= MAX_KEYS);
        assert!(loads.changed_since(&range("k", "l"), 60_000).is_some());
        assert_eq!(loads.changed_since(&KeyRange::all(), 69_999), None);
    }

    #[test]
    fn a_range_counts_as_a_whole_and_many_ranges_for_everything() {
        let loads = Loads::default();
        loads.begin();
        loads.note_range(&range("b", "d"), 7);
        assert_eq!(loads.changed_since(&range("c", "z"), 6).unwrap(), range("b", "d"));
        assert_eq!(loads.changed_since(&range("d", "z"), 6), None);
        for _ in 0..MAX_RANGES {
            loads.note_range(&range("b", "d"), 6);
        }
        assert!(loads.changed_since(&range("d", "z"), 6).is_some());
        assert_eq!(loads.changed_since(&range("d", "z"), 7), None);
    }
}
