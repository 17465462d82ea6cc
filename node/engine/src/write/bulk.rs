//! Bulk load: many records at once, past the write path.
//!
//! *Sorted*: keys ascend; they are written as files on the fastest tier's device and ingested. Nothing of them is
//! visible before [`BulkLoad::finish`], everything is after, durable. *Unlogged*: any order, visible group by
//! group, without the write-ahead log: lost with the process until `finish` has flushed.

use std::time::Duration;

use bytes::Bytes;
use rocksdb::{SstFileWriter, WriteBatch};

use super::batch::{check_key, check_value};
use super::stripes::Stripes;
use crate::engine::{Engine, Inner};
use crate::error::{EngineError, Result, RocksContext, printable_key};
use crate::format::keys;
use crate::format::record::{self, RecordKind};
use crate::lease::{Holder, RangeLease};
use crate::range::KeyRange;

/// How long a load waits for another range operation.
const PATIENCE: Duration = Duration::from_secs(30);
/// A file is closed after so many bytes.
const FILE_BYTES: u64 = 64 << 20;
/// Unlogged records are written in groups of so many bytes.
const GROUP_BYTES: usize = 1 << 20;

/// How a bulk load goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BulkMode {
    /// Ascending keys, ingested as files.
    Sorted,
    /// Any order, without the write-ahead log.
    Unlogged,
}

/// A bulk load under way. Dropping a sorted one loads nothing.
#[must_use = "a sorted bulk load takes effect at `finish`"]
pub struct BulkLoad {
    engine: Engine,
    mode: BulkMode,
    /// Taken and not spilled yet: up to a file's bytes of a sorted load, a group's of an unlogged one, and one record more.
    pending: Vec<(Bytes, Bytes)>,
    pending_bytes: usize,
    last: Option<Bytes>,
    /// Sorted: files that were written and not ingested yet, each ascending and above the one before.
    files: Vec<std::path::PathBuf>,
    first: Option<Bytes>,
    version: u64,
    /// Those that were taken.
    records: u64,
    /// Unlogged: keeps the mover away. A record without a log must not become durable below an older one that has one.
    no_moves: Option<RangeLease>,
}

impl BulkLoad {
    pub(crate) fn new(engine: Engine, mode: BulkMode) -> Result<Self> {
        let inner = engine.inner();
        inner.admit_write()?;
        let no_moves = match mode {
            BulkMode::Sorted => None,
            BulkMode::Unlogged => {
                let all = KeyRange::all();
                Some(inner.leases.acquire(&inner.database, &all, Holder::RangeOperation, PATIENCE)?)
            }
        };
        if mode == BulkMode::Sorted {
            inner.loads.begin();
        }
        let mut load = Self {
            engine,
            mode,
            pending: Vec::new(),
            pending_bytes: 0,
            last: None,
            files: Vec::new(),
            first: None,
            version: 0,
            records: 0,
            no_moves,
        };
        let inner = load.engine.inner();
        load.version = inner.versions.next(&inner.database)?;
        Ok(load)
    }

    /// Takes a record; now and then that writes those before it.
    ///
    /// # Errors
    /// When key or value is longer than allowed, a sorted load's keys do not ascend, or the records before this one cannot
    /// be written now: for want of space, or since one lies in a range that is wiped or installed. This record was not
    /// taken, the ones before it are kept: put it again later, or give the load up.
    pub fn put(&mut self, key: impl Into<Bytes>, value: impl Into<Bytes>) -> Result<()> {
        let (key, value) = (key.into(), value.into());
        check_key(&key)?;
        check_value(&value)?;
        if self.mode == BulkMode::Sorted && self.last.as_ref().is_some_and(|last| *last >= key) {
            return Err(EngineError::Invalid(format!(
                "keys of a sorted bulk load ascend; {} does not: sort the input or load it unlogged",
                printable_key(&key)
            )));
        }
        // Before the record is taken: whoever is refused may repeat the call.
        let full = match self.mode {
            BulkMode::Sorted => FILE_BYTES as usize,
            BulkMode::Unlogged => GROUP_BYTES,
        };
        if self.pending_bytes >= full {
            self.spill()?;
        }
        self.pending_bytes += key.len() + value.len();
        self.records += 1;
        if self.first.is_none() {
            self.first = Some(key.clone());
        }
        self.last = Some(key.clone());
        self.pending.push((key, value));
        Ok(())
    }

