//! The logical hash of a range: over the merged view, whatever tier a record is in.

use xxhash_rust::xxh3::Xxh3;

use crate::engine::Inner;
use crate::error::Result;
use crate::format::keys;
use crate::format::record::RecordKind;
use crate::range::KeyRange;

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

impl Inner {
    pub(crate) fn logical_hash(&self, range: &KeyRange) -> Result<LogicalHash> {
        let snapshot = self.snapshot()?;
        let mut merge = snapshot.merge(range, false, false);
        let mut hasher = Xxh3::new();
        let (mut records, mut bytes) = (0, 0);
        while let Some(merged) = merge.next(true).map_err(|error| self.merge_error(error))? {
            if merged.kind == RecordKind::Tombstone {
                continue;
            }
            let key = keys::decode(&merged.data_key).unwrap_or(&merged.data_key);
            hasher.update(&(key.len() as u64).to_be_bytes());
            hasher.update(key);
            hasher.update(&merged.version.to_be_bytes());
            hasher.update(&(merged.payload.len() as u64).to_be_bytes());
            hasher.update(&merged.payload);
            records += 1;
            bytes += (key.len() + merged.payload.len()) as u64;
        }
        Ok(LogicalHash { hash: hasher.digest128(), records, bytes })
    }
}
