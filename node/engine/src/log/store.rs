//! [`LogStore`], the handle: decides requests under the group's lock, queues them, reads.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use crossbeam_channel::bounded;
use parking_lot::{Mutex, RwLock};
use rocksdb::statistics::Ticker;
use rocksdb::{DB, Options, WriteBatch};

use super::completion::Completion;
use super::error::{LogError, StorageFailure};
use super::format::{GroupRecord, Purged, STORE_KEY, StateKey, seal};
use super::group::{Group, GroupState};
use super::options::{LogOptions, database_options, synced_writes};
use super::queue::{Queue, QueueLimits};
use super::reader;
use super::reclaim::{self, Garbage};
use super::recovery::{Recovered, recover};
use super::request::{Operation, Request};
use super::reserve::Reserve;
use super::stats::{Counters, LogStats};
use super::tail::TailBudget;
use super::writer::Writer;
use crate::synced_mark::SyncedMark;

/// What one request may hold: far below the 4 GiB that a batch can.
const MAX_REQUEST_BYTES: usize = 1 << 30;
/// What an entry takes in the queue and in a batch beside its bytes.
const ENTRY_OVERHEAD_BYTES: usize = 64;
const FIRST_INCARNATION: u64 = 1;
const WRITER_THREAD: &str = "log-writer";
const RECLAIMER_THREAD: &str = "log-reclaimer";

/// Many ordered logs in one folder, with one writer that syncs for all of them. See the module for the contract.
pub struct LogStore {
    shared: Arc<Shared>,
    // Emptied by `close`, so that the folder is free once running reads have ended.
    database: ArcSwapOption<Database>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    reserve: Reserve,
    folder: PathBuf,
}

/// What the handle and the threads share.
pub(super) struct Shared {
    pub(super) queue: Queue<Request>,
    /// Lock order: `groups`, then a group's state, then the queue's.
    pub(super) groups: RwLock<BTreeMap<u64, Arc<Group>>>,
    pub(super) tails: TailBudget,
    pub(super) counters: Mutex<Counters>,
    failure: OnceLock<Arc<StorageFailure>>,
    next_incarnation: AtomicU64,
}

/// RocksDB, with the options that hold its statistics.
struct Database {
    handle: Arc<DB>,
    options: Options,
}

impl Shared {
    /// The failure that stopped the store.
    pub(super) fn failure(&self) -> Option<Arc<StorageFailure>> {
        self.failure.get().map(Arc::clone)
    }

    /// Stops the store. The first failure stays: those that follow are its consequences.
    pub(super) fn fail(&self, failure: StorageFailure) {
        let failure = Arc::new(failure);
        if self.failure.set(Arc::clone(&failure)).is_ok() {
            let reason: &dyn std::error::Error = &*failure;
            tracing::error!(error = %failure, cause = reason.source(), "the log store stopped: replicas of this node can no longer write");
        }
    }
}

impl LogStore {
    /// Opens the store in `folder`, making it where there is none.
    ///
    /// # Errors
    /// When the folder is in use, damaged, or lacks writes that were acknowledged.
    pub fn open(folder: impl AsRef<Path>, options: LogOptions) -> Result<Self, LogError> {
        let folder = folder.as_ref().to_path_buf();
        let in_folder = |source: io::Error| LogError::Folder { path: folder.clone(), source: Arc::new(source) };
        make_durable_folder(&folder).map_err(in_folder)?;
        let database_options = database_options(&options);
        let path = folder.join("db");
        let handle = Arc::new(DB::open(&database_options, &path).map_err(|source| open_error(path, source))?);

        let mark = SyncedMark::open(&folder.join("synced")).map_err(in_folder)?;
        let found = handle.latest_sequence_number();
        if let Some(synced) = mark.read().map_err(in_folder)?.filter(|&synced| synced > found) {
            return Err(LogError::Lost { path: folder, synced, found });
        }
        sync_folder(&folder).map_err(in_folder)?;

        let Recovered { groups, next_incarnation, dead } = recover(&handle)?;
        let next_incarnation = match next_incarnation {
            Some(next) => next,
            None => begin(&handle, &folder)?,
        };
        let limits = QueueLimits {
            requests: options.queue_requests.max(1),
            bytes: options.queue_bytes,
            batch_bytes: options.batch_bytes,
        };
        let shared = Arc::new(Shared {
            queue: Queue::new(limits),
            groups: RwLock::new(groups),
            tails: TailBudget::new(options.tail_bytes),
            counters: Mutex::new(Counters::default()),
            failure: OnceLock::new(),
            next_incarnation: AtomicU64::new(next_incarnation),
        });

        // One round may wait while another runs; more would only repeat it.
        let (reclaimer, work) = bounded(1);
        if !dead.is_empty() {
            // The channel is empty and its receiver is below.
            drop(reclaimer.try_send(dead));
        }
        let garbage = Garbage::new(options.reclaim_bytes, reclaimer);
        let reserve = Reserve::new(folder.clone(), options.reserve_bytes, options.fault.clone());
        let writer = Writer::new(Arc::clone(&handle), mark, garbage, next_incarnation, options.linger, options.fault);
        // From here on dropping the store ends what was started.
        let store = Self {
            shared: Arc::clone(&shared),
            database: ArcSwapOption::from_pointee(Database { handle: Arc::clone(&handle), options: database_options }),
            threads: Mutex::new(Vec::new()),
            reserve,
            folder,
        };
        let weak = Arc::downgrade(&shared);
        store.start(WRITER_THREAD, move || writer.run(&shared))?;
        store.start(RECLAIMER_THREAD, move || reclaim::run(&weak, &handle, &work))?;
        Ok(store)
    }

