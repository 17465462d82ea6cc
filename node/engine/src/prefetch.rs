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
