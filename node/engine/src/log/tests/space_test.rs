//! Memory and disk: the tail's budget, reads without RocksDB, reclaiming, the write-ahead log's bound, the reserve.

use rocksdb::statistics::Ticker;
use rocksdb::{DB, Options};

use super::*;
use crate::log::format::{entry_key, seal, state_key};

const KIB: usize = 1024;

fn large(range: Range<u64>) -> Vec<(u64, Bytes)> {
    // Not compressible: what is on disk must be told from what is not.
    range.map(|index| (index, Bytes::from(noise(index)))).collect()
}

fn noise(seed: u64) -> Vec<u8> {
    use rand::{RngExt as _, SeedableRng as _};
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    (0..KIB).map(|_| random.random()).collect()
}

#[test]
fn recent_entries_are_read_from_memory_and_older_ones_from_the_device() {
    let folder = tempfile::tempdir().unwrap();
    let options = LogOptions { tail_bytes: 64 * KIB, ..LogOptions::default() };
    let store = LogStore::open(folder.path(), options).unwrap();
    for index in 1..201 {
        ask(|done| store.append(1, large(index..index + 1), done)).unwrap();
    }
    // The last answer comes before the cut that may follow it.
    eventually("the tail is within its budget", || store.stats().tail_bytes <= 64 * KIB);
    let seeks = store.ticker(Ticker::NumberDbSeek);
    assert_eq!(store.read(1, 170..201, usize::MAX).unwrap(), large(170..201));
    assert_eq!(store.ticker(Ticker::NumberDbSeek), seeks, "the tail alone answered");
    assert_eq!(store.read(1, 0..201, usize::MAX).unwrap(), large(1..201));
    assert_eq!(store.ticker(Ticker::NumberDbSeek), seeks + 1);
}

#[test]
fn the_tails_of_all_groups_share_one_budget_and_quiet_groups_keep_theirs() {
    let folder = tempfile::tempdir().unwrap();
    let options = LogOptions { tail_bytes: 64 * KIB, ..LogOptions::default() };
    let store = LogStore::open(folder.path(), options).unwrap();
    ask(|done| store.append(9, large(1..3), done)).unwrap();
    for index in 1..200 {
        for group in 1..4 {
            ask(|done| store.append(group, large(index..index + 1), done)).unwrap();
        }
    }
    eventually("the tails are within their budget", || store.stats().tail_bytes <= 64 * KIB);
    let seeks = store.ticker(Ticker::NumberDbSeek);
    assert_eq!(store.read(9, 1..3, usize::MAX).unwrap(), large(1..3));
    assert_eq!(store.ticker(Ticker::NumberDbSeek), seeks, "a small, quiet tail stays");
    for group in [1, 2, 3, 9] {
        ask(|done| store.remove_group(group, done)).unwrap();
    }
    assert_eq!(store.stats().tail_bytes, 0);
}

#[test]
fn purged_entries_leave_the_disk_and_the_write_ahead_log_stays_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let options =
        LogOptions { write_buffer_bytes: 256 * KIB, reclaim_bytes: 512 * KIB, tail_bytes: 0, ..LogOptions::default() };
    let buffer = options.write_buffer_bytes as u64;
    let store = LogStore::open(folder.path(), options).unwrap();
    let mut largest = 0;
    let mut tables = 0;
    // 8 MiB through two groups; one is purged as it goes, the other, quiet, must not hold the write-ahead log back.
    ask(|done| store.append(2, large(1..3), done)).unwrap();
    for step in 0..256 {
        let first = 1 + step * 32;
        ask(|done| store.append(1, large(first..first + 32), done)).unwrap();
        if step % 8 == 7 {
            tables = tables.max(store.stats().table_bytes);
            ask(|done| store.purge_to(1, first + 20, Bytes::new(), done)).unwrap();
        }
        largest = largest.max(store.stats().wal_bytes);
    }
    assert!(tables > 100 * KIB as u64, "nothing reached a table file, so nothing is shown: {tables}");
    // At most four buffers exist, then writes wait; their files may live on for a moment after the flush.
    assert!(largest <= 8 * buffer, "{largest} bytes of write-ahead log with buffers of {buffer}, 8 MiB were written");
    let left = store.stats().entries;
    assert!(left < 40, "{left}");
    ask(|done| store.append(1, large(8193..8700), done)).unwrap();
    ask(|done| store.purge_to(1, 8698, Bytes::new(), done)).unwrap();
    ask(|done| store.append(1, large(8700..9300), done)).unwrap();
    ask(|done| store.purge_to(1, 9298, Bytes::new(), done)).unwrap();
    // 9 MiB were written, less than 1 MiB may stay: the rest of the last rounds, below the reclaiming threshold.
    eventually("the space is free again", || store.stats().table_bytes < 1024 * KIB as u64);
    assert_eq!(store.read(1, 0..u64::MAX, usize::MAX).unwrap(), large(9299..9300));
    assert_eq!(store.read(2, 0..u64::MAX, usize::MAX).unwrap(), large(1..3));
}

