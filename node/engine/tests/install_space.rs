//! Installing where there is no room for the export beside the range that it replaces.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use support::{move_to, open_with, put, value};
use thermocline_engine::*;

const PLENTY: u64 = 1 << 39;
/// The reserve of the tiers of a test.
const RESERVE: u64 = 1 << 20;

/// A probe whose answer the test sets for the slowest tier's device; the others have plenty.
struct Cold(AtomicU64);

impl DeviceProbe for Cold {
    fn space(&self, path: &Path) -> std::io::Result<DeviceSpace> {
        let free = if path.ends_with("cold") { self.0.load(Ordering::SeqCst) } else { PLENTY };
        Ok(DeviceSpace { total: 1 << 40, free })
    }
}

fn key(i: u32) -> Vec<u8> {
    format!("key{i:05}").into_bytes()
}

#[test]
fn an_export_that_a_device_has_no_room_for_is_refused_before_a_file_is_copied() {
    let folder = tempfile::tempdir().unwrap();
    let cold = Arc::new(Cold(AtomicU64::new(PLENTY)));
    let environment = Environment { probe: Arc::clone(&cold) as Arc<dyn DeviceProbe>, ..Environment::system(7) };
    let engine = open_with(folder.path(), 2, environment);
    for i in 0..100 {
        put(&engine, &key(i), &vec![1; 5000]);
    }
    move_to(&engine, &KeyRange::new(key(20), key(80)).unwrap(), "cold");
    let export = folder.path().join("export");
    let manifest = engine.export(&KeyRange::all(), &export).unwrap();
    let slow: u64 = manifest.files.iter().filter(|file| file.rank > 0).map(|file| file.bytes).sum();
    assert!(slow > 0, "nothing is for the slow tier");
    put(&engine, &key(1), b"later");

    let lease = engine.lease_range(&KeyRange::all()).unwrap();
    // One byte short of what stands there at once; nobody has asked the device since.
    cold.0.store(RESERVE + slow - 1, Ordering::SeqCst);
    let refused = engine.install(&lease, &export, &[]).unwrap_err();
    assert!(
        matches!(&refused, EngineError::OutOfSpace { device, needed, .. } if device == "tier cold" && *needed == slow),
        "{refused:?}"
    );
    assert!(refused.to_string().contains(&slow.to_string()), "{refused}");
    for tier in ["hot", "cold"] {
        assert_eq!(std::fs::read_dir(folder.path().join(tier).join("incoming")).unwrap().count(), 0);
    }
    assert_eq!(value(&engine, &key(1)).unwrap(), b"later");

    cold.0.store(RESERVE + slow, Ordering::SeqCst);
    engine.install(&lease, &export, &[]).unwrap();
    drop(lease);
    assert_eq!(engine.logical_hash(&KeyRange::all()).unwrap(), manifest.logical_hash);
}
