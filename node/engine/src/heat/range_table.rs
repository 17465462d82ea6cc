//! An ordered partition of the key space into ranges with their heat.
//!
//! Invariants: the first range starts at the empty key, each ends where the next begins, so every key is in exactly one;
//! at most `maximum_ranges` of them; keys held (starts, samples) take at most `maximum_key_bytes`. A range splits at the
//! median of its sampled keys when it has too large a share of the accesses or too many bytes; cold neighbours merge.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::Duration;

use rand_chacha::ChaCha8Rng;

use super::moment::Moment;
use super::range_heat::{RangeEntry, RangeHeat};
use super::rate::{Decay, DecayedRate};
use crate::range::KeyRange;

/// Bounds and targets of the table.
#[derive(Debug, Clone, PartialEq)]
pub struct RangeTableConfig {
    /// At most so many ranges.
    pub maximum_ranges: usize,
    /// At most so many bytes of keys.
    pub maximum_key_bytes: usize,
    /// A range with more written bytes splits.
    pub target_bytes: u64,
    /// A range with more than this share of all accesses splits.
    pub maximum_share: f64,
}

impl Default for RangeTableConfig {
    fn default() -> Self {
        Self { maximum_ranges: 4096, maximum_key_bytes: 2 << 20, target_bytes: 64 << 20, maximum_share: 1.0 / 128.0 }
    }
}

/// Samples a range needs before its share means anything.
const SAMPLES_TO_SPLIT: u32 = 64;
/// Whether to split is asked once in so many samples of a range.
const SPLIT_CHECK_EVERY: u32 = 16;
/// Neighbours that together have less than this part of `maximum_share` are cold.
const COLD_PART: f64 = 1.0 / 16.0;
/// After room could not be made, so many samples pass before the next try: a try looks at every range.
const ROOM_BACK_OFF: u32 = 65_536;

/// Ranges by their first key.
#[derive(Debug)]
pub struct RangeTable {
    config: RangeTableConfig,
    ranges: BTreeMap<Vec<u8>, RangeEntry>,
    total: DecayedRate,
    key_bytes: usize,
    back_off: u32,
    random: ChaCha8Rng,
}

impl RangeTable {
    /// One range over everything, watched from `now`.
    #[must_use]
    pub fn new(config: RangeTableConfig, random: ChaCha8Rng, now: Duration) -> Self {
        let ranges = BTreeMap::from([(Vec::new(), RangeEntry::new(now.into()))]);
        Self { config, ranges, total: DecayedRate::NONE, key_bytes: 0, back_off: 0, random }
    }

    /// Number of ranges; at least one.
    #[must_use]
    pub fn range_count(&self) -> usize {
        self.ranges.len()
    }

