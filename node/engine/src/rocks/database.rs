//! The open database and its column families.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rocksdb::{
    Cache, ColumnFamily, ColumnFamilyDescriptor, DB, IngestExternalFileOptions, Options, ReadOptions, WriteBatch,
    WriteOptions,
};

use super::damage::is_unreadable;
use super::families::OpenDatabase;
use super::listener::{BackgroundEvents, Listener};
use super::synced::{Lost, Synced};
use super::tuning;
use crate::error::{EngineError, Result, RocksContext};
use crate::format::record::{self, RecordKind};
use crate::options::EngineOptions;
use crate::tier::Profile;

pub(super) const META: &str = "meta";
/// Deletes that are passed over to find out whether a tier has records: more than moves leave without compacting them.
const LOOKED_THROUGH: u64 = 20_000;

/// What the database needs to know of a tier to open it.
#[derive(Debug, Clone)]
pub(crate) struct TierHandle {
    pub(crate) column_family: String,
    pub(crate) data: PathBuf,
    pub(crate) profile: Profile,
}

/// Everything the database is opened with.
pub(crate) struct Opening<'a> {
    pub(crate) options: &'a EngineOptions,
    pub(crate) database: PathBuf,
    pub(crate) wal: PathBuf,
    /// The mark of what was synced.
    pub(crate) mark: PathBuf,
    /// Fastest first.
    pub(crate) tiers: Vec<TierHandle>,
    /// Tiers that the store has and the options do not: opened to see whether they are empty.
    pub(crate) leaving: Vec<TierHandle>,
}

/// An opened database and what there is to refuse about it.
pub(crate) struct Opened {
    pub(crate) database: Database,
    /// Column families of leaving tiers that still hold data.
    pub(crate) occupied: Vec<String>,
    /// What was synced and is not there.
    pub(crate) lost: Option<Lost>,
}

/// One RocksDB with a column family per tier. Tiers are named by index, fastest first.
pub(crate) struct Database {
    open: OpenDatabase,
    names: Vec<String>,
    tier_options: Vec<Options>,
    options: Options,
    cache: Cache,
    cache_bytes: u64,
    pub(super) synced: Synced,
    pub(crate) events: Arc<BackgroundEvents>,
    /// Acknowledged from the page cache.
    pub(crate) wal: WriteOptions,
    /// Acknowledged after a group fsync.
    pub(crate) sync: WriteOptions,
    /// Moves up: a loss is harmless, the source stays.
    pub(crate) no_wal: WriteOptions,
    /// Moves down, in the log but behind user writes.
    pub(crate) low_priority: WriteOptions,
    pub(crate) point_read: ReadOptions,
}

impl Database {
    /// Opens or creates the database. Column families of `leaving` tiers are dropped if all of them are empty, unless the
    /// caller is to refuse.
    pub(crate) fn open(opening: Opening<'_>) -> Result<Opened> {
        let Opening { options, database, wal, mark, tiers, leaving } = opening;
        let cache_bytes: u64 = tiers.iter().map(|t| t.profile.cache_bytes).sum();
        let cache = Cache::new_hyper_clock_cache(usize::try_from(cache_bytes).unwrap_or(usize::MAX), 0);
        let open_files = tiers.iter().map(|t| t.profile.open_files).sum();
        let mut rocks = tuning::database(options, &wal, open_files);
        let events = Arc::new(BackgroundEvents::default());
        rocks.add_event_listener(Listener(Arc::clone(&events)));

        let mut families = vec![
            ColumnFamilyDescriptor::new("default", tuning::meta()),
            ColumnFamilyDescriptor::new(META, tuning::meta()),
        ];
        let mut tier_options = Vec::new();
        for (index, tier) in tiers.iter().chain(&leaving).enumerate() {
            let column = tuning::tier(&tier.profile, index == 0, &tier.data, &cache)?;
            families.push(ColumnFamilyDescriptor::new(&tier.column_family, column.clone()));
            if index < tiers.len() {
                tier_options.push(column);
            }
        }
        let mut db = DB::open_cf_descriptors(&rocks, &database, families).attempting("open the database")?;
        let (synced, lost) = Synced::open(&mark, &db)?;
        let mut occupied = Vec::new();
        for tier in &leaving {
            if !is_empty(&db, &tier.column_family)? {
                occupied.push(tier.column_family.clone());
            }
        }
        // One that holds data has the opening refused: the empty ones are as they were then. Where records are lost none
        // is known to be empty.
        if occupied.is_empty() && lost.is_none() {
            for tier in &leaving {
                db.drop_cf(&tier.column_family).attempting("drop the column family of an emptied tier")?;
            }
        }
        let mut sync = WriteOptions::default();
        sync.set_sync(true);
        let mut no_wal = WriteOptions::default();
        no_wal.disable_wal(true);
        let mut low_priority = WriteOptions::default();
        low_priority.set_low_pri(true);
        let names: Vec<String> = tiers.into_iter().map(|t| t.column_family).collect();
        let database = Self {
            open: OpenDatabase::of(db, &names)?,
            names,
            tier_options,
            options: rocks,
            cache,
            cache_bytes,
            synced,
            events,
            wal: WriteOptions::default(),
            sync,
            no_wal,
            low_priority,
            point_read: ReadOptions::default(),
        };
        Ok(Opened { database, occupied, lost })
    }

