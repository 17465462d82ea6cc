//! Syncs of the write-ahead log, each noted beside the database (`synced_mark`).

use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use rocksdb::{DB, WriteOptions};

use super::database::Database;
use crate::error::{IoContext, Result};
use crate::format::meta;
use crate::guard::Guard;
use crate::synced_mark::SyncedMark;

/// The mark and how far it is.
struct Noted {
    mark: SyncedMark,
    sequence: u64,
}

/// How far the log is known to be synced.
pub(super) struct Synced {
    path: PathBuf,
    noted: Mutex<Noted>,
    /// What is only noted waits for no compaction.
    without_waiting: WriteOptions,
}

/// What a database that was just opened lacks of what was synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lost {
    /// Everything up to this sequence number was synced.
    pub(crate) synced: u64,
    /// The last one there is.
    pub(crate) found: u64,
}

impl Synced {
    /// Opens the mark of a database that was just opened; the second value is what is missing.
    pub(super) fn open(path: &Path, db: &DB) -> Result<(Self, Option<Lost>)> {
        let mark = SyncedMark::open(path).on("open the mark of what was synced", path)?;
        let synced = mark.read().on("read the mark of what was synced", path)?.unwrap_or_default();
        let found = db.latest_sequence_number();
        let lost = (synced > found && Guard::SyncedMark.on()).then_some(Lost { synced, found });
        let mut without_waiting = WriteOptions::default();
        without_waiting.set_no_slowdown(true);
        let noted = Mutex::new(Noted { mark, sequence: synced });
        Ok((Self { path: path.to_owned(), noted, without_waiting }, lost))
    }
}

impl Database {
    /// Makes everything logged so far survive a power loss, and notes how far that is.
    ///
    /// Copies up and unlogged loads take sequence numbers too, and a store that opens again may lack the last of them. So
    /// what is noted lies below a record of the log that the same sync makes durable: no opening goes back behind that.
    pub(crate) fn sync_wal(&self) -> Result<()> {
        let sequence = self.raw().latest_sequence_number();
        let logged = self.log_above(sequence);
        let synced = self.raw().flush_wal(true);
        self.judge(synced, "sync the write-ahead log")?;
        if logged {
            self.note_synced(sequence);
        }
        Ok(())
    }

    /// Logs a record, which has a higher sequence number than this; `false` where none was needed or possible.
    fn log_above(&self, sequence: u64) -> bool {
        // Since the last one only its own record was logged.
        if sequence <= self.synced.noted.lock().sequence + 1 {
            return false;
        }
        let logged = self.raw().put_cf_opt(self.meta(), meta::SYNCED, [], &self.synced.without_waiting);
        self.judge(logged, "log a record before a sync").is_ok()
    }

    fn note_synced(&self, sequence: u64) {
        let mut noted = self.synced.noted.lock();
        // Of two syncs at once the later one may be here first.
        if sequence <= noted.sequence {
            return;
        }
        match noted.mark.write(sequence) {
            Ok(()) => noted.sequence = sequence,
            // What was to be synced is. The mark stays behind, which it may.
            Err(error) => tracing::warn!(%error, path = %self.synced.path.display(), "a sync could not be noted"),
        }
    }
}
