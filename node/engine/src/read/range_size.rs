//! What a range holds, and where its middle is, without reading it: RocksDB's own estimates, from the indexes of its files.
//! Exact where a range is so small that estimates would be coarse.

use bytes::Bytes;

use crate::engine::Inner;
use crate::error::Result;
use crate::format::keys;
use crate::format::record::RecordKind;
use crate::range::KeyRange;
use crate::read::scan::{Reach, Snapshot};

/// A smaller range is read to find its middle: estimates err by about a block for each file, and more for write buffers.
const READ_BELOW_BYTES: u64 = 8 << 20;
/// The middle is near enough when the part before it differs from the half by no more than this share of the whole.
const NEAR_ENOUGH: f64 = 1.0 / 32.0;
/// Each step halves what lies between two keys; a longer common start costs more of them.
const MAX_STEPS: usize = 256;

/// What a range holds, estimated.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RangeSize {
    /// Bytes on the medium of each tier, fastest first; write buffers included.
    pub tier_bytes: Vec<u64>,
    /// Records; those that are in several tiers count more than once.
    pub records: u64,
}

impl RangeSize {
    /// Bytes in all tiers.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.tier_bytes.iter().sum()
    }
}

impl Inner {
    pub(crate) fn range_size(&self, range: &KeyRange) -> Result<RangeSize> {
        let (start, end) = keys::bounds(range);
        let tiers = 0..self.database.tier_count();
        let tier_bytes =
            tiers.map(|tier| self.database.approximate_bytes(tier, &start, &end)).collect::<Result<Vec<_>>>()?;
        let records: f64 =
            tier_bytes.iter().zip(self.densities()).map(|(bytes, density)| *bytes as f64 * density).sum();
        Ok(RangeSize { tier_bytes, records: records.ceil() as u64 })
    }

    /// A key with about as many bytes of the range before it as from it on; `None` where the range has fewer than two keys.
    pub(crate) fn middle_key(&self, range: &KeyRange) -> Result<Option<Bytes>> {
        let snapshot = self.snapshot()?;
        let whole = self.range_size(range)?.bytes();
        if whole < READ_BELOW_BYTES {
            return self.middle_by_reading(&snapshot, range);
        }
        self.middle_by_estimates(&snapshot, range, whole)
    }

    fn middle_by_reading(&self, snapshot: &Snapshot<'_>, range: &KeyRange) -> Result<Option<Bytes>> {
        let mut merge = snapshot.merge(range, false, Reach::Few);
        let (mut seen, mut whole) = (Vec::new(), 0);
        while let Some(merged) = merge.next(true).map_err(|error| self.merge_error(error))? {
            if merged.kind != RecordKind::Tombstone {
                seen.push((user_key(&merged.data_key), whole));
                whole += (merged.data_key.len() + merged.payload.len()) as u64;
            }
        }
        // The first key of all would leave nothing before it.
        let middle = seen.iter().skip(1).min_by_key(|(_, before)| before.abs_diff(whole / 2));
        Ok(middle.map(|(key, _)| key.clone()))
    }

    fn middle_by_estimates(&self, snapshot: &Snapshot<'_>, range: &KeyRange, whole: u64) -> Result<Option<Bytes>> {
        let (Some(first), Some(last)) = (self.at_end(snapshot, range, false)?, self.at_end(snapshot, range, true)?)
        else {
            return Ok(None);
        };
        let (mut low, mut high) = (first.clone(), last);
        let mut best: Option<(f64, Bytes)> = None;
        for _ in 0..MAX_STEPS {
            let Some(between) = between(&low, &high) else { break };
            let Some(key) = self.at_end(snapshot, &range.from_key(&between), false)? else { break };
            if key <= low || key >= high {
                // Nothing between the two halves: what is left is below.
                high = between.into();
                continue;
            }
            let before = self.range_size(&range.until_key(&key))?.bytes() as f64 / whole as f64;
            let off = (before - 0.5).abs();
            if best.as_ref().is_none_or(|(least, _)| off < *least) {
                best = Some((off, key.clone()));
            }
            if off <= NEAR_ENOUGH {
                break;
            }
            if before < 0.5 { low = key } else { high = between.into() }
        }
        Ok(best.map(|(_, key)| key).filter(|key| *key > first))
    }

    /// The first or the last key of a range.
    fn at_end(&self, snapshot: &Snapshot<'_>, range: &KeyRange, last: bool) -> Result<Option<Bytes>> {
        let mut merge = snapshot.merge(range, last, Reach::Few);
        let merged = merge.next(false).map_err(|error| self.merge_error(error))?;
        Ok(merged.map(|merged| user_key(&merged.data_key)))
    }
}

fn user_key(data_key: &[u8]) -> Bytes {
    Bytes::copy_from_slice(keys::decode(data_key).unwrap_or(data_key))
}

/// A key half way between two, by the eight bytes after those that both begin with; `None` where nothing is between.
fn between(low: &[u8], high: &[u8]) -> Option<Vec<u8>> {
    let common = low.iter().zip(high).take_while(|(a, b)| a == b).count();
    let number = |key: &[u8]| {
        let mut bytes = [0; 8];
        let rest = &key[common..];
        let taken = rest.len().min(8);
        bytes[..taken].copy_from_slice(&rest[..taken]);
        u64::from_be_bytes(bytes)
    };
    let (a, b) = (number(low), number(high));
    let half = a + b.checked_sub(a)? / 2;
    (half > a).then(|| [&low[..common], &half.to_be_bytes()].concat())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn half_way_lies_between_and_behind_what_both_begin_with() {
        let half = between(b"packages/0/a", b"packages/0/c").unwrap();
        assert!(half.starts_with(b"packages/0/"), "{half:?}");
        assert!(&b"packages/0/a"[..] < half.as_slice() && half.as_slice() < &b"packages/0/c"[..]);
        assert_eq!(&between(b"", &[0xff, 0xff]).unwrap()[..2], &[0x7f, 0xff]);
    }

    #[test]
    fn there_is_nothing_between_a_key_and_itself_or_its_next() {
        assert_eq!(between(b"a", b"a"), None);
        assert_eq!(between(b"a", b"a\0"), None);
        assert_eq!(between(b"b", b"a"), None);
    }
}
