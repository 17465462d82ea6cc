//! The heat of an open store: the recorder on the read and write paths, the tracker behind it, and its bytes in `meta`.

use std::time::Duration;

use parking_lot::Mutex;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::environment::Environment;
use crate::error::Result;
use crate::format::meta;

use crate::heat::{AccessEvent, BYTES_PER_FAST_KEY, HeatConfig, HeatDigest, HeatRecorder, HeatTracker, ServedBy};
use crate::range::KeyRange;
use crate::rocks::Database;

/// Samples kept between two drains: at one in eight, a quarter million accesses.
const RING: usize = 32 << 10;
/// Assumed bytes of a key with its value when the tracker is sized.
const ASSUMED_RECORD: u64 = 256;
/// The tracker takes at most this part of the process's memory, however large the fastest tier is: the coldest of many
/// keys are then judged by their range.
const MEMORY_SHARE: u64 = 16;

/// Recorder and tracker of a store.
pub(crate) struct Temperature {
    recorder: HeatRecorder,
    tracker: Mutex<HeatTracker>,
    config: HeatConfig,
    environment: Environment,
}

impl Temperature {
    /// Continues with the heat that the store has in `meta`; damaged heat is dropped with a warning, it is no data.
    pub(crate) fn open(
        database: &Database,
        fast_capacity: u64,
        memory_bytes: u64,
        sampling: u32,
        half_life: Duration,
        environment: &Environment,
    ) -> Result<Self> {
        let affordable = memory_bytes / MEMORY_SHARE / BYTES_PER_FAST_KEY as u64;
        let keys = usize::try_from((fast_capacity / ASSUMED_RECORD).min(affordable)).unwrap_or(usize::MAX);
        let mut config = HeatConfig::for_fast_tier(keys, fast_capacity);
        config.sample_every = sampling.max(1);
        config.half_life = half_life;
        let random = ChaCha8Rng::seed_from_u64(environment.seed);
        let (now, wall) = (environment.clock.monotonic(), environment.clock.wall());
        let tracker = match database.get_meta(meta::HEAT)? {
            None => HeatTracker::new(&config, random, now),
            Some(bytes) => HeatTracker::decode(&bytes, &config, random.clone(), now, wall).unwrap_or_else(|error| {
                tracing::warn!(%error, "the stored heat is unreadable; heat begins anew");
                HeatTracker::new(&config, random, now)
            }),
        };
        Ok(Self {
            recorder: HeatRecorder::new(config.sample_every, RING, environment.seed),
            tracker: Mutex::new(tracker),
            config,
            environment: environment.clone(),
        })
    }

    pub(crate) fn record_write(&self, key: &[u8], bytes: usize) {
        self.recorder.record_write(key, bytes);
    }

    pub(crate) fn record_cached_read(&self, key: &[u8], bytes: usize) {
        self.recorder.record_read(key, bytes, ServedBy::Cache);
    }

    pub(crate) fn record_tier_read(&self, key: &[u8], bytes: usize, tier: usize) {
        let tier = u8::try_from(tier).unwrap_or(u8::MAX);
        self.recorder.record_read(key, bytes, ServedBy::Tier(tier));
    }

    /// A record that a scan passed: heat like any read.
    pub(crate) fn record_scanned(&self, key: &[u8], bytes: usize, tier: usize) {
        self.record_tier_read(key, bytes, tier);
    }

    /// Takes in the samples since the last call.
    pub(crate) fn absorb(&self) {
        let mut events: Vec<AccessEvent> = Vec::new();
        self.recorder.drain(&mut events);
        if !events.is_empty() {
            let now = self.environment.clock.monotonic();
            self.tracker.lock().absorb(&events, now);
        }
    }

    /// Asks the tracker, after the samples so far were taken in.
    pub(crate) fn with<T>(&self, ask: impl FnOnce(&mut HeatTracker, Duration) -> T) -> T {
        self.absorb();
        let now = self.environment.clock.monotonic();
        ask(&mut self.tracker.lock(), now)
    }

    /// A range left the store.
    pub(crate) fn forget(&self, range: &KeyRange) {
        self.with(|tracker, now| {
            for key in tracker.admitted_keys(now) {
                if range.contains(&key.key) {
                    tracker.forget_key(&key.key);
                }
            }
        });
    }

    /// The heat of a range, to travel with it.
    pub(crate) fn export(&self, range: &KeyRange) -> Vec<u8> {
        self.with(|tracker, now| tracker.export_digest(range, now).encode())
    }

    /// Takes in heat that travelled; damaged heat is dropped with a warning.
    pub(crate) fn import(&self, bytes: &[u8]) {
        match HeatDigest::decode(bytes) {
            Ok(digest) => self.with(|tracker, now| tracker.merge_digest(&digest, now)),
            Err(error) => tracing::warn!(%error, "the heat that came with a range is unreadable; it begins anew"),
        }
    }

    /// Writes the heat to `meta`.
    pub(crate) fn store(&self, database: &Database) -> Result<()> {
        let wall = self.environment.clock.wall();
        let bytes = self.with(|tracker, now| tracker.encode(now, wall));
        database.put_meta(meta::HEAT, &bytes, false)
    }

    /// Memory that the tracker may come to hold, in bytes.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.config.maximum_memory_bytes() as u64
    }
}
