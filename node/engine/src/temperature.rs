//! The heat of an open store: the recorder on the read and write paths, the tracker behind it, and its file.
//!
//! A file of its own, not a value of the database: rewritten whole, it would crowd the log that all writers wait for.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
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
use crate::tier::identity;

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
    file: PathBuf,
    environment: Environment,
}

impl Temperature {
    /// Continues with the heat that the store has in its file; heat that cannot be read is dropped with a warning, it is
    /// no data.
    pub(crate) fn open(
        file: PathBuf,
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
        let once = taken_from_meta(database)?;
        let tracker = match read(&file).or(once) {
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
            file,
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

    /// Writes the heat to its file.
    pub(crate) fn store(&self) -> Result<()> {
        self.store_at(&self.file)
    }

    /// Writes the heat to a file, e.g. of a copy of the store.
    pub(crate) fn store_at(&self, file: &Path) -> Result<()> {
        let wall = self.environment.clock.wall();
        let bytes = self.with(|tracker, now| tracker.encode(now, wall));
        identity::replace(file, &bytes)
    }

    /// Memory that the tracker may come to hold, in bytes.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.config.maximum_memory_bytes() as u64
    }
}

fn read(file: &Path) -> Option<Vec<u8>> {
    match fs::read(file) {
        Ok(bytes) => Some(bytes),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => {
            tracing::warn!(file = %file.display(), %error, "the stored heat cannot be read; heat begins anew");
            None
        }
    }
}

/// What a store from before the file has in `meta`, for the last time.
fn taken_from_meta(database: &Database) -> Result<Option<Vec<u8>>> {
    let taken = database.get_meta(meta::HEAT)?;
    if taken.is_some() {
        database.delete_meta(meta::HEAT, false)?;
    }
    Ok(taken)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::heat::AccessKind;
    use crate::{Clock, Engine, EngineOptions, Medium, SystemClock, TierSpec};

    fn options(root: &Path, tier: &Path) -> EngineOptions {
        let mut tier = TierSpec::new("hot", 0, Medium::Nvme, tier, 1 << 30);
        tier.settings.reserve_bytes = 1 << 20;
        let mut options = EngineOptions::new(vec![tier], 64 << 20);
        options.root = Some(root.to_owned());
        options.background_moves = false;
        options.heat_sampling = 1;
        options
    }

    fn open(root: &Path, tier: &Path) -> Engine {
        Engine::open(options(root, tier), Environment::system(7)).unwrap()
    }

    fn heat(engine: &Engine, key: &[u8]) {
        let kind = AccessKind::Read(ServedBy::Tier(0));
        let event = AccessEvent { key: key.into(), bytes: 100, kind, weight: 1 };
        engine.inner().heat.with(|tracker, now| tracker.absorb(&vec![event; 10], now));
    }

    fn is_hot(engine: &Engine, key: &[u8]) -> bool {
        engine.inner().heat.with(|tracker, now| tracker.key_heat(key, now).is_some())
    }

    #[test]
    fn heat_survives_a_restart_and_goes_with_a_checkpoint() {
        let folder = tempfile::tempdir().unwrap();
        let (root, tier, copy) = (folder.path().join("root"), folder.path().join("hot"), folder.path().join("copy"));
        let engine = open(&root, &tier);
        heat(&engine, b"k");
        engine.checkpoint(&copy).unwrap();
        engine.close().unwrap();
        assert!(is_hot(&open(&root, &tier), b"k"));
        assert!(is_hot(&open(&copy.join("root"), &copy.join("tiers/hot")), b"k"));
    }

    #[test]
    fn heat_is_written_past_the_database_and_its_log() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        let engine = open(&root, &folder.path().join("hot"));
        heat(&engine, b"k");
        let before = engine.inner().database.raw().latest_sequence_number();
        engine.inner().heat.store().unwrap();
        assert_eq!(engine.inner().database.raw().latest_sequence_number(), before);
        assert!(root.join("heat.bin").exists());
        assert!(!root.join("heat.bin.new").exists());
    }

    #[test]
    fn heat_that_a_store_has_in_meta_is_taken_from_there_once() {
        let folder = tempfile::tempdir().unwrap();
        let (root, tier) = (folder.path().join("root"), folder.path().join("hot"));
        let engine = open(&root, &tier);
        heat(&engine, b"k");
        engine.inner().heat.store().unwrap();
        let heat_file = root.join("heat.bin");
        engine.inner().database.put_meta(meta::HEAT, &fs::read(&heat_file).unwrap(), true).unwrap();
        engine.close().unwrap();
        fs::remove_file(&heat_file).unwrap();
        let engine = open(&root, &tier);
        assert!(is_hot(&engine, b"k"));
        assert_eq!(engine.inner().database.get_meta(meta::HEAT).unwrap(), None);
        engine.close().unwrap();
        assert!(is_hot(&open(&root, &tier), b"k"));
    }

    #[test]
    fn damaged_heat_is_dropped_and_the_store_opens() {
        let folder = tempfile::tempdir().unwrap();
        let (root, tier) = (folder.path().join("root"), folder.path().join("hot"));
        let engine = open(&root, &tier);
        heat(&engine, b"k");
        engine.close().unwrap();
        let file = root.join("heat.bin");
        let mut bytes = fs::read(&file).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&file, bytes).unwrap();
        assert!(!is_hot(&open(&root, &tier), b"k"));
    }

    #[test]
    fn samples_are_taken_in_whether_or_not_the_mover_has_time() {
        let folder = tempfile::tempdir().unwrap();
        let engine = open(&folder.path().join("root"), &folder.path().join("hot"));
        let heat = &engine.inner().heat;
        for _ in 0..100 {
            heat.record_tier_read(b"k", 100, 0);
        }
        // Asked without `with`, which takes them in itself.
        let now = || heat.environment.clock.monotonic();
        let taken_in = || heat.tracker.lock().key_heat(b"k", now()).is_some();
        for _ in 0..6000 {
            if taken_in() {
                return;
            }
            SystemClock::default().sleep(Duration::from_millis(10));
        }
        panic!("the samples of a minute ago are still in their ring");
    }
}
