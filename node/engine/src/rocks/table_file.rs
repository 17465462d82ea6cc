//! Reading a table file that is in no database.
//!
//! RocksDB's C interface has no reader for one, so a database that is thrown away takes a link of the file.

use std::fs;
use std::path::{Path, PathBuf};

use rocksdb::{DB, IngestExternalFileOptions, LiveFile, Options, ReadOptions};

use crate::error::{IoContext, Result, RocksContext};
use crate::limits::READAHEAD_BYTES;

/// An open table file.
pub(crate) struct TableFile {
    /// `None`: closed.
    database: Option<DB>,
    scratch: PathBuf,
}

/// What a table file is about.
#[derive(Debug)]
pub(crate) struct TableFacts {
    /// The first key that it says anything about, range deletions included.
    pub(crate) first: Vec<u8>,
    /// The last one; the end of a range deletion, which it does not delete, counts.
    pub(crate) last: Vec<u8>,
    /// Records and deletions.
    pub(crate) entries: u64,
}

impl TableFile {
    /// Opens a file by way of a new folder on its device.
    pub(crate) fn open(file: &Path, scratch: PathBuf) -> Result<Self> {
        fs::create_dir(&scratch).on("create the folder", &scratch)?;
        // From here on dropping it removes the folder.
        let mut table = Self { database: None, scratch };
        let mut options = Options::default();
        options.create_if_missing(true);
        let database = DB::open(&options, table.scratch.join("db")).attempting("open a database around a file")?;
        let database = table.database.insert(database);
        let link = table.scratch.join("link.sst");
        fs::hard_link(file, &link).on("link", &link)?;
        let mut ingest = IngestExternalFileOptions::default();
        // The link is moved, the file stays.
        ingest.set_move_files(true);
        database.ingest_external_file_opts(&ingest, vec![link]).attempting("look into a file")?;
        Ok(table)
    }

    /// What RocksDB has noted of the file; `None` where it is empty.
    pub(crate) fn facts(&self) -> Result<Option<TableFacts>> {
        let Some(database) = &self.database else { return Ok(None) };
        let files = database.live_files().attempting("ask for the bounds of a file")?;
        let facts = |file: LiveFile| {
            Some(TableFacts { first: file.start_key?, last: file.end_key?, entries: file.num_entries })
        };
        Ok(files.into_iter().find_map(facts))
    }

    /// Shows every record; returns how many.
    pub(crate) fn records(&self, mut show: impl FnMut(&[u8], &[u8])) -> Result<u64> {
        let Some(database) = &self.database else { return Ok(0) };
        let mut read = ReadOptions::default();
        read.fill_cache(false);
        read.set_readahead_size(READAHEAD_BYTES);
        let mut iterator = database.raw_iterator_opt(read);
        iterator.seek_to_first();
        let mut count = 0;
        while let (Some(key), Some(value)) = (iterator.key(), iterator.value()) {
            show(key, value);
            count += 1;
            iterator.next();
        }
        iterator.status().attempting("read a file")?;
        Ok(count)
    }
}

impl Drop for TableFile {
    fn drop(&mut self) {
        drop(self.database.take());
        // What is left goes when the store opens next.
        let _ = fs::remove_dir_all(&self.scratch);
    }
}
