//! Where a replica's data and records are: the engine, or memory for simulations, where every step must be repeatable.

use std::path::{Path, PathBuf};

use super::hashes::HashDone;
use bytes::Bytes;
use thermocline_engine::{
    ApplyBatch, ApplyEntry, CallerRecord, Durability, Engine, EngineError, KeyRange, LogicalHash, WriteOutcome,
};

/// A record as a reader gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRecord {
    /// The value.
    pub value: Bytes,
    /// Its version.
    pub version: u64,
}

/// A replica's records and a shard's data, both of one moment.
#[derive(Debug)]
pub struct Exported {
    /// The records, under the keys they have.
    pub records: Vec<(Bytes, Bytes)>,
    /// The data of the range.
    pub data: ExportedData,
}

/// Data on its way from one store to another.
#[derive(Debug)]
pub enum ExportedData {
    /// None: of a witness, or of a shard that has not begun.
    Nothing,
    /// An engine's export.
    Folder(PathBuf),
    /// What was in memory.
    Records(Vec<(Bytes, StoredRecord)>),
}

/// Finds the range to export in the records that are exported with it; `None`: there is no data to export.
pub type RangeOf<'a> = &'a dyn Fn(&[(Bytes, Bytes)]) -> Option<KeyRange>;

/// A store of shards' data.
pub trait ShardStore: Send + Sync + 'static {
    /// Whether calls may wait for a device; they are made on threads that may then.
    const WAITS: bool;

    /// Applies entries, in order and each wholly or not at all, and the replica's own records, all in one batch that
    /// survives the process. `records` is called once, when it is known what came of the entries.
    ///
    /// # Errors
    /// When storage fails or refuses; nothing was written then.
    fn apply(
        &self,
        entries: &[ApplyEntry],
        records: &mut dyn FnMut(&[WriteOutcome]) -> Vec<CallerRecord>,
    ) -> Result<Vec<WriteOutcome>, EngineError>;

    /// The replicas' own records whose keys begin with `prefix`, in order.
    ///
    /// # Errors
    /// When they cannot be read.
    fn records(&self, prefix: &[u8]) -> Result<Vec<(Bytes, Bytes)>, EngineError>;

    /// Reads a key.
    ///
    /// # Errors
    /// When it cannot be read.
    fn get(&self, key: &[u8]) -> Result<Option<StoredRecord>, EngineError>;

    /// The hash of what a range holds, whatever medium it is on.
    ///
    /// # Errors
    /// When it cannot be read.
    fn logical_hash(&self, range: &KeyRange) -> Result<LogicalHash, EngineError>;

    /// As [`logical_hash`](Self::logical_hash), of what the range holds when this is called; `done` is called with it, now or
    /// later.
    fn hash_later(&self, range: KeyRange, done: HashDone);

    /// Takes the records whose keys begin with one of `prefixes` and, of the same moment, the data of the range that `range`
    /// finds in them. An engine writes into the folder, which is new.
    ///
    /// # Errors
    /// When it cannot be read or written.
    fn export(&self, prefixes: &[Bytes], range: RangeOf<'_>, folder: &Path) -> Result<Exported, EngineError>;

    /// Replaces what is in a range by exported data, and changes records, so that after a crash both are as they were or
    /// the range is empty and the records are the old ones. Durable when it returns.
    ///
    /// # Errors
    /// When the data is not wholly inside of the range or damaged, or storage fails.
    fn install(&self, range: &KeyRange, data: &ExportedData, records: &[CallerRecord]) -> Result<(), EngineError>;

    /// Makes everything applied so far survive a power loss.
    ///
    /// # Errors
    /// When it cannot be synced.
    fn sync(&self) -> Result<(), EngineError>;
}

impl ShardStore for Engine {
    const WAITS: bool = true;

    fn apply(
        &self,
        entries: &[ApplyEntry],
        records: &mut dyn FnMut(&[WriteOutcome]) -> Vec<CallerRecord>,
    ) -> Result<Vec<WriteOutcome>, EngineError> {
        // The log is synced: what a power loss takes here is applied again from there.
        self.apply_with(entries, records, Durability::Wal)
    }

    fn records(&self, prefix: &[u8]) -> Result<Vec<(Bytes, Bytes)>, EngineError> {
        self.caller_records(prefix)
    }

    fn get(&self, key: &[u8]) -> Result<Option<StoredRecord>, EngineError> {
        let record = Self::get(self, key)?;
        Ok(record.map(|record| StoredRecord { value: record.value.into(), version: record.version }))
    }

    fn logical_hash(&self, range: &KeyRange) -> Result<LogicalHash, EngineError> {
        Self::logical_hash(self, range)
    }

    fn hash_later(&self, range: KeyRange, done: HashDone) {
        let engine = self.clone();
        let (taken, wait) = std::sync::mpsc::sync_channel(1);
        let hash = move || match engine.snapshot() {
            Ok(snapshot) => {
                let _ = taken.send(());
                done(snapshot.logical_hash(&range));
            }
            Err(error) => done(Err(error)),
        };
        // Low in number: one for each replica that joins. It may read for minutes, which no shared thread should.
        if std::thread::Builder::new().name("shard-hash".to_owned()).spawn(hash).is_ok() {
            // What is applied next must not be in it. The sender is gone where there is no snapshot.
            let _ = wait.recv();
        }
    }

    fn export(&self, prefixes: &[Bytes], range: RangeOf<'_>, folder: &Path) -> Result<Exported, EngineError> {
        let snapshot = self.snapshot()?;
        let mut records = Vec::new();
        for prefix in prefixes {
            records.extend(snapshot.caller_records(prefix)?);
        }
        let data = match range(&records) {
            None => ExportedData::Nothing,
            Some(range) => {
                snapshot.export(&range, folder)?;
                ExportedData::Folder(folder.to_owned())
            }
        };
        Ok(Exported { records, data })
    }

    fn install(&self, range: &KeyRange, data: &ExportedData, records: &[CallerRecord]) -> Result<(), EngineError> {
        let lease = self.lease_range(range)?;
        match data {
            ExportedData::Folder(folder) => Self::install(self, &lease, folder, records).map(drop),
            ExportedData::Nothing => {
                self.wipe(&lease)?;
                let batch = ApplyBatch { entries: Vec::new(), meta: records.to_vec() };
                Self::apply(self, &batch, Durability::Sync).map(drop)
            }
            ExportedData::Records(_) => {
                Err(EngineError::Invalid("an engine installs an export in files, not records in memory".to_owned()))
            }
        }
    }

    fn sync(&self) -> Result<(), EngineError> {
        Self::sync(self).map(drop)
    }
}
