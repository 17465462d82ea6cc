//! A node's disks that stop taking anything before their n-th write, wherever that falls: as if the process was killed there.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use thermocline_engine::log::{BatchFacts, Fault};
use thermocline_engine::{ApplyEntry, CallerRecord, EngineError, KeyRange, LogicalHash, WriteOutcome};
use thermocline_shard::machine::{Exported, ExportedData, HashDone, MemoryStore, RangeOf, ShardStore, StoredRecord};

/// How many writes there still are.
#[derive(Clone)]
pub struct Left(Arc<AtomicI64>);

impl Left {
    pub fn writes(count: i64) -> Self {
        Self(Arc::new(AtomicI64::new(count)))
    }

    pub fn all() -> Self {
        Self::writes(i64::MAX)
    }

    /// From now on there are so many.
    pub fn set(&self, count: i64) {
        self.0.store(count, Ordering::SeqCst);
    }

    /// Whether a write was refused.
    pub fn is_over(&self) -> bool {
        self.0.load(Ordering::SeqCst) < 0
    }

    fn take(&self) -> bool {
        self.0.fetch_sub(1, Ordering::SeqCst) > 0
    }
}

impl Fault for Left {
    fn before_write(&self, _: BatchFacts) -> io::Result<()> {
        if self.take() { Ok(()) } else { Err(io::Error::other("killed")) }
    }
}

/// A store of which nothing is lost but what was not written.
#[derive(Clone)]
pub struct Stopping {
    inner: Arc<MemoryStore>,
    left: Left,
    pub hashing: Arc<Hashing>,
}

/// Hashes that are asked for; they wait until they are let go.
#[derive(Default)]
pub struct Hashing {
    pub held: AtomicBool,
    pub asked: AtomicU64,
}

impl Stopping {
    pub fn new(inner: Arc<MemoryStore>, left: Left) -> Self {
        Self { inner, left, hashing: Arc::default() }
    }

    fn allowed(&self) -> Result<(), EngineError> {
        if self.left.take() { Ok(()) } else { Err(EngineError::Invalid("killed".to_owned())) }
    }
}

impl ShardStore for Stopping {
    const WAITS: bool = false;

    fn apply(
        &self,
        entries: &[ApplyEntry],
        records: &mut dyn FnMut(&[WriteOutcome]) -> Vec<CallerRecord>,
    ) -> Result<Vec<WriteOutcome>, EngineError> {
        self.allowed()?;
        self.inner.apply(entries, records)
    }

    fn records(&self, prefix: &[u8]) -> Result<Vec<(Bytes, Bytes)>, EngineError> {
        self.inner.records(prefix)
    }

    fn get(&self, key: &[u8]) -> Result<Option<StoredRecord>, EngineError> {
        self.inner.get(key)
    }

    fn logical_hash(&self, range: &KeyRange) -> Result<LogicalHash, EngineError> {
        self.inner.logical_hash(range)
    }

    fn hash_later(&self, range: KeyRange, done: HashDone) {
        self.hashing.asked.fetch_add(1, Ordering::SeqCst);
        if !self.hashing.held.load(Ordering::SeqCst) {
            return self.inner.hash_later(range, done);
        }
        // What is applied next is not in it.
        let (hash, hashing) = (self.inner.logical_hash(&range), Arc::clone(&self.hashing));
        std::thread::spawn(move || {
            while hashing.held.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(10));
            }
            done(hash);
        });
    }

    fn export(&self, prefixes: &[Bytes], range: RangeOf<'_>, folder: &Path) -> Result<Exported, EngineError> {
        self.inner.export(prefixes, range, folder)
    }

    /// Two writes: the range is wiped, and then there is the new data with its records.
    fn install(&self, range: &KeyRange, data: &ExportedData, records: &[CallerRecord]) -> Result<(), EngineError> {
        self.allowed()?;
        self.inner.install(range, &ExportedData::Nothing, &[])?;
        self.allowed()?;
        self.inner.install(range, data, records)
    }

    fn sync(&self) -> Result<(), EngineError> {
        self.allowed()
    }
}
