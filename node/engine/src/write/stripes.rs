//! Striped locks between writers, readers that cache, and the mover (rule 1 of docs/architecture.md; ADR 0007).
//!
//! A key belongs to one stripe. Whoever writes it holds its stripe, from before the key leaves the row cache and its
//! version is taken until its record is in the fastest tier: of two concurrent writes of a key the one with the higher
//! version is the later one. Without that the older version could be written over the newer one after the mover has
//! copied the newer one down (I2). The mover holds it to look and to move copies, conditional writes and replicated
//! apply while they read what they judge by.
//!
//! Each stripe has a sequence: odd while a write is under way, two higher after it. Unchanged and even means that
//! nothing was written since.
//!
//! Several stripes are taken in ascending order, each once: no cycle, so no deadlock.

use std::sync::atomic::{AtomicU32, Ordering};

use parking_lot::{Mutex, MutexGuard};
use xxhash_rust::xxh3::xxh3_64;

use crate::limits::STRIPES;

/// The index of a stripe.
pub(crate) type StripeIndex = u32;

/// 8 bytes, so that all stripes fit in a core's second cache.
#[derive(Default)]
struct Stripe {
    lock: Mutex<()>,
    /// Changed only by whoever holds `lock`. It may wrap: only equality is asked, within one read.
    sequence: AtomicU32,
}

/// All stripes.
pub(crate) struct Stripes(Box<[Stripe]>);

/// A writer in the one stripe of its key.
pub(crate) struct WriterGuard<'a> {
    // Dropped before the lock: a write has ended when its stripe is free.
    _under_way: UnderWay<'a>,
    _held: MutexGuard<'a, ()>,
}

/// Several stripes held.
pub(crate) struct StripesGuard<'a> {
    _under_way: Vec<UnderWay<'a>>,
    _held: Vec<MutexGuard<'a, ()>>,
}

/// A write that has begun in a stripe that is held; it ends when this is dropped.
struct UnderWay<'a>(&'a Stripe);

/// What a stripe's sequence was at some moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sequence(u32);

impl Sequence {
    /// No write was under way.
    pub(crate) const fn quiet(self) -> bool {
        self.0.is_multiple_of(2)
    }
}

impl<'a> UnderWay<'a> {
    /// The caller holds the stripe's lock: no other thread changes the sequence, so a load and a store do.
    fn begin(stripe: &'a Stripe) -> Self {
        stripe.advance();
        Self(stripe)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.advance();
    }
}

impl Stripe {
    fn advance(&self) {
        let sequence = self.sequence.load(Ordering::Relaxed);
        // Release: whoever sees a write ended sees what it wrote. That nobody misses a write that has begun is the
        // lock's doing: the sequence is compared while it is held.
        self.sequence.store(sequence.wrapping_add(1), Ordering::Release);
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
    pub(crate) fn write_one(&self, index: StripeIndex) -> WriterGuard<'_> {
        let stripe = self.at(index);
        let held = stripe.lock.lock();
        WriterGuard { _under_way: UnderWay::begin(stripe), _held: held }
    }