    /// The column families that a database on disk has; empty where there is none.
    pub(crate) fn column_families(database: &std::path::Path) -> Result<Vec<String>> {
        if !database.join("CURRENT").exists() {
            return Ok(Vec::new());
        }
        DB::list_cf(&Options::default(), database).attempting("list the column families")
    }

    pub(crate) fn raw(&self) -> &DB {
        self.open.borrow_owner()
    }

    pub(crate) const fn tier_count(&self) -> usize {
        self.names.len()
    }

    pub(crate) fn tier(&self, index: usize) -> &ColumnFamily {
        self.open.borrow_dependent().tiers[index]
    }

    pub(super) fn tier_name(&self, index: usize) -> &str {
        &self.names[index]
    }

    pub(crate) fn meta(&self) -> &ColumnFamily {
        self.open.borrow_dependent().meta
    }

    /// The options of a tier's files, for writers of files to ingest.
    pub(crate) fn tier_options(&self, index: usize) -> &Options {
        &self.tier_options[index]
    }

    pub(crate) const fn options(&self) -> &Options {
        &self.options
    }

    pub(crate) const fn cache(&self) -> &Cache {
        &self.cache
    }

    /// Adds a change of a user's key to a batch: `value`, or its removal. `buffer` is scratch.
    ///
    /// A removal is a tombstone *record*, which travels down like a value; with a single tier there is nothing below to
    /// hide and nothing that would ever take the tombstone away, so it is RocksDB's own delete.
    pub(crate) fn stage(
        &self,
        batch: &mut WriteBatch,
        data_key: &[u8],
        version: u64,
        value: Option<&[u8]>,
        buffer: &mut Vec<u8>,
    ) {
        match value {
            Some(value) => record::encode_into(RecordKind::Value, version, value, buffer),
            None if self.tier_count() == 1 => return batch.delete_cf(self.tier(0), data_key),
            None => record::encode_into(RecordKind::Tombstone, version, &[], buffer),
        }
        batch.put_cf(self.tier(0), data_key, buffer);
    }

    /// Refuses when an earlier write to storage failed.
    pub(crate) fn check(&self) -> Result<()> {
        match self.events.failure.reason() {
            Some(reason) if crate::Guard::StickyFailure.on() => {
                Err(EngineError::StorageFailed { reason: reason.to_owned() })
            }
            _ => Ok(()),
        }
    }

    /// Writes a batch; an I/O error other than a full disk is sticky.
    pub(crate) fn write(&self, batch: &WriteBatch, options: &WriteOptions, attempt: &'static str) -> Result<()> {
        let written = self.raw().write_opt(batch, options);
        self.judge(written, attempt)
    }

    /// Keeps the first failure of storage; a full disk is no failure, space may return.
    pub(crate) fn judge(&self, written: std::result::Result<(), rocksdb::Error>, attempt: &'static str) -> Result<()> {
        if let Err(error) = &written {
            let text = error.as_ref();
            let storage = matches!(error.kind(), rocksdb::ErrorKind::IOError | rocksdb::ErrorKind::Corruption);
            if text.contains("No space left") {
                self.events.out_of_space.fetch_add(1, Ordering::Relaxed);
            } else if storage {
                self.events.failure.set(format!("{attempt}: {text}"));
            }
        }
        written.attempting(attempt)
    }

    pub(crate) fn get_meta(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.raw().get_cf(self.meta(), key).attempting("read from meta")
    }

    pub(crate) fn put_meta(&self, key: &[u8], value: &[u8], durable: bool) -> Result<()> {
        let options = if durable { &self.sync } else { &self.wal };
        let written = self.raw().put_cf_opt(self.meta(), key, value, options);
        self.judge(written, "write to meta")
    }

