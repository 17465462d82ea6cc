//! How many bytes of files reads fetch, by RocksDB's own count.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rocksdb::statistics::Ticker;

use crate::heat::PrefetchChoice;
use crate::{
    Cancel, Durability, Engine, EngineOptions, Environment, KeyRange, Medium, MoveRequest, ScanOptions, TierSpec,
};

const RECORDS: u32 = 6000;
/// Some blocks of 64 KiB, with what opening a file costs.
const FEW_BLOCKS: u64 = 512 << 10;

fn key(i: u32) -> Vec<u8> {
    format!("key{i:05}").into_bytes()
}

/// A store with 6 MB in files of its slowest tier, opened anew so that nothing is cached.
fn open(folder: &Path) -> Engine {
    let open = || {
        let tier = |name: &str, rank, medium| TierSpec::new(name, rank, medium, folder.join(name), 1 << 30);
        let tiers = vec![tier("hot", 0, Medium::Nvme), tier("cold", 20, Medium::Hdd)];
        let mut options = EngineOptions::new(tiers, 64 << 20);
        options.background_moves = false;
        Engine::open(options, Environment::system(7)).unwrap()
    };
    let engine = open();
    let mut random = ChaCha8Rng::seed_from_u64(1);
    for i in 0..RECORDS {
        let mut value = [0; 1000];
        random.fill_bytes(&mut value);
        engine.put(&key(i), &value, Durability::Wal).unwrap();
    }
    let (range, to) = (KeyRange::all(), "cold".to_owned());
    let (cancel, progress) = (&Cancel::default(), &|_| {});
    engine.move_range(&MoveRequest { range, to, bytes_per_second: None, cancel, progress }).unwrap();
    // The count is of all threads: leave nothing for a compaction to read.
    for tier in 0..2 {
        engine.inner().compact(tier, &KeyRange::all()).unwrap();
    }
    engine.close().unwrap();
    let engine = open();
    let files = engine.inner().database.raw().live_files().unwrap();
    let tiers = files.iter().filter(|file| file.column_family_name.starts_with("tier-"));
    assert!(tiers.clone().all(|file| file.level > 0) && tiers.count() > 0, "{files:?}");
    engine
}

/// What it reads: bytes, and how many of them ahead of what was asked for.
fn reads(engine: &Engine, read: impl FnOnce()) -> (u64, u64) {
    let count = |ticker| engine.inner().database.options().get_ticker_count(ticker);
    let bytes = || count(Ticker::LastLevelReadBytes) + count(Ticker::NonLastLevelReadBytes);
    let before = (bytes(), count(Ticker::PrefetchBytes));
    read();
    (bytes() - before.0, count(Ticker::PrefetchBytes) - before.1)
}

#[test]
fn a_short_scan_of_the_slowest_tier_reads_a_few_blocks() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path());
    for reverse in [false, true] {
        let options = ScanOptions { limit: Some(10), reverse, ..ScanOptions::default() };
        let range = KeyRange::new(key(1000), key(5000)).unwrap();
        let (bytes, _) = reads(&engine, || {
            assert_eq!(engine.snapshot().unwrap().scan(&range, options).filter(Result::is_ok).count(), 10);
        });
        assert!(bytes > 0 && bytes < FEW_BLOCKS, "{bytes} bytes for 10 records");
    }
}

#[test]
fn fetching_ahead_of_a_reader_reads_a_few_blocks() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path());
    let (bytes, _) = reads(&engine, || {
        engine.inner().fetch(&PrefetchChoice::Following { after: key(1000), count: 8, skip: 0 }).unwrap();
    });
    assert!(engine.get_cached(&key(1008)).is_some());
    assert!(bytes > 0 && bytes < FEW_BLOCKS, "{bytes} bytes for 8 records");
}

#[test]
fn what_reads_a_whole_range_reads_far_ahead_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path());
    let (bytes, ahead) = reads(&engine, || {
        assert_eq!(engine.logical_hash(&KeyRange::all()).unwrap().records, u64::from(RECORDS));
    });
    assert!(bytes > 6_000_000 && bytes < 12_000_000, "{bytes} bytes for 6 MB");
    assert!(ahead > 1 << 20, "{ahead} bytes ahead");
}
