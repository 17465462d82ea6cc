//! Group commit, order of answers, and what happens when the device is slow, breaks, or the store closes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use super::*;
use rocksdb::statistics::Ticker;

/// The syncs since opening without those that RocksDB does at opening.
fn syncs_since(store: &LogStore, before: u64) -> u64 {
    store.stats().fsyncs - before
}

#[test]
fn everything_that_waits_during_a_sync_shares_the_next_one() {
    let folder = tempfile::tempdir().unwrap();
    let device = Device::new();
    let store = open_with(folder.path(), &device);
    let before = store.stats().fsyncs;
    device.set(|device| device.held = true);
    let (done, first) = Completion::channel();
    store.append(1000, entries(1000, 1..2), done);
    eventually("the first batch reached the device", || device.batches().len() == 1);

    // 8 threads, each with 4 groups and 5 appends to each, all while the first sync is held.
    let pending: Mutex<Vec<Pending>> = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for thread in 0..8 {
            let (store, pending) = (&store, &pending);
            scope.spawn(move || {
                for index in 1..6 {
                    for group in 0..4 {
                        let group = thread * 4 + group;
                        let (done, answer) = Completion::channel();
                        store.append(group, entries(group, index..index + 1), done);
                        pending.lock().push(answer);
                    }
                }
            });
        }
    });
    assert_eq!(store.stats().queued_requests, 160);
    assert!(pending.lock().iter().all(|answer| answer.poll().is_none()), "nothing is acknowledged before its sync");
    assert!(first.poll().is_none());

    device.set(|device| device.held = false);
    first.wait().unwrap();
    for answer in pending.into_inner() {
        answer.wait().unwrap();
    }
    let batches: Vec<_> = device.batches().iter().map(|batch| (batch.requests, batch.entries)).collect();
    assert_eq!(batches, [(1, 1), (160, 160)]);
    assert_eq!(syncs_since(&store, before), 2, "as RocksDB counts them");
    let stats = store.stats();
    assert_eq!((stats.batches, stats.requests, stats.appended_entries), (2, 161, 161));
    assert_eq!((stats.entries_per_fsync.count, stats.entries_per_fsync.max / 2), (2, 80));
}

#[test]
fn many_threads_and_groups_cost_fewer_syncs_than_appends() {
    let folder = tempfile::tempdir().unwrap();
    let device = Device::new();
    // Slow enough that others arrive meanwhile on any machine.
    device.set(|device| device.delay = Duration::from_millis(3));
    let store = open_with(folder.path(), &device);
    let before = store.stats().fsyncs;
    thread::scope(|scope| {
        for thread in 0..16 {
            let store = &store;
            scope.spawn(move || {
                for index in 1..21 {
                    append(store, thread, index..index + 1).unwrap();
                }
            });
        }
    });
    let syncs = syncs_since(&store, before);
    assert!(syncs * 2 < 16 * 20, "{syncs} syncs for {} appends that each waited for theirs", 16 * 20);
    assert_eq!(syncs, store.ticker(Ticker::WalFileSynced) - before);
    for group in 0..16 {
        assert_eq!(store.read(group, 0..100, usize::MAX).unwrap(), entries(group, 1..21));
    }
}

#[test]
fn answers_come_in_the_order_of_the_requests_whatever_their_kind() {
    let folder = tempfile::tempdir().unwrap();
    let device = Device::new();
    let store = open_with(folder.path(), &device);
    let order = Arc::new(Mutex::new(Vec::new()));
    let done = |number: u32| {
        let order = Arc::clone(&order);
        Completion::new(move |outcome| {
            outcome.unwrap();
            order.lock().push(number);
        })
    };
    device.set(|device| device.held = true);
    store.append(1, entries(1, 1..5), done(0));
    store.save_state(1, StateKey::Vote, Bytes::from_static(b"v"), done(1));
    store.truncate_from(1, 3, done(2));
    // These two change nothing; they still wait for their turn.
    store.truncate_from(1, 3, done(3));
    store.append(1, Vec::new(), done(4));
    store.append(2, entries(2, 1..2), done(5));
    store.purge_to(1, 1, Bytes::new(), done(6));
    store.remove_group(77, done(7));
    store.remove_group(2, done(8));
    assert!(order.lock().is_empty());
    device.set(|device| device.held = false);
    store.close();
    assert_eq!(*order.lock(), (0..9).collect::<Vec<_>>());
}

#[test]
fn what_is_accepted_is_readable_at_once_and_a_request_is_never_split_over_two_batches() {
    let folder = tempfile::tempdir().unwrap();
    let device = Device::new();
    let fault = Some(Arc::clone(&device) as Arc<dyn Fault>);
    let store =
        LogStore::open(folder.path(), LogOptions { batch_bytes: 1000, tail_bytes: 0, fault, ..LogOptions::default() });
    let store = store.unwrap();
    device.set(|device| device.held = true);
    let (done, answer) = Completion::channel();
    store.append(1, entries(1, 1..201), done);
    eventually("the batch reached the device", || device.batches().len() == 1);
    let (done, vote) = Completion::channel();
    store.save_state(1, StateKey::Vote, Bytes::from_static(b"v"), done);
    assert_eq!(store.read(1, 0..1000, usize::MAX).unwrap(), entries(1, 1..201), "not durable, yet readable");
    assert_eq!(store.read_state(1, StateKey::Vote), Some(Bytes::from_static(b"v")));
    assert!(answer.poll().is_none());
    device.set(|device| device.held = false);
    answer.wait().unwrap();
    vote.wait().unwrap();
    let batches: Vec<_> = device.batches().iter().map(|batch| batch.entries).collect();
    assert_eq!(batches, [200, 0], "larger than a batch may be, and yet one");
}

