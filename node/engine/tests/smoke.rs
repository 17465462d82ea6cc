//! The public operations on a store of three tiers, one after the other.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::path::Path;

use thermocline_engine::*;

fn open(folder: &Path) -> Engine {
    let tier = |name: &str, rank, medium| TierSpec::new(name, rank, medium, folder.join(name), 1 << 30);
    let tiers = vec![tier("hot", 0, Medium::Nvme), tier("warm", 10, Medium::Ssd), tier("cold", 20, Medium::Hdd)];
    let mut options = EngineOptions::new(tiers, 64 << 20);
    options.background_moves = false;
    Engine::open(options, Environment::system(7)).unwrap()
}

fn move_all(engine: &Engine, to: &str) -> Moved {
    let request = MoveRequest {
        range: KeyRange::all(),
        to: to.to_owned(),
        bytes_per_second: None,
        cancel: &Cancel::default(),
        progress: &|_| {},
    };
    engine.move_range(&request).unwrap()
}

#[test]
fn records_survive_every_move_and_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path());
    for i in 0..5000_u32 {
        engine.put(format!("key{i:05}").as_bytes(), &[7; 200], Durability::Wal).unwrap();
    }
    engine.delete(b"key00003", Durability::Wal).unwrap();
    let hash = engine.logical_hash(&KeyRange::all()).unwrap();
    assert_eq!(hash.records, 4999);
    for to in ["warm", "cold", "warm", "hot", "cold"] {
        move_all(&engine, to);
        assert_eq!(engine.logical_hash(&KeyRange::all()).unwrap(), hash, "after moving to {to}");
        assert!(engine.get(b"key00003").unwrap().is_none());
        assert!(engine.get(b"key00004").unwrap().is_some());
    }
    engine.close().unwrap();
    let engine = open(folder.path());
    assert_eq!(engine.logical_hash(&KeyRange::all()).unwrap(), hash);
    let copies = engine.explain(b"key00004").unwrap().copies;
    assert_eq!(copies.last().unwrap().tier, "cold");
}

#[test]
fn a_checkpoint_opens_like_any_store() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(&folder.path().join("store"));
    for i in 0..2000_u32 {
        engine.put(format!("key{i:05}").as_bytes(), &[7; 200], Durability::Wal).unwrap();
    }
    move_all(&engine, "cold");
    engine.put(b"key00001", b"newer", Durability::Wal).unwrap();
    let hash = engine.logical_hash(&KeyRange::all()).unwrap();
    let copy = folder.path().join("copy");
    engine.checkpoint(&copy).unwrap();
    assert!(engine.checkpoint(&copy).is_err());

    let tiers = ["hot", "warm", "cold"].into_iter().zip([0, 10, 20]).zip([Medium::Nvme, Medium::Ssd, Medium::Hdd]);
    let tiers = tiers.map(|((n, r), m)| TierSpec::new(n, r, m, copy.join("tiers").join(n), 1 << 30)).collect();
    let mut options = EngineOptions::new(tiers, 64 << 20);
    options.root = Some(copy.join("root"));
    let copied = Engine::open(options, Environment::system(8)).unwrap();
    assert_eq!(copied.logical_hash(&KeyRange::all()).unwrap(), hash);
    assert_eq!(copied.get(b"key00001").unwrap().unwrap().value.as_ref(), b"newer");
}

#[test]
fn an_export_installs_with_the_callers_records() {
    let folder = tempfile::tempdir().unwrap();
    let (source, target) = (open(&folder.path().join("a")), open(&folder.path().join("b")));
    for i in 0..3000_u32 {
        source.put(format!("key{i:05}").as_bytes(), &[7; 200], Durability::Wal).unwrap();
    }
    move_all(&source, "cold");
    for i in 0..100_u32 {
        source.put(format!("key{i:05}").as_bytes(), b"new", Durability::Wal).unwrap();
    }
    let exported = folder.path().join("export");
    let manifest = source.export(&KeyRange::all(), &exported).unwrap();
    target.put(b"old", b"goes", Durability::Wal).unwrap();
    let lease = target.lease_range(&KeyRange::all()).unwrap();
    let record = (bytes::Bytes::from_static(b"applied"), Some(bytes::Bytes::from_static(b"9")));
    target.install(&lease, &exported, &[record]).unwrap();
    drop(lease);
    assert_eq!(target.logical_hash(&KeyRange::all()).unwrap(), manifest.logical_hash);
    assert_eq!(target.caller_meta(b"applied").unwrap().unwrap(), b"9");
    assert!(target.get(b"old").unwrap().is_none());
    assert_eq!(target.explain(b"key02000").unwrap().copies[0].tier, "cold");
}

