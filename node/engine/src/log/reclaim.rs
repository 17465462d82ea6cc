//! Gives the space of purged and removed entries back, on a thread of its own.
//!
//! A purge writes a range tombstone, which hides entries at once and frees nothing. After every `reclaim_bytes` appended, and
//! after a removal, the ranges purged since then go through three steps, each of which may be cut short by a crash:
//!
//! 1. Table files that lie wholly inside the range are dropped, unread. This may drop a tombstone together with its file while
//!    older entries under it live on in a file that reaches beyond the range. Nobody can read those: they lie below the purged
//!    index, which never goes back, or in an incarnation that is gone. But they would stay on disk, therefore
//! 2. the range is covered by a tombstone once more (through the writer: there is one writer), and
//! 3. compacted, which rewrites the files at the edges without it.
//!
//! A range's end is exclusive everywhere in this module except where RocksDB says otherwise.
//!
//! What a crash leaves of removed groups is found at the next opening, see `recovery`.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use crossbeam_channel::{Receiver, Sender, TrySendError};
use rocksdb::{BottommostLevelCompaction, CompactOptions, DB};

use super::completion::Completion;
use super::format::entry_key;
use super::request::{KeyRange, Operation, Request};
use super::store::Shared;

/// Collects, on the writer thread, what can be reclaimed, and hands it over when it is time.
#[derive(Debug)]
pub(super) struct Garbage {
    // (group, incarnation) -> the key up to which its entries are dead.
    dead: HashMap<(u64, u64), Vec<u8>>,
    appended: usize,
    threshold: usize,
    due: bool,
    reclaimer: Sender<Vec<KeyRange>>,
}

impl Garbage {
    /// Hands over to `reclaimer` after every `threshold` appended bytes.
    pub(super) fn new(threshold: usize, reclaimer: Sender<Vec<KeyRange>>) -> Self {
        Self { dead: HashMap::new(), appended: 0, threshold, due: false, reclaimer }
    }

    /// Entries below `first` are dead.
    pub(super) fn purged(&mut self, group: u64, incarnation: u64, first: u64) {
        self.dead.insert((group, incarnation), entry_key(group, incarnation, first).to_vec());
    }

    /// All entries are dead; as that may be a lot, they are handed over next.
    pub(super) fn removed(&mut self, group: u64, incarnation: u64) {
        self.dead.insert((group, incarnation), entry_key(group, incarnation + 1, 0).to_vec());
        self.due = true;
    }

    /// So many bytes were appended.
    pub(super) fn appended(&mut self, bytes: usize) {
        self.appended += bytes;
    }

    /// Hands over if it is time and the reclaimer has nothing waiting. Asked when a batch has been settled.
    pub(super) fn hand_over(&mut self) {
        if self.dead.is_empty() || !(self.due || self.appended >= self.threshold) {
            return;
        }
        let ranges: Vec<KeyRange> = self
            .dead
            .iter()
            .map(|(&(group, incarnation), end)| KeyRange {
                from: entry_key(group, incarnation, 0).to_vec(),
                end: end.clone(),
            })
            .collect();
        match self.reclaimer.try_send(ranges) {
            Ok(()) => {
                self.dead.clear();
                self.appended = 0;
                self.due = false;
            }
            // Busy: tried again after the next batch, with what has come by then. The reclaimer's own are batches too.
            Err(TrySendError::Full(_)) => {}
            Err(TrySendError::Disconnected(_)) => self.dead.clear(),
        }
    }
}

/// The reclaimer thread: ends when the writer has ended.
pub(super) fn run(shared: &Weak<Shared>, database: &Arc<DB>, work: &Receiver<Vec<KeyRange>>) {
    for ranges in work {
        let Some(shared) = shared.upgrade() else { return };
        if let Err(error) = reclaim(&shared, database, ranges) {
            // Nothing is lost and the next round tries again; if the device is failing, the writer finds out.
            tracing::warn!(error = %error, "failed to reclaim the space of purged log entries; it will be tried again");
        }
    }
}

fn reclaim(shared: &Shared, database: &DB, ranges: Vec<KeyRange>) -> Result<(), rocksdb::Error> {
    drop_files(database, &ranges)?;
    let (done, swept) = Completion::channel();
    let Some(place) = shared.queue.reserve(0) else { return Ok(()) };
    place.fill(Request { group: None, record: None, operation: Operation::Sweep(ranges.clone()), done });
    if swept.wait().is_err() {
        // Closing, or failed: the writer says so to those who ask.
        return Ok(());
    }
    // One flush for all ranges, instead of one in each compaction.
    database.flush()?;
    let mut options = CompactOptions::default();
    // Background compactions go on beside it, and the last level, where old entries are, takes part.
    options.set_exclusive_manual_compaction(false);
    options.set_bottommost_level_compaction(BottommostLevelCompaction::ForceOptimized);
    for range in &ranges {
        database.compact_range_opt(Some(&range.from), Some(&range.end), &options);
    }
    Ok(())
}

/// Drops the table files that lie wholly inside a range.
fn drop_files(database: &DB, ranges: &[KeyRange]) -> Result<(), rocksdb::Error> {
    for range in ranges {
        // RocksDB takes this end as inclusive: with the range's own end it would drop a file whose last entry is the first
        // that is alive.
        database.delete_file_in_range(&range.from, &key_before(&range.end))?;
    }
    Ok(())
}

/// The greatest key of the same length before `key`; the keys of one kind all have one length.
fn key_before(key: &[u8]) -> Vec<u8> {
    let mut before = key.to_vec();
    for byte in before.iter_mut().rev() {
        let (less, borrowed) = byte.overflowing_sub(1);
        *byte = less;
        if !borrowed {
            break;
        }
    }
    before
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use rocksdb::Options;

    use super::*;

    #[test]
    fn the_key_before_borrows_across_index_and_incarnation() {
        assert_eq!(key_before(&entry_key(1, 2, 5)), entry_key(1, 2, 4));
        assert_eq!(key_before(&entry_key(1, 2, 256)), entry_key(1, 2, 255));
        assert_eq!(key_before(&entry_key(1, 2, 0)), entry_key(1, 1, u64::MAX));
    }

    /// One table file below level 0 with the entries 1 to 10 and nothing else.
    fn one_file(folder: &std::path::Path) -> DB {
        let mut options = Options::default();
        options.create_if_missing(true);
        let database = DB::open(&options, folder).unwrap();
        for index in 1..11 {
            database.put(entry_key(1, 1, index), b"entry").unwrap();
        }
        database.flush().unwrap();
        let mut compaction = CompactOptions::default();
        compaction.set_bottommost_level_compaction(BottommostLevelCompaction::Force);
        database.compact_range_opt(None::<&[u8]>, None::<&[u8]>, &compaction);
        let files = database.live_files().unwrap();
        assert!(files.len() == 1 && files[0].level > 0, "level 0 is never dropped, so nothing would be shown");
        database
    }

    #[test]
    fn a_file_that_ends_with_the_first_living_entry_is_kept_and_one_that_ends_before_it_is_dropped() {
        for (first_alive, files) in [(10, 1), (11, 0)] {
            let folder = tempfile::tempdir().unwrap();
            let database = one_file(folder.path());
            let range = KeyRange { from: entry_key(1, 1, 0).to_vec(), end: entry_key(1, 1, first_alive).to_vec() };
            drop_files(&database, &[range]).unwrap();
            assert_eq!(database.live_files().unwrap().len(), files, "first living entry {first_alive}");
        }
    }
}