#[test]
fn the_first_storage_failure_stops_the_store_and_what_was_acknowledged_is_there_afterwards() {
    let folder = tempfile::tempdir().unwrap();
    let device = Device::new();
    device.set(|device| device.breaks_at = Some(2));
    let store = open_with(folder.path(), &device);
    append(&store, 1, 1..11).unwrap();
    append(&store, 2, 1..3).unwrap();
    let reason = |error: LogError| match error {
        LogError::Failed(failure) => std::error::Error::source(&*failure).unwrap().to_string(),
        other => panic!("{other:?}"),
    };
    device.set(|device| device.held = true);
    let (done, failing) = Completion::channel();
    store.append(1, entries(1, 11..21), done);
    let (done, behind) = Completion::channel();
    store.append(2, entries(2, 3..5), done);
    device.set(|device| device.held = false);
    assert_eq!(reason(failing.wait().unwrap_err()), "the device broke");
    assert_eq!(reason(behind.wait().unwrap_err()), "the device broke");

    // The device works again; the store does not.
    device.set(|device| device.breaks_at = None);
    let written = device.batches().len();
    assert_eq!(reason(append(&store, 3, 1..2).unwrap_err()), "the device broke");
    assert_eq!(
        reason(ask(|done| store.save_state(1, StateKey::Vote, Bytes::new(), done)).unwrap_err()),
        "the device broke"
    );
    assert_eq!(reason(ask(|done| store.truncate_from(1, 5, done)).unwrap_err()), "the device broke");
    assert_eq!(reason(ask(|done| store.purge_to(1, 5, Bytes::new(), done)).unwrap_err()), "the device broke");
    assert_eq!(reason(ask(|done| store.remove_group(1, done)).unwrap_err()), "the device broke");
    assert_eq!(reason(store.read(1, 1..2, 100).unwrap_err()), "the device broke");
    assert!(store.failure().is_some() && store.stats().failure.is_some());
    assert_eq!(device.batches().len(), written, "nothing more reached the device");
    drop(store);
    let store = open(folder.path());
    assert_eq!(store.read(1, 0..100, usize::MAX).unwrap(), entries(1, 1..11));
    assert_eq!(store.read(2, 0..100, usize::MAX).unwrap(), entries(2, 1..3));
    append(&store, 1, 11..12).unwrap();
}

#[test]
fn a_completion_that_panics_stops_the_store_but_everyone_gets_an_answer() {
    let folder = tempfile::tempdir().unwrap();
    let device = Device::new();
    let store = open_with(folder.path(), &device);
    device.set(|device| device.held = true);
    store.append(1, entries(1, 1..2), Completion::new(|_| panic!("on purpose")));
    eventually("the batch reached the device", || device.batches().len() == 1);
    let (done, behind) = Completion::channel();
    store.append(2, entries(2, 1..2), done);
    device.set(|device| device.held = false);
    assert!(matches!(behind.wait(), Err(LogError::Failed(failure)) if matches!(*failure, StorageFailure::Panicked)));
    assert!(matches!(append(&store, 1, 2..3), Err(LogError::Failed(_))));
}

#[test]
fn closing_writes_what_was_accepted_and_refuses_what_comes_later() {
    let folder = tempfile::tempdir().unwrap();
    let device = Device::new();
    let store = open_with(folder.path(), &device);
    device.set(|device| device.held = true);
    let acknowledged = Arc::new(AtomicU64::new(0));
    for index in 1..101 {
        let acknowledged = Arc::clone(&acknowledged);
        let done = Completion::new(move |outcome| {
            outcome.unwrap();
            acknowledged.fetch_add(1, Ordering::Relaxed);
        });
        store.append(1, entries(1, index..index + 1), done);
    }
    thread::scope(|scope| {
        let closing = scope.spawn(|| store.close());
        eventually("the store refuses", || matches!(append_refused(&store), Some(LogError::Closed)));
        assert!(!closing.is_finished());
        device.set(|device| device.held = false);
    });
    assert_eq!(acknowledged.load(Ordering::Relaxed), 100);
    assert!(matches!(store.read(1, 1..2, 10), Err(LogError::Closed)));
    store.close();
    assert_eq!(open(folder.path()).read(1, 0..1000, usize::MAX).unwrap(), entries(1, 1..101));
}

/// The refusal of a request that changes nothing, `None` where it was queued.
fn append_refused(store: &LogStore) -> Option<LogError> {
    let (done, answer) = Completion::channel();
    store.append(1, Vec::new(), done);
    answer.poll()?.err()
}

#[test]
fn a_store_whose_last_handle_is_dropped_inside_a_completion_closes() {
    let folder = tempfile::tempdir().unwrap();
    let device = Device::new();
    let store = Arc::new(open_with(folder.path(), &device));
    device.set(|device| device.held = true);
    let last = Arc::clone(&store);
    let (done, answer) = Completion::channel();
    store.append(
        1,
        entries(1, 1..2),
        Completion::new(move |outcome| {
            drop(last);
            done.complete(outcome);
        }),
    );
    drop(store);
    device.set(|device| device.held = false);
    answer.wait().unwrap();
    // The threads end on their own; until then the folder is in use.
    eventually("the folder is free", || LogStore::open(folder.path(), LogOptions::default()).is_ok());
}
