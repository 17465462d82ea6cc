//! Owns all heat of a store: sketch, admitted keys, ranges with their patterns.
//!
//! Not shared: the engine absorbs drained samples under a lock of its own. Time comes in as a duration since any epoch
//! that stays fixed while the tracker lives.

use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use xxhash_rust::xxh3::xxh3_64;

use super::admitted::{AdmittedEntry, AdmittedKeys, KeyHeat};
use super::config::HeatConfig;
use super::digest::{DigestError, HeatDigest};
use super::event::{AccessEvent, AccessKind, ServedBy};
use super::moment::Moment;
use super::range_heat::RangeHeat;
use super::range_table::RangeTable;
use super::rate::Decay;
use super::sketch::FrequencySketch;
use crate::range::KeyRange;

/// Cold neighbours are merged once in so long.
const MAINTAIN_EVERY: Duration = Duration::from_secs(60);

/// All heat of a store.
#[derive(Debug)]
pub struct HeatTracker {
    pub(super) decay: Decay,
    pub(super) ranges: RangeTable,
    pub(super) admitted: AdmittedKeys,
    sketch: FrequencySketch,
    sample_weight: f64,
    admit_at: u8,
    maintained: Duration,
}

impl HeatTracker {
    /// A tracker that knows nothing yet. `random` picks the keys that ranges remember.
    #[must_use]
    pub fn new(config: &HeatConfig, random: ChaCha8Rng, now: Duration) -> Self {
        Self {
            decay: Decay::from_half_life(config.half_life),
            ranges: RangeTable::new(config.ranges.clone(), random, now),
            admitted: AdmittedKeys::new(config.admitted_bytes),
            sketch: FrequencySketch::new(config.sketch_bytes, config.halve_every_bytes),
            sample_weight: f64::from(config.sample_every.max(1)),
            admit_at: config.admit_at.max(1),
            maintained: now,
        }
    }

    /// Rates forget at this pace from now on; what they are stays.
    pub fn set_half_life(&mut self, half_life: Duration) {
        self.decay = Decay::from_half_life(half_life);
    }

    /// Takes in drained samples, all as of `now`.
    pub fn absorb(&mut self, events: &[AccessEvent], now: Duration) {
        for event in events {
            match event.kind {
                AccessKind::Read(served_by) => self.absorb_read(event, served_by, now),
                AccessKind::Write => self.absorb_write(event, now),
            }
        }
        if now.saturating_sub(self.maintained) >= MAINTAIN_EVERY {
            self.maintained = now;
            self.ranges.maintain(now, &self.decay);
        }
    }

    /// One key's heat; `None` where it was not admitted (its range's heat is then all that is known).
    #[must_use]
    pub fn key_heat(&self, key: &[u8], now: Duration) -> Option<KeyHeat> {
        self.admitted.heat(key, now.into(), &self.decay, self.sample_weight)
    }

    /// The heat of the range that has `key`.
    #[must_use]
    pub fn range_heat(&self, key: &[u8], now: Duration) -> RangeHeat {
        self.ranges.heat_at(key, now, &self.decay)
    }

    /// All ranges in key order: they cover the key space without overlap.
    #[must_use]
    pub fn ranges(&self, now: Duration) -> Vec<RangeHeat> {
        self.ranges.all(now, &self.decay)
    }

    /// The `count` keys read most, hottest first.
    #[must_use]
    pub fn top_keys(&self, count: usize, now: Duration) -> Vec<KeyHeat> {
        self.admitted.top(count, now.into(), &self.decay, self.sample_weight)
    }

    /// All admitted keys, hottest first.
    #[must_use]
    pub fn admitted_keys(&self, now: Duration) -> Vec<KeyHeat> {
        self.top_keys(usize::MAX, now)
    }

    /// The `count` ranges with the most reads, then writes, hottest first.
    #[must_use]
    pub fn hottest_ranges(&self, count: usize, now: Duration) -> Vec<RangeHeat> {
        let mut ranges = self.ranges(now);
        ranges.sort_by(|a, b| {
            b.reads_per_day.total_cmp(&a.reads_per_day).then(b.writes_per_day.total_cmp(&a.writes_per_day))
        });
        ranges.truncate(count);
        ranges
    }

    /// The data of `range` was moved between tiers now: its residency starts again.
    pub fn note_moved(&mut self, range: &KeyRange, now: Duration) {
        self.ranges.note_moved(range, now);
    }

