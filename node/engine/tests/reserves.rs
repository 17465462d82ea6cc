//! Moves into tiers whose device is under its reserve.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use support::{audit, move_all, open_with, placed, put, try_move};
use thermocline_engine::*;

const KEYS: u32 = 200;

/// A probe that says, once told so, that the device of one tier is full.
struct Full {
    tier: &'static str,
    now: AtomicBool,
}

impl DeviceProbe for Full {
    fn space(&self, path: &Path) -> std::io::Result<DeviceSpace> {
        let full = path.ends_with(self.tier) && self.now.load(Ordering::SeqCst);
        Ok(DeviceSpace { total: 1 << 40, free: if full { 0 } else { 1 << 39 } })
    }
}

fn key(i: u32) -> Vec<u8> {
    format!("key{i:05}").into_bytes()
}

/// Everything in the slowest tier, and the device of `tier` full.
fn below_a_full(folder: &Path, tiers: usize, tier: &'static str) -> Engine {
    let probe = Arc::new(Full { tier, now: AtomicBool::new(false) });
    let environment = Environment { probe: Arc::clone(&probe) as Arc<dyn DeviceProbe>, ..Environment::system(7) };
    let engine = open_with(folder, tiers, environment);
    for i in 0..KEYS {
        put(&engine, &key(i), &[1; 1000]);
    }
    move_all(&engine, "cold");
    probe.now.store(true, Ordering::SeqCst);
    engine.refresh_space();
    engine
}

#[test]
fn a_copy_up_ends_when_its_target_comes_under_its_reserve() {
    let folder = tempfile::tempdir().unwrap();
    let probe = Arc::new(Full { tier: "warm", now: AtomicBool::new(false) });
    let environment = Environment { probe: Arc::clone(&probe) as Arc<dyn DeviceProbe>, ..Environment::system(7) };
    let engine = open_with(folder.path(), 3, environment);
    // More than one part.
    for i in 0..KEYS {
        put(&engine, &key(i), &vec![1; 100_000]);
    }
    move_all(&engine, "cold");
    let fill = |step: MoveStep| {
        if step.moved.records > 0 {
            probe.now.store(true, Ordering::SeqCst);
            engine.refresh_space();
        }
    };
    let moved = engine.move_range(&MoveRequest {
        range: KeyRange::all(),
        to: "warm".to_owned(),
        bytes_per_second: None,
        cancel: &Cancel::default(),
        progress: &fill,
    });
    assert!(matches!(&moved, Err(EngineError::OutOfSpace { device, .. }) if device == "tier warm"), "{moved:?}");
    let up = (0..KEYS).filter(|i| placed(&engine, &key(*i))[0].0 == "warm").count();
    assert!(up > 0 && up < KEYS as usize / 2, "{up} of {KEYS} were copied");
    audit(&engine);
}

fn assert_refused(engine: &Engine, tier: &str, moved: Result<Moved>) {
    let expected = format!("tier {tier}");
    assert!(matches!(&moved, Err(EngineError::OutOfSpace { device, .. }) if *device == expected), "{moved:?}");
    for i in 0..KEYS {
        let places: Vec<String> = placed(engine, &key(i)).into_iter().map(|(place, _)| place).collect();
        assert_eq!(places, ["cold"]);
    }
    audit(engine);
}

#[test]
fn nothing_is_copied_up_into_a_tier_under_its_reserve() {
    for (tiers, tier) in [(3, "warm"), (2, "hot")] {
        let folder = tempfile::tempdir().unwrap();
        let engine = below_a_full(folder.path(), tiers, tier);
        assert_refused(&engine, tier, try_move(&engine, &KeyRange::all(), tier));
    }
}

#[test]
fn no_tier_is_emptied_into_one_under_its_reserve() {
    for (tiers, tier) in [(3, "warm"), (2, "hot")] {
        let folder = tempfile::tempdir().unwrap();
        let engine = below_a_full(folder.path(), tiers, tier);
        assert_refused(&engine, tier, engine.empty_tier("cold", &Cancel::default()));
    }
}
