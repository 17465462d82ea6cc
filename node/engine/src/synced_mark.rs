//! The mark of what was last synced: how a database that lost acknowledged writes is recognised when it opens.
//!
//! After a crash RocksDB replays its write-ahead log up to the first record that does not add up, which is right for the torn
//! tail that a power loss leaves, and silently wrong for a rotten byte in the middle: everything behind it is gone,
//! acknowledged writes too. So after each sync, and before those who waited for it are answered, the sequence number is
//! written to a file of its own. That file is not synced: the number in it is always one that *was* synced, however old, so
//! it can miss a loss (when power failed within seconds of it) but never report a false one. After a mere kill it is exact.
//!
//! The number has to be that of a record in the log, or below one: what is written past the log takes sequence numbers too,
//! and they are gone with the process.
//!
//! ```text
//! 0..8   sequence number, big-endian
//! 8..16  xxh3-64 of these 8 bytes, big-endian
//! ```

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use xxhash_rust::xxh3::xxh3_64;

const MARK_BYTES: usize = 16;

/// The file that holds the mark.
#[derive(Debug)]
pub(crate) struct SyncedMark {
    file: File,
}

impl SyncedMark {
    /// Opens the file, making it where there is none.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        Ok(Self { file })
    }

    /// The sequence number in the file; `None` where there is none, or half of one after a power loss.
    pub(crate) fn read(&self) -> io::Result<Option<u64>> {
        let mut bytes = [0; MARK_BYTES];
        match self.file.read_exact_at(&mut bytes, 0) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        }
        let (number, sum) = bytes.split_at(MARK_BYTES / 2);
        let whole = xxh3_64(number).to_be_bytes() == sum;
        Ok(number.try_into().ok().map(u64::from_be_bytes).filter(|_| whole))
    }

    /// Notes that everything up to `sequence` is synced. Not synced itself, see above.
    pub(crate) fn write(&self, sequence: u64) -> io::Result<()> {
        let number = sequence.to_be_bytes();
        let mut bytes = [0; MARK_BYTES];
        bytes[..8].copy_from_slice(&number);
        bytes[8..].copy_from_slice(&xxh3_64(&number).to_be_bytes());
        self.file.write_all_at(&bytes, 0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn the_mark_reads_back_and_a_torn_one_counts_as_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("synced");
        let mark = SyncedMark::open(&path).unwrap();
        assert_eq!(mark.read().unwrap(), None);
        mark.write(7).unwrap();
        mark.write(u64::MAX - 1).unwrap();
        assert_eq!(SyncedMark::open(&path).unwrap().read().unwrap(), Some(u64::MAX - 1));
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[3] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(SyncedMark::open(&path).unwrap().read().unwrap(), None);
        std::fs::write(&path, &bytes[..9]).unwrap();
        assert_eq!(SyncedMark::open(&path).unwrap().read().unwrap(), None);
    }
}