#[test]
fn the_slowest_tier_is_emptied_and_the_store_opens_without_it() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path());
    for i in 0..3000_u32 {
        engine.put(format!("key{i:05}").as_bytes(), &[7; 200], Durability::Wal).unwrap();
    }
    move_all(&engine, "cold");
    let hash = engine.logical_hash(&KeyRange::all()).unwrap();
    let without = || {
        let tier = |name: &str, rank, medium| TierSpec::new(name, rank, medium, folder.path().join(name), 1 << 30);
        let tiers = vec![tier("hot", 0, Medium::Nvme), tier("warm", 10, Medium::Ssd)];
        Engine::open(EngineOptions::new(tiers, 64 << 20), Environment::system(7))
    };
    engine.close().unwrap();
    assert!(matches!(without(), Err(OpenError::TierHoldsData { .. })));
    let engine = open(folder.path());
    engine.empty_tier("cold", &Cancel::default()).unwrap();
    assert_eq!(engine.logical_hash(&KeyRange::all()).unwrap(), hash);
    engine.close().unwrap();
    let engine = without().unwrap();
    assert_eq!(engine.logical_hash(&KeyRange::all()).unwrap(), hash);
}

#[test]
fn a_second_opening_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let _engine = open(folder.path());
    let tier = TierSpec::new("hot", 0, Medium::Nvme, folder.path().join("hot"), 1 << 30);
    let again = Engine::open(EngineOptions::new(vec![tier], 64 << 20), Environment::system(7));
    assert!(matches!(again, Err(OpenError::InUse { .. })), "{:?}", again.err());
}

#[test]
fn a_store_of_one_tier_keeps_no_tombstones() {
    let folder = tempfile::tempdir().unwrap();
    let tier = TierSpec::new("only", 0, Medium::Ssd, folder.path(), 1 << 30);
    let engine = Engine::open(EngineOptions::new(vec![tier], 64 << 20), Environment::system(7)).unwrap();
    for (key, durability) in [(b"a", Durability::Wal), (b"b", Durability::Buffered)] {
        engine.put(key, b"value", durability).unwrap();
        engine.delete(key, durability).unwrap();
    }
    let mut batch = Batch::default();
    batch.put(&b"c"[..], &b"value"[..]).unwrap().delete(&b"c"[..]).unwrap();
    engine.write(&batch, &[], Durability::Sync).unwrap();
    assert_eq!(engine.snapshot().unwrap().scan(&KeyRange::all(), ScanOptions::default()).count(), 0);
    for key in [b"a", b"b", b"c"] {
        assert_eq!(engine.get(key).unwrap(), None);
        assert_eq!(engine.explain(key).unwrap().copies, []);
    }
}

/// A device that says it is full for paths that end so.
struct FullDevice(&'static str);

impl DeviceProbe for FullDevice {
    fn space(&self, path: &Path) -> std::io::Result<DeviceSpace> {
        Ok(DeviceSpace { total: 1 << 40, free: if path.ends_with(self.0) { 0 } else { 1 << 40 } })
    }
}

#[test]
fn a_move_into_a_full_tier_is_refused_and_moves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let tiers = ["hot", "cold"].into_iter().zip([0, 20]);
    let tiers = tiers.map(|(n, r)| TierSpec::new(n, r, Medium::Ssd, folder.path().join(n), 1 << 30)).collect();
    let mut environment = Environment::system(7);
    environment.probe = std::sync::Arc::new(FullDevice("cold"));
    let engine = Engine::open(EngineOptions::new(tiers, 64 << 20), environment).unwrap();
    engine.put(b"key", b"value", Durability::Wal).unwrap();
    let request = MoveRequest {
        range: KeyRange::all(),
        to: "cold".to_owned(),
        bytes_per_second: None,
        cancel: &Cancel::default(),
        progress: &|_| {},
    };
    let refused = engine.move_range(&request);
    assert!(matches!(&refused, Err(EngineError::OutOfSpace { device, .. }) if device == "tier cold"), "{refused:?}");
    assert_eq!(engine.explain(b"key").unwrap().copies[0].tier, "hot");
}
