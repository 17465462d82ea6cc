//! The row cache: whole records of hot keys, above RocksDB.
//!
//! Readers insert, writers only remove (rule 1 of docs/architecture.md). A reader may insert what it read only if no write to
//! the key's stripe was under way when it began and none has begun since. The check and the insert happen while the
//! reader holds the stripe, taken without waiting: a writer's sequence and its removal come before or after
//! both. Keys carry the generation of their range, so a range that left and came back serves no old rows.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use xxhash_rust::xxh3::xxh3_64;

use super::row::{Row, RowKey};
use super::row_table::RowTable;
use crate::guard::Guard;
use crate::range::KeyRange;
use crate::spread::SpreadCounter;
use crate::write::stripes::{Sequence, StripeIndex, Stripes};

/// Ranges with a generation of their own, at most.
const MAX_GENERATIONS: usize = 64;
/// What a reader notes before it reads: a row that it read may be cached if none of it has changed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BeforeRead {
    stripe: StripeIndex,
    sequence: Sequence,
    /// A row read before its range left is cached under the old generation, where nobody finds it.
    generation: u64,
}

/// Ranges with a generation of their own; a key in none has generation 0. Bounded by the ranges a store holds.
type Generations = Vec<(KeyRange, u64)>;

/// Remembers which keys missed lately, roughly: a full cache takes a row at its second miss only, so that a load without
/// favourites does not pay for filling it.
struct Doorkeeper(Box<[AtomicU16]>);

impl Doorkeeper {
    fn new(items: usize) -> Self {
        let slots = items.next_power_of_two().clamp(1 << 10, 1 << 20);
        Self((0..slots).map(|_| AtomicU16::new(0)).collect())
    }

    /// Whether the key was here before; now it was.
    fn seen(&self, key: &[u8]) -> bool {
        let hash = xxh3_64(key);
        let slot = &self.0[hash as usize & (self.0.len() - 1)];
        let mark = (hash >> 48) as u16 | 1;
        slot.swap(mark, Ordering::Relaxed) == mark
    }
}

/// The cache.
pub(crate) struct RowCache {
    doorkeeper: Doorkeeper,
    /// Whether a row was ever inserted: until then writers have nothing to remove. Set inside the stripe, before the
    /// insert, so a writer that enters the stripe later sees it.
    inserted: AtomicBool,
    last_generation: AtomicU64,
    /// How many ranges have a generation of their own: mostly none, then nobody looks.
    renewed: AtomicUsize,
    rows: RowTable,
    generations: ArcSwap<Generations>,
    hits: SpreadCounter,
    misses: SpreadCounter,
}

impl RowCache {
    pub(crate) fn new(bytes: u64) -> Self {
        let items = usize::try_from(bytes / 512).unwrap_or(usize::MAX).max(16);
        Self {
            doorkeeper: Doorkeeper::new(items),
            inserted: AtomicBool::new(false),
            last_generation: AtomicU64::new(0),
            renewed: AtomicUsize::new(0),
            rows: RowTable::new(bytes),
            generations: ArcSwap::from_pointee(Vec::new()),
            hits: SpreadCounter::default(),
            misses: SpreadCounter::default(),
        }
    }

    fn generation(&self, key: &[u8]) -> u64 {
        if self.renewed.load(Ordering::Acquire) == 0 {
            return 0;
        }
        let generations = self.generations.load();
        generations.iter().rev().find(|(range, _)| range.contains(key)).map_or(0, |(_, generation)| *generation)
    }

    pub(crate) fn get(&self, key: &[u8]) -> Option<Row> {
        let generation = self.generation(key);
        let row = self.rows.get(RowKey { generation, key });
        let counter = if row.is_some() { &self.hits } else { &self.misses };
        counter.add(1);
        row
    }

    /// Whether the key is cached, without counting it as an access.
    pub(crate) fn holds(&self, key: &[u8]) -> bool {
        let generation = self.generation(key);
        self.rows.holds(RowKey { generation, key })
    }

    pub(crate) fn remove(&self, key: &[u8]) {
        if !self.inserted.load(Ordering::SeqCst) {
            return;
        }
        let generation = self.generation(key);
        self.rows.remove(RowKey { generation, key });
    }

    /// What an insert is checked against: noted before the read.
    pub(crate) fn before_read(&self, stripes: &Stripes, key: &[u8]) -> BeforeRead {
        let stripe = Stripes::of(key);
        BeforeRead { stripe, sequence: stripes.sequence(stripe), generation: self.generation(key) }
    }

