//! RocksDB's options, each with its reason.

use std::path::Path;

use rocksdb::statistics::StatsLevel;
use rocksdb::{BlockBasedOptions, Cache, DBCompressionType, DBPath, DBRecoveryMode, DataBlockIndexType, Options};

use crate::error::{Result, RocksContext};
use crate::limits::READAHEAD_BYTES;
use crate::options::EngineOptions;
use crate::tier::{Compression, Profile};

/// Files in level 0 of the fastest tier from which RocksDB slows writers down ...
const LEVEL0_SLOWDOWN: u16 = 20;
/// ... and from which none go on.
pub(super) const LEVEL0_STOP: u16 = 36;
/// Bytes that wait for a compaction of the fastest tier: RocksDB's own bounds for both.
const PENDING_SLOWDOWN: u64 = 64 << 30;
const PENDING_STOP: u64 = 256 << 30;
/// A number of files that level 0 never has.
const NEVER: i32 = 1 << 20;

/// What RocksDB holds writers up for in the fastest tier, or nothing, as its options by name.
pub(super) fn stall_triggers(on: bool) -> [(&'static str, String); 4] {
    let files = |some: u16| if on { i32::from(some) } else { NEVER }.to_string();
    let bytes = |some: u64| if on { some } else { 0 }.to_string();
    [
        ("level0_slowdown_writes_trigger", files(LEVEL0_SLOWDOWN)),
        ("level0_stop_writes_trigger", files(LEVEL0_STOP)),
        ("soft_pending_compaction_bytes_limit", bytes(PENDING_SLOWDOWN)),
        ("hard_pending_compaction_bytes_limit", bytes(PENDING_STOP)),
    ]
}

/// Blocks of this size and over are those of spinning disks.
const SPINNING_BLOCK: u64 = 64 << 10;

/// Options of the whole database.
pub(crate) fn database(options: &EngineOptions, wal: &Path, open_files: u32) -> Options {
    let mut rocks = Options::default();
    rocks.create_if_missing(true);
    rocks.create_missing_column_families(true);
    rocks.set_wal_dir(wal);
    // A quiet column family pins the log: without a bound it was seen at twelve times this one.
    rocks.set_max_total_wal_size(options.max_wal_bytes);
    rocks.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
    // Half for flushes of the fastest tier, the rest so that one slow compaction never owns the only thread.
    rocks.set_max_background_jobs(8);
    rocks.set_max_subcompactions(1);
    rocks.set_max_open_files(i32::try_from(open_files).unwrap_or(i32::MAX));
    // Never mmap: SyncWAL needs it off, and the block cache is the only cache we account for.
    rocks.set_allow_mmap_reads(false);
    rocks.set_allow_mmap_writes(false);
    rocks.set_bytes_per_sync(1 << 20);
    rocks.set_keep_log_file_num(4);
    rocks.set_stats_dump_period_sec(0);
    // Off, RocksDB would pass over damage in more places. That a compaction over damaged blocks must not stop all writes
    // is the listener's doing; that recovery ends in silence at a damaged record of the log, that of `synced`.
    rocks.set_paranoid_checks(true);
    rocks.set_avoid_unnecessary_blocking_io(true);
    rocks.enable_statistics();
    // Its tickers. What its timers would tell is in our own latencies; they read the clock twice in each operation.
    rocks.set_statistics_level(StatsLevel::ExceptHistogramOrTimers);
    rocks
}

/// Options of `meta` and of the unused `default` column family: small, uncompressed, never the reason for a stall.
pub(crate) fn meta() -> Options {
    let mut rocks = Options::default();
    rocks.set_write_buffer_size(4 << 20);
    rocks.set_compression_type(DBCompressionType::None);
    never_stall(&mut rocks);
    rocks
}

/// A stall in any column family stalls them all.
fn never_stall(rocks: &mut Options) {
    rocks.set_level_zero_slowdown_writes_trigger(NEVER);
    rocks.set_level_zero_stop_writes_trigger(NEVER);
    rocks.set_soft_pending_compaction_bytes_limit(0);
    rocks.set_hard_pending_compaction_bytes_limit(0);
}

/// Options of one tier's column family.
pub(crate) fn tier(profile: &Profile, fastest: bool, data: &Path, cache: &Cache) -> Result<Options> {
    let mut rocks = Options::default();
    let path = DBPath::new(data, u64::MAX).attempting("name the folder of a tier")?;
    rocks.set_cf_paths(&[path]);
    let buffer = usize::try_from(profile.write_buffer_bytes).unwrap_or(usize::MAX);
    rocks.set_write_buffer_size(buffer);
    if fastest {
        rocks.set_max_write_buffer_number(4);
        rocks.set_memtable_whole_key_filtering(true);
        rocks.set_memtable_prefix_bloom_ratio(0.05);
        // Mass demotions leave deletes behind: a file full of them is compacted soon, or seeks crawl over it.
        rocks.add_compact_on_deletion_collector_factory(4096, 1024, 0.5);
    } else {
        rocks.set_max_write_buffer_number(6);
    }
    // The mover, the only writer of slower tiers, watches L0 files and pending bytes and backs off long before; RocksDB
    // itself must never slow user writes for a slow tier. The fastest one gets its triggers when the store is open.
    never_stall(&mut rocks);
    rocks.set_level_compaction_dynamic_level_bytes(true);
    rocks.set_target_file_size_base((profile.write_buffer_bytes / 2).clamp(2 << 20, 64 << 20));
    rocks.set_max_bytes_for_level_base(profile.write_buffer_bytes.saturating_mul(4));
    compression(&mut rocks, profile);
    rocks.set_block_based_table_factory(&table(profile, cache));
    Ok(rocks)
}

fn table(profile: &Profile, cache: &Cache) -> BlockBasedOptions {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(cache);
    table.set_block_size(usize::try_from(profile.block_bytes).unwrap_or(8 << 10));
    if profile.block_bytes >= SPINNING_BLOCK {
        // How far the readahead of a long scan may grow; RocksDB's 256 KiB are right for flash.
        table.set_max_auto_readahead_size(READAHEAD_BYTES);
    }
    table.set_format_version(6);
    table.set_cache_index_and_filter_blocks(true);
    table.set_cache_index_and_filter_blocks_with_high_priority(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    table.set_optimize_filters_for_memory(true);
    let bits = f64::from(profile.filter_bits);
    if profile.filter_bits == 0 {
        return table;
    }
    if profile.ribbon {
        table.set_ribbon_filter(bits);
    } else {
        table.set_bloom_filter(bits, false);
        // Measured by RocksDB at -22 % CPU of cached point reads for 5 % of space.
        table.set_data_block_index_type(DataBlockIndexType::BinaryAndHash);
        table.set_data_block_hash_ratio(0.75);
    }
    table
}

fn compression(rocks: &mut Options, profile: &Profile) {
    rocks.set_compression_type(kind(profile.compression));
    let level = profile.compression_per_level.iter().chain([&profile.compression]).find_map(|c| match c {
        Compression::Zstd(level) => Some(*level),
        Compression::None | Compression::Lz4 => None,
    });
    if let Some(level) = level {
        let dictionary = i32::try_from(profile.dictionary_bytes).unwrap_or(i32::MAX);
        rocks.set_compression_options(-14, level, 0, dictionary);
        if dictionary > 0 {
            // RocksDB's advice: train on a hundred times the dictionary.
            rocks.set_zstd_max_train_bytes(dictionary.saturating_mul(100));
        }
    }
    if !profile.compression_per_level.is_empty() {
        let last = profile.compression_per_level.last().copied();
        let levels: Vec<_> =
            (0..7).filter_map(|i| profile.compression_per_level.get(i).copied().or(last)).map(kind).collect();
        rocks.set_compression_per_level(&levels);
    }
}

const fn kind(compression: Compression) -> DBCompressionType {
    match compression {
        Compression::None => DBCompressionType::None,
        Compression::Lz4 => DBCompressionType::Lz4,
        Compression::Zstd(_) => DBCompressionType::Zstd,
    }
}
