//! A chunk: so many records of a tier, in key order, that move together.

use rocksdb::{DBRawIterator, ReadOptions};

use crate::engine::Inner;
use crate::error::Result;
use crate::format::keys;
use crate::format::record::{self, RecordKind};
use crate::range::KeyRange;

/// Bounds of a chunk: what a move holds in memory.
const MAX_BYTES: usize = 8 << 20;
const MAX_RECORDS: usize = 32 << 10;

/// A record that may move.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    pub(crate) data_key: Vec<u8>,
    pub(crate) kind: RecordKind,
    pub(crate) version: u64,
    pub(crate) payload: Vec<u8>,
}

/// Records of one tier from the start of a range.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) records: Vec<Candidate>,
    /// The part of the range it covers wholly.
    pub(crate) covered: KeyRange,
    /// What of the range comes after it.
    pub(crate) rest: Option<KeyRange>,
    pub(crate) bytes: u64,
}

impl Candidate {
    pub(crate) fn user_key(&self) -> &[u8] {
        keys::decode(&self.data_key).unwrap_or(&self.data_key)
    }

    pub(crate) fn bytes(&self) -> u64 {
        (self.data_key.len() + self.payload.len()) as u64
    }
}

impl Inner {
    /// Stands on the first record of a range in a tier, to pass through it once. Reads past the block cache: what the
    /// mover passes is not what should be cached.
    pub(super) fn passing(&self, tier: usize, range: &KeyRange) -> DBRawIterator<'_> {
        let mut read = ReadOptions::default();
        let (start, end) = keys::bounds(range);
        read.set_iterate_lower_bound(start);
        read.set_iterate_upper_bound(end);
        read.fill_cache(false);
        read.set_readahead_size(1 << 20);
        let mut iterator = self.database.raw().raw_iterator_cf_opt(self.database.tier(tier), read);
        iterator.seek_to_first();
        iterator
    }

    /// The next chunk of a tier.
    pub(crate) fn chunk(&self, tier: usize, range: &KeyRange, keep: &dyn Fn(&[u8]) -> bool) -> Result<Chunk> {
        let mut iterator = self.passing(tier, range);
        let mut chunk = Chunk { records: Vec::new(), covered: range.clone(), rest: None, bytes: 0 };
        let mut seen = 0;
        while let (Some(data_key), Some(value)) = (iterator.key(), iterator.value()) {
            let user_key = keys::decode(data_key).unwrap_or(data_key);
            if chunk.bytes as usize >= MAX_BYTES || seen >= MAX_RECORDS {
                chunk.covered = range.until_key(user_key);
                chunk.rest = Some(range.from_key(user_key));
                break;
            }
            seen += 1;
            let decoded = record::decode(value).map_err(|e| self.corrupt(tier, user_key, e.to_string()))?;
            if !keep(user_key) {
                let candidate = Candidate {
                    data_key: data_key.to_vec(),
                    kind: decoded.kind,
                    version: decoded.version,
                    payload: decoded.payload.to_vec(),
                };
                chunk.bytes += candidate.bytes();
                chunk.records.push(candidate);
            }
            iterator.next();
        }
        let near = chunk.records.last().map_or_else(|| range.start(), Candidate::user_key);
        iterator.status().map_err(|error| self.read_error(tier, near, error))?;
        Ok(chunk)
    }
}
