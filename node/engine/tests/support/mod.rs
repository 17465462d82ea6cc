//! What the engine's integration tests share: stores of any number of tiers, seeds, pause points.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, dead_code)]
#![allow(clippy::disallowed_methods)] // threads race in real time

pub mod clock;
pub mod pause;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use thermocline_engine::*;

/// How long a thread stands at a pause before it goes on by itself.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Ends the threads of a test when one of them fails: they run while the flag is set.
pub struct EndOnPanic<'a>(pub &'a AtomicBool);

impl Drop for EndOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.store(false, Ordering::SeqCst);
        }
    }
}

/// The names of the tiers of a store with so many of them, fastest first.
pub fn names(tiers: usize) -> &'static [&'static str] {
    match tiers {
        1 => &["hot"],
        2 => &["hot", "cold"],
        3 => &["hot", "warm", "cold"],
        _ => &["hot", "warm", "cool", "cold"],
    }
}

/// Options without background moves: a test moves when it wants to.
pub fn options(folder: &Path, tiers: usize) -> EngineOptions {
    let tier = |name: &&str| {
        let (rank, medium) = match *name {
            "hot" => (0, Medium::Nvme),
            "warm" => (10, Medium::Ssd),
            "cool" => (15, Medium::Ssd),
            _ => (20, Medium::Hdd),
        };
        let mut spec = TierSpec::new(*name, rank, medium, folder.join(name), 1 << 30);
        // The machine that runs the tests may be short of space; what is tested here is not that.
        spec.settings.reserve_bytes = 1 << 20;
        spec
    };
    let mut options = EngineOptions::new(names(tiers).iter().map(tier).collect(), 64 << 20);
    options.root = Some(folder.join("root"));
    options.background_moves = false;
    options
}

pub fn open(folder: &Path, tiers: usize) -> Engine {
    Engine::open(options(folder, tiers), Environment::system(7)).unwrap()
}

pub fn open_with(folder: &Path, tiers: usize, environment: Environment) -> Engine {
    Engine::open(options(folder, tiers), environment).unwrap()
}

/// An environment with a crash hook.
pub fn hooked(hook: impl Fn(CrashPoint) -> std::result::Result<(), String> + Send + Sync + 'static) -> Environment {
    Environment { crash_hook: Some(Arc::new(hook)), ..Environment::system(7) }
}

/// The seed of a test when none is given: the same on every machine, so that a change is what turns it red.
const USUAL_SEED: u64 = 20_261_121;

/// The seed of a test: `ENGINE_SEED` replays one, and `ENGINE_SEED=random` draws one (`make random` does).
pub fn seed(test: &str) -> (u64, ChaCha8Rng) {
    let seed = match std::env::var("ENGINE_SEED") {
        Ok(text) if text == "random" => u64::from(std::process::id()) ^ SystemClock::default().wall().as_nanos() as u64,
        Ok(text) => text.parse().expect("ENGINE_SEED is a whole number or `random`"),
        Err(_) => USUAL_SEED,
    };
    println!("{test}: replay with ENGINE_SEED={seed}");
    (seed, ChaCha8Rng::seed_from_u64(seed))
}

pub fn try_move(engine: &Engine, range: &KeyRange, to: &str) -> Result<Moved> {
    engine.move_range(&MoveRequest {
        range: range.clone(),
        to: to.to_owned(),
        bytes_per_second: None,
        cancel: &Cancel::default(),
        progress: &|_| {},
    })
}

pub fn move_to(engine: &Engine, range: &KeyRange, to: &str) -> Moved {
    try_move(engine, range, to).unwrap()
}

pub fn move_all(engine: &Engine, to: &str) -> Moved {
    move_to(engine, &KeyRange::all(), to)
}

pub fn put(engine: &Engine, key: &[u8], value: &[u8]) -> u64 {
    engine.put(key, value, Durability::Wal).unwrap()
}

pub fn value(engine: &Engine, key: &[u8]) -> Option<Vec<u8>> {
    engine.get(key).unwrap().map(|record| record.value.to_vec())
}

/// Where a key's copies are, fastest first.
pub fn placed(engine: &Engine, key: &[u8]) -> Vec<(String, RecordKind)> {
    engine.explain(key).unwrap().copies.into_iter().map(|copy| (copy.tier, copy.kind)).collect()
}

/// Fails where an invariant between the tiers is broken.
pub fn audit(engine: &Engine) -> AuditReport {
    let report = engine.audit(&KeyRange::all()).unwrap();
    assert_eq!(report.violations, Vec::<String>::new());
    report
}

/// Lets other threads go on for so long.
pub fn nap(duration: Duration) {
    SystemClock::default().sleep(duration);
}

/// Waits for something that happens by itself; generous, since machines may be busy.
pub fn eventually(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..6000 {
        if holds() {
            return;
        }
        nap(Duration::from_millis(10));
    }
    panic!("still not after a minute: {what}");
}
