//! Versions: what counts as synced, and the highest one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use bytes::Bytes;
use support::{move_all, open, put, value};
use thermocline_engine::*;

/// An unlogged load that has written some of its records; with the version of those.
fn unlogged(engine: &Engine) -> (BulkLoad, u64) {
    let mut load = engine.bulk_load(BulkMode::Unlogged).unwrap();
    for i in 0..300_u32 {
        load.put(format!("load{i:03}"), vec![7; 10_000]).unwrap();
    }
    let version = engine.get(b"load000").unwrap().expect("a part of the load is visible").version;
    (load, version)
}

#[test]
fn records_of_an_unlogged_load_count_as_synced_when_it_has_finished_and_not_before() {
    for finish in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let engine = open(folder.path(), 2);
        let before = put(&engine, b"before", b"v");
        let (load, version) = unlogged(&engine);
        let after = put(&engine, b"after", b"v");
        let synced = engine.sync().unwrap();
        assert!(before <= synced && synced < version, "{synced} is said to be synced, {version} is in no log");
        assert_eq!(engine.synced_version(), synced);
        if finish {
            assert_eq!(load.finish().unwrap(), 300);
        } else {
            // Ended early, what it has written stays and is made durable.
            drop(load);
        }
        assert!(engine.sync().unwrap() >= after);
        assert!(engine.synced_version() >= after);
    }
}

fn apply(engine: &Engine, version: u64, key: &'static str) -> Result<Vec<WriteOutcome>> {
    let mutations = vec![Mutation::Put { key: key.into(), value: Bytes::from_static(b"v") }];
    let meta = vec![("applied".into(), Some(key.into()))];
    engine.apply(&ApplyBatch { entries: vec![ApplyEntry { version, conditions: Vec::new(), mutations }], meta }, {
        Durability::Wal
    })
}

#[test]
fn an_applied_version_over_the_highest_is_refused_and_the_counter_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path(), 2);
    let before = put(&engine, b"k", b"v");
    for version in [u64::MAX, MAX_VERSION + 1] {
        let refused = apply(&engine, version, "applied").unwrap_err();
        assert!(matches!(refused, EngineError::VersionTooHigh { version: v } if v == version), "{refused:?}");
    }
    assert_eq!((value(&engine, b"applied"), engine.caller_meta(b"applied").unwrap()), (None, None));
    let after = put(&engine, b"k", b"w");
    assert!(before < after && after < 1 << 40, "{after}");
}

#[test]
fn after_the_highest_version_writes_end_with_an_error_and_never_with_a_lower_version() {
    let folder = tempfile::tempdir().unwrap();
    for opening in 0..2 {
        let engine = open(folder.path(), 2);
        if opening == 0 {
            put(&engine, b"k", b"v");
            apply(&engine, MAX_VERSION, "applied").unwrap();
        }
        for durability in [Durability::Wal, Durability::Buffered, Durability::Sync] {
            let refused = engine.put(b"k", b"w", durability);
            assert!(matches!(refused, Err(EngineError::VersionsUsedUp)), "{refused:?}");
        }
        assert_eq!(value(&engine, b"k").unwrap(), b"v");
        assert_eq!(engine.get(b"applied").unwrap().unwrap().version, MAX_VERSION);
        assert!(engine.sync().unwrap() <= MAX_VERSION);
        move_all(&engine, "cold");
        engine.close().unwrap();
    }
}

#[test]
fn an_export_that_names_a_version_over_the_highest_is_refused_before_anything_is_touched() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path(), 2);
    put(&engine, b"k", b"v");
    let export = folder.path().join("export");
    let mut manifest = engine.export(&KeyRange::all(), &export).unwrap();
    manifest.highest_version = u64::MAX;
    std::fs::write(export.join("manifest.json"), serde_json::to_vec(&manifest).unwrap()).unwrap();
    put(&engine, b"k", b"w");
    let lease = engine.lease_range(&KeyRange::all()).unwrap();
    let refused = engine.install(&lease, &export, &[]);
    assert!(matches!(refused, Err(EngineError::VersionTooHigh { .. })), "{refused:?}");
    assert_eq!(value(&engine, b"k").unwrap(), b"w");
    assert!(put(&engine, b"k", b"x") < 1 << 40);
}
