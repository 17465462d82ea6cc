//! Synced writes while a sync of the log is under way.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use crossbeam_channel::bounded;
use rocksdb::statistics::Ticker;

use crate::{
    ApplyBatch, ApplyEntry, Batch, Clock, Condition, Durability, Engine, EngineOptions, Environment, Medium, Mutation,
    SystemClock, TierSpec, WriteOutcome,
};

const WRITERS: u64 = 4;

fn open(folder: &Path) -> Engine {
    let tier = |name: &str, rank, medium| TierSpec::new(name, rank, medium, folder.join(name), 1 << 30);
    let tiers = vec![tier("hot", 0, Medium::Nvme), tier("cold", 20, Medium::Hdd)];
    let mut options = EngineOptions::new(tiers, 64 << 20);
    options.background_moves = false;
    Engine::open(options, Environment::system(7)).unwrap()
}

fn eventually(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..3000 {
        if holds() {
            return;
        }
        SystemClock::default().sleep(Duration::from_millis(10));
    }
    panic!("not within half a minute: {what}");
}

fn batch() -> Batch {
    let mut batch = Batch::default();
    batch.put("k", "v").unwrap();
    batch
}

/// Lets synced writes of one key come while a sync is under way, and shows them before it ends.
fn during_a_sync(engine: &Engine, write: &(dyn Fn(u64) + Sync), during: impl FnOnce()) {
    let (begun, has_begun) = bounded::<()>(1);
    let (end, may_end) = bounded::<()>(1);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            engine.inner().group_sync.join(|| {
                begun.send(()).unwrap();
                // A test that fails meanwhile does not let go.
                let _ = may_end.recv_timeout(Duration::from_secs(60));
                Ok(())
            })
        });
        has_begun.recv().unwrap();
        let writers: Vec<_> = (0..WRITERS).map(|writer| scope.spawn(move || write(writer))).collect();
        during();
        assert!(writers.iter().all(|writer| !writer.is_finished()), "answered before it was synced");
        end.send(()).unwrap();
        for writer in writers {
            writer.join().unwrap();
        }
    });
}

#[test]
fn synced_writes_of_one_key_wait_for_one_sync_together() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path());
    let first = engine.put(b"k", b"v", Durability::Wal).unwrap();
    let syncs = || engine.inner().database.options().get_ticker_count(Ticker::WalFileSynced);
    let entry = |version| ApplyEntry {
        version,
        conditions: Vec::new(),
        mutations: vec![Mutation::Put { key: Bytes::from_static(b"k"), value: Bytes::from_static(b"v") }],
    };
    let ways: [&(dyn Fn(u64) + Sync); 4] = [
        &|_| assert!(engine.put(b"k", b"v", Durability::Sync).is_ok()),
        &|_| assert!(engine.write(&batch(), &[], Durability::Sync).is_ok()),
        &|_| {
            let written = engine.write(&batch(), &[Condition::Exists("k".into())], Durability::Sync).unwrap();
            assert!(matches!(written, WriteOutcome::Written(_)));
        },
        &|writer| {
            let entries = vec![entry(first + 1000 + writer)];
            engine.apply(&ApplyBatch { entries, meta: Vec::new() }, Durability::Sync).unwrap();
        },
    ];
    for (way, write) in ways.into_iter().enumerate() {
        let synced = syncs();
        during_a_sync(&engine, write, || {
            eventually("every writer waits for the next", || engine.inner().group_sync.waiting() == WRITERS as usize);
        });
        assert_eq!(syncs() - synced, 1, "way {way}");
    }
}

#[test]
fn what_waits_for_its_sync_is_seen_judged_by_and_counted_by_a_sync_of_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path());
    let before = engine.put(b"k", b"before", Durability::Wal).unwrap();
    let write = |_| assert!(engine.put(b"k", b"new", Durability::Sync).is_ok());
    during_a_sync(&engine, &write, || {
        let version = || engine.get(b"k").unwrap().unwrap().version;
        eventually("all are written", || version() == before + WRITERS);
        let old = engine.write(&batch(), &[Condition::VersionEquals("k".into(), before)], Durability::Wal).unwrap();
        let actual = Some(before + WRITERS);
        assert_eq!(old, WriteOutcome::ConditionFailed { index: 0, actual });
        let current = Condition::VersionEquals("k".into(), before + WRITERS);
        let written = engine.write(&batch(), &[current], Durability::Wal).unwrap();
        assert!(matches!(written, WriteOutcome::Written(version) if version > before + WRITERS));
        // It neither waits for those who wait nor leaves them out.
        assert!(engine.sync().unwrap() > before + WRITERS);
    });
}
