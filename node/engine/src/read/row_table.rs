//! The rows of the row cache: a hash table of bounded bytes, in shards, from which CLOCK takes what nobody asked for lately.
//!
//! A slot is nothing but the row's pointer, 8 bytes and one of hash, and the mark of use is in the row: the table stays in
//! the processor's second cache, so that a hit misses once, at its row. Caches that keep an index, an entry and a list miss
//! two or three times, and that was most of a hit.

use std::sync::atomic::{AtomicU64, Ordering};

use hashbrown::HashTable;
use parking_lot::RwLock;

use super::row::{Row, RowKey};

/// Shards, at most: a power of two, for as many threads as a node has.
const MAX_SHARDS: u64 = 64;
/// The least that a shard holds, unless the cache is smaller.
const SHARD_BYTES: u64 = 1 << 20;
/// A row takes at most this part of its shard: a larger one would push out hundreds that are asked for more often.
const LARGEST_ROW: u64 = 4;
/// A table that is emptier than one in so many slots is made smaller, or looking for a row to take would walk over nothing.
const SPARSE: usize = 16;

/// On lines of its own: its lock is written by every reader.
#[repr(align(128))]
struct Shard {
    rows: RwLock<Rows>,
    /// What its rows cost; changed under the lock, read without.
    bytes: AtomicU64,
}

#[derive(Default)]
struct Rows {
    table: HashTable<Row>,
    /// The slot that CLOCK looked at last.
    hand: usize,
}

/// The rows.
pub(super) struct RowTable {
    shards: Box<[Shard]>,
    shard_capacity: u64,
}

impl RowTable {
    pub(super) fn new(bytes: u64) -> Self {
        // A power of two: the part of the hash that chooses is a mask.
        let shards = 1 << (bytes / SHARD_BYTES).clamp(1, MAX_SHARDS).ilog2();
        Self {
            shards: (0..shards).map(|_| Shard { rows: RwLock::default(), bytes: AtomicU64::new(0) }).collect(),
            shard_capacity: bytes / shards,
        }
    }

    /// The shard of a hash. The table takes its slot from the low bits and its byte of hash from the highest.
    fn shard(&self, hash: u64) -> &Shard {
        &self.shards[(hash >> 40) as usize & (self.shards.len() - 1)]
    }

    /// The row, if it is there; now it was asked for.
    pub(super) fn get(&self, at: RowKey<'_>) -> Option<Row> {
        let hash = at.hash();
        let rows = self.shard(hash).rows.read();
        let row = rows.table.find(hash, |row| row.at() == at)?;
        row.mark_used();
        Some(row.clone())
    }

    /// Whether the row is there; that is not asking for it.
    pub(super) fn holds(&self, at: RowKey<'_>) -> bool {
        let hash = at.hash();
        self.shard(hash).rows.read().table.find(hash, |row| row.at() == at).is_some()
    }

    pub(super) fn remove(&self, at: RowKey<'_>) {
        let hash = at.hash();
        let shard = self.shard(hash);
        let removed = {
            let mut rows = shard.rows.write();
            let Ok(entry) = rows.table.find_entry(hash, |row| row.at() == at) else {
                return;
            };
            let (row, _) = entry.remove();
            shard.bytes.fetch_sub(row.cost(), Ordering::Relaxed);
            row
        };
        // Freed without the lock.
        drop(removed);
    }

    /// Adds a row, or puts it in the place of the one with its key; takes others out until it fits. A row that is too
    /// large for the cache is not kept.
    pub(super) fn insert(&self, row: Row) {
        let cost = row.cost();
        if cost > self.shard_capacity / LARGEST_ROW {
            return self.remove(row.at());
        }
        let hash = row.at().hash();
        let shard = self.shard(hash);
        // Freed without the lock, which is dropped first: a large row may take the place of thousands.
        let mut gone = Vec::new();
        let mut rows = shard.rows.write();
        let mut bytes = shard.bytes.load(Ordering::Relaxed);
        if let Ok(old) = rows.table.find_entry(hash, |known| known.at() == row.at()) {
            let (old, _) = old.remove();
            bytes -= old.cost();
            gone.push(old);
        }
        while bytes + cost > self.shard_capacity {
            match rows.take_one() {
                Some(row) => {
                    bytes -= row.cost();
                    gone.push(row);
                }
                None => bytes = 0,
            }
        }
        rows.table.insert_unique(hash, row, |row| row.at().hash());
        shard.bytes.store(bytes + cost, Ordering::Relaxed);
    }

    /// Whether the row would have to take another's place.
    pub(super) fn is_full_for(&self, at: RowKey<'_>, value_bytes: usize) -> bool {
        let more = (at.key.len() + value_bytes) as u64;
        self.shard(at.hash()).bytes.load(Ordering::Relaxed) + more > self.shard_capacity / 10 * 9
    }

    pub(super) fn used_bytes(&self) -> u64 {
        self.shards.iter().map(|shard| shard.bytes.load(Ordering::Relaxed)).sum()
    }

