//! The logical hash of a range: over the merged view, whatever tier a record is in.

use xxhash_rust::xxh3::Xxh3;

use crate::engine::Inner;
use crate::error::Result;
use crate::format::keys;
use crate::format::record::RecordKind;
use crate::range::KeyRange;
use crate::read::scan::{Reach, Snapshot};

/// What a range holds, in 128 bits: equal for replicas that applied the same entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct LogicalHash {
    /// XXH3 over length, key, version, length, value of every record in key order.
    pub hash: u128,
    /// Records hashed.
    pub records: u64,
    /// Bytes of keys and values hashed.
    pub bytes: u64,
}

impl LogicalHash {
    /// The hash of records given in key order: key, version, value.
    pub fn of<'a>(records: impl Iterator<Item = (&'a [u8], u64, &'a [u8])>) -> Self {
        let mut hasher = RangeHasher::default();
        records.for_each(|(key, version, value)| hasher.add(key, version, value));
        hasher.finish()
    }
}

/// Hashes records in key order.
#[derive(Default)]
pub(super) struct RangeHasher {
    hasher: Xxh3,
    records: u64,
    bytes: u64,
}

impl RangeHasher {
    /// Takes in the next record.
    pub(super) fn add(&mut self, key: &[u8], version: u64, value: &[u8]) {
        self.hasher.update(&(key.len() as u64).to_be_bytes());
        self.hasher.update(key);
        self.hasher.update(&version.to_be_bytes());
        self.hasher.update(&(value.len() as u64).to_be_bytes());
        self.hasher.update(value);
        self.records += 1;
        self.bytes += (key.len() + value.len()) as u64;
    }

    /// The hash of what was added.
    pub(super) fn finish(&self) -> LogicalHash {
        LogicalHash { hash: self.hasher.digest128(), records: self.records, bytes: self.bytes }
    }
}

impl Inner {
    pub(crate) fn logical_hash(&self, range: &KeyRange) -> Result<LogicalHash> {
        self.logical_hash_at(&self.snapshot()?, range)
    }

    /// The hash of what the range held at the moment of a snapshot.
    pub(crate) fn logical_hash_at(&self, snapshot: &Snapshot<'_>, range: &KeyRange) -> Result<LogicalHash> {
        let mut merge = snapshot.merge(range, false, Reach::Whole);
        let mut hasher = RangeHasher::default();
        while let Some(merged) = merge.next(true).map_err(|error| self.merge_error(error))? {
            if merged.kind != RecordKind::Tombstone {
                let key = keys::decode(&merged.data_key).unwrap_or(&merged.data_key);
                hasher.add(key, merged.version, &merged.payload);
            }
        }
        Ok(hasher.finish())
    }
}
