//! The bounded table of admitted keys: exact decayed rates of the keys that the sketch let in.
//!
//! Bounded by memory, not by count: keys may be up to 4 KiB. When full, the coldest eighth leaves at once, so that the
//! cost of finding them is shared by many admissions; a key that is read leaves only after all colder ones.

use std::collections::HashMap;
use std::time::Duration;

use super::event::ServedBy;
use super::moment::Moment;
use super::rate::{Decay, DecayedRate};

/// The heat of one key as of the moment it was asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct KeyHeat {
    /// The user's key.
    pub key: Vec<u8>,
    /// Reads per day.
    pub reads_per_day: f64,
    /// Writes per day.
    pub writes_per_day: f64,
    /// One standard error of `reads_per_day`: what sampling and chance leave uncertain.
    pub read_error: f64,
    /// Time since the last sampled read.
    pub read_ago: Option<Duration>,
    /// Time since the last sampled write.
    pub write_ago: Option<Duration>,
    /// What answered its last sampled read, or where the mover has seen it since; a hint, the mover looks again.
    pub served_by: Option<ServedBy>,
    /// Bytes of key and value at its last sampled access.
    pub bytes: u32,
}

/// What the table keeps of a key.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct AdmittedEntry {
    pub(crate) reads: DecayedRate,
    pub(crate) writes: DecayedRate,
    pub(crate) served_by: Option<ServedBy>,
    pub(crate) bytes: u32,
}

impl AdmittedEntry {
    pub(crate) const EMPTY: Self =
        Self { reads: DecayedRate::NONE, writes: DecayedRate::NONE, served_by: None, bytes: 0 };

    fn heat(&self, key: &[u8], now: Moment, decay: &Decay, sample_weight: f64) -> KeyHeat {
        let reads_per_day = self.reads.at(now, decay);
        KeyHeat {
            key: key.to_vec(),
            reads_per_day,
            writes_per_day: self.writes.at(now, decay),
            read_error: (reads_per_day * sample_weight * decay.per_event()).sqrt(),
            read_ago: self.reads.last().age(now),
            write_ago: self.writes.last().age(now),
            served_by: self.served_by,
            bytes: self.bytes,
        }
    }
}

/// What an entry costs beside its key's bytes: a hash table may be at 7/16 of its slots after it grew, plus the
/// allocator's share of the key.
const ENTRY_COST: usize = (size_of::<(Box<[u8]>, AdmittedEntry)>() + 1) * 16 / 7 + 16;

/// Key -> rates, bounded by memory.
#[derive(Debug)]
pub struct AdmittedKeys {
    entries: HashMap<Box<[u8]>, AdmittedEntry>,
    maximum_bytes: usize,
    used_bytes: usize,
}

impl AdmittedKeys {
    /// A table of at most `maximum_bytes`, and of at least one key of any size.
    #[must_use]
    pub fn new(maximum_bytes: usize) -> Self {
        Self { entries: HashMap::new(), maximum_bytes, used_bytes: 0 }
    }

    /// Number of keys.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no key is admitted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// An upper bound of the memory the table holds, never over what it was given (but for one oversized key).
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.used_bytes
    }

    pub(crate) fn entry_mut(&mut self, key: &[u8]) -> Option<&mut AdmittedEntry> {
        self.entries.get_mut(key)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], &AdmittedEntry)> {
        self.entries.iter().map(|(key, entry)| (&**key, entry))
    }

    /// Admits a key (or replaces its entry), making room among the coldest.
    pub(crate) fn insert(&mut self, key: &[u8], entry: AdmittedEntry, now: Moment, decay: &Decay) {
        if let Some(known) = self.entries.get_mut(key) {
            *known = entry;
            return;
        }
        let cost = ENTRY_COST + key.len();
        if self.used_bytes + cost > self.maximum_bytes {
            self.evict_coldest(self.maximum_bytes.saturating_sub(cost).min(self.maximum_bytes / 8 * 7), now, decay);
        }
        self.entries.insert(key.into(), entry);
        self.used_bytes += cost;
    }

    /// Forgets a key.
    pub fn remove(&mut self, key: &[u8]) {
        if self.entries.remove(key).is_some() {
            self.used_bytes -= ENTRY_COST + key.len();
        }
    }

    /// One key's heat.
    pub(crate) fn heat(&self, key: &[u8], now: Moment, decay: &Decay, sample_weight: f64) -> Option<KeyHeat> {
        self.entries.get(key).map(|entry| entry.heat(key, now, decay, sample_weight))
    }

    /// The `count` keys read most, hottest first; ties in key order.
    pub(crate) fn top(&self, count: usize, now: Moment, decay: &Decay, sample_weight: f64) -> Vec<KeyHeat> {
        let hottest = self.hottest(count, now, decay).into_iter();
        hottest.map(|(key, entry)| entry.heat(key, now, decay, sample_weight)).collect()
    }

    /// The entries of these keys.
    pub(crate) fn hottest(&self, count: usize, now: Moment, decay: &Decay) -> Vec<(&[u8], &AdmittedEntry)> {
        type Ranked<'a> = (f64, f64, &'a [u8], &'a AdmittedEntry);
        let mut order: Vec<Ranked<'_>> = self
            .iter()
            .map(|(key, entry)| (entry.reads.at(now, decay), entry.writes.at(now, decay), key, entry))
            .collect();
        let hotter = |a: &Ranked<'_>, b: &Ranked<'_>| b.0.total_cmp(&a.0).then(b.1.total_cmp(&a.1)).then(a.2.cmp(b.2));
        if count < order.len() {
            order.select_nth_unstable_by(count, hotter);
            order.truncate(count);
        }
        order.sort_unstable_by(hotter);
        order.into_iter().map(|(_, _, key, entry)| (key, entry)).collect()
    }

    /// Drops the coldest until at most `target_bytes` are used.
    fn evict_coldest(&mut self, target_bytes: usize, now: Moment, decay: &Decay) {
        let mut order: Vec<(f64, Box<[u8]>)> = self
            .entries
            .iter()
            .map(|(key, entry)| (entry.reads.at(now, decay) + entry.writes.at(now, decay), key.clone()))
            .collect();
        order.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.cmp(&b.1)));
        for (_, key) in order {
            if self.used_bytes <= target_bytes {
                break;
            }
            self.remove(&key);
        }
    }
}
