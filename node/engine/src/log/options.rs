//! What can be set on a log store, and how RocksDB is tuned for it, each with its reason.

use std::sync::Arc;
use std::time::Duration;

use rocksdb::statistics::StatsLevel;
use rocksdb::{BlockBasedOptions, Cache, DBCompressionType, DBRecoveryMode, Options, WriteOptions};

use super::fault::Fault;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// Settings of a log store. The defaults suit a node with some hundreds of groups and 256 MiB to spare.
#[derive(Clone)]
pub struct LogOptions {
    /// Requests that may wait for the writer; whoever brings one more waits.
    pub queue_requests: usize,
    /// Bytes that may wait for the writer.
    pub queue_bytes: usize,
    /// Bytes written and synced at once; a larger request is a batch of its own, never split.
    pub batch_bytes: usize,
    /// How long a busy writer waits for a batch to grow to half of the one before it. Without it groups that answer each other
    /// fall into batches of one and of all the others in turn.
    pub linger: Duration,
    /// Memory for the recent entries of all groups.
    pub tail_bytes: usize,
    /// Size of RocksDB's write buffer. Twice as much may be in the write-ahead log on disk; four times while the device cannot
    /// keep up with flushing, then writes wait.
    pub write_buffer_bytes: usize,
    /// RocksDB's block cache, for followers that read behind the tail.
    pub block_cache_bytes: usize,
    /// After so many appended bytes the space of purged entries is reclaimed.
    pub reclaim_bytes: usize,
    /// Bytes that appends leave free on the device. Votes, truncations and purges may use them. Can be changed later:
    /// [`LogStore::set_reserve`](super::LogStore::set_reserve).
    pub reserve_bytes: u64,
    /// Injected storage faults, for tests.
    pub fault: Option<Arc<dyn Fault>>,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            queue_requests: 4096,
            queue_bytes: 64 * MIB,
            batch_bytes: 8 * MIB,
            linger: Duration::from_micros(20),
            tail_bytes: 64 * MIB,
            write_buffer_bytes: 64 * MIB,
            block_cache_bytes: 8 * MIB,
            reclaim_bytes: 64 * MIB,
            reserve_bytes: 64 * MIB as u64,
            fault: None,
        }
    }
}

impl std::fmt::Debug for LogOptions {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("LogOptions")
            .field("queue_requests", &self.queue_requests)
            .field("queue_bytes", &self.queue_bytes)
            .field("batch_bytes", &self.batch_bytes)
            .field("linger", &self.linger)
            .field("tail_bytes", &self.tail_bytes)
            .field("write_buffer_bytes", &self.write_buffer_bytes)
            .field("block_cache_bytes", &self.block_cache_bytes)
            .field("reclaim_bytes", &self.reclaim_bytes)
            .field("reserve_bytes", &self.reserve_bytes)
            .field("fault", &self.fault.is_some())
            .finish()
    }
}

/// RocksDB's options. One column family: a quiet second one would pin the write-ahead log.
pub(super) fn database_options(options: &LogOptions) -> Options {
    let mut database = Options::default();
    database.create_if_missing(true);

    // Recovery: a torn, never acknowledged tail is cut off; lost acknowledged writes are told by the mark (`synced_mark`) and a
    // log file that is missing as a whole by the manifest.
    database.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
    database.set_track_and_verify_wals_in_manifest(true);
    database.set_paranoid_checks(true);
    // A background error is final: RocksDB must not resume behind our back after a failed sync.
    database.set_max_bgerror_resume_count(0);

    // Writing: there is one writer thread, so nothing that exists to order several pays.
    database.set_allow_concurrent_memtable_write(false);
    database.set_enable_write_thread_adaptive_yield(false);
    database.set_enable_pipelined_write(false);
    // Entries that are purged before their buffer is flushed never reach a table file, so a large buffer saves writing.
    database.set_write_buffer_size(options.write_buffer_bytes);
    database.set_max_write_buffer_number(4);
    // Bounds the write-ahead log on disk and with it the time to open.
    database.set_max_total_wal_size(2 * options.write_buffer_bytes as u64);
    // Every purge leaves a range tombstone that every read must look through.
    database.set_memtable_max_range_deletions(512);
    // A stall here stops votes and heartbeats. Reads come from the tail, so many files in level 0 hurt little: accept them.
    database.set_level_zero_file_num_compaction_trigger(4);
    database.set_level_zero_slowdown_writes_trigger(64);
    database.set_level_zero_stop_writes_trigger(128);
    database.set_soft_pending_compaction_bytes_limit(0);
    database.set_hard_pending_compaction_bytes_limit(0);
    // One flush, one compaction: the log shares its cores with everything else.
    database.set_max_background_jobs(2);

    // Table files: small, so that most of a purged range is whole files, which are dropped unread.
    database.set_target_file_size_base(16 * MIB as u64);
    database.set_compression_type(DBCompressionType::Lz4);
    // Level 0 is short-lived: what survives a flush is compressed when it moves down.
    database.set_compression_per_level(&[
        DBCompressionType::None,
        DBCompressionType::Lz4,
        DBCompressionType::Lz4,
        DBCompressionType::Lz4,
        DBCompressionType::Lz4,
        DBCompressionType::Lz4,
        DBCompressionType::Lz4,
    ]);
    // Spreads the write-back of table files, so that it does not meet a log sync all at once.
    database.set_bytes_per_sync(MIB as u64);
    // The backstop under reclaiming: tombstones of quiet groups go within a day.
    database.set_periodic_compaction_seconds(24 * 60 * 60);
    let mut table = BlockBasedOptions::default();
    // Reads are runs of entries: larger blocks mean fewer of them. No filter: no key is looked up that is not there.
    table.set_block_size(32 * KIB);
    table.set_block_cache(&Cache::new_lru_cache(options.block_cache_bytes));
    table.set_cache_index_and_filter_blocks(true);
    database.set_block_based_table_factory(&table);
    database.set_max_open_files(256);

    // The text log and the statistics of a store that should be unremarkable. Tickers are on for the number of real syncs.
    database.set_keep_log_file_num(4);
    database.set_max_log_file_size(4 * MIB);
    database.set_max_manifest_file_size(16 * MIB);
    database.set_skip_stats_update_on_db_open(true);
    database.set_stats_dump_period_sec(0);
    database.set_stats_persist_period_sec(0);
    database.enable_statistics();
    database.set_statistics_level(StatsLevel::ExceptHistogramOrTimers);
    database
}

/// How every batch is written: synced.
pub(super) fn synced_writes() -> WriteOptions {
    let mut options = WriteOptions::default();
    options.set_sync(true);
    options
}
