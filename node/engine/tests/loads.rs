//! Bulk loads against writers, deletes, moves and failures.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use bytes::Bytes;
use support::{audit, move_all, open, placed, put, value};
use thermocline_engine::*;

fn sorted(engine: &Engine, value: &'static str) -> BulkLoad {
    let mut load = engine.bulk_load(BulkMode::Sorted).unwrap();
    for key in ["a", "k", "z"] {
        load.put(key, value).unwrap();
    }
    load
}

fn delete_by_batch(engine: &Engine) {
    let mut batch = Batch::default();
    batch.put("other", "v").unwrap().delete("k").unwrap();
    engine.write(&batch, &[], Durability::Wal).unwrap();
}

fn delete_by_apply(engine: &Engine) {
    // The caller of `apply` gives the versions; here above those of the store.
    let version = put(engine, b"other", b"v") + 1000;
    let mutations = vec![Mutation::Delete { key: Bytes::from_static(b"k") }];
    let entries = vec![ApplyEntry { version, conditions: Vec::new(), mutations }];
    engine.apply(&ApplyBatch { entries, meta: Vec::new() }, Durability::Wal).unwrap();
}

#[test]
fn a_sorted_load_brings_no_key_back_that_was_deleted_since_it_began() {
    let deletes: [fn(&Engine); 4] = [
        |engine| assert!(engine.delete(b"k", Durability::Wal).is_ok()),
        |engine| assert!(engine.delete(b"k", Durability::Buffered).is_ok()),
        delete_by_batch,
        delete_by_apply,
    ];
    for tiers in [1, 2, 3] {
        for (number, delete) in deletes.iter().enumerate() {
            let folder = tempfile::tempdir().unwrap();
            let engine = open(folder.path(), tiers);
            put(&engine, b"k", b"old");
            let load = sorted(&engine, "loaded");
            delete(&engine);
            if tiers > 1 {
                // In the last tier a tombstone ends.
                move_all(&engine, "cold");
                assert_eq!(placed(&engine, b"k"), []);
            }
            let refused = load.finish().unwrap_err().to_string();
            assert!(refused.contains("nothing was loaded"), "{refused}");
            for key in [b"a", b"k", b"z"] {
                assert_eq!(value(&engine, key), None, "{tiers} tiers, delete {number}");
            }
            // A load that begins now is newer than the delete.
            assert_eq!(sorted(&engine, "again").finish().unwrap(), 3);
            assert_eq!(value(&engine, b"k").unwrap(), b"again");
            audit(&engine);
        }
    }
}

#[test]
fn of_two_sorted_loads_only_the_one_that_began_before_a_delete_is_refused() {
    for tiers in [1, 3] {
        let folder = tempfile::tempdir().unwrap();
        let engine = open(folder.path(), tiers);
        put(&engine, b"k", b"old");
        let (first, given_up) = (sorted(&engine, "first"), sorted(&engine, "given up"));
        engine.delete(b"k", Durability::Wal).unwrap();
        engine.delete(b"zz", Durability::Wal).unwrap();
        let second = sorted(&engine, "second");
        drop(given_up);
        assert!(first.finish().is_err());
        assert_eq!(second.finish().unwrap(), 3);
        assert_eq!(value(&engine, b"k").unwrap(), b"second");
        drop(engine);
        assert_eq!(value(&open(folder.path(), tiers), b"k").unwrap(), b"second");
    }
}

#[test]
fn a_delete_beside_its_range_does_not_refuse_a_sorted_load() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path(), 1);
    let load = sorted(&engine, "loaded");
    engine.delete(b"0", Durability::Wal).unwrap();
    engine.delete(b"zz", Durability::Wal).unwrap();
    assert_eq!(load.finish().unwrap(), 3);
    assert_eq!(value(&engine, b"k").unwrap(), b"loaded");
}
