//! Striped locks between writers, readers that cache, and the mover (design section 3, rule 1).
//!
//! A key belongs to one stripe. Writers hold it shared, so they never wait for each other; whoever must see no write in
//! between (mover, conditional writes, replicated apply) holds it exclusively. `begun` and `done` count writes: equal
//! means that no write is under way, unchanged means that none has begun since.
//!
//! A writer takes the *order* of its stripes from taking its version until its record is in the fastest tier: of two
//! concurrent writes of a key the one with the higher version is the later one. Without that the older version could be
//! written over the newer one after the mover has copied the newer one down (I2).
//!
//! Several stripes are taken in ascending order, each once, and every order after every stripe: no cycle, so no deadlock.

use std::sync::atomic::{AtomicU32, Ordering};

use parking_lot::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};
use xxhash_rust::xxh3::xxh3_64;

use crate::guard::Guard;
use crate::limits::STRIPES;

/// The index of a stripe.
pub(crate) type StripeIndex = u32;

/// 16 bytes, so that all stripes fit in a core's second cache. The counters may wrap: only equality is asked, within one
/// read.
#[derive(Default)]
struct Stripe {
    lock: RwLock<()>,
    begun: AtomicU32,
    done: AtomicU32,
    order: Mutex<()>,
}

/// All stripes.
pub(crate) struct Stripes(Box<[Stripe]>);

/// A writer in its stripes: `begun` was raised, `done` will be on drop.
pub(crate) struct WriterGuard<'a> {
    held: Vec<(&'a Stripe, RwLockReadGuard<'a, ()>)>,
}

/// A writer in the one stripe of its key.
pub(crate) struct SingleWriterGuard<'a> {
    stripe: &'a Stripe,
    _held: RwLockReadGuard<'a, ()>,
}

/// Stripes held exclusively.
pub(crate) struct ExclusiveGuard<'a> {
    held: Vec<(&'a Stripe, RwLockWriteGuard<'a, ()>)>,
    writes: bool,
}

/// What a stripe's counters said at some moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counters {
    pub(crate) begun: u32,
    pub(crate) done: u32,
}

impl Counters {
    /// No write was under way.
    pub(crate) const fn quiet(self) -> bool {
        self.begun == self.done
    }
}

impl Stripes {
    pub(crate) fn new() -> Self {
        Self((0..STRIPES).map(|_| Stripe::default()).collect())
    }

    pub(crate) fn of(key: &[u8]) -> StripeIndex {
        // STRIPES is a power of two: the mask keeps the low bits.
        (xxh3_64(key) & (STRIPES as u64 - 1)) as StripeIndex
    }

    fn at(&self, index: StripeIndex) -> &Stripe {
        &self.0[index as usize]
    }

