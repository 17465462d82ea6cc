//! What opening refuses, and that it leaves what it refuses as it was.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use std::path::{Path, PathBuf};
use std::sync::Barrier;

use support::{open, options, put, value};
use thermocline_engine::*;

fn try_open(options: EngineOptions) -> Result<Engine, OpenError> {
    Engine::open(options, Environment::system(7))
}

fn refused(options: EngineOptions) -> OpenError {
    match try_open(options) {
        Ok(_) => panic!("it was opened"),
        Err(error) => error,
    }
}

/// Every file under a folder, in order.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

fn copy(from: &Path, to: &Path) {
    for file in files(from) {
        let target = to.join(file.strip_prefix(from).unwrap());
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        std::fs::copy(&file, &target).unwrap();
    }
}

#[test]
fn of_two_openings_of_a_fresh_folder_one_has_the_store_and_it_opens_again() {
    for round in 0..20 {
        let folder = tempfile::tempdir().unwrap();
        let both = Barrier::new(2);
        let opened = std::thread::scope(|scope| {
            let open = |seed| {
                let (both, options) = (&both, options(folder.path(), 2));
                scope.spawn(move || {
                    both.wait();
                    Engine::open(options, Environment::system(seed))
                })
            };
            let threads = [open(1), open(2)];
            threads.map(|thread| thread.join().unwrap())
        });
        let [first, second] = opened;
        let (engine, refused) = match (first, second) {
            (Ok(engine), Err(refused)) | (Err(refused), Ok(engine)) => (engine, refused),
            (first, second) => panic!("round {round}: {:?}, {:?}", first.err(), second.err()),
        };
        assert!(matches!(refused, OpenError::InUse { .. }), "round {round}: {refused:?}");
        put(&engine, b"k", b"v");
        engine.close().unwrap();
        assert_eq!(value(&open(folder.path(), 2), b"k").unwrap(), b"v", "round {round}");
    }
}

#[test]
fn where_somebody_else_is_opening_nothing_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    std::fs::create_dir_all(&root).unwrap();
    let somebody = std::fs::File::create(root.join("store.lock")).unwrap();
    rustix::fs::flock(&somebody, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let error = refused(options(folder.path(), 2));
    assert!(matches!(&error, OpenError::InUse { path } if *path == root), "{error:?}");
    assert_eq!(files(folder.path()), [root.join("store.lock")]);
    drop(somebody);
    open(folder.path(), 2);
}

#[test]
fn a_tier_that_another_opening_has_taken_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let tier = folder.path().join("cold");
    std::fs::create_dir_all(&tier).unwrap();
    let somebody = std::fs::File::create(tier.join("tier.lock")).unwrap();
    rustix::fs::flock(&somebody, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let error = refused(options(folder.path(), 2));
    assert!(matches!(&error, OpenError::InUse { path } if *path == tier), "{error:?}");
    assert_eq!(files(&tier), [tier.join("tier.lock")]);
}

#[test]
fn one_folder_for_two_tiers_is_refused_with_both_names_through_links_too() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("device")).unwrap();
    std::os::unix::fs::symlink("device", folder.path().join("link")).unwrap();
    for [hot, cold] in [["device", "link"], ["device/new", "link/new"], ["device", "device/."]] {
        let mut options = options(folder.path(), 2);
        options.tiers[0].path = folder.path().join(hot);
        options.tiers[1].path = folder.path().join(cold);
        let error = refused(options);
        assert!(matches!(error, OpenError::SameTier { how: Same::Folder, .. }), "{hot}, {cold}: {error:?}");
        let text = error.to_string();
        for name in [hot, cold] {
            assert!(text.contains(folder.path().join(name).to_str().unwrap()), "{text}");
        }
    }
    assert_eq!(files(folder.path()), Vec::<PathBuf>::new());
}

#[test]
fn a_copied_tier_beside_its_original_is_refused_with_both_folders() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path(), 3);
    put(&engine, b"k", b"v");
    engine.close().unwrap();
    let (hot, warm) = (folder.path().join("hot"), folder.path().join("warm"));
    let both = |options: EngineOptions, copy: &Path| {
        let error = refused(options);
        assert!(matches!(error, OpenError::SameTier { how: Same::Identity(_), .. }), "{error:?}");
        let text = error.to_string();
        assert!(text.contains(hot.to_str().unwrap()) && text.contains(copy.to_str().unwrap()), "{text}");
    };
    // As a new tier, and in the place of one that the store has.
    let new = folder.path().join("new");
    copy(&hot, &new);
    let mut more = options(folder.path(), 3);
    more.tiers.push(TierSpec::new("new", 30, Medium::Hdd, &new, 1 << 30));
    both(more, &new);
    let aside = folder.path().join("aside");
    std::fs::rename(&warm, &aside).unwrap();
    std::fs::rename(&new, &warm).unwrap();
    both(options(folder.path(), 3), &warm);
    std::fs::remove_dir_all(&warm).unwrap();
    std::fs::rename(&aside, &warm).unwrap();
    assert_eq!(value(&open(folder.path(), 3), b"k").unwrap(), b"v");
}

#[test]
fn a_faster_tier_added_without_a_root_is_refused_with_the_root_to_set() {
    let folder = tempfile::tempdir().unwrap();
    let mut slow = options(folder.path(), 2);
    slow.tiers.remove(0);
    slow.root = None;
    let engine = try_open(slow).unwrap();
    put(&engine, b"k", b"v");
    engine.close().unwrap();
    let mut both = options(folder.path(), 2);
    both.root = None;
    let error = refused(both.clone());
    let root = folder.path().join("cold/root");
    assert!(matches!(error, OpenError::RootElsewhere { .. }), "{error:?}");
    assert!(error.to_string().contains(root.to_str().unwrap()), "{error}");
    both.root = Some(root);
    assert_eq!(value(&try_open(both).unwrap(), b"k").unwrap(), b"v");
}

#[test]
fn tiers_whose_root_is_nowhere_to_be_found_are_refused_with_what_to_set() {
    let folder = tempfile::tempdir().unwrap();
    open(folder.path(), 2).close().unwrap();
    let mut elsewhere = options(folder.path(), 2);
    elsewhere.root = Some(folder.path().join("another"));
    let text = refused(elsewhere).to_string();
    assert!(text.contains("set `root`") && text.contains("another"), "{text}");
    open(folder.path(), 2);
}

#[test]
fn a_refusal_for_one_tier_that_holds_data_leaves_the_empty_ones_in_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path(), 4);
    put(&engine, b"k", b"v");
    support::move_all(&engine, "cool");
    engine.close().unwrap();
    let database = folder.path().join("root/db");
    let families = || rocksdb::DB::list_cf(&rocksdb::Options::default(), &database).unwrap();
    let before = families();
    // The one in the middle holds data, those before and behind it none.
    let mut first = options(folder.path(), 4);
    first.tiers.truncate(1);
    let error = refused(first);
    assert!(matches!(&error, OpenError::TierHoldsData { tier, .. } if tier == "cool"), "{error:?}");
    assert_eq!(families(), before);
    assert_eq!(value(&open(folder.path(), 4), b"k").unwrap(), b"v");
}
