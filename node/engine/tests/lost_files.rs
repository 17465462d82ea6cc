//! Stores that have lost a part of themselves: refused by name, with everything that is left.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use support::{move_all, open, options, put, value};
use thermocline_engine::*;

fn refused(options: EngineOptions) -> OpenError {
    match Engine::open(options, Environment::system(7)) {
        Ok(_) => panic!("it was opened"),
        Err(error) => error,
    }
}

/// Every file under a folder with its size; those of the locks aside.
fn files(folder: &Path) -> BTreeMap<PathBuf, u64> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_none_or(|extension| extension != "lock") {
            found.insert(path.clone(), path.metadata().unwrap().len());
        }
    }
    found
}

/// A store with files in its slowest tier, and a record in its log.
fn store(folder: &Path) {
    let engine = open(folder, 2);
    put(&engine, b"cold", b"v");
    for i in 0..200_u32 {
        put(&engine, &i.to_be_bytes(), &[1; 4_000]);
    }
    move_all(&engine, "cold");
    assert!(std::fs::read_dir(folder.join("cold/data")).unwrap().count() > 0, "the move did not go by file");
    put(&engine, b"hot", b"v");
    engine.close().unwrap();
}

fn is_whole(folder: &Path) {
    let engine = open(folder, 2);
    for key in [&b"cold"[..], b"hot"] {
        assert_eq!(value(&engine, key).unwrap(), b"v");
    }
}

fn only_first(folder: &Path) -> EngineOptions {
    let mut options = options(folder, 2);
    options.tiers.truncate(1);
    options
}

#[test]
fn a_store_whose_database_is_gone_is_refused_and_keeps_what_is_left() {
    let folder = tempfile::tempdir().unwrap();
    store(folder.path());
    let (root, aside) = (folder.path().join("root"), folder.path().join("aside"));
    std::fs::rename(root.join("db"), &aside).unwrap();
    let left = files(folder.path());
    let lost = |options: EngineOptions, holds: &Path| {
        let error = refused(options);
        assert!(matches!(&error, OpenError::DatabaseLost { files, .. } if files == holds), "{error:?}");
        let text = error.to_string();
        assert!(text.contains(root.join("db").to_str().unwrap()) && text.contains("restore"), "{text}");
    };
    lost(options(folder.path(), 2), &root.join("wal"));
    // Files of a tier alone tell it too, of one that is to leave the store as well.
    std::fs::rename(root.join("wal"), folder.path().join("log")).unwrap();
    // The fastest may still have a file of deletes that its compaction is not done with.
    let data = ["hot/data", "cold/data"].map(|data| folder.path().join(data));
    let first = data.iter().find(|data| !files(data).is_empty()).unwrap();
    lost(options(folder.path(), 2), first);
    lost(only_first(folder.path()), first);
    std::fs::rename(folder.path().join("log"), root.join("wal")).unwrap();
    assert_eq!(files(folder.path()), left);

    std::fs::rename(&aside, root.join("db")).unwrap();
    is_whole(folder.path());
}

#[test]
fn a_tier_with_files_that_the_database_does_not_know_is_refused_and_keeps_them() {
    let folder = tempfile::tempdir().unwrap();
    let (root, aside) = (folder.path().join("root"), folder.path().join("aside"));
    let old = folder.path().join("old");
    // The database as it was before the tier was added comes back.
    Engine::open(only_first(folder.path()), Environment::system(7)).unwrap().close().unwrap();
    std::fs::create_dir(&old).unwrap();
    for file in files(&root.join("db")).keys() {
        std::fs::copy(file, old.join(file.file_name().unwrap())).unwrap();
    }
    store(folder.path());
    std::fs::rename(root.join("db"), &aside).unwrap();
    std::fs::rename(old, root.join("db")).unwrap();
    let left = files(&folder.path().join("cold"));
    let error = refused(options(folder.path(), 2));
    let data = folder.path().join("cold/data");
    assert!(
        matches!(&error, OpenError::TierUnknown { tier, files, .. } if tier == "cold" && *files == data),
        "{error:?}"
    );
    assert!(error.to_string().contains(data.to_str().unwrap()), "{error}");
    assert_eq!(files(&folder.path().join("cold")), left);

    std::fs::remove_dir_all(root.join("db")).unwrap();
    std::fs::rename(&aside, root.join("db")).unwrap();
    is_whole(folder.path());
}