    /// Enters a stripe as a writer.
    pub(crate) fn write_one(&self, index: StripeIndex) -> SingleWriterGuard<'_> {
        let stripe = self.at(index);
        let held = stripe.lock.read();
        if Guard::StripeCounters.on() {
            stripe.begun.fetch_add(1, Ordering::SeqCst);
        }
        SingleWriterGuard { stripe, _held: held }
    }

    /// Enters several stripes as a writer. `indexes` is sorted and freed of repeats here.
    pub(crate) fn write_many(&self, indexes: &mut Vec<StripeIndex>) -> WriterGuard<'_> {
        sort(indexes);
        let held = indexes
            .iter()
            .map(|&index| {
                let stripe = self.at(index);
                let held = stripe.lock.read();
                stripe.begun.fetch_add(1, Ordering::SeqCst);
                (stripe, held)
            })
            .collect();
        WriterGuard { held }
    }

    /// Takes the order of a stripe that the caller has entered as a writer.
    pub(crate) fn order_one(&self, index: StripeIndex) -> MutexGuard<'_, ()> {
        self.at(index).order.lock()
    }

    /// Takes the order of several stripes that the caller has entered; `indexes` ascend without repeats.
    pub(crate) fn order_many(&self, indexes: &[StripeIndex]) -> Vec<MutexGuard<'_, ()>> {
        indexes.iter().map(|&index| self.order_one(index)).collect()
    }

    /// Takes stripes exclusively, to look and to move copies: the counters stay.
    pub(crate) fn exclusive(&self, indexes: &mut Vec<StripeIndex>) -> ExclusiveGuard<'_> {
        self.take(indexes, false)
    }

    /// Takes stripes exclusively, to write: the counters are raised.
    pub(crate) fn exclusive_write(&self, indexes: &mut Vec<StripeIndex>) -> ExclusiveGuard<'_> {
        self.take(indexes, true)
    }

    fn take(&self, indexes: &mut Vec<StripeIndex>, writes: bool) -> ExclusiveGuard<'_> {
        sort(indexes);
        let held: Vec<_> = indexes
            .iter()
            .map(|&index| {
                let stripe = self.at(index);
                (stripe, stripe.lock.write())
            })
            .collect();
        if writes {
            for (stripe, _) in &held {
                stripe.begun.fetch_add(1, Ordering::SeqCst);
            }
        }
        ExclusiveGuard { held, writes }
    }

    /// Takes one stripe exclusively if nobody is in it; never waits.
    pub(crate) fn try_exclusive(&self, index: StripeIndex) -> Option<RwLockWriteGuard<'_, ()>> {
        self.at(index).lock.try_write()
    }

    /// Waits until every writer that is in a stripe now has left it.
    pub(crate) fn drain_writers(&self) {
        for stripe in &self.0 {
            drop(stripe.lock.write());
        }
    }

    /// Waits for every writer like [`drain_writers`](Self::drain_writers), and counts as a write to every stripe: what
    /// was read before is neither cached nor copied up after.
    pub(crate) fn disturb(&self) {
        for stripe in &self.0 {
            let _held = stripe.lock.write();
            stripe.begun.fetch_add(1, Ordering::SeqCst);
            stripe.done.fetch_add(1, Ordering::SeqCst);
        }
    }

    pub(crate) fn counters(&self, index: StripeIndex) -> Counters {
        let stripe = self.at(index);
        // `done` first: a write that ends in between makes the pair unequal, never falsely quiet.
        let done = stripe.done.load(Ordering::SeqCst);
        let begun = stripe.begun.load(Ordering::SeqCst);
        Counters { begun, done }
    }
}

fn sort(indexes: &mut Vec<StripeIndex>) {
    indexes.sort_unstable();
    indexes.dedup();
}

impl Drop for SingleWriterGuard<'_> {
    fn drop(&mut self) {
        if Guard::StripeCounters.on() {
            self.stripe.done.fetch_add(1, Ordering::SeqCst);
        }
    }
}

impl Drop for WriterGuard<'_> {
    fn drop(&mut self) {
        for (stripe, _) in &self.held {
            stripe.done.fetch_add(1, Ordering::SeqCst);
        }
    }
}

impl Drop for ExclusiveGuard<'_> {
    fn drop(&mut self) {
        if self.writes {
            for (stripe, _) in &self.held {
                stripe.done.fetch_add(1, Ordering::SeqCst);
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn counters_tell_a_write_under_way_and_one_that_ended() {
        let stripes = Stripes::new();
        let before = stripes.counters(7);
        let writer = stripes.write_one(7);
        assert!(before.quiet() && !stripes.counters(7).quiet());
        assert!(stripes.try_exclusive(7).is_none());
        drop(writer);
        let after = stripes.counters(7);
        assert!(after.quiet() && after.begun != before.begun);
        assert!(stripes.try_exclusive(7).is_some());
    }

    #[test]
    fn a_repeated_stripe_is_taken_once() {
        let stripes = Stripes::new();
        drop(stripes.exclusive_write(&mut vec![9, 3, 9]));
        assert_eq!(stripes.counters(9), Counters { begun: 1, done: 1 });
        drop(stripes.write_many(&mut vec![3, 3]));
        assert_eq!(stripes.counters(3), Counters { begun: 2, done: 2 });
    }
}
