//! Copying a chunk down: a sorted file that is ingested, or a logged batch when it is little.

use std::path::{Path, PathBuf};

use rocksdb::{SstFileWriter, WriteBatch};

use super::chunk::Candidate;
use crate::engine::Inner;
use crate::environment::CrashPoint;
use crate::error::{EngineError, Result, RocksContext, chain};
use crate::format::record::{self, RecordKind};
use crate::guard::Guard;
use crate::lease::RangeLease;
use crate::rocks::is_unreadable;
use crate::tier::identity;

/// Under so many bytes a batch is cheaper than a file of its own.
const SMALL: u64 = 256 << 10;

/// What becomes of a record in the target tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CopyAs {
    /// The record, as a value.
    Value,
    /// A tombstone record: there is a tier below.
    Tombstone,
    /// Removed from the target, the last tier: nothing is left below it.
    Delete,
}

/// A record and what becomes of it.
pub(crate) type Copy<'a> = (&'a Candidate, CopyAs);

impl Inner {
    /// Makes the copies of a chunk durable-after-the-log in `to`. The caller holds the lease; data keys ascend.
    pub(crate) fn copy_down(&self, lease: &RangeLease, to: usize, copies: &[Copy<'_>]) -> Result<u64> {
        let bytes: u64 = copies.iter().map(|(c, _)| c.bytes()).sum();
        if copies.is_empty() {
            return Ok(0);
        }
        if bytes < SMALL {
            self.copy_by_batch(lease, to, copies)?;
        } else {
            self.copy_by_file(lease, to, copies)?;
        }
        Ok(bytes)
    }

    fn copy_by_batch(&self, lease: &RangeLease, to: usize, copies: &[Copy<'_>]) -> Result<()> {
        let mut batch = WriteBatch::with_capacity_bytes(512 << 10);
        let mut buffer = Vec::new();
        let tier = self.database.tier(to);
        for (candidate, copy_as) in copies {
            match encode(candidate, *copy_as, &mut buffer) {
                Some(record) => batch.put_cf(tier, &candidate.data_key, record),
                None => batch.delete_cf(tier, &candidate.data_key),
            }
        }
        let _effect = lease.effect("copying to a slower tier")?;
        self.database.write(&batch, &self.database.low_priority, "copy to a slower tier")
    }

    fn copy_by_file(&self, lease: &RangeLease, to: usize, copies: &[Copy<'_>]) -> Result<()> {
        let file = self.incoming_file(to, lease.generation());
        let copied = self.copy_by_file_at(&file, lease, to, copies);
        if copied.is_err() {
            // Else every failed try would leave its file until the store opens next, most of all on a full device. What
            // was ingested has a name of its own.
            let _ = std::fs::remove_file(&file);
        }
        copied
    }

    fn copy_by_file_at(&self, file: &Path, lease: &RangeLease, to: usize, copies: &[Copy<'_>]) -> Result<()> {
        let mut writer = SstFileWriter::create(self.database.tier_options(to));
        writer.open(file).attempting("create a file for a slower tier")?;
        let mut buffer = Vec::new();
        for (candidate, copy_as) in copies {
            match encode(candidate, *copy_as, &mut buffer) {
                Some(record) => writer.put(&candidate.data_key, record),
                None => writer.delete(&candidate.data_key),
            }
            .attempting("write a file for a slower tier")?;
        }
        writer.finish().attempting("sync a file for a slower tier")?;
        self.tiers[to].medium_write(&*self.environment.clock, writer.file_size());
        self.environment.pass(CrashPoint::FileWritten)?;
        self.ingest_synced(lease, to, vec![file.to_owned()])
    }

    /// Ingests files after syncing the log past what they contain: ingestion is durable at once, and without the sync
    /// a power loss would leave a slower tier newer than the faster one (I2).
    pub(crate) fn ingest_synced(&self, lease: &RangeLease, to: usize, files: Vec<PathBuf>) -> Result<()> {
        if Guard::SyncBeforeIngest.on() {
            self.database.sync_wal()?;
        }
        self.environment.pass(CrashPoint::WalSynced)?;
        let _effect = lease.effect("ingesting into a slower tier")?;
        self.database.ingest(to, files).map_err(|error| self.unreadable_target(to, lease, error))?;
        // RocksDB links the file and syncs it, but then syncs the database's own folder instead of the tier's: where a
        // synced file does not keep its new name, what it replaces above must not go before the name is durable.
        // Failed once, the system may call the next sync of the folder good: nothing may build on it.
        identity::sync_folder(&self.tiers[to].layout.data())
            .inspect_err(|error| self.database.events.failure.set(chain(error)))?;
        self.environment.pass(CrashPoint::Ingested)
    }

    /// A target whose own files cannot be read: that is damage of its range, not a failed write.
    fn unreadable_target(&self, to: usize, lease: &RangeLease, error: EngineError) -> EngineError {
        match error {
            EngineError::Rocks { source, .. } if is_unreadable(&source) => {
                self.read_error(to, lease.range().start(), source)
            }
            other => other,
        }
    }

    /// A new file on the device of a tier: ingesting it then links, it does not copy.
    pub(crate) fn incoming_file(&self, tier: usize, generation: u64) -> PathBuf {
        let number = self.next_file_number();
        self.tiers[tier].layout.incoming().join(format!("{generation:016x}-{number:08x}.sst"))
    }
}

fn encode<'a>(candidate: &Candidate, copy_as: CopyAs, buffer: &'a mut Vec<u8>) -> Option<&'a [u8]> {
    let kind = match copy_as {
        CopyAs::Value => RecordKind::Value,
        CopyAs::Tombstone => RecordKind::Tombstone,
        CopyAs::Delete => return None,
    };
    record::encode_into(kind, candidate.version, &candidate.payload, buffer);
    Some(buffer)
}
