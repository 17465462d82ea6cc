#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod commit_test;
mod damage_test;
mod space_test;

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};

use super::*;

/// Generous: a test that waits longer has failed.
const PATIENCE: Duration = Duration::from_secs(60);

fn open(folder: &Path) -> LogStore {
    LogStore::open(folder, LogOptions::default()).unwrap()
}

fn open_with(folder: &Path, fault: &Arc<Device>) -> LogStore {
    LogStore::open(folder, LogOptions { fault: Some(Arc::clone(fault) as Arc<dyn Fault>), ..LogOptions::default() })
        .unwrap()
}

fn payload(group: u64, index: u64) -> Bytes {
    Bytes::from(format!("entry {index} of group {group}"))
}

fn entries(group: u64, range: Range<u64>) -> Vec<(u64, Bytes)> {
    range.map(|index| (index, payload(group, index))).collect()
}

/// Makes a request and waits for its answer.
fn ask(request: impl FnOnce(Completion)) -> Result<(), LogError> {
    let (done, pending) = Completion::channel();
    request(done);
    pending.wait()
}

fn append(store: &LogStore, group: u64, range: Range<u64>) -> Result<(), LogError> {
    ask(|done| store.append(group, entries(group, range), done))
}

fn eventually(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "never came true: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A device that can be held, break and fill up, and that notes every batch.
#[derive(Default)]
struct Device {
    state: Mutex<DeviceState>,
    changed: Condvar,
}

#[derive(Default)]
struct DeviceState {
    held: bool,
    breaks_at: Option<u64>,
    full: bool,
    delay: Duration,
    batches: Vec<BatchFacts>,
}

impl Device {
    fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    fn set(&self, change: impl FnOnce(&mut DeviceState)) {
        change(&mut self.state.lock());
        self.changed.notify_all();
    }

    fn batches(&self) -> Vec<BatchFacts> {
        self.state.lock().batches.clone()
    }
}

impl Fault for Device {
    fn before_write(&self, batch: BatchFacts) -> io::Result<()> {
        let mut state = self.state.lock();
        state.batches.push(batch);
        while state.held {
            self.changed.wait(&mut state);
        }
        if state.breaks_at == Some(batch.number) {
            return Err(io::Error::other("the device broke"));
        }
        let delay = state.delay;
        drop(state);
        std::thread::sleep(delay);
        Ok(())
    }

    fn available_bytes(&self, measured: u64) -> u64 {
        if self.state.lock().full { 0 } else { measured }
    }
}

#[test]
fn entries_states_and_purged_marks_are_there_after_opening_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    append(&store, 1, 1..101).unwrap();
    append(&store, 2, 7..9).unwrap();
    ask(|done| store.truncate_from(1, 81, done)).unwrap();
    ask(|done| store.purge_to(1, 20, Bytes::from_static(b"term 3, index 20"), done)).unwrap();
    ask(|done| store.save_state(1, StateKey::Vote, Bytes::from_static(b"vote"), done)).unwrap();
    ask(|done| store.save_state(3, StateKey::Committed, Bytes::from_static(b"7"), done)).unwrap();
    for reopened in [false, true] {
        let store = if reopened {
            store.close();
            &open(folder.path())
        } else {
            &store
        };
        assert_eq!(store.groups(), [1, 2, 3]);
        assert_eq!((store.first_index(1), store.last_index(1)), (Some(21), Some(80)));
        assert_eq!((store.first_index(3), store.last_index(3)), (None, None));
        assert_eq!(store.read(1, 0..u64::MAX, usize::MAX).unwrap(), entries(1, 21..81));
        assert_eq!(store.read(1, 30..33, usize::MAX).unwrap(), entries(1, 30..33));
        assert_eq!(store.read(2, 0..100, usize::MAX).unwrap(), entries(2, 7..9));
        assert_eq!(store.read(99, 0..100, usize::MAX).unwrap(), []);
        assert_eq!(store.purged(1), Some(Purged { index: 20, mark: Bytes::from_static(b"term 3, index 20") }));
        assert_eq!(store.purged(2), None);
        assert_eq!(store.read_state(1, StateKey::Vote), Some(Bytes::from_static(b"vote")));
        assert_eq!(store.read_state(1, StateKey::Committed), None);
        assert_eq!(store.read_state(3, StateKey::Committed), Some(Bytes::from_static(b"7")));
        assert_eq!(store.stats().entries, 62);
    }
}

