//! The merge of one iterator per tier: in key order, the faster tier wins, tombstones hide.

use rocksdb::DBRawIteratorWithThreadMode;

use crate::format::record::{self, RecordError, RecordKind};
use crate::guard::Guard;

type RawIterator<'a> = DBRawIteratorWithThreadMode<'a, rocksdb::DB>;

/// Iterators over the tiers, fastest first, positioned on or past the same place.
pub(crate) struct TierMerge<'a> {
    iterators: Vec<RawIterator<'a>>,
    reverse: bool,
    /// The last key passed: says where an unreadable block is.
    near: Vec<u8>,
}

/// What the merge stands on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Merged {
    pub(crate) data_key: Vec<u8>,
    pub(crate) kind: RecordKind,
    pub(crate) version: u64,
    pub(crate) payload: Vec<u8>,
    pub(crate) tier: usize,
}

/// Why the merge could not go on.
#[derive(Debug)]
pub(crate) enum MergeError {
    /// `near`: the data key before the place, empty at the beginning.
    Rocks {
        tier: usize,
        near: Vec<u8>,
        source: rocksdb::Error,
    },
    Record {
        tier: usize,
        data_key: Vec<u8>,
        source: RecordError,
    },
}

impl<'a> TierMerge<'a> {
    /// Over iterators whose bounds are set; seeks them to their beginning.
    pub(crate) fn new(mut iterators: Vec<RawIterator<'a>>, reverse: bool) -> Self {
        for iterator in &mut iterators {
            if reverse {
                iterator.seek_to_last();
            } else {
                iterator.seek_to_first();
            }
        }
        Self { iterators, reverse, near: Vec::new() }
    }

    /// The next record in order, tombstones included.
    pub(crate) fn next(&mut self, with_payload: bool) -> Result<Option<Merged>, MergeError> {
        let Some(winner) = self.winner()? else {
            return Ok(None);
        };
        let iterator = &self.iterators[winner];
        let (Some(key), Some(value)) = (iterator.key(), iterator.value()) else {
            return Ok(None);
        };
        let data_key = key.to_vec();
        let decoded = record::decode(value).map_err(|source| MergeError::Record {
            tier: winner,
            data_key: data_key.clone(),
            source,
        })?;
        let merged = Merged {
            kind: decoded.kind,
            version: decoded.version,
            payload: if with_payload { decoded.payload.to_vec() } else { Vec::new() },
            tier: winner,
            data_key,
        };
        self.pass(&merged.data_key);
        Ok(Some(merged))
    }

    /// The fastest tier among those that stand on the nearest key.
    fn winner(&self) -> Result<Option<usize>, MergeError> {
        let mut best: Option<(usize, &[u8])> = None;
        for (tier, iterator) in self.iterators.iter().enumerate() {
            let Some(key) = iterator.key() else {
                let status = iterator.status();
                status.map_err(|source| MergeError::Rocks { tier, near: self.near.clone(), source })?;
                continue;
            };
            let nearer = best.is_none_or(|(_, known)| {
                let order = if self.reverse { known.cmp(key) } else { key.cmp(known) };
                order.is_lt() || (order.is_eq() && !Guard::FasterWins.on())
            });
            if nearer {
                best = Some((tier, key));
            }
        }
        Ok(best.map(|(tier, _)| tier))
    }

    /// Moves every iterator that stands on this key past it.
    fn pass(&mut self, data_key: &[u8]) {
        self.near.clear();
        self.near.extend_from_slice(data_key);
        for iterator in &mut self.iterators {
            if iterator.key() == Some(data_key) {
                if self.reverse {
                    iterator.prev();
                } else {
                    iterator.next();
                }
            }
        }
    }
}