    pub(crate) fn delete_meta(&self, key: &[u8], durable: bool) -> Result<()> {
        let options = if durable { &self.sync } else { &self.wal };
        let written = self.raw().delete_cf_opt(self.meta(), key, options);
        self.judge(written, "delete from meta")
    }

    /// Adds finished files to a tier. They were written on the tier's device, so ingesting links them.
    ///
    /// The tier's memtable is flushed first: RocksDB would otherwise flush it while holding up all writers.
    pub(crate) fn ingest(&self, tier: usize, files: Vec<PathBuf>) -> Result<()> {
        let mut options = IngestExternalFileOptions::default();
        options.set_move_files(true);
        options.set_snapshot_consistency(true);
        options.set_allow_global_seqno(true);
        options.set_allow_blocking_flush(false);
        let mut attempts = 0;
        loop {
            let flushed = self.raw().flush_cf(self.tier(tier));
            self.judge(flushed, "flush a tier before ingesting")?;
            let ingested = self.raw().ingest_external_file_cf_opts(self.tier(tier), &options, files.clone());
            match ingested {
                // Something was written to the memtable between flush and ingest: only range operations do that.
                Err(error) if error.kind() == rocksdb::ErrorKind::InvalidArgument && attempts < 8 => {
                    attempts += 1;
                }
                // RocksDB could not see what the files overlap: nothing was written.
                Err(error) if is_unreadable(&error) => return Err(error).attempting("ingest files into a tier"),
                other => return self.judge(other, "ingest files into a tier"),
            }
        }
    }

    /// The bytes of keys and values in a tier's files before compression.
    pub(crate) fn raw_file_bytes(&self, tier: usize) -> u64 {
        let properties = self.raw().property_value_cf(self.tier(tier), "rocksdb.aggregated-table-properties");
        properties.ok().flatten().map_or(0, |text| {
            let field = |name: &str| -> u64 {
                text.split(';')
                    .filter_map(|part| part.trim().split_once('='))
                    .find(|(key, _)| key.trim() == name)
                    .and_then(|(_, value)| value.trim().parse().ok())
                    .unwrap_or(0)
            };
            field("raw key size") + field("raw value size")
        })
    }

    /// The bound of the block cache, in bytes.
    pub(crate) const fn cache_bytes(&self) -> u64 {
        self.cache_bytes
    }

    /// A numeric property of a tier; 0 where RocksDB does not know.
    pub(crate) fn property(&self, tier: usize, name: &str) -> u64 {
        self.raw().property_int_value_cf(self.tier(tier), name).ok().flatten().unwrap_or(0)
    }

    /// What a range takes in a tier's files and memtables, as RocksDB estimates it without reading the range.
    pub(crate) fn approximate_bytes(&self, tier: usize, start: &[u8], end: &[u8]) -> Result<u64> {
        let mut options = rocksdb::SizeApproximationOptions::default();
        options.set_include_memtables(true);
        options.set_include_files(true);
        let sizes = self
            .raw()
            .get_approximate_sizes_cf_with_options(self.tier(tier), &options, &[rocksdb::Range::new(start, end)])
            .attempting("estimate the size of a range")?;
        Ok(sizes.first().copied().unwrap_or(0))
    }

    /// The records of a tier, as RocksDB estimates them; 0 only and always where there is none, since a tier may be taken
    /// away then. Deletes count in the estimate for less than nothing or for something, whatever they hide.
    ///
    /// A tier with nothing but a pile of deletes is not looked through: it counts as one record until it is compacted.
    pub(crate) fn keys(&self, tier: usize) -> u64 {
        let mut options = ReadOptions::default();
        options.set_max_skippable_internal_keys(LOOKED_THROUGH);
        options.fill_cache(false);
        let mut iterator = self.raw().raw_iterator_cf_opt(self.tier(tier), options);
        iterator.seek_to_first();
        if !iterator.valid() && iterator.status().is_ok() {
            return 0;
        }
        self.property(tier, "rocksdb.estimate-num-keys").max(1)
    }

    /// The bytes of a tier's files and memtables.
    pub(crate) fn tier_bytes(&self, tier: usize) -> u64 {
        self.property(tier, "rocksdb.total-sst-files-size") + self.property(tier, "rocksdb.cur-size-all-mem-tables")
    }
}

fn is_empty(db: &DB, name: &str) -> Result<bool> {
    let Some(family) = db.cf_handle(name) else {
        return Ok(true);
    };
    let mut iterator = db.raw_iterator_cf(family);
    iterator.seek_to_first();
    let empty = !iterator.valid();
    iterator.status().attempting("look into a tier that leaves")?;
    Ok(empty)
}