/// The files of the log, oldest first.
fn log_files(folder: &Path) -> Vec<PathBuf> {
    let files = files(&folder.join("root/wal"));
    files.into_keys().filter(|path| path.extension().is_some_and(|extension| extension == "log")).collect()
}

#[test]
fn a_store_whose_log_lost_its_middle_is_refused_until_a_person_gives_that_up() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path(), 2);
    for i in 0..500_u32 {
        engine.put(&i.to_be_bytes(), &[1; 100], if i == 499 { Durability::Sync } else { Durability::Wal }).unwrap();
    }
    engine.close().unwrap();
    let log = log_files(folder.path()).pop().unwrap();
    let mut bytes = std::fs::read(&log).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    std::fs::write(&log, bytes).unwrap();
    // The second opening finds no damage any more: what came behind it is missing all the same.
    for _ in 0..2 {
        let error = refused(options(folder.path(), 2));
        assert!(
            matches!(&error, OpenError::SyncedWritesLost { synced, found, .. } if found < synced),
            "{}",
            chain(&error)
        );
        let mark = folder.path().join("root/synced");
        assert!(error.to_string().contains(mark.to_str().unwrap()), "{error}");
    }
    std::fs::remove_file(folder.path().join("root/synced")).unwrap();
    let engine = open(folder.path(), 2);
    let left = (0..500_u32).filter(|i| engine.get(&i.to_be_bytes()).unwrap().is_some()).count();
    assert!((1..500).contains(&left), "{left} are left");
    engine.put(b"after", b"v", Durability::Sync).unwrap();
    engine.close().unwrap();
    assert_eq!(value(&open(folder.path(), 2), b"after").unwrap(), b"v");
}

#[test]
fn a_log_that_is_gone_is_told_as_lost_writes() {
    let folder = tempfile::tempdir().unwrap();
    store(folder.path());
    for log in log_files(folder.path()) {
        std::fs::remove_file(log).unwrap();
    }
    let error = refused(options(folder.path(), 2));
    assert!(matches!(error, OpenError::SyncedWritesLost { .. }), "{}", chain(&error));
}

/// A copy of the store as it is now: what a process that is killed now would leave.
fn killed_now(folder: &Path, copy: &Path) {
    for (file, _) in files(folder) {
        let target = copy.join(file.strip_prefix(folder).unwrap());
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        std::fs::copy(&file, &target).unwrap();
    }
}

#[test]
fn a_killed_store_that_lacks_only_what_never_was_in_its_log_opens() {
    let folder = tempfile::tempdir().unwrap();
    let (store, copies) = (folder.path().join("store"), folder.path().join("copies"));
    let engine = open(&store, 2);
    for i in 0..300_u32 {
        put(&engine, &i.to_be_bytes(), &[1; 100]);
    }
    move_all(&engine, "cold");
    // Copies up, then a load: neither is in the log, and both took sequence numbers.
    assert!(move_all(&engine, "hot").records > 0);
    engine.sync().unwrap();
    killed_now(&store, &copies.join("copied up"));
    let mut load = engine.bulk_load(BulkMode::Unlogged).unwrap();
    for i in 0..30_u32 {
        load.put(format!("load{i:03}"), vec![1; 100_000]).unwrap();
    }
    engine.sync().unwrap();
    killed_now(&store, &copies.join("loading"));
    // Once more with nothing written since, and with one write.
    engine.sync().unwrap();
    killed_now(&store, &copies.join("synced again"));
    engine.put(b"last", b"v", Durability::Sync).unwrap();
    killed_now(&store, &copies.join("written"));
    for copy in std::fs::read_dir(&copies).unwrap().map(|copy| copy.unwrap().path()) {
        let opened = Engine::open(options(&copy, 2), Environment::system(7));
        let engine = opened.unwrap_or_else(|error| panic!("{}: {}", copy.display(), chain(&error)));
        for i in 0..300_u32 {
            assert!(engine.get(&i.to_be_bytes()).unwrap().is_some(), "{}: key {i}", copy.display());
        }
    }
    assert_eq!(value(&open(&copies.join("written"), 2), b"last").unwrap(), b"v");
}