    fn start(&self, name: &'static str, body: impl FnOnce() + Send + 'static) -> Result<(), LogError> {
        let thread = thread::Builder::new().name(name.to_owned()).spawn(body);
        let thread = thread.map_err(|source| LogError::Thread { name, source: Arc::new(source) })?;
        self.threads.lock().push(thread);
        Ok(())
    }

    /// Appends entries, which must follow each other and the last one; an empty group that was never purged takes any start.
    ///
    /// All of them are in one batch, and readable when this returns; `done` is called when they are durable, after everything
    /// that was asked of the group before. Waits while the queue is full.
    pub fn append(&self, group: u64, entries: Vec<(u64, Bytes)>, done: Completion) {
        let bytes = entries.iter().map(|(_, payload)| payload.len().saturating_add(ENTRY_OVERHEAD_BYTES)).sum();
        if bytes > MAX_REQUEST_BYTES {
            return done.complete(Err(LogError::TooLarge { group, bytes, limit: MAX_REQUEST_BYTES }));
        }
        if let Err(refusal) = self.reserve.admit(bytes) {
            return done.complete(Err(refusal));
        }
        let tails = &self.shared.tails;
        self.submit(group, bytes, done, |state| {
            let Some((first, payloads)) = state.append(group, entries)? else { return Ok(Operation::Nothing) };
            tails.change(&mut state.tail, |tail| tail.append(first, &payloads));
            Ok(Operation::Append { first, payloads })
        });
    }

    /// Changes the bytes that appends leave free on the device, as whoever owns the device decides anew.
    pub fn set_reserve(&self, bytes: u64) {
        self.reserve.set(bytes);
    }

    /// Removes the entry at `index` and everything after it; nothing where there is none. Refused at or below the purged index.
    pub fn truncate_from(&self, group: u64, index: u64, done: Completion) {
        let tails = &self.shared.tails;
        self.submit(group, 0, done, |state| {
            let Some(span) = state.truncate(group, index)? else { return Ok(Operation::Nothing) };
            tails.change(&mut state.tail, |tail| tail.truncate(span.from));
            Ok(Operation::Truncate(span))
        });
    }

    /// Removes everything up to and including `index` and remembers it together with `mark`, the caller's bytes.
    ///
    /// The index may lie beyond the end, as after a snapshot: the next entry is then `index + 1`. An index that is purged already,
    /// or that lies further before the first entry, changes nothing.
    pub fn purge_to(&self, group: u64, index: u64, mark: Bytes, done: Completion) {
        let tails = &self.shared.tails;
        self.submit(group, mark.len(), done, |state| {
            let Some(span) = state.purge(group, index, mark)? else { return Ok(Operation::Nothing) };
            tails.change(&mut state.tail, |tail| tail.purge(index + 1));
            Ok(Operation::Purge(span))
        });
    }

    /// Saves a small value beside the group's entries, durable in its turn among the group's other requests.
    pub fn save_state(&self, group: u64, key: StateKey, value: Bytes, done: Completion) {
        let bytes = value.len().saturating_add(ENTRY_OVERHEAD_BYTES);
        if bytes > MAX_REQUEST_BYTES {
            return done.complete(Err(LogError::TooLarge { group, bytes, limit: MAX_REQUEST_BYTES }));
        }
        self.submit(group, bytes, done, |state| {
            state.states.insert(key, value.clone());
            Ok(Operation::SaveState { key, value })
        });
    }

