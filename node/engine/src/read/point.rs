//! Point reads: row cache, buffered queue, then the tiers from the fastest down; the first record found is the answer.
//!
//! No snapshot is needed: downward moves copy before they delete and readers probe downwards; upward moves copy.

use bytes::Bytes;

use super::row::Row;
use super::value::Value;
use crate::engine::Inner;
use crate::error::{EngineError, Result, printable_key};
use crate::format::keys;
use crate::format::record::{self, RecordKind, RecordRef};
use crate::write::batch::check_key;

/// A record as a reader gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The value.
    pub value: Value,
    /// Its version: higher than that of every earlier write of the key.
    pub version: u64,
}

impl Record {
    pub(crate) fn of_row(row: Row) -> Self {
        Self { version: row.version(), value: Value::of_row(row) }
    }
}

/// A record found in a tier, tombstones included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) tier: usize,
    pub(crate) kind: RecordKind,
    pub(crate) version: u64,
    pub(crate) value: Bytes,
}

impl Inner {
    /// Reads one key.
    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Record>> {
        check_key(key)?;
        if let Some(row) = self.row_cache.get(key) {
            self.heat.record_cached_read(key, row.value().len());
            self.prefetch.read_cached(key, || self.environment.clock.monotonic());
            return Ok(Some(Record::of_row(row)));
        }
        let before = self.row_cache.before_read(&self.stripes, key);
        let timer = self.stats.read_timer(&self.environment);
        let record = self.find(key, true)?;
        self.stats.read(timer, &self.environment);
        let Some(found) = record.filter(|f| f.kind != RecordKind::Tombstone) else {
            return Ok(None);
        };
        let Found { version, value, tier, kind: _ } = found;
        self.heat.record_tier_read(key, value.len(), tier);
        if tier > 0 {
            self.prefetch.read_below(key, self.environment.clock.monotonic());
        }
        self.row_cache.insert(&self.stripes, before, key, version, &value);
        Ok(Some(Record { value: value.into(), version }))
    }

    /// Reads one key past the row cache; what a writer under its stripes sees.
    pub(crate) fn read_tiers(&self, key: &[u8]) -> Result<Option<Record>> {
        let found = self.find(key, false)?;
        Ok(found
            .filter(|f| f.kind != RecordKind::Tombstone)
            .map(|Found { version, value, tier: _, kind: _ }| Record { value: value.into(), version }))
    }

    /// The newest record of a key, tombstones included.
    pub(crate) fn find(&self, key: &[u8], count: bool) -> Result<Option<Found>> {
        let _reading = self.readers.enter();
        if let Some(queued) = self.buffered.get(key) {
            let kind = if queued.value.is_some() { RecordKind::Value } else { RecordKind::Tombstone };
            return Ok(Some(Found { tier: 0, kind, version: queued.version, value: queued.value.unwrap_or_default() }));
        }
        let data_key = keys::encode(key);
        for tier in 0..self.database.tier_count() {
            if let Some(found) = self.find_in_tier(tier, key, &data_key, count)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// The record of a key in one tier.
    pub(crate) fn find_in_tier(&self, tier: usize, key: &[u8], data_key: &[u8], count: bool) -> Result<Option<Found>> {
        let timer = count.then(|| self.stats.tier_timer(&self.environment));
        let pinned = self.tiers[tier].medium_read(&*self.environment.clock, || {
            self.database.raw().get_pinned_cf_opt(self.database.tier(tier), data_key, &self.database.point_read)
        });
        let pinned = pinned.map_err(|error| self.read_error(tier, key, error))?;
        let Some(bytes) = pinned else {
            return Ok(None);
        };
        let RecordRef { kind, version, payload } =
            record::decode(&bytes).map_err(|error| self.corrupt(tier, key, error.to_string()))?;
        let found = Found { tier, kind, version, value: Bytes::copy_from_slice(payload) };
        if let Some(timer) = timer {
            self.tiers[tier].stats.answered(1, timer, &self.environment);
        }
        Ok(Some(found))
    }

    /// The kind and version of a key's record in one tier; its payload is not copied.
    pub(crate) fn header_in_tier(&self, tier: usize, data_key: &[u8]) -> Result<Option<(RecordKind, u64)>> {
        let user_key = keys::decode(data_key).unwrap_or(data_key);
        let pinned = self
            .database
            .raw()
            .get_pinned_cf_opt(self.database.tier(tier), data_key, &self.database.point_read)
            .map_err(|error| self.read_error(tier, user_key, error))?;
        match pinned {
            None => Ok(None),
            Some(bytes) => record::decode(&bytes)
                .map(|r| Some((r.kind, r.version)))
                .map_err(|error| self.corrupt(tier, user_key, error.to_string())),
        }
    }

    /// Says which tier and key an unreadable block belongs to.
    pub(crate) fn read_error(&self, tier: usize, key: &[u8], error: rocksdb::Error) -> EngineError {
        match error.kind() {
            rocksdb::ErrorKind::Corruption | rocksdb::ErrorKind::IOError => self.corrupt(tier, key, error.to_string()),
            _ => EngineError::Rocks { attempt: "read a record", source: error },
        }
    }

    pub(crate) fn corrupt(&self, tier: usize, key: &[u8], detail: String) -> EngineError {
        EngineError::Corrupt { tier: self.tiers[tier].name().to_owned(), key: printable_key(key), detail }
    }
}
