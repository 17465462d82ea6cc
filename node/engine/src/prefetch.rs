//! Fetching ahead of readers: what the pure [`Prefetcher`] chooses is read into the row cache by
//! a thread of its own, so no reader waits for it.
//!
//! Only reads that a slower tier answered are watched: there a fetched row saves a device's latency. While something
//! was fetched lately, row cache hits are watched too, to count what gets used.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::Mutex;
use xxhash_rust::xxh3::xxh3_64;

use crate::engine::Inner;
use crate::error::Result;
use crate::format::keys;
use crate::format::record::RecordKind;
use crate::heat::{PrefetchChoice, PrefetchStatistics, Prefetcher};
use crate::range::KeyRange;
use crate::read::scan::Reach;

/// Choices that may wait; more are dropped, readers are ahead of them anyway.
const QUEUE: usize = 64;
/// Keys that differ in their last bytes only belong to one stream of reads.
const STREAM_SUFFIX: usize = 4;
/// So long after the last fetch hits are still watched.
const WATCH_HITS: Duration = Duration::from_secs(30);

/// The prefetcher of a store and its queue.
pub(crate) struct Prefetch {
    prefetcher: Mutex<Prefetcher>,
    queue: Sender<PrefetchChoice>,
    chosen: Receiver<PrefetchChoice>,
    watching_hits: AtomicBool,
}

impl Default for Prefetch {
    fn default() -> Self {
        let (queue, chosen) = bounded(QUEUE);
        Self { prefetcher: Mutex::new(Prefetcher::new()), queue, chosen, watching_hits: AtomicBool::new(false) }
    }
}

impl Prefetch {
    pub(crate) fn statistics(&self) -> PrefetchStatistics {
        self.prefetcher.lock().statistics()
    }

    /// A slower tier answered this read.
    pub(crate) fn read_below(&self, key: &[u8], now: Duration) {
        // A reader never waits here: a read that is not watched is not missed.
        if let Some(mut prefetcher) = self.prefetcher.try_lock() {
            let stream = xxh3_64(&key[..key.len().saturating_sub(STREAM_SUFFIX)]);
            let choice = prefetcher.observe(stream, key, now);
            if choice != PrefetchChoice::Nothing {
                // Full: the reader is ahead already.
                let _ = self.queue.try_send(choice);
            }
        }
    }

    /// The row cache answered this read.
    pub(crate) fn read_cached(&self, key: &[u8], now: impl FnOnce() -> Duration) {
        if self.watching_hits.load(Ordering::Relaxed) {
            self.read_below(key, now());
        }
    }
}

/// Runs until the store closes.
pub(crate) fn run_prefetch(inner: &Inner) {
    let clock = &*inner.environment.clock;
    let mut last = None;
    while !inner.is_closing() {
        match inner.prefetch.chosen.recv_timeout(Duration::from_millis(50)) {
            Ok(choice) => {
                last = Some(clock.monotonic());
                inner.prefetch.watching_hits.store(true, Ordering::Relaxed);
                if let Err(error) = inner.fetch(&choice) {
                    tracing::debug!(%error, "could not fetch ahead");
                }
            }
            Err(_) => {
                if last.is_some_and(|at| clock.monotonic().saturating_sub(at) > WATCH_HITS) {
                    inner.prefetch.watching_hits.store(false, Ordering::Relaxed);
                }
            }
        }
    }
}

impl Inner {
    pub(crate) fn fetch(&self, choice: &PrefetchChoice) -> Result<()> {
        match choice {
            PrefetchChoice::Nothing => Ok(()),
            PrefetchChoice::Key(key) => self.fetch_key(key),
            PrefetchChoice::Following { after, count, skip } => {
                let range = KeyRange::all().from_key(KeyRange::single(after).end().unwrap_or_default());
                let following: Vec<Vec<u8>> = {
                    let snapshot = self.snapshot()?;
                    let mut merge = snapshot.merge(&range, false, Reach::Few);
                    let mut following = Vec::new();
                    while following.len() < (*skip + *count) as usize {
                        let Some(next) = merge.next(false).map_err(|e| self.merge_error(e))? else { break };
                        if next.kind != RecordKind::Tombstone {
                            following.push(keys::decode(&next.data_key).unwrap_or_default().to_vec());
                        }
                    }
                    following
                };
                following.iter().skip(*skip as usize).try_for_each(|key| self.fetch_key(key))
            }
        }
    }

    fn fetch_key(&self, key: &[u8]) -> Result<()> {
        if key.is_empty() || self.row_cache.holds(key) {
            return Ok(());
        }
        let before = self.row_cache.before_read(&self.stripes, key);
        let Some(found) = self.find(key, false)?.filter(|f| f.kind != RecordKind::Tombstone) else {
            return Ok(());
        };
        let bytes = found.value.len();
        // Counted only where it can be used.
        if self.row_cache.insert_unchanged(&self.stripes, before, key, found.version, &found.value) {
            let now = self.environment.clock.monotonic();
            self.prefetch.prefetcher.lock().prefetched(key, bytes, now);
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crate::write::stripes::Stripes;
    use crate::{Durability, Engine, EngineOptions, Environment, Medium, TierSpec};

    fn open(folder: &std::path::Path, row_cache_bytes: u64) -> Engine {
        let mut tier = TierSpec::new("hot", 0, Medium::Nvme, folder.join("hot"), 1 << 30);
        tier.settings.reserve_bytes = 1 << 20;
        let mut options = EngineOptions::new(vec![tier], 64 << 20);
        options.background_moves = false;
        options.row_cache_bytes = Some(row_cache_bytes);
        Engine::open(options, Environment::system(7)).unwrap()
    }

    #[test]
    fn what_could_not_be_cached_is_not_counted_as_fetched() {
        let folder = tempfile::tempdir().unwrap();
        let engine = open(folder.path(), 1 << 20);
        let inner = engine.inner();
        engine.put(b"k", b"value", Durability::Wal).unwrap();
        let writer = inner.stripes.write_one(Stripes::of(b"k"));
        inner.fetch_key(b"k").unwrap();
        assert!(!inner.row_cache.holds(b"k"));
        assert_eq!(inner.prefetch.statistics().prefetched_bytes, 0);
        drop(writer);
        inner.fetch_key(b"k").unwrap();
        assert!(inner.row_cache.holds(b"k"));
        assert!(inner.prefetch.statistics().prefetched_bytes > 0);
    }

    #[test]
    fn a_full_cache_takes_what_is_fetched_without_a_miss_before() {
        let folder = tempfile::tempdir().unwrap();
        let engine = open(folder.path(), 64 << 10);
        let inner = engine.inner();
        for i in 0..400_u32 {
            engine.put(&i.to_be_bytes(), &[1; 1000], Durability::Wal).unwrap();
        }
        // Read twice each: the second miss is what a full cache asks for.
        for i in (0..300_u32).flat_map(|i| [i, i]) {
            engine.get(&i.to_be_bytes()).unwrap();
        }
        let used = inner.row_cache.used_bytes() as f64;
        assert!(used > 0.9 * inner.row_cache.capacity_bytes() as f64, "the cache is not full: {used} bytes");
        let held = (300..400_u32).filter(|i| {
            inner.fetch_key(&i.to_be_bytes()).unwrap();
            inner.row_cache.holds(&i.to_be_bytes())
        });
        let held = held.count();
        assert!(held > 50, "{held} of 100 fetched rows were taken");
    }
}
