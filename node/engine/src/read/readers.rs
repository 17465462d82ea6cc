//! Who reads now: lets the mover wait until the readers of before have left.
//!
//! A snapshot-less reader probes tiers in order. Where copies go *up* and the lower ones disappear (the slowest tier is
//! emptied), it could miss both; so the mover waits between the two for everyone who began before the copy. Readers
//! count themselves in under the current phase; waiting turns the phase and waits for the old one to drain.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::environment::Clock;
use crate::spread::{SPREAD, thread_number};

/// Spread so that readers on different threads rarely share a cache line.
#[derive(Default)]
#[repr(align(64))]
struct Shard {
    phases: [AtomicU64; 2],
}

/// The readers.
#[derive(Default)]
pub(crate) struct Readers {
    phase: AtomicUsize,
    shards: [Shard; SPREAD],
    turning: Mutex<()>,
}

/// A reader, counted until dropped.
pub(crate) struct Reading<'a>(&'a AtomicU64);

impl Readers {
    pub(crate) fn enter(&self) -> Reading<'_> {
        let shard = &self.shards[thread_number() % SPREAD];
        loop {
            let phase = self.phase.load(Ordering::SeqCst);
            let count = &shard.phases[phase];
            count.fetch_add(1, Ordering::SeqCst);
            // Counted under a phase that has ended meanwhile, one might not be waited for: count again.
            if self.phase.load(Ordering::SeqCst) == phase {
                return Reading(count);
            }
            count.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// Waits until every reader that is in now has left.
    pub(crate) fn wait_for_current(&self, clock: &dyn Clock) {
        let _one = self.turning.lock();
        let old = self.phase.load(Ordering::SeqCst);
        self.phase.store(1 - old, Ordering::SeqCst);
        while self.shards.iter().any(|s| s.phases[old].load(Ordering::SeqCst) > 0) {
            clock.sleep(Duration::from_micros(100));
        }
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