    pub(super) fn capacity_bytes(&self) -> u64 {
        self.shard_capacity * self.shards.len() as u64
    }
}

impl Rows {
    /// Takes out the next row that was not asked for since the hand last passed it; `None` from an empty table. Ends
    /// within two rounds: the first forgets who was asked for.
    fn take_one(&mut self) -> Option<Row> {
        let slots = self.table.num_buckets();
        if slots > 64 && self.table.len() < slots / SPARSE {
            self.table.shrink_to(self.table.len() * 2, |row| row.at().hash());
        }
        if self.table.is_empty() {
            return None;
        }
        loop {
            self.hand = if self.hand + 1 < self.table.num_buckets() { self.hand + 1 } else { 0 };
            if let Ok(entry) = self.table.get_bucket_entry(self.hand)
                && !entry.get().take_used()
            {
                return Some(entry.remove().0);
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn row(key: &[u8], value: &[u8]) -> Row {
        Row::new(RowKey { generation: 0, key }, 1, value)
    }

    const fn at(key: &[u8]) -> RowKey<'_> {
        RowKey { generation: 0, key }
    }

    #[test]
    fn its_bytes_stay_under_the_bound_and_are_those_of_its_rows() {
        let table = RowTable::new(4 << 20);
        let mut random = ChaCha8Rng::seed_from_u64(7);
        for _ in 0..50_000 {
            let key = random.random_range(0..10_000_u32).to_be_bytes();
            match random.random_range(0..4) {
                0 => table.remove(at(&key)),
                _ => table.insert(row(&key, &vec![b'v'; random.random_range(0..3000)])),
            }
            assert!(table.used_bytes() <= table.capacity_bytes());
        }
        let rows: u64 =
            table.shards.iter().flat_map(|s| s.rows.read().table.iter().map(Row::cost).collect::<Vec<_>>()).sum();
        assert_eq!(table.used_bytes(), rows);
        assert!(rows > table.capacity_bytes() / 10 * 9, "{rows}");
        (0..10_000_u32).for_each(|key| table.remove(at(&key.to_be_bytes())));
        assert_eq!(table.used_bytes(), 0);
    }

    #[test]
    fn a_row_that_is_asked_for_outlives_those_that_are_not() {
        let table = RowTable::new(1 << 20);
        table.insert(row(b"favourite", b"v"));
        for number in 0..100_000_u32 {
            table.insert(row(&number.to_be_bytes(), &[b'v'; 500]));
            assert!(table.get(at(b"favourite")).is_some(), "after {number} others");
        }
    }

    #[test]
    fn a_row_too_large_for_the_cache_is_not_kept_and_takes_its_older_self_along() {
        let table = RowTable::new(1 << 20);
        table.insert(row(b"k", b"small"));
        table.insert(row(b"k", &vec![b'v'; 1 << 19]));
        assert!(!table.holds(at(b"k")));
        assert_eq!(table.used_bytes(), 0);
    }

    #[test]
    fn a_table_whose_rows_become_few_and_large_becomes_small() {
        let table = RowTable::new(1 << 20);
        (0..20_000_u32).for_each(|number| table.insert(row(&number.to_be_bytes(), b"")));
        let many = table.shards[0].rows.read().table.num_buckets();
        (0..1000_u32).for_each(|number| table.insert(row(&number.to_be_bytes(), &[b'v'; 100_000])));
        let few = table.shards[0].rows.read().table.num_buckets();
        assert!(few * 8 < many, "{many} slots became {few}");
    }

    /// A tenth of the keys fits. The best that any cache can do is to hold the most popular tenth for ever.
    #[test]
    fn a_skewed_load_is_answered_nearly_as_often_as_by_the_best_choice() {
        const KEYS: usize = 20_000;
        const VALUE: usize = 400;
        let one = row(&0_u64.to_be_bytes(), &[0; VALUE]).cost();
        let table = RowTable::new(one * KEYS as u64 / 10);
        // zipf(N) by its cumulative weights.
        let weights: Vec<f64> = (1..=KEYS)
            .scan(0.0, |sum, rank| {
                *sum += (rank as f64).powf(-0.99);
                Some(*sum)
            })
            .collect();
        let total = weights[KEYS - 1];
        let best = weights[KEYS / 10 - 1] / total;
        let mut random = ChaCha8Rng::seed_from_u64(11);
        let (mut hits, mut reads) = (0_u32, 0_u32);
        for number in 0..400_000 {
            let rank = weights.partition_point(|sum| *sum < random.random_range(0.0..total));
            let key = (rank as u64).to_be_bytes();
            let hit = table.get(at(&key)).is_some();
            if !hit {
                table.insert(row(&key, &[0; VALUE]));
            }
            if number >= 100_000 {
                reads += 1;
                hits += u32::from(hit);
            }
        }
        let ratio = f64::from(hits) / f64::from(reads);
        assert!(ratio > 0.85 * best, "{ratio:.3} of the reads, {best:.3} by the best choice");
    }
}
