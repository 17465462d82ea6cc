//! A node's data and records on a simulated device: what was applied survives the process; a power loss takes it back to what
//! was synced, or to any moment since.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use thermocline_engine::{ApplyEntry, CallerRecord, EngineError, KeyRange, LogicalHash, WriteOutcome};
use thermocline_shard::NodeId;
use thermocline_shard::machine::{Exported, ExportedData, HashDone, MemoryStore, RangeOf, ShardStore, StoredRecord};

use crate::flaw::Flaw;
use crate::observer::Observer;

/// The store of one node; outlives its processes.
pub struct Store {
    node: NodeId,
    held: Mutex<Held>,
    observer: Arc<Observer>,
    flaw: Option<Flaw>,
}

struct Held {
    now: MemoryStore,
    synced: MemoryStore,
    /// What was applied since the last sync, in its order.
    since: Vec<Change>,
}

struct Change {
    entries: Vec<ApplyEntry>,
    records: Vec<CallerRecord>,
}

impl Change {
    fn make(&self, store: &MemoryStore) -> Result<(), EngineError> {
        store.apply(&self.entries, &mut |_| self.records.clone()).map(drop)
    }
}

impl Held {
    fn sync(&mut self) -> Result<Vec<CallerRecord>, EngineError> {
        let mut records = Vec::new();
        for change in self.since.drain(..) {
            change.make(&self.synced)?;
            records.extend(change.records);
        }
        Ok(records)
    }
}

impl Store {
    /// An empty one.
    pub fn new(node: NodeId, observer: Arc<Observer>, flaw: Option<Flaw>) -> Self {
        let held = Held { now: MemoryStore::default(), synced: MemoryStore::default(), since: Vec::new() };
        Self { node, held: Mutex::new(held), observer, flaw }
    }

    /// The changes that a power loss may take, now.
    pub fn unsynced(&self) -> usize {
        self.held.lock().since.len()
    }

    /// The power is lost: of what was not synced the first `kept` changes stay.
    ///
    /// # Errors
    /// When the store refuses what it took before.
    pub fn lose_power(&self, kept: usize) -> Result<(), EngineError> {
        let mut held = self.held.lock();
        let mut records = Vec::new();
        for change in std::mem::take(&mut held.since).into_iter().take(kept) {
            change.make(&held.synced)?;
            records.extend(change.records);
        }
        held.now = held.synced.clone();
        let all = held.now.records(&[])?;
        drop(held);
        self.observer.synced(&records);
        self.observer.went_back(self.node, &all);
        Ok(())
    }

    /// A key, for whoever looks from outside.
    ///
    /// # Errors
    /// Never, in memory.
    pub fn look(&self, key: &[u8]) -> Result<Option<StoredRecord>, EngineError> {
        self.held.lock().now.get(key)
    }
}

impl ShardStore for Store {
    const WAITS: bool = false;

    fn apply(
        &self,
        entries: &[ApplyEntry],
        records: &mut dyn FnMut(&[WriteOutcome]) -> Vec<CallerRecord>,
    ) -> Result<Vec<WriteOutcome>, EngineError> {
        let mut held = self.held.lock();
        let mut written = Vec::new();
        let outcomes = held.now.apply(entries, &mut |outcomes| {
            written = records(outcomes);
            written.clone()
        })?;
        held.since.push(Change { entries: entries.to_vec(), records: written.clone() });
        drop(held);
        self.observer.applied(self.node, &written);
        Ok(outcomes)
    }

    fn records(&self, prefix: &[u8]) -> Result<Vec<(Bytes, Bytes)>, EngineError> {
        self.held.lock().now.records(prefix)
    }

    fn get(&self, key: &[u8]) -> Result<Option<StoredRecord>, EngineError> {
        self.look(key)
    }

    fn logical_hash(&self, range: &KeyRange) -> Result<LogicalHash, EngineError> {
        self.held.lock().now.logical_hash(range)
    }

    fn hash_later(&self, range: KeyRange, done: HashDone) {
        let hash = self.logical_hash(&range);
        done(hash);
    }

    fn export(&self, prefixes: &[Bytes], range: RangeOf<'_>, folder: &Path) -> Result<Exported, EngineError> {
        self.held.lock().now.export(prefixes, range, folder)
    }

    fn install(&self, range: &KeyRange, data: &ExportedData, records: &[CallerRecord]) -> Result<(), EngineError> {
        let mut held = self.held.lock();
        let mut synced = held.sync()?;
        held.now.install(range, data, records)?;
        held.synced.install(range, data, records)?;
        drop(held);
        synced.extend_from_slice(records);
        self.observer.installed(self.node, matches!(data, ExportedData::Nothing), records);
        self.observer.synced(&synced);
        Ok(())
    }

    fn sync(&self) -> Result<(), EngineError> {
        if self.flaw == Some(Flaw::StateNotSynced) {
            return Ok(());
        }
        let records = self.held.lock().sync()?;
        self.observer.synced(&records);
        Ok(())
    }
}
