//! Exports that must not be installed, and what a failed install leaves behind: nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use std::path::Path;

use support::pause::Pauses;
use support::{move_to, open, open_with, put, value};
use thermocline_engine::*;

fn key(i: u32) -> Vec<u8> {
    format!("key{i:05}").into_bytes()
}

fn half() -> KeyRange {
    KeyRange::new(key(0), key(50)).unwrap()
}

fn fill(engine: &Engine, byte: u8) {
    for i in 0..100 {
        put(engine, &key(i), &vec![byte; 5000]);
    }
}

/// What stands in the folders where files wait to be ingested.
fn waiting(folder: &Path) -> Vec<std::path::PathBuf> {
    let tiers = ["hot", "warm", "cold"].map(|tier| folder.join(tier).join("incoming"));
    tiers.iter().flat_map(|tier| std::fs::read_dir(tier).unwrap()).map(|entry| entry.unwrap().path()).collect()
}

/// Installs an export that must be refused with this in its message, before anything is touched.
fn refused(folder: &Path, engine: &Engine, export: &Path, manifest: &ExportManifest, why: &str) {
    std::fs::write(export.join("manifest.json"), serde_json::to_vec(manifest).unwrap()).unwrap();
    let hash = engine.logical_hash(&KeyRange::all()).unwrap();
    let lease = engine.lease_range(&half()).unwrap();
    let refused = engine.install(&lease, export, &[("applied".into(), Some("new".into()))]).unwrap_err();
    drop(lease);
    assert!(chain(&refused).contains(why), "{}", chain(&refused));
    assert_eq!(engine.logical_hash(&KeyRange::all()).unwrap(), hash, "{why}");
    assert_eq!(engine.caller_meta(b"applied").unwrap(), None);
    assert_eq!(waiting(folder), Vec::<std::path::PathBuf>::new(), "{why}");
    // No fence stands, and no journal entry that would empty the range at the next opening.
    put(engine, &key(1), b"after");
}

#[test]
fn an_export_that_is_not_what_its_manifest_says_is_refused_before_anything_is_touched() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path(), 3);
    fill(&engine, 1);
    move_to(&engine, &KeyRange::new(key(10), key(60)).unwrap(), "cold");
    let export = folder.path().join("export");
    let whole = engine.export(&KeyRange::all(), &export).unwrap();
    assert!(whole.files.len() > 1, "the files of one tier only");
    fill(&engine, 2);
    let part = |range: KeyRange| ExportManifest { range, ..whole.clone() };
    // Its files hold keys behind the range, and before it.
    refused(folder.path(), &engine, &export, &part(half()), "outside of the export's range");
    let later = KeyRange::new(key(5), key(50)).unwrap();
    refused(folder.path(), &engine, &export, &part(later), "outside of the export's range");

    std::fs::remove_dir_all(&export).unwrap();
    let right = engine.export(&half(), &export).unwrap();
    let low = ExportManifest { highest_version: right.highest_version - 1, ..right.clone() };
    refused(folder.path(), &engine, &export, &low, "at most");
    let mut fewer = right.clone();
    fewer.files[0].records -= 1;
    refused(folder.path(), &engine, &export, &fewer, "records");
    let mut away = right;
    away.files[0].name = format!("../export/{}", away.files[0].name);
    refused(folder.path(), &engine, &export, &away, "outside its folder");

    let hash = engine.logical_hash(&KeyRange::all()).unwrap();
    engine.close().unwrap();
    assert_eq!(open(folder.path(), 3).logical_hash(&KeyRange::all()).unwrap(), hash);
}

/// Makes a file of an export: these keys, and deletions of these ranges.
fn craft(export: &Path, manifest: &mut ExportManifest, keys: &[&[u8]], deletions: &[[&[u8]; 2]]) {
    let path = export.join("crafted.sst");
    let options = rocksdb::Options::default();
    let mut writer = rocksdb::SstFileWriter::create(&options);
    writer.open(&path).unwrap();
    for key in keys {
        // A value of version 1.
        writer.put(key, [0, 0, 0, 0, 0, 0, 0, 0, 1, b'v']).unwrap();
    }
    for [start, end] in deletions {
        writer.delete_range(start, end).unwrap();
    }
    writer.finish().unwrap();
    let content = std::fs::read(&path).unwrap();
    let name = "crafted.sst".to_owned();
    let (records, bytes) = (keys.len() as u64, content.len() as u64);
    manifest.files.push(ExportFile { name, rank: 20, records, bytes, checksum: xxhash_rust::xxh3::xxh3_64(&content) });
}

