//! A counter for hot paths: threads rarely share a cache line of it.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Threads beyond that share a line.
pub(crate) const SPREAD: usize = 16;

static THREADS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static THREAD: Cell<usize> = Cell::new(THREADS.fetch_add(1, Ordering::Relaxed));
}

/// This thread's number, counted from 0 as threads first ask.
pub(crate) fn thread_number() -> usize {
    THREAD.with(Cell::get)
}

/// A pair of cache lines of its own: some processors fetch two at a time.
#[derive(Default)]
#[repr(align(128))]
struct Line(AtomicU64);

/// A count that many threads raise and few read.
#[derive(Default)]
pub(crate) struct SpreadCounter([Line; SPREAD]);

impl SpreadCounter {
    pub(crate) fn add(&self, count: u64) {
        self.0[thread_number() % SPREAD].0.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn sum(&self) -> u64 {
        self.0.iter().map(|line| line.0.load(Ordering::Relaxed)).sum()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_many_threads_add_is_summed() {
        let counter = SpreadCounter::default();
        std::thread::scope(|scope| {
            for _ in 0..SPREAD + 3 {
                scope.spawn(|| (0..100).for_each(|_| counter.add(2)));
            }
        });
        assert_eq!(counter.sum(), 200 * (SPREAD as u64 + 3));
    }
}
