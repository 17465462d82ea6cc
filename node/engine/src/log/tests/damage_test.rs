//! Damaged bytes: every damage is told, with its group and index where it has one, and nothing else is affected.

use std::fs;
use std::path::PathBuf;

use rocksdb::{DB, Options};

use super::*;
use crate::log::format::{entry_key, group_key, seal, state_key};

/// RocksDB under a closed store.
fn raw(folder: &Path) -> DB {
    DB::open(&Options::default(), folder.join("db")).unwrap()
}

fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let files = fs::read_dir(folder.join("db")).unwrap().map(|file| file.unwrap().path());
    let mut files: Vec<_> = files.filter(|path| path.extension().is_some_and(|found| found == extension)).collect();
    files.sort();
    files
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 0x10;
    fs::write(path, bytes).unwrap();
}

/// Groups 1 and 2 with entries 1 to 50; they are the incarnations 1 and 2.
fn written() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    append(&store, 1, 1..51).unwrap();
    append(&store, 2, 1..51).unwrap();
    ask(|done| store.save_state(1, StateKey::Vote, Bytes::from_static(b"vote"), done)).unwrap();
    ask(|done| store.purge_to(1, 5, Bytes::from_static(b"mark"), done)).unwrap();
    folder
}

#[test]
fn a_damaged_entry_is_named_and_the_entries_before_it_and_other_groups_are_served() {
    let folder = written();
    let key = entry_key(1, 1, 30);
    let database = raw(folder.path());
    let mut value = database.get(key).unwrap().unwrap();
    *value.last_mut().unwrap() ^= 1;
    database.put(key, value).unwrap();
    drop(database);
    let store = open(folder.path());
    let damage = store.read(1, 6..51, usize::MAX).unwrap_err();
    assert!(
        matches!(damage, LogError::CorruptEntry { group: 1, index: 30, source: FormatError::Checksum { .. } }),
        "{damage:?}"
    );
    assert!(damage.to_string().starts_with("log entry 30 of group 1 is corrupt"));
    assert_eq!(store.read(1, 6..30, usize::MAX).unwrap(), entries(1, 6..30));
    assert_eq!(store.read(2, 0..100, usize::MAX).unwrap(), entries(2, 1..51));
}

#[test]
fn an_entry_in_the_wrong_place_is_corrupt_even_if_its_bytes_are_whole() {
    let folder = written();
    let database = raw(folder.path());
    let other = database.get(entry_key(2, 2, 30)).unwrap().unwrap();
    database.put(entry_key(1, 1, 30), other).unwrap();
    drop(database);
    assert!(matches!(
        open(folder.path()).read(1, 30..31, 100),
        Err(LogError::CorruptEntry { group: 1, index: 30, .. })
    ));
}

#[test]
fn a_missing_entry_is_named_when_it_is_read_and_at_opening_where_the_log_must_begin() {
    let folder = written();
    raw(folder.path()).delete(entry_key(1, 1, 30)).unwrap();
    let store = open(folder.path());
    assert!(matches!(store.read(1, 6..51, usize::MAX), Err(LogError::MissingEntry { group: 1, index: 30 })));
    drop(store);
    raw(folder.path()).delete(entry_key(1, 1, 6)).unwrap();
    let refused = LogStore::open(folder.path(), LogOptions::default());
    assert!(matches!(refused, Err(LogError::MissingEntry { group: 1, index: 6 })), "{refused:?}");
}

#[test]
fn damaged_records_keep_the_store_closed_and_are_named() {
    let sealed = |key: &[u8], payload: &[u8]| [&seal(key, payload)[..], payload].concat();
    let damages: [(&str, Vec<u8>, Vec<u8>); 5] = [
        ("the store", vec![0], b"no seal".to_vec()),
        ("group 1", group_key(1).to_vec(), sealed(&group_key(2), &[0; 17])),
        ("group 2", group_key(2).to_vec(), sealed(&group_key(2), &[0; 3])),
        ("a state of group 1", state_key(1, 1, 1).to_vec(), vec![1; 20]),
        ("a state of group 1", state_key(1, 1, 200).to_vec(), sealed(&state_key(1, 1, 200), b"x")),
    ];
    for (name, key, value) in damages {
        let folder = written();
        raw(folder.path()).put(key, value).unwrap();
        let refused = LogStore::open(folder.path(), LogOptions::default());
        assert!(
            matches!(&refused, Err(LogError::CorruptRecord { record, .. }) if record == name),
            "{name}: {refused:?}"
        );
    }
}

#[test]
fn a_rotten_byte_in_a_table_file_is_told_with_the_group_and_where_reading_stopped() {
    let folder = written();
    // Opening moves the write-ahead log into a table file.
    drop(open(folder.path()));
    let tables = files(folder.path(), "sst");
    assert!(!tables.is_empty());
    let store = open(folder.path());
    for table in &tables {
        // The first block: the records and the first entries of group 1.
        flip(table, 20);
    }
    let outcome = store.read(1, 6..51, usize::MAX);
    drop(store);
    let reopened = LogStore::open(folder.path(), LogOptions::default());
    let told = matches!(outcome, Err(LogError::Read { group: 1, .. } | LogError::CorruptEntry { group: 1, .. }));
    // What recovery had read before is in the block cache: then it is the next opening that tells.
    assert!(
        told || matches!(reopened, Err(LogError::ReadRecords(_) | LogError::Read { .. })),
        "{outcome:?} {reopened:?}"
    );
}

#[test]
fn a_rotten_byte_in_the_middle_of_the_write_ahead_log_is_told_as_lost_writes() {
    let folder = written();
    let wal = files(folder.path(), "log").pop().unwrap();
    let length = fs::metadata(&wal).unwrap().len();
    flip(&wal, usize::try_from(length / 2).unwrap());
    let refused = LogStore::open(folder.path(), LogOptions::default());
    assert!(matches!(refused, Err(LogError::Lost { synced, found, .. }) if found < synced), "{refused:?}");
}

#[test]
fn a_write_ahead_log_that_is_gone_is_told() {
    let folder = written();
    for wal in files(folder.path(), "log") {
        fs::remove_file(wal).unwrap();
    }
    let refused = LogStore::open(folder.path(), LogOptions::default());
    assert!(matches!(refused, Err(LogError::Lost { .. } | LogError::Open { .. })), "{refused:?}");
}
