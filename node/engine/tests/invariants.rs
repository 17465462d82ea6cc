//! The invariants and the rules that one sequence of operations shows. Races: `moves.rs`, `races.rs`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use support::{audit, move_all, names, open, options, placed, put};
use thermocline_engine::*;

fn copies(engine: &Engine, key: &[u8]) -> Vec<(String, u64)> {
    engine.explain(key).unwrap().copies.into_iter().map(|copy| (copy.tier, copy.version)).collect()
}

#[test]
fn i1_user_writes_touch_the_fastest_tier_only() {
    for tiers in 2..=4 {
        let folder = tempfile::tempdir().unwrap();
        let engine = open(folder.path(), tiers);
        let old = put(&engine, b"k", b"old");
        for below in names(tiers).iter().skip(1) {
            move_all(&engine, below);
            let mut batch = Batch::default();
            batch.put("k", "batch").unwrap();
            let entry = |version| ApplyEntry { version, conditions: Vec::new(), mutations: batch.mutations().to_vec() };
            let writes: [&dyn Fn(); 6] = [
                &|| assert!(engine.put(b"k", b"put", Durability::Sync).is_ok()),
                &|| assert!(engine.delete(b"k", Durability::Wal).is_ok()),
                &|| {
                    engine.put(b"k", b"buffered", Durability::Buffered).unwrap();
                    engine.sync().unwrap();
                },
                &|| assert!(matches!(engine.write(&batch, &[], Durability::Wal).unwrap(), WriteOutcome::Written(_))),
                &|| {
                    let newest = copies(&engine, b"k")[0].1;
                    let apply = ApplyBatch { entries: vec![entry(newest + 1)], meta: Vec::new() };
                    assert_eq!(engine.apply(&apply, Durability::Wal).unwrap().len(), 1);
                },
                &|| {
                    let mut load = engine.bulk_load(BulkMode::Sorted).unwrap();
                    load.put("k", "loaded").unwrap();
                    load.finish().unwrap();
                },
            ];
            for write in writes {
                let before = copies(&engine, b"k");
                write();
                let after = copies(&engine, b"k");
                let slower =
                    |copies: &[(String, u64)]| copies.iter().filter(|c| c.0 != "hot").cloned().collect::<Vec<_>>();
                assert_eq!(slower(&after), slower(&before), "{tiers} tiers");
                assert!(after[0].0 == "hot" && after[0].1 > old);
            }
            audit(&engine);
        }
    }
}

#[test]
fn i2_no_faster_tier_is_older_whatever_moves_where() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path(), 4);
    for from in names(4) {
        for to in names(4) {
            put(&engine, b"k", b"older");
            move_all(&engine, from);
            let newest = put(&engine, b"k", b"newer");
            move_all(&engine, to);
            audit(&engine);
            assert_eq!(engine.get(b"k").unwrap().unwrap().version, newest, "{from} to {to}");
        }
    }
}

#[test]
fn i3_a_copy_leaves_only_when_its_version_is_below() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path(), 3);
    let version = put(&engine, b"k", b"v");
    for to in ["warm", "cold", "warm", "hot", "warm", "cold", "hot", "cold"] {
        move_all(&engine, to);
        let copies = copies(&engine, b"k");
        assert!(copies.iter().all(|copy| copy.1 == version), "{copies:?}");
        assert_eq!(engine.explain(b"k").unwrap().copies.last().unwrap().kind, RecordKind::Value, "after {to}");
        audit(&engine);
    }
}

#[test]
fn i4_a_range_has_one_holder_and_its_generation_is_never_given_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut last = 0;
    for _ in 0..3 {
        let engine = open(folder.path(), 2);
        let left = engine.lease_range(&KeyRange::new("a", "m").unwrap()).unwrap();
        let right = engine.lease_range(&KeyRange::new("m", "").unwrap()).unwrap();
        assert!(left.generation() > last && right.generation() > left.generation());
        last = right.generation();
        std::thread::scope(|scope| {
            let second = scope.spawn(|| engine.lease_range(&KeyRange::all()).unwrap().generation());
            support::nap(Duration::from_millis(100));
            assert!(!second.is_finished(), "a range had two holders");
            drop((left, right));
            last = second.join().unwrap();
        });
    }
}

/// A file system that is smaller than the tiers are declared.
struct Small;

impl DeviceProbe for Small {
    fn space(&self, _: &Path) -> std::io::Result<DeviceSpace> {
        Ok(DeviceSpace { total: 300 << 20, free: 200 << 20 })
    }
}

#[test]
fn rule_10_a_tier_holds_no_more_than_its_file_system_has() {
    let folder = tempfile::tempdir().unwrap();
    let environment = Environment { probe: Arc::new(Small), ..Environment::system(7) };
    let engine = Engine::open(options(folder.path(), 2), environment).unwrap();
    for tier in engine.stats().tiers {
        assert!(tier.settings.size_bytes == 1 << 30 && tier.capacity_bytes <= 300 << 20, "{tier:?}");
        assert!(tier.capacity_bytes >= 200 << 20);
    }
}

#[test]
fn rule_5_a_move_keeps_to_its_budget_and_says_how_long_it_waited() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path(), 2);
    for i in 0..2000_u32 {
        put(&engine, &i.to_be_bytes(), &[1; 100]);
    }
    move_all(&engine, "cold");
    assert_eq!(engine.stats().throttled, Duration::ZERO);
    let request = MoveRequest {
        range: KeyRange::all(),
        to: "hot".to_owned(),
        bytes_per_second: Some(1 << 20),
        cancel: &Cancel::default(),
        progress: &|_| {},
    };
    assert_eq!(engine.move_range(&request).unwrap().records, 2000);
    // 200 KB at 1 MiB/s, less the last group, which is paid for by whoever comes next.
    assert!(engine.stats().throttled > Duration::from_millis(50), "{:?}", engine.stats().throttled);
    assert_eq!(placed(&engine, &0_u32.to_be_bytes()).len(), 2);
}
