//! What the log store answers when it cannot do what was asked. Cloneable, since one failure answers many requests.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::format::FormatError;

/// Why a request was refused or failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LogError {
    /// The folder could not be made or read.
    #[error("failed to prepare the log folder {}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the file system said.
        #[source]
        source: Arc<io::Error>,
    },
    /// Another process, or another handle of this one, has the store open.
    #[error("the log store {} is open elsewhere; stop that process or close that handle first", path.display())]
    Locked {
        /// The folder.
        path: PathBuf,
        /// What RocksDB said.
        #[source]
        source: rocksdb::Error,
    },
    /// RocksDB did not open.
    #[error("failed to open the log store {}", path.display())]
    Open {
        /// The folder.
        path: PathBuf,
        /// What RocksDB said.
        #[source]
        source: rocksdb::Error,
    },
    /// A writer or reclaiming thread could not be started.
    #[error("failed to start the log store's thread {name}")]
    Thread {
        /// The thread's name.
        name: &'static str,
        /// What the system said.
        #[source]
        source: Arc<io::Error>,
    },
    /// Synced batches are missing from the folder.
    #[error(
        "the log store {} lost acknowledged writes: it was synced up to sequence {synced} and ends at {found}; \
         do not start its replicas again, rebuild them under new replica ids", path.display()
    )]
    Lost {
        /// The folder.
        path: PathBuf,
        /// The sequence number of the last batch known to have been synced.
        synced: u64,
        /// The last sequence number there is.
        found: u64,
    },
    /// A record of the store or of a group is damaged.
    #[error(
        "the record of {record} in the log store is corrupt; rebuild the replicas of this store under new replica ids"
    )]
    CorruptRecord {
        /// Which record, in words.
        record: String,
        /// What is wrong with its bytes.
        #[source]
        source: FormatError,
    },
    /// An entry is damaged.
    #[error("log entry {index} of group {group} is corrupt; rebuild this replica under a new replica id")]
    CorruptEntry {
        /// The group.
        group: u64,
        /// The entry's index.
        index: u64,
        /// What is wrong with its bytes.
        #[source]
        source: FormatError,
    },
    /// An entry that must be there is not.
    #[error("log entry {index} of group {group} is missing; rebuild this replica under a new replica id")]
    MissingEntry {
        /// The group.
        group: u64,
        /// The entry's index.
        index: u64,
    },
    /// RocksDB could not read.
    #[error("failed to read log entry {index} of group {group}")]
    Read {
        /// The group.
        group: u64,
        /// The index at which reading stopped.
        index: u64,
        /// What RocksDB said.
        #[source]
        source: rocksdb::Error,
    },
    /// RocksDB could not read the records at opening.
    #[error("failed to read the records of the log store")]
    ReadRecords(#[source] rocksdb::Error),
    /// An append would leave a gap or overwrite.
    #[error(
        "append to group {group} at index {found} refused: the next index is {expected}; truncate first to overwrite"
    )]
    NotContiguous {
        /// The group.
        group: u64,
        /// The only index that may follow.
        expected: u64,
        /// The index that was given.
        found: u64,
    },
    /// A truncation would remove what is purged already.
    #[error("truncation of group {group} from index {index} refused: purged up to {purged}; truncate above it")]
    TruncatesPurged {
        /// The group.
        group: u64,
        /// The index that was given.
        index: u64,
        /// The purged index.
        purged: u64,
    },
    /// The last index is reserved, so that every range has an end.
    #[error("index {} is not allowed in group {group}; the largest is {}", u64::MAX, u64::MAX - 1)]
    IndexTooLarge {
        /// The group.
        group: u64,
    },
    /// One request is larger than a batch can be.
    #[error(
        "a request of {bytes} bytes to group {group} refused: at most {limit} are allowed; send fewer entries at once"
    )]
    TooLarge {
        /// The group.
        group: u64,
        /// Bytes of the request.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The device is down to its reserve; appends are accepted again when there is more space.
    #[error(
        "append refused: {available} bytes are free on the log's device and {reserve} are kept in reserve; free space or purge"
    )]
    OutOfSpace {
        /// Bytes free.
        available: u64,
        /// Bytes kept.
        reserve: u64,
    },
    /// The free space could not be determined.
    #[error("failed to ask for the free space of the log's device")]
    Space(#[source] Arc<io::Error>),
    /// The store stopped after its first storage failure, which is the source.
    #[error(
        "the log store stopped after a storage failure and accepts nothing more; repair the device and open it again"
    )]
    Failed(#[source] Arc<StorageFailure>),
    /// The store is closed.
    #[error("the log store is closed")]
    Closed,
}

/// The first storage failure, after which nothing more is accepted.
///
/// A failed fsync is never tried again: the kernel may have dropped the pages and would report success.
#[derive(Debug, thiserror::Error)]
pub enum StorageFailure {
    /// A batch could not be written and synced.
    #[error("failed to write and sync a batch of the log store")]
    Write(#[source] rocksdb::Error),
    /// A batch could not be built.
    #[error("failed to build a batch of the log store")]
    Build(#[source] rocksdb::Error),
    /// An injected fault.
    #[error("failed to write a batch of the log store: injected")]
    Injected(#[source] io::Error),
    /// The mark of the last synced batch could not be written.
    #[error("failed to note the last synced batch of the log store")]
    Mark(#[source] io::Error),
    /// The writer thread ended by a panic, for example in a completion.
    #[error("the log store's writer thread panicked")]
    Panicked,
}
