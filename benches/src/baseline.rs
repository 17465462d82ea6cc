//! Raw RocksDB, set up as the engine sets up its fastest tier: same buffers, blocks, filters, compression and cache.

use std::path::Path;

use rocksdb::statistics::StatsLevel;
use rocksdb::{BlockBasedOptions, Cache, DB, DBCompressionType, DataBlockIndexType, Options};
use thermocline_engine::{Medium, Profile};

/// A plain database in a new folder, with the memory that the engine's tiers would have together. Its statistics are at
/// their default level: each operation is timed, which is where its latencies come from.
pub fn rocksdb(folder: &Path, memory: u64) -> anyhow::Result<DB> {
    open(folder, memory, StatsLevel::ExceptDetailedTimers)
}

/// The same with tickers alone, as the engine sets its RocksDB: it times one operation in eight itself.
pub fn rocksdb_without_timers(folder: &Path, memory: u64) -> anyhow::Result<DB> {
    open(folder, memory, StatsLevel::ExceptHistogramOrTimers)
}

fn open(folder: &Path, memory: u64, statistics: StatsLevel) -> anyhow::Result<DB> {
    if folder.exists() {
        std::fs::remove_dir_all(folder)?;
    }
    let all = [Medium::Nvme, Medium::Ssd, Medium::Hdd].map(Profile::for_medium);
    let scaled = Profile::scaled(&all, memory);
    let cache: u64 = scaled.iter().map(|p| p.cache_bytes).sum();
    let hot = &scaled[0];
    let mut options = Options::default();
    options.create_if_missing(true);
    options.set_write_buffer_size(hot.write_buffer_bytes as usize);
    options.set_max_write_buffer_number(4);
    options.set_memtable_whole_key_filtering(true);
    options.set_memtable_prefix_bloom_ratio(0.05);
    options.set_max_background_jobs(8);
    options.set_max_total_wal_size((memory / 8).clamp(16 << 20, 512 << 20));
    options.set_bytes_per_sync(1 << 20);
    options.set_level_compaction_dynamic_level_bytes(true);
    options.set_target_file_size_base((hot.write_buffer_bytes / 2).clamp(2 << 20, 64 << 20));
    options.set_max_bytes_for_level_base(hot.write_buffer_bytes * 4);
    options.set_compression_type(DBCompressionType::Lz4);
    options.enable_statistics();
    options.set_statistics_level(statistics);
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(&Cache::new_hyper_clock_cache(cache as usize, 0));
    table.set_block_size(hot.block_bytes as usize);
    table.set_format_version(6);
    table.set_cache_index_and_filter_blocks(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    table.set_bloom_filter(f64::from(hot.filter_bits), false);
    table.set_data_block_index_type(DataBlockIndexType::BinaryAndHash);
    table.set_data_block_hash_ratio(0.75);
    options.set_block_based_table_factory(&table);
    Ok(DB::open(&options, folder)?)
}