#[test]
fn a_removed_group_gives_its_space_back_though_nothing_more_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    ask(|done| store.append(1, large(1..101), done)).unwrap();
    ask(|done| store.remove_group(1, done)).unwrap();
    // The append, the removal and the sweep.
    eventually("the sweep was written", || store.stats().batches == 3);
}

#[test]
fn what_a_crash_left_of_a_removed_group_is_cleared_after_opening() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    append(&store, 1, 1..11).unwrap();
    drop(store);
    let path = folder.path().join("db");
    let left = [entry_key(1, 77, 5).to_vec(), entry_key(8, 78, 5).to_vec(), state_key(8, 78, 1).to_vec()];
    let database = DB::open(&Options::default(), &path).unwrap();
    for key in &left {
        database.put(key, [&seal(key, b"left")[..], b"left"].concat()).unwrap();
    }
    drop(database);
    let store = open(folder.path());
    assert_eq!(store.groups(), [1]);
    // The one batch of this store is the sweep.
    eventually("the sweep was written", || store.stats().batches == 1);
    assert_eq!(store.read(1, 0..100, usize::MAX).unwrap(), entries(1, 1..11));
    drop(store);
    let database = DB::open(&Options::default(), &path).unwrap();
    for key in &left {
        assert_eq!(database.get(key).unwrap(), None);
    }
}

#[test]
fn a_device_down_to_its_reserve_refuses_appends_but_not_votes_and_purges_and_recovers() {
    let folder = tempfile::tempdir().unwrap();
    let device = Device::new();
    device.set(|device| device.full = true);
    let store = open_with(folder.path(), &device);
    let refused = append(&store, 1, 1..2).unwrap_err();
    assert!(matches!(refused, LogError::OutOfSpace { available: 0, .. }), "{refused:?}");
    ask(|done| store.save_state(1, StateKey::Vote, Bytes::from_static(b"v"), done)).unwrap();
    ask(|done| store.purge_to(1, 3, Bytes::new(), done)).unwrap();
    assert_eq!(store.last_index(1), None);
    device.set(|device| device.full = false);
    append(&store, 1, 4..6).unwrap();
    assert_eq!(store.read(1, 0..10, usize::MAX).unwrap(), entries(1, 4..6));
    assert!(store.failure().is_none(), "a full device is not a failure");
}

#[test]
fn a_reserve_that_is_changed_counts_from_the_next_append_on() {
    let folder = tempfile::tempdir().unwrap();
    let options = LogOptions { reserve_bytes: 0, ..LogOptions::default() };
    let store = LogStore::open(folder.path(), options).unwrap();
    append(&store, 1, 1..2).unwrap();
    store.set_reserve(u64::MAX);
    let refused = append(&store, 1, 2..3).unwrap_err();
    assert!(matches!(refused, LogError::OutOfSpace { reserve: u64::MAX, .. }), "{refused:?}");
    store.set_reserve(0);
    append(&store, 1, 2..3).unwrap();
    assert_eq!(store.read(1, 0..10, usize::MAX).unwrap(), entries(1, 1..3));
}