#[test]
fn a_log_goes_on_after_opening_again_exactly_where_it_ended() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    append(&store, 1, 1..4).unwrap();
    ask(|done| store.purge_to(2, 50, Bytes::new(), done)).unwrap();
    drop(store);
    let store = open(folder.path());
    assert!(matches!(append(&store, 1, 5..6), Err(LogError::NotContiguous { expected: 4, found: 5, .. })));
    assert!(matches!(append(&store, 2, 50..52), Err(LogError::NotContiguous { expected: 51, found: 50, .. })));
    append(&store, 1, 4..6).unwrap();
    append(&store, 2, 51..52).unwrap();
    ask(|done| store.truncate_from(1, 2, done)).unwrap();
    drop(store);
    let store = open(folder.path());
    assert!(matches!(append(&store, 1, 3..4), Err(LogError::NotContiguous { expected: 2, .. })));
    assert_eq!(store.read(1, 0..9, usize::MAX).unwrap(), entries(1, 1..2));
}

#[test]
fn a_read_stops_at_the_byte_limit_but_always_gets_on_by_one_entry() {
    let folder = tempfile::tempdir().unwrap();
    let write = |store: &LogStore| {
        let entries = (1..=10).map(|index| (index, Bytes::from(vec![1; 100]))).collect();
        ask(|done| store.append(1, entries, done)).unwrap();
    };
    let store = open(folder.path());
    write(&store);
    let lengths =
        |store: &LogStore| [0, 99, 100, 250, 300, 10_000].map(|limit| store.read(1, 2..100, limit).unwrap().len());
    assert_eq!(lengths(&store), [1, 1, 1, 2, 3, 9], "from the tail");
    drop(store);
    let store = open(folder.path());
    assert_eq!(lengths(&store), [1, 1, 1, 2, 3, 9], "from the device");
    append(&store, 1, 11..12).unwrap();
    assert_eq!(store.read(1, 9..100, 200).unwrap().len(), 2, "the limit holds across device and tail");
    assert_eq!(store.read(1, 9..100, 10_000).unwrap().len(), 3);
}

#[test]
fn a_removed_group_that_is_made_again_starts_empty_and_stays_so() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    append(&store, 1, 1..1001).unwrap();
    append(&store, 2, 1..11).unwrap();
    ask(|done| store.save_state(1, StateKey::Vote, Bytes::from_static(b"old"), done)).unwrap();
    ask(|done| store.purge_to(1, 500, Bytes::new(), done)).unwrap();
    // Without waiting: the new incarnation is queued right behind the removal.
    let (removed, removal) = Completion::channel();
    store.remove_group(1, removed);
    assert_eq!(store.groups(), [2]);
    append(&store, 1, 1..4).unwrap();
    removal.wait().unwrap();
    for reopened in [false, true] {
        let store = if reopened {
            store.close();
            &open(folder.path())
        } else {
            &store
        };
        assert_eq!(store.groups(), [1, 2]);
        assert_eq!(store.read(1, 0..u64::MAX, usize::MAX).unwrap(), entries(1, 1..4));
        assert_eq!((store.purged(1), store.read_state(1, StateKey::Vote)), (None, None));
        assert_eq!(store.read(2, 0..u64::MAX, usize::MAX).unwrap(), entries(2, 1..11));
    }
}

#[test]
fn a_second_handle_on_the_folder_is_told_that_it_is_in_use() {
    let folder = tempfile::tempdir().unwrap();
    let first = open(folder.path());
    assert!(matches!(LogStore::open(folder.path(), LogOptions::default()), Err(LogError::Locked { .. })));
    first.close();
    open(folder.path());
}

#[test]
fn refused_requests_say_what_is_allowed() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    append(&store, 1, 1..4).unwrap();
    let gap = append(&store, 1, 9..10).unwrap_err();
    assert_eq!(
        gap.to_string(),
        "append to group 1 at index 9 refused: the next index is 4; truncate first to overwrite"
    );
    ask(|done| store.purge_to(1, 2, Bytes::new(), done)).unwrap();
    let purged = ask(|done| store.truncate_from(1, 2, done)).unwrap_err();
    assert!(matches!(purged, LogError::TruncatesPurged { group: 1, index: 2, purged: 2 }));
    assert!(matches!(
        ask(|done| store.purge_to(1, u64::MAX, Bytes::new(), done)),
        Err(LogError::IndexTooLarge { group: 1 })
    ));
    // A refusal is not a failure and makes no group.
    assert!(ask(|done| store.purge_to(5, u64::MAX, Bytes::new(), done)).is_err());
    ask(|done| store.truncate_from(6, 3, done)).unwrap();
    append(&store, 1, 4..5).unwrap();
    assert_eq!(store.groups(), [1]);
}
