//! What processes can hardly be made to do at the right moment: syncs that overlap with changes, with each other, with the kill.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;

const fn inode(number: u64) -> Inode {
    Inode { device: 1, number }
}

const ROOT: Inode = inode(2);
const FILE: Inode = inode(10);

fn entry(name: &str, inode: Inode, kind: Kind) -> Entry {
    Entry { inode, kind, name: name.into() }
}

fn write(operation: u64) -> Record {
    Record::Write { inode: FILE, operation, offset: 0, length: 1, old_size: 0 }
}

fn list(operation: u64, names: &[&str]) -> Record {
    let entries = names.iter().map(|name| entry(name, FILE, Kind::File)).collect();
    Record::FolderSyncBegin { operation, inode: ROOT, entries }
}

fn operations_left(records: Vec<Record>) -> Vec<u64> {
    let state = State::replay(records, false);
    let file = state.node_of(FILE).unwrap();
    state.nodes[file].changes.iter().map(|change| change.operation).collect()
}

fn durable_names(records: Vec<Record>) -> Vec<OsString> {
    let state = State::replay(records, false);
    let root = state.node_of(ROOT).unwrap();
    state.nodes[root].entries.keys().cloned().collect()
}

#[test]
fn a_write_while_the_device_works_is_not_covered_by_that_sync() {
    let begin = Record::FileSyncBegin { operation: 8, inode: FILE };
    assert_eq!(operations_left(vec![write(1), begin, write(2), Record::SyncDone { operation: 8 }]), [2]);
}

#[test]
fn a_sync_that_did_not_return_covers_nothing() {
    let begin = Record::FileSyncBegin { operation: 8, inode: FILE };
    assert_eq!(operations_left(vec![write(1), begin]), [1]);
    assert_eq!(durable_names(vec![list(8, &["a"])]), Vec::<OsString>::new());
}

#[test]
fn of_two_folder_syncs_that_return_in_the_other_order_the_later_picture_stays() {
    let done = |operation| Record::SyncDone { operation };
    let records = vec![list(8, &["a"]), list(9, &["a", "b"]), done(9), done(8)];
    assert_eq!(durable_names(records), ["a", "b"]);
}

#[test]
fn a_name_changed_while_the_folder_was_synced_stays_open() {
    let link = Record::Link { folder: ROOT, entry: entry("b", FILE, Kind::File) };
    let records = vec![list(8, &["a"]), link, Record::SyncDone { operation: 8 }];
    assert_eq!(State::replay(records, false).names.len(), 1);
}

#[test]
fn the_number_of_a_removed_folder_is_another_folder_even_if_the_kill_took_its_create_record() {
    let old = entry("old", inode(20), Kind::Folder);
    let baseline = Record::Baseline { inode: ROOT, entries: vec![old.clone()] };
    let inside = Record::Baseline { inode: inode(20), entries: vec![entry("x", FILE, Kind::File)] };
    let begin =
        Record::FolderSyncBegin { operation: 8, inode: ROOT, entries: vec![entry("new", inode(20), Kind::Folder)] };
    let records =
        vec![baseline, inside, Record::Unlink { folder: ROOT, entry: old }, begin, Record::SyncDone { operation: 8 }];
    let state = State::replay(records, false);
    let root = &state.nodes[state.node_of(ROOT).unwrap()];
    assert_eq!(state.nodes[root.entries[&OsString::from("new")]].entries.len(), 0);
}
