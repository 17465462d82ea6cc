//! Range operations get their range, however often the mover wants it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods)] // threads race in real time

use std::time::Duration;

use super::Holder;
use crate::{Engine, EngineError, EngineOptions, Environment, KeyRange, Medium, TierSpec};

fn open(folder: &std::path::Path) -> Engine {
    let mut tier = TierSpec::new("hot", 0, Medium::Nvme, folder.join("hot"), 1 << 30);
    tier.settings.reserve_bytes = 1 << 20;
    let mut options = EngineOptions::new(vec![tier], 64 << 20);
    options.background_moves = false;
    Engine::open(options, Environment::system(7)).unwrap()
}

fn range(start: &str, end: &str) -> KeyRange {
    KeyRange::new(start, end).unwrap()
}

#[test]
fn the_mover_gets_no_part_of_a_range_that_a_range_operation_waits_for() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path());
    let mover = |range: &KeyRange| {
        let inner = engine.inner();
        inner.leases.acquire(&inner.database, range, Holder::Mover, Duration::ZERO)
    };
    let first = engine.lease_range(&range("a", "b")).unwrap();
    std::thread::scope(|scope| {
        let second = scope.spawn(|| engine.lease_range(&range("a", "d")).unwrap());
        // What nobody holds, until the other thread waits for it.
        let mut refused = None;
        for _ in 0..6000 {
            match mover(&range("c", "e")) {
                Ok(lease) => drop(lease),
                Err(error) => refused = Some(error),
            }
            if refused.is_some() {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let beside = mover(&range("d", "e")).is_ok();
        drop(first);
        let second = second.join().unwrap();
        assert!(matches!(refused, Some(EngineError::RangeHeld { .. })), "the mover took what was waited for");
        assert!(beside, "the mover may have what nobody waits for");
        drop(second);
    });
    assert!(mover(&range("c", "e")).is_ok(), "nobody waits any more");
}

#[test]
fn who_waits_for_a_range_gives_up_in_time_whatever_comes_and_goes_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path());
    let inner = engine.inner();
    let take = |range: &KeyRange, patience| {
        inner.leases.acquire(&inner.database, range, Holder::RangeOperation, Duration::from_millis(patience))
    };
    let held = take(&range("a", "b"), 0).unwrap();
    let gave_up = std::sync::atomic::AtomicBool::new(false);
    let busy = std::thread::scope(|scope| {
        scope.spawn(|| {
            assert!(matches!(take(&range("a", "b"), 500), Err(EngineError::RangeHeld { .. })));
            gave_up.store(true, std::sync::atomic::Ordering::SeqCst);
        });
        // Leases beside it end more often than the patience lasts, for far longer than it.
        for _ in 0..3000 {
            if gave_up.load(std::sync::atomic::Ordering::SeqCst) {
                return true;
            }
            drop(take(&range("c", "d"), 0).unwrap());
            std::thread::sleep(Duration::from_millis(10));
        }
        false
    });
    assert!(busy, "it waited as long as leases came and went");
    drop(held);
}