    /// Inserts what a reader read after `before` was noted, if nothing was written since. A full cache takes it at its
    /// second miss.
    pub(crate) fn insert(&self, stripes: &Stripes, before: BeforeRead, key: &[u8], version: u64, value: &[u8]) {
        let full = || self.rows.is_full_for(RowKey { generation: before.generation, key }, value.len());
        if Guard::CacheInsertCheck.on() && (!before.sequence.quiet() || (full() && !self.doorkeeper.seen(key))) {
            return;
        }
        self.insert_unchanged(stripes, before, key, version, value);
    }

    /// Inserts what was read after `before` was noted, if nothing was written since, whether or not it was missed before:
    /// what is fetched ahead has no miss of its own. Whether it did.
    pub(crate) fn insert_unchanged(
        &self,
        stripes: &Stripes,
        before: BeforeRead,
        key: &[u8],
        version: u64,
        value: &[u8],
    ) -> bool {
        let BeforeRead { stripe, sequence, generation } = before;
        let insert = || {
            // Looked at first: a store to it by every reader would pass its cache line around.
            if !self.inserted.load(Ordering::Relaxed) {
                self.inserted.store(true, Ordering::SeqCst);
            }
            self.rows.insert(Row::new(RowKey { generation, key }, version, value));
            true
        };
        if !Guard::CacheInsertCheck.on() {
            return insert();
        }
        if sequence.quiet()
            && let Some(_held) = stripes.try_hold(stripe)
            && stripes.sequence(stripe) == sequence
        {
            return insert();
        }
        false
    }

    /// Gives a range a new generation: what was cached of it is never served again. The number is the cache's own: an
    /// operation on a range may be repeated under one lease.
    pub(crate) fn renew(&self, range: &KeyRange) {
        if !Guard::RangeGeneration.on() {
            return;
        }
        let generation = self.last_generation.fetch_add(1, Ordering::SeqCst) + 1;
        self.generations.rcu(|old| {
            // A newer range hides the ones it covers wholly.
            let mut next: Generations = old.iter().filter(|(known, _)| !range.covers(known)).cloned().collect();
            next.push((range.clone(), generation));
            if next.len() > MAX_GENERATIONS {
                // Every lookup searches them: forget everything cached rather than grow.
                next = vec![(KeyRange::all(), generation)];
            }
            Arc::new(next)
        });
        self.renewed.fetch_add(1, Ordering::Release);
    }

    pub(crate) fn hits(&self) -> u64 {
        self.hits.sum()
    }

    pub(crate) fn misses(&self) -> u64 {
        self.misses.sum()
    }

    pub(crate) fn used_bytes(&self) -> u64 {
        self.rows.used_bytes()
    }

    pub(crate) fn capacity_bytes(&self) -> u64 {
        self.rows.capacity_bytes()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_saw_a_write_begin_does_not_cache() {
        let (cache, stripes) = (RowCache::new(1 << 20), Stripes::new());
        let stripe = Stripes::of(b"k");
        let before = cache.before_read(&stripes, b"k");
        drop(stripes.write_one(stripe));
        cache.insert(&stripes, before, b"k", 1, b"v");
        assert!(cache.get(b"k").is_none());
        cache.insert(&stripes, cache.before_read(&stripes, b"k"), b"k", 2, b"v");
        let row = cache.get(b"k").unwrap();
        assert_eq!((row.version(), row.value()), (2, b"v".as_slice()));
    }

    #[test]
    fn a_reader_that_began_during_a_write_does_not_cache() {
        let (cache, stripes) = (RowCache::new(1 << 20), Stripes::new());
        let stripe = Stripes::of(b"k");
        let writer = stripes.write_one(stripe);
        let before = cache.before_read(&stripes, b"k");
        drop(writer);
        cache.insert(&stripes, before, b"k", 1, b"v");
        assert!(cache.get(b"k").is_none());
    }

    #[test]
    fn a_range_that_came_back_serves_no_old_rows() {
        let (cache, stripes) = (RowCache::new(1 << 20), Stripes::new());
        cache.insert(&stripes, cache.before_read(&stripes, b"k"), b"k", 1, b"v");
        cache.renew(&KeyRange::prefix(b"k"));
        assert!(cache.get(b"k").is_none());
        cache.renew(&KeyRange::all());
        assert!(cache.get(b"k").is_none());
        assert_eq!(cache.generations.load().len(), 1);
    }

    #[test]
    fn what_was_read_before_its_range_left_is_not_cached_after() {
        let (cache, stripes) = (RowCache::new(1 << 20), Stripes::new());
        let before = cache.before_read(&stripes, b"k");
        cache.renew(&KeyRange::prefix(b"k"));
        cache.insert(&stripes, before, b"k", 1, b"v");
        assert!(cache.get(b"k").is_none());
    }
}
