//! Versions of a standalone store: a counter whose ceiling is stored before it is reached.
//!
//! No version above the stored ceiling is ever given out, so a reopened store that begins at the ceiling never gives
//! one out twice, whatever was lost from the end of the log: the ceiling is in the same log, before them.
//!
//! The ceiling stops at [`MAX_VERSION`], so the check against it is also the one that the counter never wraps.
//!
//! Records written without the log are not durable when the log is synced: the *unlogged* mark holds the synced position
//! below them until they are in a file.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::error::{EngineError, Result};
use crate::format::meta;
use crate::guard::Guard;
use crate::limits::MAX_VERSION;
use crate::rocks::Database;

/// How many versions one stored ceiling gives.
const BLOCK: u64 = 1 << 20;
/// The unlogged mark where every record is in the log or in a file.
const ALL_LOGGED: u64 = u64::MAX;

/// The version counter.
pub(crate) struct Versions {
    next: AtomicU64,
    ceiling: AtomicU64,
    raising: Mutex<()>,
    /// The first version written without the log and not in a file yet.
    unlogged: AtomicU64,
}

/// Whether a version that comes from outside may be a record's.
pub(crate) const fn check_version(version: u64) -> Result<()> {
    if version > MAX_VERSION {
        return Err(EngineError::VersionTooHigh { version });
    }
    Ok(())
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
        let stored = stored.min(MAX_VERSION);
        Ok(Self {
            next: AtomicU64::new(stored + 1),
            ceiling: AtomicU64::new(stored),
            raising: Mutex::new(()),
            unlogged: AtomicU64::new(ALL_LOGGED),
        })
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
        check_version(version)?;
        self.next.fetch_max(version + 1, Ordering::SeqCst);
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
        if version > MAX_VERSION {
            // Back from where failed tries have pushed it: there is room for more of them than there are threads.
            self.next.fetch_min(MAX_VERSION + 1, Ordering::SeqCst);
            return Err(EngineError::VersionsUsedUp);
        }
        let ceiling = (version + BLOCK).min(MAX_VERSION);
        if Guard::VersionCeiling.on() {
            database.put_meta(meta::VERSION_CEILING, &ceiling.to_be_bytes(), false)?;
        }
        self.ceiling.store(ceiling, Ordering::SeqCst);
        Ok(())
    }

    /// The highest version given out so far.
    pub(crate) fn last(&self) -> u64 {
        (self.next.load(Ordering::SeqCst) - 1).min(MAX_VERSION)
    }

    /// Notes a version that is written without the log; inside its stripe, before it is written.
    pub(crate) fn note_unlogged(&self, version: u64) {
        self.unlogged.fetch_min(version, Ordering::SeqCst);
    }

    /// Everything that was noted as unlogged is in a file. There is one unlogged load at a time: it holds every range.
    pub(crate) fn all_logged(&self) {
        self.unlogged.store(ALL_LOGGED, Ordering::SeqCst);
    }

    /// How far a sync of the log goes, of the versions up to `version`. Asked when nobody writes one of these any more.
    pub(crate) fn logged_up_to(&self, version: u64) -> u64 {
        let unlogged = self.unlogged.load(Ordering::SeqCst);
        version.min(unlogged.saturating_sub(1))
    }
}
