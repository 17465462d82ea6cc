//! The read-path side of heat: sampling into bounded rings.
//!
//! An access that is not sampled costs a branch and a store: each thread counts down its own slot. A sampled one copies
//! the key and pushes to the slot's ring; a full ring drops the sample and counts it, so that heat never slows a reader.
//! Gaps between samples are random (mean `sample_every`), or a loop over as many keys would be sampled at one key alone.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use parking_lot::Mutex;

use super::event::{AccessEvent, AccessKind, ServedBy};
use crate::spread::thread_number;

/// Slots; threads beyond that share one, and a lost update of its countdown makes sampling a little sparser.
const SLOTS: usize = 64;

/// Its own pair of cache lines, so that threads do not share them.
#[repr(align(128))]
struct Slot {
    countdown: AtomicU32,
    random: AtomicU64,
    ring: Mutex<Vec<AccessEvent>>,
}

/// Samples accesses; shared by all threads.
pub struct HeatRecorder {
    slots: Box<[Slot]>,
    sample_every: u32,
    ring_capacity: usize,
    dropped: AtomicU64,
}

impl HeatRecorder {
    /// The default sampling: one access in so many.
    pub const DEFAULT_SAMPLE_EVERY: u32 = 8;
    /// Samples a ring holds between two drains.
    pub const DEFAULT_RING_CAPACITY: usize = 8192;

    /// Samples one access in `sample_every` (1: all); each ring holds `ring_capacity` samples. The same seed samples a
    /// single thread's accesses at the same places.
    #[must_use]
    pub fn new(sample_every: u32, ring_capacity: usize, seed: u64) -> Self {
        let sample_every = sample_every.clamp(1, 1 << 20);
        let slots = (0..SLOTS)
            .map(|_| Slot {
                countdown: AtomicU32::new(1 + (next_random(seed) % u64::from(sample_every)) as u32),
                random: AtomicU64::new(next_random(seed)),
                ring: Mutex::new(Vec::new()),
            })
            .collect();
        Self { slots, sample_every, ring_capacity: ring_capacity.max(1), dropped: AtomicU64::new(0) }
    }

    /// A read of `bytes` (key and value), answered by `served_by`.
    #[inline]
    pub fn record_read(&self, key: &[u8], bytes: usize, served_by: ServedBy) {
        if let Some(slot) = self.sampled() {
            self.push(slot, key, bytes, AccessKind::Read(served_by));
        }
    }

    /// A write of `bytes` (key and value).
    #[inline]
    pub fn record_write(&self, key: &[u8], bytes: usize) {
        if let Some(slot) = self.sampled() {
            self.push(slot, key, bytes, AccessKind::Write);
        }
    }

    /// Moves all samples to the end of `events`, in each thread's order.
    pub fn drain(&self, events: &mut Vec<AccessEvent>) {
        for slot in &self.slots {
            let taken = std::mem::take(&mut *slot.ring.lock());
            events.extend(taken);
        }
    }

    /// Samples dropped because a ring was full.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// How many accesses a sample stands for.
    #[must_use]
    pub fn sample_every(&self) -> u32 {
        self.sample_every
    }

    #[inline]
    fn sampled(&self) -> Option<&Slot> {
        let slot = &self.slots[thread_number() % SLOTS];
        let left = slot.countdown.load(Ordering::Relaxed);
        if left > 1 {
            slot.countdown.store(left - 1, Ordering::Relaxed);
            return None;
        }
        Some(slot)
    }

    #[cold]
    fn push(&self, slot: &Slot, key: &[u8], bytes: usize, kind: AccessKind) {
        let random = next_random(slot.random.load(Ordering::Relaxed));
        slot.random.store(random, Ordering::Relaxed);
        // Uniform over 1..=2n-1: its mean is n.
        let gap = 1 + (random >> 32) % u64::from(2 * self.sample_every - 1);
        slot.countdown.store(gap as u32, Ordering::Relaxed);
        let event = AccessEvent {
            key: key.into(),
            bytes: u32::try_from(bytes).unwrap_or(u32::MAX),
            kind,
            weight: self.sample_every,
        };
        let mut ring = slot.ring.lock();
        if ring.len() < self.ring_capacity {
            ring.push(event);
        } else {
            drop(ring);
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// One step of SplitMix64.
fn next_random(state: u64) -> u64 {
    let mut mixed = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
