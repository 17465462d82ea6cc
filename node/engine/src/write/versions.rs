//! Versions of a standalone store: a counter whose ceiling is stored before it is reached.
//!
//! No version above the stored ceiling is ever given out, so a reopened store that begins at the ceiling never gives
//! one out twice, whatever was lost from the end of the log: the ceiling is in the same log, before them.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::error::{EngineError, Result};
use crate::format::meta;
use crate::guard::Guard;
use crate::rocks::Database;

/// How many versions one stored ceiling gives.
const BLOCK: u64 = 1 << 20;

/// The version counter.
pub(crate) struct Versions {
    next: AtomicU64,
    ceiling: AtomicU64,
    raising: Mutex<()>,
}

impl Versions {
    /// Continues where the stored ceiling says.
    pub(crate) fn open(database: &Database) -> Result<Self> {
        let stored = match database.get_meta(meta::VERSION_CEILING)? {
            None => 0,
            Some(bytes) => u64::from_be_bytes(
                bytes
                    .as_slice()
                    .try_into()
                    .map_err(|_| EngineError::Invalid("the stored version ceiling has not 8 bytes".to_owned()))?,
            ),
        };
        let versions =
            Self { next: AtomicU64::new(stored + 1), ceiling: AtomicU64::new(stored), raising: Mutex::new(()) };
        Ok(versions)
    }

    /// The next version; taken inside the stripe of the key it is for.
    pub(crate) fn next(&self, database: &Database) -> Result<u64> {
        let version = self.next.fetch_add(1, Ordering::SeqCst);
        if version > self.ceiling.load(Ordering::SeqCst) {
            self.raise(database, version)?;
        }
        Ok(version)
    }

    /// Makes every later version higher than `version`, which came from outside.
    pub(crate) fn observe(&self, database: &Database, version: u64) -> Result<()> {
        self.next.fetch_max(version.saturating_add(1), Ordering::SeqCst);
        if version > self.ceiling.load(Ordering::SeqCst) {
            self.raise(database, version)?;
        }
        Ok(())
    }

    fn raise(&self, database: &Database, version: u64) -> Result<()> {
        let _raising = self.raising.lock();
        if version <= self.ceiling.load(Ordering::SeqCst) {
            return Ok(());
        }
        let ceiling = version.saturating_add(BLOCK);
        if Guard::VersionCeiling.on() {
            database.put_meta(meta::VERSION_CEILING, &ceiling.to_be_bytes(), false)?;
        }
        self.ceiling.store(ceiling, Ordering::SeqCst);
        Ok(())
    }

    /// The highest version given out so far.
    pub(crate) fn last(&self) -> u64 {
        self.next.load(Ordering::SeqCst) - 1
    }
}