    /// Memory the table holds.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        // A B-tree node is at least half full; a sampled key has a box in its reservoir.
        self.ranges.len() * (2 * (size_of::<RangeEntry>() + size_of::<Vec<u8>>()) + 16 * size_of::<Box<[u8]>>())
            + self.key_bytes
    }

    /// Records `weight` accesses that one sample of `key` stands for, with the bytes of each.
    pub fn record(&mut self, key: &[u8], is_read: bool, weight: u32, bytes: u32, now: Duration, decay: &Decay) {
        let now = Moment::from(now);
        let allowance = self.config.maximum_key_bytes.saturating_sub(self.key_bytes);
        self.total.record(f64::from(weight), now, decay);
        self.back_off = self.back_off.saturating_sub(1);
        let Some((_, entry)) = self.ranges.range_mut::<[u8], _>((Bound::Unbounded, Bound::Included(key))).next_back()
        else {
            return;
        };
        if is_read {
            entry.reads.record(f64::from(weight), now, decay);
        } else {
            entry.writes.record(f64::from(weight), now, decay);
            entry.written(f64::from(weight) * f64::from(bytes), now);
        }
        let ascending =
            if entry.last_key.is_empty() || *entry.last_key == *key { None } else { Some(key > &*entry.last_key) };
        entry.pattern.record(is_read, ascending, now);
        let mut change = entry.reservoir.offer(key, allowance, &mut self.random);
        let left = allowance.saturating_add_signed(-change);
        if key.len() <= entry.last_key.len() + left {
            change += key.len() as isize - entry.last_key.len() as isize;
            entry.last_key = key.into();
        }
        self.key_bytes = self.key_bytes.saturating_add_signed(change);
        entry.samples = entry.samples.saturating_add(1);
        if entry.samples >= SAMPLES_TO_SPLIT && entry.samples.is_multiple_of(SPLIT_CHECK_EVERY) {
            self.split_if_too_large(key, now, decay);
        }
    }

    /// Sets what is stored in the ranges that start at these keys: sampled writes overestimate what is overwritten.
    pub fn set_stored_bytes(&mut self, start: &[u8], bytes: u64) {
        if let Some(entry) = self.ranges.get_mut(start) {
            entry.written_bytes = bytes as f64;
        }
    }

    /// Notes that the data of `range` was moved between tiers.
    pub fn note_moved(&mut self, range: &KeyRange, now: Duration) {
        for entry in self.overlapping_mut(range) {
            entry.moved = entry.moved.max(now.into());
        }
    }

    /// Merges cold neighbours whose bytes together stay under half the target.
    pub fn maintain(&mut self, now: Duration, decay: &Decay) {
        let now = Moment::from(now);
        let cold = self.config.maximum_share * COLD_PART * self.total.at(now, decay);
        let bytes = self.config.target_bytes as f64 / 2.0;
        let pairs: Vec<Vec<u8>> = self
            .neighbours(now, decay)
            .filter(|pair| pair.accesses <= cold && pair.bytes <= bytes)
            .map(|pair| pair.right.to_vec())
            .collect();
        for right in pairs {
            // An earlier merge of this pass may have made the pair too large.
            if self.pair_at(&right, now, decay).is_some_and(|(heat, size)| heat <= cold && size <= bytes) {
                self.merge_left(&right, now, decay);
            }
        }
    }

    /// The heat of the range that has `key`.
    #[must_use]
    pub fn heat_at(&self, key: &[u8], now: Duration, decay: &Decay) -> RangeHeat {
        let start = self.start_of(key);
        let range = self.range_from(&start);
        match self.ranges.get(&start) {
            Some(entry) => entry.heat(range, now.into(), decay),
            None => RangeEntry::new(now.into()).heat(range, now.into(), decay),
        }
    }

    /// All ranges with their heat, in key order.
    #[must_use]
    pub fn all(&self, now: Duration, decay: &Decay) -> Vec<RangeHeat> {
        let mut ends = self.ranges.keys().skip(1);
        self.ranges
            .iter()
            .map(|(start, entry)| {
                let end = ends.next().cloned().unwrap_or_default();
                entry.heat(bounds(start.clone(), end), now.into(), decay)
            })
            .collect()
    }

    /// The entries in key order, each with its range.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (KeyRange, &RangeEntry)> {
        self.ranges.iter().map(|(start, entry)| (self.range_from(start), entry))
    }

    /// The entries that share a key with `range`.
    pub(crate) fn overlapping_mut(&mut self, range: &KeyRange) -> impl Iterator<Item = &mut RangeEntry> {
        let start = self.start_of(range.start());
        let end = match range.end() {
            Some(end) if end > start.as_slice() => Bound::Excluded(end.to_vec()),
            Some(_) => Bound::Included(start.clone()),
            None => Bound::Unbounded,
        };
        self.ranges.range_mut((Bound::Included(start), end)).map(|(_, entry)| entry)
    }

    /// Makes `key` the start of a range, where the bounds allow it.
    pub(crate) fn ensure_boundary(&mut self, key: &[u8]) {
        self.split_at(key);
    }

    /// Adds to the total what was merged from elsewhere.
    pub(crate) fn recount_total(&mut self, decay: &Decay) {
        self.total = self
            .ranges
            .values()
            .fold(DecayedRate::NONE, |sum, entry| sum.sum(&entry.reads, decay).sum(&entry.writes, decay));
    }

    fn start_of(&self, key: &[u8]) -> Vec<u8> {
        self.ranges
            .range::<[u8], _>((Bound::Unbounded, Bound::Included(key)))
            .next_back()
            .map(|(start, _)| start.clone())
            .unwrap_or_default()
    }

    fn range_from(&self, start: &[u8]) -> KeyRange {
        let end = self.ranges.range::<[u8], _>((Bound::Excluded(start), Bound::Unbounded)).next();
        bounds(start.to_vec(), end.map(|(end, _)| end.clone()).unwrap_or_default())
    }

    fn split_if_too_large(&mut self, key: &[u8], now: Moment, decay: &Decay) {
        let total = self.total.at(now, decay);
        let Some((start, entry)) = self.ranges.range::<[u8], _>((Bound::Unbounded, Bound::Included(key))).next_back()
        else {
            return;
        };
        let accesses = entry.accesses(now, decay);
        let too_hot = accesses > self.config.maximum_share * total;
        let too_big = entry.written_bytes > self.config.target_bytes as f64;
        if !too_hot && !too_big {
            return;
        }
        let Some(median) = entry.reservoir.median().filter(|median| *median > start.as_slice()).map(<[u8]>::to_vec)
        else {
            return;
        };
        if self.ranges.len() >= self.config.maximum_ranges {
            if self.back_off > 0 {
                return;
            }
            self.make_room(now, decay);
            if self.ranges.len() >= self.config.maximum_ranges {
                self.back_off = ROOM_BACK_OFF;
                return;
            }
        }
        self.split_at(&median);
    }

    /// Splits the range that has `key` there. Nothing happens at a start, or where a bound is reached.
    fn split_at(&mut self, key: &[u8]) -> bool {
        if self.ranges.len() >= self.config.maximum_ranges
            || self.key_bytes + key.len() > self.config.maximum_key_bytes
            || self.ranges.contains_key(key)
        {
            return false;
        }
        let Some((_, entry)) = self.ranges.range_mut::<[u8], _>((Bound::Unbounded, Bound::Included(key))).next_back()
        else {
            return false;
        };
        let left_share = entry.reservoir.share_before(key);
        let mut left_keys = entry.reservoir.clone();
        let right_keys = left_keys.split_off(key);
        let right = entry.part(1.0 - left_share, right_keys);
        let freed = entry.last_key.len();
        *entry = entry.part(left_share, left_keys);
        self.key_bytes = (self.key_bytes + key.len()).saturating_sub(freed);
        self.ranges.insert(key.to_vec(), right);
        true
    }

    /// Merges the coldest neighbours down to 15/16 of the bound, sparing pairs that carry a fair share of the load.
    fn make_room(&mut self, now: Moment, decay: &Decay) {
        let limit = self.config.maximum_share / 4.0 * self.total.at(now, decay);
        let mut pairs: Vec<(f64, Vec<u8>)> = self
            .neighbours(now, decay)
            .filter(|pair| pair.accesses <= limit)
            .map(|pair| (pair.accesses, pair.right.to_vec()))
            .collect();
        pairs.sort_by(|a, b| a.0.total_cmp(&b.0));
        let target = self.config.maximum_ranges / 16 * 15;
        for (_, right) in pairs {
            if self.ranges.len() <= target {
                break;
            }
            if self.pair_at(&right, now, decay).is_some_and(|(accesses, _)| accesses <= limit) {
                self.merge_left(&right, now, decay);
            }
        }
    }

    fn neighbours<'a>(&'a self, now: Moment, decay: &'a Decay) -> impl Iterator<Item = Pair<'a>> {
        self.ranges.iter().zip(self.ranges.iter().skip(1)).map(move |((_, left), (start, right))| Pair {
            right: start,
            accesses: left.accesses(now, decay) + right.accesses(now, decay),
            bytes: left.written_bytes + right.written_bytes,
        })
    }

    /// Accesses and bytes of the range that starts at `right` and its left neighbour together.
    fn pair_at(&self, right: &[u8], now: Moment, decay: &Decay) -> Option<(f64, f64)> {
        let entry = self.ranges.get(right)?;
        let (_, left) = self.ranges.range::<[u8], _>((Bound::Unbounded, Bound::Excluded(right))).next_back()?;
        let accesses = left.accesses(now, decay) + entry.accesses(now, decay);
        Some((accesses, left.written_bytes + entry.written_bytes))
    }

    fn merge_left(&mut self, right: &[u8], now: Moment, decay: &Decay) {
        let Some(gone) = self.ranges.remove(right) else {
            return;
        };
        let before = gone.reservoir.bytes() + gone.last_key.len() + right.len();
        let Some((_, left)) = self.ranges.range_mut::<[u8], _>((Bound::Unbounded, Bound::Excluded(right))).next_back()
        else {
            self.ranges.insert(right.to_vec(), gone);
            return;
        };
        let before = before + left.reservoir.bytes() + left.last_key.len();
        *left = left.joined(&gone, now, decay);
        let after = left.reservoir.bytes();
        self.key_bytes = (self.key_bytes + after).saturating_sub(before);
    }
}

/// Two neighbours.
struct Pair<'a> {
    right: &'a [u8],
    accesses: f64,
    bytes: f64,
}

/// The range between two starts (an empty `end`: no upper bound). Starts are ordered, so the fallback is never taken.
fn bounds(start: Vec<u8>, end: Vec<u8>) -> KeyRange {
    KeyRange::new(start, end).unwrap_or(KeyRange::all())
}