    /// What is stored in the range of the table that starts at `start`, as measured; replaces the sampled estimate.
    pub fn set_stored_bytes(&mut self, start: &[u8], bytes: u64) {
        self.ranges.set_stored_bytes(start, bytes);
    }

    /// A key was found in a tier, or copied there.
    pub fn note_placed(&mut self, key: &[u8], tier: usize) {
        if let Some(entry) = self.admitted.entry_mut(key) {
            entry.served_by = u8::try_from(tier).ok().map(ServedBy::Tier);
        }
    }

    /// Forgets a key, e.g. after it was deleted.
    pub fn forget_key(&mut self, key: &[u8]) {
        self.admitted.remove(key);
    }

    /// Memory held, all tables together.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.sketch.memory_bytes() + self.admitted.memory_bytes() + self.ranges.memory_bytes()
    }

    /// Number of admitted keys.
    #[must_use]
    pub fn admitted_count(&self) -> usize {
        self.admitted.len()
    }

    /// The heat of `range`, to travel with its data or to followers.
    #[must_use]
    pub fn export_digest(&self, range: &KeyRange, now: Duration) -> HeatDigest {
        HeatDigest::export(self, range, now)
    }

    /// Takes over what a digest knows better: the hotter of the two views wins, so that a digest may arrive twice.
    pub fn merge_digest(&mut self, digest: &HeatDigest, now: Duration) {
        digest.merge_into(self, Duration::ZERO, now);
    }

    /// The heat as bytes, to be read back after a restart: all ranges and, within a bound, the hottest keys. `wall` is the
    /// wall clock, since the Unix epoch.
    #[must_use]
    pub fn encode(&self, now: Duration, wall: Duration) -> Vec<u8> {
        HeatDigest::to_keep(self, now).encode_at(wall)
    }

    /// A tracker with the heat that `encode` wrote. The time that passed on the wall clock has aged it; a wall clock that
    /// went back has not.
    ///
    /// # Errors
    /// The bytes are not what `encode` wrote.
    pub fn decode(
        bytes: &[u8],
        config: &HeatConfig,
        random: ChaCha8Rng,
        now: Duration,
        wall: Duration,
    ) -> Result<Self, DigestError> {
        let (digest, written_at) = HeatDigest::decode_at(bytes)?;
        let mut tracker = Self::new(config, random, now);
        digest.merge_into(&mut tracker, wall.saturating_sub(written_at), now);
        Ok(tracker)
    }

    fn absorb_read(&mut self, event: &AccessEvent, served_by: ServedBy, now: Duration) {
        self.ranges.record(&event.key, true, event.weight, event.bytes, now, &self.decay);
        if served_by == ServedBy::Nothing {
            return;
        }
        let moment = Moment::from(now);
        let weight = f64::from(event.weight);
        // The sketch counts samples, so its clock counts the bytes of samples.
        self.sketch.bytes_read(u64::from(event.bytes));
        if let Some(entry) = self.admitted.entry_mut(&event.key) {
            entry.reads.record(weight, moment, &self.decay);
            entry.bytes = event.bytes;
            // A cache hit says nothing about the tier.
            if let ServedBy::Tier(_) = served_by {
                entry.served_by = Some(served_by);
            }
            return;
        }
        let hash = xxh3_64(&event.key);
        self.sketch.increment(hash);
        let sightings = self.sketch.estimate(hash);
        if sightings < self.admit_at {
            return;
        }
        let mut entry = AdmittedEntry { served_by: Some(served_by), bytes: event.bytes, ..AdmittedEntry::EMPTY };
        // The sightings before this one were real reads, too; more than it takes to be admitted may be collisions.
        entry.reads.record(weight * f64::from(self.admit_at), moment, &self.decay);
        self.admitted.insert(&event.key, entry, moment, &self.decay);
    }

    fn absorb_write(&mut self, event: &AccessEvent, now: Duration) {
        self.ranges.record(&event.key, false, event.weight, event.bytes, now, &self.decay);
        if let Some(entry) = self.admitted.entry_mut(&event.key) {
            entry.writes.record(f64::from(event.weight), now.into(), &self.decay);
            entry.bytes = event.bytes;
            // A write lands in the fastest tier.
            entry.served_by = Some(ServedBy::Tier(0));
        }
    }
}