    /// Removes a group: entries, states, purged index. It may be made again at once, empty.
    pub fn remove_group(&self, group: u64, done: Completion) {
        let shared = &self.shared;
        if let Some(failure) = shared.failure() {
            return done.complete(Err(LogError::Failed(failure)));
        }
        let Some(place) = shared.queue.reserve(0) else { return done.complete(Err(LogError::Closed)) };
        // Held until the request is queued: a new incarnation must come after it.
        let mut groups = shared.groups.write();
        let Some(group) = groups.remove(&group) else {
            place.fill(Request { group: None, record: None, operation: Operation::Nothing, done });
            return;
        };
        let mut state = group.state.lock();
        state.removed = true;
        shared.tails.change(&mut state.tail, |tail| tail.purge(u64::MAX));
        let operation = if state.recorded { Operation::Remove } else { Operation::Nothing };
        drop(state);
        place.fill(Request { group: Some(group), record: None, operation, done });
    }

    /// Decides a request under the group's lock and queues it there.
    fn submit(
        &self,
        id: u64,
        bytes: usize,
        done: Completion,
        decide: impl FnOnce(&mut GroupState) -> Result<Operation, LogError>,
    ) {
        if let Some(failure) = self.shared.failure() {
            return done.complete(Err(LogError::Failed(failure)));
        }
        let Some(place) = self.shared.queue.reserve(bytes) else { return done.complete(Err(LogError::Closed)) };
        loop {
            let group = self.group_or_new(id);
            let mut state = group.state.lock();
            if state.removed {
                continue;
            }
            match decide(&mut state) {
                Ok(operation) => {
                    let record = record(&group, &mut state, &operation);
                    place.fill(Request { group: Some(Arc::clone(&group)), record, operation, done });
                }
                Err(refusal) => {
                    // A completion runs without locks.
                    drop(state);
                    drop(place);
                    done.complete(Err(refusal));
                }
            }
            return;
        }
    }

    fn group_or_new(&self, id: u64) -> Arc<Group> {
        if let Some(group) = self.shared.groups.read().get(&id) {
            return Arc::clone(group);
        }
        let mut groups = self.shared.groups.write();
        let group = groups.entry(id).or_insert_with(|| {
            let incarnation = self.shared.next_incarnation.fetch_add(1, Ordering::Relaxed);
            Arc::new(Group::new(id, incarnation))
        });
        Arc::clone(group)
    }

    fn group(&self, id: u64) -> Option<Arc<Group>> {
        self.shared.groups.read().get(&id).map(Arc::clone)
    }

    /// What there is of `range`, without gaps, up to `max_bytes` of entries but at least one. What is purged at the beginning,
    /// or not there yet at the end, is left out: look at the first index that comes.
    ///
    /// # Errors
    /// When an entry is damaged or missing (with its group and index), RocksDB cannot read, the store has failed or is closed.
    pub fn read(&self, group: u64, range: Range<u64>, max_bytes: usize) -> Result<Vec<(u64, Bytes)>, LogError> {
        // What is in memory may be ahead of what a failed device holds, so it is no longer shown.
        if let Some(failure) = self.shared.failure() {
            return Err(LogError::Failed(failure));
        }
        let database = self.database.load_full().ok_or(LogError::Closed)?;
        self.group(group)
            .map_or_else(|| Ok(Vec::new()), |group| reader::read(&database.handle, &group, range, max_bytes))
    }

    /// The first index, `None` where there are no entries. Like everything that is answered at once, it counts what was
    /// accepted, durable or not.
    pub fn first_index(&self, group: u64) -> Option<u64> {
        self.group(group)?.state.lock().bounds().map(|(first, _)| first)
    }

    /// The last index, `None` where there are no entries.
    pub fn last_index(&self, group: u64) -> Option<u64> {
        self.group(group)?.state.lock().bounds().map(|(_, last)| last)
    }

    /// What the last purge left behind.
    pub fn purged(&self, group: u64) -> Option<Purged> {
        self.group(group)?.state.lock().purged().cloned()
    }

    /// The value saved last under a key.
    pub fn read_state(&self, group: u64, key: StateKey) -> Option<Bytes> {
        self.group(group)?.state.lock().states.get(&key).cloned()
    }

    /// The groups there are, in ascending order.
    pub fn groups(&self) -> Vec<u64> {
        let groups = self.shared.groups.read();
        groups.values().filter(|group| group.state.lock().recorded).map(|group| group.id).collect()
    }

