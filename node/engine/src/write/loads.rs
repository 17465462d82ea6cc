//! The sorted bulk loads under way, and what was deleted since they began.
//!
//! The records of a load have its version, taken when it begins. At its end it is refused if something in its range was
//! written since, and the store shows that by a higher version; but a delete may have left nothing: with a single tier it
//! is RocksDB's own, and a tombstone that was moved to the last tier is gone. So deletes are noted while a load is under
//! way. Nothing of it is stored: a load does not outlive its process.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::guard::Guard;
use crate::range::KeyRange;

/// Keys remembered one by one; more are remembered as the range that they span.
const MAX_KEYS: usize = 4096;

/// Deleted keys and the version of the last delete of each.
#[derive(Debug, Default)]
struct Deleted {
    keys: BTreeMap<Bytes, u64>,
    /// First and last key of those that are no longer remembered one by one, and the highest of their versions.
    span: Option<(Bytes, Bytes, u64)>,
}

/// The sorted loads under way.
#[derive(Debug, Default)]
pub(crate) struct Loads {
    /// How many: mostly none, then deletes are not noted.
    open: AtomicUsize,
    deleted: Mutex<Deleted>,
}

impl Loads {
    /// A load begins. Called before it takes its version: who deletes with a higher one sees it.
    pub(crate) fn begin(&self) {
        let _deleted = self.deleted.lock();
        self.open.fetch_add(1, Ordering::SeqCst);
    }

    /// A load has ended.
    pub(crate) fn end(&self) {
        let mut deleted = self.deleted.lock();
        if self.open.fetch_sub(1, Ordering::SeqCst) == 1 {
            *deleted = Deleted::default();
        }
    }

    /// Notes a delete. Called under the key's stripe, with the version taken in it.
    pub(crate) fn note_delete(&self, key: &[u8], version: u64) {
        if self.open.load(Ordering::SeqCst) == 0 {
            return;
        }
        let mut deleted = self.deleted.lock();
        deleted.keys.insert(Bytes::copy_from_slice(key), version);
        if deleted.keys.len() > MAX_KEYS {
            deleted.forget_keys();
        }
    }

    /// A key of the range that was deleted after this version, or may have been.
    pub(crate) fn deleted_since(&self, range: &KeyRange, version: u64) -> Option<Bytes> {
        if !Guard::LoadSeesDeletes.on() {
            return None;
        }
        let deleted = self.deleted.lock();
        let single = deleted.keys.iter().find(|(key, at)| **at > version && range.contains(key));
        let spanned = || deleted.span.as_ref().filter(|(first, last, at)| *at > version && meets(range, first, last));
        single.map(|(key, _)| key.clone()).or_else(|| spanned().map(|(first, _, _)| first.clone()))
    }
}

impl Deleted {
    fn forget_keys(&mut self) {
        for (key, version) in std::mem::take(&mut self.keys) {
            self.span = Some(match self.span.take() {
                None => (key.clone(), key, version),
                Some((first, last, at)) => (first.min(key.clone()), last.max(key), at.max(version)),
            });
        }
    }
}

fn meets(range: &KeyRange, first: &[u8], last: &[u8]) -> bool {
    range.start() <= last && range.end().is_none_or(|end| first < end)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn range(start: &str, end: &str) -> KeyRange {
        KeyRange::new(start, end).unwrap()
    }

    #[test]
    fn deletes_are_remembered_while_a_load_is_under_way_and_count_for_the_loads_before_them() {
        let loads = Loads::default();
        loads.note_delete(b"k", 1);
        loads.begin();
        assert_eq!(loads.deleted_since(&KeyRange::all(), 0), None);
        loads.note_delete(b"k", 5);
        loads.begin();
        loads.end();
        assert_eq!(loads.deleted_since(&range("a", "z"), 4).unwrap(), "k");
        assert_eq!(loads.deleted_since(&range("a", "z"), 5), None);
        assert_eq!(loads.deleted_since(&range("l", "z"), 4), None);
        loads.end();
        assert_eq!(loads.deleted_since(&KeyRange::all(), 0), None);
    }

    #[test]
    fn more_deletes_than_are_remembered_one_by_one_count_for_their_whole_span() {
        let loads = Loads::default();
        loads.begin();
        for i in 0..=MAX_KEYS as u64 {
            loads.note_delete(format!("d{i:06}").as_bytes(), 10 + i);
        }
        assert!(loads.deleted.lock().keys.is_empty());
        assert!(loads.deleted_since(&range("d000000x", "d000000y"), 10).is_some());
        assert_eq!(loads.deleted_since(&range("d000000x", "d000000y"), 10 + MAX_KEYS as u64), None);
        assert_eq!(loads.deleted_since(&range("a", "d"), 0), None);
        assert_eq!(loads.deleted_since(&range("e", ""), 0), None);
        loads.note_delete(b"e", 20);
        assert_eq!(loads.deleted_since(&range("e", ""), 19).unwrap(), "e");
    }
}