#[test]
fn a_crafted_file_with_deletions_or_foreign_keyspaces_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path(), 3);
    fill(&engine, 1);
    let export = folder.path().join("export");
    let right = engine.export(&half(), &export).unwrap();
    let crafted = |keys: &[&[u8]], deletions: &[[&[u8]; 2]]| {
        let mut manifest = right.clone();
        craft(&export, &mut manifest, keys, deletions);
        manifest
    };
    let outside = "outside of the export's range";
    refused(folder.path(), &engine, &export, &crafted(&[b"\x01key00001"], &[[b"\x01key00040", b"\x01z"]]), outside);
    refused(folder.path(), &engine, &export, &crafted(&[b"\x01key00001", b"\x07meta"], &[]), outside);
    refused(folder.path(), &engine, &export, &crafted(&[b"\x00", b"\x01key00001"], &[]), outside);
    refused(folder.path(), &engine, &export, &crafted(&[b"\x01key00050"], &[]), outside);
    let within = crafted(&[b"\x01key00001"], &[[b"\x01key00040", b"\x01key00050"]]);
    refused(folder.path(), &engine, &export, &within, "records among");
    // And one that is as it should be is not.
    std::fs::remove_file(export.join("crafted.sst")).unwrap();
    std::fs::write(export.join("manifest.json"), serde_json::to_vec(&right).unwrap()).unwrap();
    let lease = engine.lease_range(&half()).unwrap();
    engine.install(&lease, &export, &[]).unwrap();
    drop(lease);
    assert_eq!(engine.logical_hash(&half()).unwrap(), right.logical_hash);
    assert_eq!(waiting(folder.path()), Vec::<std::path::PathBuf>::new());
}

#[test]
fn a_failed_install_leaves_no_file_behind() {
    for point in
        [CrashPoint::InstallJournaled, CrashPoint::WalSynced, CrashPoint::Ingested, CrashPoint::InstallHalfDone]
    {
        let (folder, pauses) = (tempfile::tempdir().unwrap(), Pauses::default());
        let engine = open_with(folder.path(), 3, pauses.environment());
        fill(&engine, 1);
        move_to(&engine, &KeyRange::new(key(10), key(30)).unwrap(), "cold");
        let export = folder.path().join("export");
        engine.export(&half(), &export).unwrap();
        pauses.fail(point);
        let lease = engine.lease_range(&half()).unwrap();
        assert!(engine.install(&lease, &export, &[]).is_err(), "{point:?}");
        assert_eq!(waiting(folder.path()), Vec::<std::path::PathBuf>::new(), "{point:?}");
        // Tried again, it is whole.
        let manifest = engine.install(&lease, &export, &[]).unwrap();
        drop(lease);
        assert_eq!(engine.logical_hash(&half()).unwrap(), manifest.logical_hash);
        assert!(value(&engine, &key(49)).is_some());
    }
}

#[test]
fn under_one_lease_no_operation_leaves_rows_that_were_cached_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path(), 3);
    fill(&engine, 1);
    let export = folder.path().join("export");
    engine.export(&half(), &export).unwrap();
    let cached = |expected: Option<u8>| {
        // Once for the tiers, once for the row cache.
        for _ in 0..2 {
            assert_eq!(value(&engine, &key(1)), expected.map(|byte| vec![byte; 5000]));
        }
    };
    let lease = engine.lease_range(&half()).unwrap();
    engine.install(&lease, &export, &[]).unwrap();
    cached(Some(1));
    engine.wipe(&lease).unwrap();
    cached(None);
    put(&engine, &key(1), &[2; 5000]);
    cached(Some(2));
    engine.install(&lease, &export, &[]).unwrap();
    cached(Some(1));
    // Both at once: the writer that comes after either finds no fence that the other needs taken down.
    std::thread::scope(|scope| {
        scope.spawn(|| engine.wipe(&lease).unwrap());
        engine.install(&lease, &export, &[]).unwrap();
    });
    drop(lease);
    put(&engine, &key(1), &[3; 5000]);
    cached(Some(3));
}