    /// The storage failure that stopped the store, if one did.
    pub fn failure(&self) -> Option<Arc<StorageFailure>> {
        self.shared.failure()
    }

    /// Counters since opening, and what there is now.
    pub fn stats(&self) -> LogStats {
        let (groups, entries) = {
            let groups = self.shared.groups.read();
            groups
                .values()
                .map(|group| group.state.lock())
                .filter(|state| state.recorded)
                .fold((0, 0), |(groups, entries), state| (groups + 1, entries + state.len()))
        };
        let (queued_requests, queued_bytes) = self.shared.queue.waiting();
        let database = self.database.load_full();
        let counters = self.shared.counters.lock();
        LogStats {
            groups,
            entries,
            tail_bytes: self.shared.tails.used(),
            queued_requests,
            queued_bytes,
            wal_bytes: wal_bytes(&self.folder.join("db")),
            table_bytes: database.as_ref().map_or(0, |database| table_bytes(&database.handle)),
            requests: counters.requests,
            appended_entries: counters.entries,
            appended_bytes: counters.bytes,
            batches: counters.batches,
            fsyncs: database.map_or(0, |database| database.options.get_ticker_count(Ticker::WalFileSynced)),
            entries_per_fsync: counters.entries_per_sync(),
            failure: self.shared.failure(),
        }
    }

    /// One of RocksDB's own counters.
    #[cfg(test)]
    pub(super) fn ticker(&self, ticker: Ticker) -> u64 {
        self.database.load_full().map_or(0, |database| database.options.get_ticker_count(ticker))
    }

    /// Writes what is queued, answers it, ends the threads and gives the folder free once running reads have ended. Requests
    /// that come later are refused. Closing twice is the same as once.
    pub fn close(&self) {
        self.shared.queue.close();
        if let Some(database) = self.database.swap(None) {
            // A long compaction is broken off; it only frees space.
            database.handle.disable_manual_compaction();
        }
        let threads = std::mem::take(&mut *self.threads.lock());
        // The last handle may be dropped inside a completion, on the writer thread itself: that one ends when it returns from
        // here, and the reclaimer after it.
        if threads.iter().any(|thread| thread.thread().id() == thread::current().id()) {
            return;
        }
        for thread in threads {
            if thread.join().is_err() {
                tracing::warn!("a thread of the log store had panicked");
            }
        }
    }
}

impl Drop for LogStore {
    fn drop(&mut self) {
        self.close();
    }
}

impl std::fmt::Debug for LogStore {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("LogStore").field("folder", &self.folder).finish_non_exhaustive()
    }
}

/// The record that goes with an operation: the group's first one makes it, a purge changes it.
fn record(group: &Group, state: &mut GroupState, operation: &Operation) -> Option<GroupRecord> {
    let needed = match operation {
        Operation::Nothing => false,
        Operation::Purge(_) => true,
        _ => !state.recorded,
    };
    state.recorded |= needed;
    needed.then(|| GroupRecord { incarnation: group.incarnation, purged: state.purged().cloned() })
}

/// Writes the store record of a new store.
fn begin(database: &DB, folder: &Path) -> Result<u64, LogError> {
    let payload = FIRST_INCARNATION.to_be_bytes();
    let mut batch = WriteBatch::default();
    batch.put(STORE_KEY, [&seal(&STORE_KEY, &payload)[..], &payload].concat());
    let written = database.write_opt(&batch, &synced_writes());
    written.map_err(|source| LogError::Open { path: folder.to_path_buf(), source })?;
    Ok(FIRST_INCARNATION)
}

fn open_error(path: PathBuf, source: rocksdb::Error) -> LogError {
    // RocksDB has no code of its own for this.
    let message = source.to_string();
    if message.contains("lock hold by current process") || message.contains("While lock file") {
        return LogError::Locked { path, source };
    }
    LogError::Open { path, source }
}

fn make_durable_folder(folder: &Path) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    // A folder that power loss takes away takes synced files with it.
    folder.parent().filter(|parent| !parent.as_os_str().is_empty()).map_or(Ok(()), sync_folder)
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn wal_bytes(folder: &Path) -> u64 {
    // A file that goes away between listing and looking is no longer there to be counted.
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let logs = files.filter(|file| file.path().extension().is_some_and(|extension| extension == "log"));
    logs.filter_map(|file| file.metadata().ok()).map(|facts| facts.len()).sum()
}

fn table_bytes(database: &DB) -> u64 {
    database.property_int_value(rocksdb::properties::TOTAL_SST_FILES_SIZE).ok().flatten().unwrap_or(0)
}
