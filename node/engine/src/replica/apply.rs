//! Replicated apply: entries with given versions and the caller's own records, in one atomic batch.

use std::collections::BTreeSet;
use std::collections::HashMap;

use bytes::Bytes;
use rocksdb::{DBRawIterator, WriteBatch};

use crate::engine::Inner;
use crate::error::{EngineError, Result, RocksContext};
use crate::format::{keys, meta};
use crate::options::Durability;
use crate::write::batch::{Condition, Mutation, WriteOutcome, check_key, check_value};
use crate::write::stripes::{StripeIndex, Stripes};
use crate::write::versions::check_version;

/// One entry of a replicated log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApplyEntry {
    /// Its version: above that of every entry applied before, at most [`MAX_VERSION`](crate::MAX_VERSION).
    pub version: u64,
    /// Checked against the state that the entries before it leave, those of the same batch included.
    pub conditions: Vec<Condition>,
    /// What it changes, if its conditions hold.
    pub mutations: Vec<Mutation>,
}

/// A record of the caller's own: its key, and its value or `None` to delete it.
pub type CallerRecord = (Bytes, Option<Bytes>);

/// Entries applied together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ApplyBatch {
    /// In log order.
    pub entries: Vec<ApplyEntry>,
    /// The caller's own records (applied id, membership), written with the entries or not at all.
    pub meta: Vec<CallerRecord>,
}

impl Inner {
    /// Applies entries. Every replica that applies the same ones, however chunked, has the same logical hash. The caller's
    /// records are asked for when the outcomes are known, still inside of the batch.
    pub(crate) fn apply(
        &self,
        entries: &[ApplyEntry],
        records: impl FnOnce(&[WriteOutcome]) -> Vec<CallerRecord>,
        durability: Durability,
    ) -> Result<Vec<WriteOutcome>> {
        if durability == Durability::Buffered {
            return Err(EngineError::Invalid(
                "a replicated batch is applied with Sync or Wal: its log entry must not outlive it".to_owned(),
            ));
        }
        entries.iter().try_for_each(|entry| check_version(entry.version))?;
        self.database.check()?;
        self.admit_undamaged()?;
        let touched: BTreeSet<&[u8]> = entries
            .iter()
            .flat_map(|e| e.mutations.iter().map(Mutation::key).chain(e.conditions.iter().map(Condition::key)))
            .map(|key| key.as_ref())
            .collect();
        let mut stripes: Vec<StripeIndex> = touched.iter().map(|key| Stripes::of(key)).collect();
        let writer = self.stripes.write_many(&mut stripes);
        self.buffered.flush_before(&self.database, touched.iter().copied())?;
        for key in &touched {
            self.fences.check(key)?;
            self.row_cache.remove(key);
        }

        let mut rocks = WriteBatch::default();
        let mut own: HashMap<&[u8], Option<u64>> = HashMap::new();
        let mut outcomes = Vec::with_capacity(entries.len());
        let mut highest = 0;
        for entry in entries {
            if entry.version <= highest {
                return Err(EngineError::Invalid(format!(
                    "versions of a batch ascend; {} follows {highest}",
                    entry.version
                )));
            }
            highest = entry.version;
            outcomes.push(self.stage(entry, &mut own, &mut rocks)?);
        }
        self.stage_records(&mut rocks, &records(&outcomes));
        self.versions.observe(&self.database, highest)?;
        self.database.write(&rocks, &self.database.wal, "apply replicated entries")?;
        drop(writer);
        self.settle(durability)?;
        Ok(outcomes)
    }

    /// Adds an entry to the batch if its conditions hold; `own` is what the batch has changed so far.
    fn stage<'a>(
        &self,
        entry: &'a ApplyEntry,
        own: &mut HashMap<&'a [u8], Option<u64>>,
        rocks: &mut WriteBatch,
    ) -> Result<WriteOutcome> {
        for (index, condition) in entry.conditions.iter().enumerate() {
            let key: &[u8] = condition.key();
            let actual = match own.get(key) {
                Some(version) => *version,
                None => self.read_tiers(key)?.map(|r| r.version),
            };
            if !condition.holds(actual) {
                return Ok(WriteOutcome::ConditionFailed { index, actual });
            }
        }
        let (mut key_buffer, mut record_buffer) = (Vec::new(), Vec::new());
        for mutation in &entry.mutations {
            let key: &[u8] = mutation.key();
            check_key(key)?;
            check_value(mutation.value().map_or(&[][..], |v| v.as_ref()))?;
            keys::encode_into(key, &mut key_buffer);
            let value = mutation.value().map(AsRef::as_ref);
            self.loads.note(key, entry.version);
            self.database.stage(rocks, &key_buffer, entry.version, value, &mut record_buffer);
            own.insert(key, value.map(|_| entry.version));
        }
        Ok(WriteOutcome::Written(entry.version))
    }

    /// Adds changes of the caller's own records to a batch.
    pub(super) fn stage_records(&self, batch: &mut WriteBatch, records: &[CallerRecord]) {
        for (key, value) in records {
            match value {
                Some(value) => batch.put_cf(self.database.meta(), meta::caller(key), value),
                None => batch.delete_cf(self.database.meta(), meta::caller(key)),
            }
        }
    }

    /// One of the caller's own records.
    pub(crate) fn caller_meta(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.database.get_meta(&meta::caller(key))
    }

    /// The caller's own records whose keys begin with `prefix`, in order.
    pub(crate) fn caller_records(&self, prefix: &[u8]) -> Result<Vec<(Bytes, Bytes)>> {
        caller_records(self.database.raw().raw_iterator_cf(self.database.meta()), prefix)
    }
}

/// The caller's own records of an iterator over `meta`, those whose keys begin with `prefix`.
pub(crate) fn caller_records(mut iterator: DBRawIterator<'_>, prefix: &[u8]) -> Result<Vec<(Bytes, Bytes)>> {
    let full = meta::caller(prefix);
    let mut records = Vec::new();
    iterator.seek(&full);
    while let Some((key, value)) = iterator.item().filter(|(key, _)| key.starts_with(&full)) {
        records.push((Bytes::copy_from_slice(&key[1..]), Bytes::copy_from_slice(value)));
        iterator.next();
    }
    iterator.status().attempting("read the caller's records")?;
    Ok(records)
}
