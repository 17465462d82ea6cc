//! The journal in `meta`: what must be finished or undone after a crash. Recovery ends before traffic begins.
//!
//! | entry | recovery |
//! |---|---|
//! | `Copying` | nothing: the copies below are shadowed, unfinished files are deleted when the store opens |
//! | `Dropping` | the range is dropped again: the copies below were durable before the entry |
//! | `Wiping`, `Installing` | the range is dropped from every tier |

use rocksdb::WriteBatch;
use serde::{Deserialize, Serialize};

use crate::engine::Inner;
use crate::error::{EngineError, Result};
use crate::format::{keys, meta};
use crate::guard::Guard;
use crate::lease::RangeLease;
use crate::range::KeyRange;
use crate::tier::TierId;

/// One step under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "camelCase")]
pub(crate) enum JournalEntry {
    /// A chunk is being copied down.
    Copying { range: KeyRange, from: TierId, to: TierId },
    /// The copies of a chunk are durable below; the ones in `from` go.
    Dropping { range: KeyRange, from: TierId },
    /// A range leaves the store.
    Wiping { range: KeyRange },
    /// A range comes into the store; until the entry goes it is not whole.
    Installing { range: KeyRange },
}

impl JournalEntry {
    const fn range(&self) -> &KeyRange {
        match self {
            Self::Copying { range, .. }
            | Self::Dropping { range, .. }
            | Self::Wiping { range }
            | Self::Installing { range } => range,
        }
    }
}

impl Inner {
    /// Notes a step. None begins while the entry of an ended move cannot be closed.
    pub(crate) fn journal(&self, generation: u64, entry: &JournalEntry, durable: bool) -> Result<()> {
        self.close_abandoned()?;
        let bytes = serde_json::to_vec(entry)
            .map_err(|error| EngineError::Invalid(format!("encode a journal entry: {error}")))?;
        self.database.put_meta(&meta::journal(generation), &bytes, durable)
    }

    pub(crate) fn journal_done(&self, generation: u64, durable: bool) -> Result<()> {
        self.database.delete_meta(&meta::journal(generation), durable)
    }

    /// Closes the entry of a move that ended early. Data that comes into the range later would be dropped with it when
    /// the store opens next; so where it cannot be closed now (the log's device is full) it is remembered, and nothing
    /// is written to slower tiers before it is closed. Called under the move's lease.
    pub(crate) fn abandon_journal(&self, generation: u64) {
        if let Err(error) = self.journal_done(generation, false) {
            tracing::warn!(%error, "the journal entry of an ended move cannot be closed; no move begins before it is");
            self.mover.abandoned.lock().push(generation);
        }
    }

    /// Closes the entries that [`abandon_journal`](Self::abandon_journal) could not.
    pub(crate) fn close_abandoned(&self) -> Result<()> {
        let mut abandoned = self.mover.abandoned.lock();
        while let Some(generation) = abandoned.last() {
            self.journal_done(*generation, false)?;
            abandoned.pop();
        }
        Ok(())
    }

    /// Removes the entry of a lease whose range was cleared wholly, and those that earlier operations left within it:
    /// recovery must not clear the range again after it has new data.
    pub(crate) fn close_journal(&self, lease: &RangeLease, batch: &mut WriteBatch) -> Result<()> {
        batch.delete_cf(self.database.meta(), meta::journal(lease.generation()));
        for (key, entry) in self.journal_entries()? {
            if lease.covers(entry.range()) {
                batch.delete_cf(self.database.meta(), key);
            }
        }
        Ok(())
    }

    /// Finishes what the journal says. Called before traffic begins.
    pub(crate) fn recover(&self) -> Result<()> {
        for (key, entry) in self.journal_entries()? {
            tracing::info!(?entry, "finishing a step that a crash interrupted");
            if Guard::JournalRecovery.on() {
                self.redo(&entry)?;
            }
            self.database
                .raw()
                .delete_cf_opt(self.database.meta(), &key, &self.database.sync)
                .map_err(|source| EngineError::Rocks { attempt: "close a journal entry", source })?;
        }
        Ok(())
    }

    fn journal_entries(&self) -> Result<Vec<(Vec<u8>, JournalEntry)>> {
        let mut iterator = self.database.raw().raw_iterator_cf(self.database.meta());
        iterator.seek([meta::JOURNAL]);
        let mut entries = Vec::new();
        while let (Some(key), Some(value)) = (iterator.key(), iterator.value()) {
            if key.first() != Some(&meta::JOURNAL) {
                break;
            }
            let entry = serde_json::from_slice(value)
                .map_err(|error| EngineError::Invalid(format!("a journal entry is damaged: {error}")))?;
            entries.push((key.to_vec(), entry));
            iterator.next();
        }
        iterator.status().map_err(|source| EngineError::Rocks { attempt: "read the journal", source })?;
        Ok(entries)
    }

    fn redo(&self, entry: &JournalEntry) -> Result<()> {
        match entry {
            JournalEntry::Copying { range: _, from: _, to: _ } => Ok(()),
            JournalEntry::Dropping { range, from } => {
                match self.tiers.iter().position(|t| t.id() == *from) {
                    // The fastest tier is emptied key by key, by version: the next demotion does the rest.
                    None | Some(0) => Ok(()),
                    Some(tier) => self.drop_range(tier, range),
                }
            }
            JournalEntry::Wiping { range } | JournalEntry::Installing { range } => {
                for tier in 0..self.database.tier_count() {
                    self.drop_range(tier, range)?;
                }
                self.database.sync_wal()
            }
        }
    }

    /// Deletes a range of one tier.
    pub(crate) fn drop_range(&self, tier: usize, range: &KeyRange) -> Result<()> {
        let (start, end) = keys::bounds(range);
        let dropped = self.database.raw().delete_range_cf_opt(self.database.tier(tier), start, end, &self.database.wal);
        self.database.judge(dropped, "drop a range of a tier")
    }
}
