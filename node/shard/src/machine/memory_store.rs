//! A store in memory, for simulations of many replicas in one process: no threads, the same steps each time.

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use parking_lot::RwLock;
use thermocline_engine::{ApplyEntry, CallerRecord, EngineError, KeyRange, LogicalHash, WriteOutcome};

use super::hashes::HashDone;
use super::store::{Exported, ExportedData, RangeOf, ShardStore, StoredRecord};

/// The store. What it holds is gone with it.
#[derive(Debug, Default)]
pub struct MemoryStore(RwLock<Held>);

/// A store of its own that holds the same.
impl Clone for MemoryStore {
    fn clone(&self) -> Self {
        Self(RwLock::new(self.0.read().clone()))
    }
}

#[derive(Debug, Default, Clone)]
struct Held {
    data: BTreeMap<Bytes, StoredRecord>,
    records: BTreeMap<Bytes, Bytes>,
}

impl Held {
    fn change(&mut self, records: impl IntoIterator<Item = CallerRecord>) {
        for (key, value) in records {
            match value {
                Some(value) => self.records.insert(key, value),
                None => self.records.remove(&key),
            };
        }
    }

    fn records(&self, prefix: &[u8]) -> Vec<(Bytes, Bytes)> {
        let from = self.records.range(Bytes::copy_from_slice(prefix)..);
        from.take_while(|(key, _)| key.starts_with(prefix)).map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    fn apply(&mut self, entry: &ApplyEntry) -> WriteOutcome {
        for (index, condition) in entry.conditions.iter().enumerate() {
            let actual = self.data.get(condition.key()).map(|record| record.version);
            if !condition.holds(actual) {
                return WriteOutcome::ConditionFailed { index, actual };
            }
        }
        for mutation in &entry.mutations {
            match mutation.value() {
                Some(value) => {
                    let record = StoredRecord { value: value.clone(), version: entry.version };
                    self.data.insert(mutation.key().clone(), record);
                }
                None => {
                    self.data.remove(mutation.key());
                }
            }
        }
        WriteOutcome::Written(entry.version)
    }
}

impl ShardStore for MemoryStore {
    const WAITS: bool = false;

    fn apply(
        &self,
        entries: &[ApplyEntry],
        records: &mut dyn FnMut(&[WriteOutcome]) -> Vec<CallerRecord>,
    ) -> Result<Vec<WriteOutcome>, EngineError> {
        let mut held = self.0.write();
        let outcomes: Vec<WriteOutcome> = entries.iter().map(|entry| held.apply(entry)).collect();
        held.change(records(&outcomes));
        Ok(outcomes)
    }

    fn records(&self, prefix: &[u8]) -> Result<Vec<(Bytes, Bytes)>, EngineError> {
        Ok(self.0.read().records(prefix))
    }

    fn get(&self, key: &[u8]) -> Result<Option<StoredRecord>, EngineError> {
        Ok(self.0.read().data.get(key).cloned())
    }

    fn logical_hash(&self, range: &KeyRange) -> Result<LogicalHash, EngineError> {
        let held = self.0.read();
        let records = held.data.iter().filter(|(key, _)| range.contains(key));
        Ok(LogicalHash::of(records.map(|(key, record)| (key.as_ref(), record.version, record.value.as_ref()))))
    }

    fn hash_later(&self, range: KeyRange, done: HashDone) {
        done(self.logical_hash(&range));
    }

    fn export(&self, prefixes: &[Bytes], range: RangeOf<'_>, _: &Path) -> Result<Exported, EngineError> {
        let held = self.0.read();
        let records: Vec<_> = prefixes.iter().flat_map(|prefix| held.records(prefix)).collect();
        let data = match range(&records) {
            None => ExportedData::Nothing,
            Some(range) => {
                let inside = held.data.iter().filter(|(key, _)| range.contains(key));
                ExportedData::Records(inside.map(|(key, record)| (key.clone(), record.clone())).collect())
            }
        };
        Ok(Exported { records, data })
    }

    fn install(&self, range: &KeyRange, data: &ExportedData, records: &[CallerRecord]) -> Result<(), EngineError> {
        let data = match data {
            ExportedData::Nothing => &[],
            ExportedData::Records(data) => data.as_slice(),
            ExportedData::Folder(_) => {
                return Err(EngineError::Invalid("a store in memory installs records, not files".to_owned()));
            }
        };
        if data.iter().any(|(key, _)| !range.contains(key)) {
            return Err(EngineError::Invalid("the exported data has keys outside of the range".to_owned()));
        }
        let mut held = self.0.write();
        held.data.retain(|key, _| !range.contains(key));
        held.data.extend(data.iter().cloned());
        held.change(records.iter().cloned());
        Ok(())
    }

    fn sync(&self) -> Result<(), EngineError> {
        Ok(())
    }
}