    /// Enters several stripes as a writer. `indexes` is sorted and freed of repeats here.
    pub(crate) fn write_many(&self, indexes: &mut Vec<StripeIndex>) -> StripesGuard<'_> {
        let held = self.lock(indexes);
        let under_way = indexes.iter().map(|&index| UnderWay::begin(self.at(index))).collect();
        StripesGuard { _under_way: under_way, _held: held }
    }

    /// Takes stripes to look and to move copies: nothing is written, the sequences stay.
    pub(crate) fn hold(&self, indexes: &mut Vec<StripeIndex>) -> StripesGuard<'_> {
        StripesGuard { _held: self.lock(indexes), _under_way: Vec::new() }
    }

    fn lock(&self, indexes: &mut Vec<StripeIndex>) -> Vec<MutexGuard<'_, ()>> {
        indexes.sort_unstable();
        indexes.dedup();
        indexes.iter().map(|&index| self.at(index).lock.lock()).collect()
    }

    /// Takes one stripe if nobody holds it; never waits.
    pub(crate) fn try_hold(&self, index: StripeIndex) -> Option<MutexGuard<'_, ()>> {
        self.at(index).lock.try_lock()
    }

    /// Waits for the writers whose versions the caller has seen given out: it has loaded the counter of versions before.
    ///
    /// Only stripes with a write under way are waited for, and that misses none. A writer makes its sequence odd, then
    /// takes its version from the counter by a read-modify-write; the caller's load has read that or what later ones
    /// made of it, so it comes after, and the odd sequence or a later one is seen here. While the writer is in its stripe
    /// nobody else changes the sequence. So where it is even the writer has left, and what it wrote is seen, since it
    /// left by a release.
    pub(crate) fn wait_for_writers(&self) {
        for stripe in &self.0 {
            if !Sequence(stripe.sequence.load(Ordering::Acquire)).quiet() {
                drop(stripe.lock.lock());
            }
        }
    }

    /// Waits until every writer that is in a stripe now has left it, and counts as a write to every stripe: what was
    /// read before is neither cached nor copied up after.
    pub(crate) fn disturb(&self) {
        for stripe in &self.0 {
            let _held = stripe.lock.lock();
            drop(UnderWay::begin(stripe));
        }
    }

    pub(crate) fn sequence(&self, index: StripeIndex) -> Sequence {
        Sequence(self.at(index).sequence.load(Ordering::Acquire))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicU64};

    use super::*;

    #[test]
    fn a_sequence_tells_a_write_under_way_and_one_that_ended() {
        let stripes = Stripes::new();
        let before = stripes.sequence(7);
        let writer = stripes.write_one(7);
        assert!(before.quiet() && !stripes.sequence(7).quiet());
        assert!(stripes.try_hold(7).is_none());
        drop(writer);
        let after = stripes.sequence(7);
        assert!(after.quiet() && after != before);
        assert!(stripes.try_hold(7).is_some());
    }

    #[test]
    fn a_repeated_stripe_is_taken_once() {
        let stripes = Stripes::new();
        drop(stripes.write_many(&mut vec![9, 3, 9]));
        assert_eq!((stripes.sequence(9), stripes.sequence(3)), (Sequence(2), Sequence(2)));
    }

    #[test]
    fn holding_a_stripe_is_no_write() {
        let stripes = Stripes::new();
        let held = stripes.hold(&mut vec![3]);
        assert!(stripes.sequence(3).quiet() && stripes.try_hold(3).is_none());
        drop(held);
        assert_eq!(stripes.sequence(3), Sequence(0));
        stripes.disturb();
        assert_eq!(stripes.sequence(3), Sequence(2));
    }

    /// Writers note the version that they write; whoever waits must find none of those that it has seen given out.
    #[test]
    fn nobody_who_was_waited_for_is_still_writing() {
        const WRITERS: usize = 3;
        let stripes = Stripes::new();
        let (versions, running) = (AtomicU64::new(1), AtomicBool::new(true));
        let writing: [AtomicU64; WRITERS] = std::array::from_fn(|_| AtomicU64::new(0));
        let mut met = 0;
        std::thread::scope(|scope| {
            for (writer, writing) in writing.iter().enumerate() {
                let (stripes, versions, running) = (&stripes, &versions, &running);
                scope.spawn(move || {
                    while running.load(Ordering::Relaxed) {
                        // Two of them in one stripe.
                        let _in = stripes.write_one(if writer == 0 { 9 } else { 4000 });
                        writing.store(versions.fetch_add(1, Ordering::SeqCst), Ordering::SeqCst);
                        std::thread::yield_now();
                        writing.store(0, Ordering::SeqCst);
                    }
                });
            }
            for _ in 0..3000 {
                let last = versions.load(Ordering::SeqCst) - 1;
                met += writing.iter().filter(|version| version.load(Ordering::SeqCst) != 0).count();
                stripes.wait_for_writers();
                let left: Vec<u64> = writing.iter().map(|version| version.load(Ordering::SeqCst)).collect();
                if left.iter().any(|version| (1..=last).contains(version)) {
                    running.store(false, Ordering::Relaxed);
                    panic!("up to version {last} everybody was waited for, and these are being written: {left:?}");
                }
            }
            running.store(false, Ordering::Relaxed);
        });
        assert!(met > 0, "nobody was ever writing");
    }
}