    /// Writes what is pending. Where that fails it stays pending: it was answered as taken.
    fn spill(&mut self) -> Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let inner = self.engine.inner();
        match self.mode {
            BulkMode::Sorted => {
                inner.admit_write()?;
                let file = inner.write_sorted(&self.pending, self.version)?;
                self.files.push(file);
            }
            BulkMode::Unlogged => inner.write_unlogged(&self.pending)?,
        }
        self.pending.clear();
        self.pending_bytes = 0;
        Ok(())
    }

    /// Makes everything visible and durable; returns how many records.
    ///
    /// # Errors
    /// When the last records cannot be written or a file cannot be ingested: a sorted load has then loaded nothing, an
    /// unlogged one what it wrote before.
    pub fn finish(mut self) -> Result<u64> {
        self.spill()?;
        let inner = self.engine.inner();
        match self.mode {
            BulkMode::Sorted => {
                if let (Some(first), Some(last)) = (&self.first, &self.last) {
                    let range =
                        KeyRange::all().from_key(first).until_key(KeyRange::single(last).end().unwrap_or_default());
                    inner.ingest_loaded(&range, self.version, self.files.clone())?;
                }
            }
            BulkMode::Unlogged => {
                inner.flush_unlogged()?;
                self.no_moves = None;
            }
        }
        Ok(self.records)
    }
}

impl Drop for BulkLoad {
    fn drop(&mut self) {
        if self.mode == BulkMode::Sorted {
            self.engine.inner().loads.end();
        }
        for file in &self.files {
            // A file that was ingested has left its name. What is left of them goes when the store opens next.
            let _ = std::fs::remove_file(file);
        }
        // Ended early, its records are in the store without a log all the same: none may move before it is in a file.
        if let Some(no_moves) = self.no_moves.take()
            && let Err(error) = self.engine.inner().flush_unlogged()
        {
            tracing::error!(%error, "an unlogged bulk load is in memory only; nothing moves until the store is reopened");
            std::mem::forget(no_moves);
        }
    }
}

impl Inner {
    fn write_sorted(&self, records: &[(Bytes, Bytes)], version: u64) -> Result<std::path::PathBuf> {
        let file = self.incoming_file(0, version);
        self.write_sorted_to(&file, records, version).inspect_err(|_| {
            // Nobody else knows of it.
            let _ = std::fs::remove_file(&file);
        })?;
        Ok(file)
    }

    fn write_sorted_to(&self, file: &std::path::Path, records: &[(Bytes, Bytes)], version: u64) -> Result<()> {
        let mut writer = SstFileWriter::create(self.database.tier_options(0));
        writer.open(file).attempting("create a bulk load file")?;
        let mut buffer = Vec::new();
        for (key, value) in records {
            record::encode_into(RecordKind::Value, version, value, &mut buffer);
            writer.put(keys::encode(key), &buffer).attempting("write a bulk load file")?;
            self.heat.record_write(key, value.len());
        }
        writer.finish().attempting("sync a bulk load file")
    }

    /// Ingests loaded files. Writers of the range are refused meanwhile. The records got their version when the load
    /// began: if anything in the range was changed since, the load is refused, or versions would go backwards.
    fn ingest_loaded(&self, range: &KeyRange, version: u64, files: Vec<std::path::PathBuf>) -> Result<()> {
        let lease = self.leases.acquire(&self.database, range, Holder::RangeOperation, PATIENCE)?;
        self.fences.admit(range, false)?;
        let _fence = self.fences.raise(&self.stripes, range, "bulk loaded");
        // What is queued is older than the load, or the load is refused: it must not be written over the records.
        self.buffered.flush(&self.database)?;
        if let Some(changed) = self.loads.changed_since(range, version) {
            return Err(EngineError::Invalid(format!(
                "keys in {changed:?} were written or deleted while the bulk load was under way; nothing was loaded, \
                 load again"
            )));
        }
        self.loads.note_range(range, version);
        let ingested = self.ingest_synced(&lease, 0, files);
        // It may fail after the files are in: what is cached is older than they are.
        self.row_cache.renew(range);
        ingested
    }

    fn flush_unlogged(&self) -> Result<()> {
        let flushed = self.database.raw().flush_cf(self.database.tier(0));
        self.database.judge(flushed, "flush an unlogged bulk load")?;
        self.versions.all_logged();
        Ok(())
    }

    fn write_unlogged(&self, records: &[(Bytes, Bytes)]) -> Result<()> {
        self.admit_write()?;
        let mut stripes: Vec<_> = records.iter().map(|(key, _)| Stripes::of(key)).collect();
        let _writer = self.stripes.write_many(&mut stripes);
        self.buffered.flush_before(&self.database, records.iter().map(|(key, _)| key.as_ref()))?;
        let version = self.versions.next(&self.database)?;
        let mut batch = WriteBatch::with_capacity_bytes(GROUP_BYTES * 2);
        let mut buffer = Vec::new();
        for (key, value) in records {
            self.fences.check(key)?;
            self.loads.note(key, version);
            self.row_cache.remove(key);
            record::encode_into(RecordKind::Value, version, value, &mut buffer);
            batch.put_cf(self.database.tier(0), keys::encode(key), &buffer);
            self.heat.record_write(key, value.len());
        }
        self.versions.note_unlogged(version);
        self.database.write(&batch, &self.database.no_wal, "write an unlogged bulk load")
    }
}
