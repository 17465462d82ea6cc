//! The engine: an open store and the operations on it.
//!
//! [`Engine`] is a cheap-clone handle whose methods block; the last one dropped closes the store. Behind it, `Inner`
//! holds the parts: each path (read, write, move, replica) is an `impl Inner` in the folder of that path.

mod api;
mod audit;
mod background;
mod checkpoint;
mod lost;
mod open;
mod open_error;
mod plan;
mod replica_api;
mod report;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

pub use api::{CopyReport, Explanation, HeatReport, MoveRequest};
pub use audit::AuditReport;
pub use open_error::{OpenError, Same};

use crate::classify::ValidPolicy;
use crate::environment::Environment;
use crate::error::{EngineError, Result};
use crate::lease::{Fences, Leases};
use crate::mover::{Bucket, MoverControl};
use crate::prefetch::Prefetch;
use crate::read::part_readers::PartReaders;
use crate::read::readers::Readers;
use crate::read::row_cache::RowCache;
use crate::rocks::Database;
use crate::space::Space;
use crate::stats::Stats;
use crate::temperature::Temperature;
use crate::tier::TierState;
use crate::tier::lock::FolderLock;
use crate::write::buffered::Buffered;
use crate::write::group_sync::GroupSync;
use crate::write::loads::Loads;
use crate::write::stripes::Stripes;
use crate::write::versions::Versions;

/// An open store. Clones share it; the last one dropped closes it.
#[derive(Clone)]
pub struct Engine {
    // Before `inner`: the threads hold it too and end first.
    background: Arc<background::Background>,
    inner: Arc<Inner>,
}

/// The parts of an open store.
pub(crate) struct Inner {
    pub(crate) database: Database,
    /// Fastest first; the index is the tier's number everywhere in the engine.
    pub(crate) tiers: Vec<TierState>,
    pub(crate) stripes: Stripes,
    pub(crate) versions: Versions,
    pub(crate) buffered: Buffered,
    pub(crate) group_sync: GroupSync,
    pub(crate) loads: Loads,
    pub(crate) row_cache: RowCache,
    pub(crate) readers: Readers,
    pub(crate) leases: Arc<Leases>,
    pub(crate) fences: Fences,
    pub(crate) space: Space,
    pub(crate) stats: Stats,
    pub(crate) heat: Temperature,
    pub(crate) prefetch: Prefetch,
    pub(crate) part_readers: PartReaders,
    pub(crate) policy: ArcSwap<ValidPolicy>,
    pub(crate) move_budget: Bucket,
    pub(crate) mover: MoverControl,
    pub(crate) environment: Environment,
    file_number: AtomicU64,
    synced_version: AtomicU64,
    classified_at: Mutex<Option<Duration>>,
    closing: AtomicBool,
    // Last: the folders are free when the database is closed.
    _locks: Vec<FolderLock>,
}

impl Inner {
    /// A number for a file to ingest, unique in this opening.
    pub(crate) fn next_file_number(&self) -> u64 {
        self.file_number.fetch_add(1, Ordering::Relaxed)
    }

    /// Refuses long work once the store closes, or storage failed: a sync that comes after a failed one proves nothing, so
    /// no copy may be dropped because of it.
    pub(crate) fn check_open(&self) -> Result<()> {
        if self.closing.load(Ordering::SeqCst) {
            return Err(EngineError::Cancelled);
        }
        self.database.check()
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::SeqCst)
    }

    /// Makes everything that was logged so far survive a power loss; returns the last version up to which all does.
    pub(crate) fn sync(&self) -> Result<u64> {
        let version = self.versions.last();
        // Whoever took one of these versions and has not written it yet is in its stripe until it has.
        self.stripes.wait_for_writers();
        let version = self.versions.logged_up_to(version);
        self.buffered.flush(&self.database)?;
        self.database.sync_wal()?;
        Ok(self.synced_version.fetch_max(version, Ordering::SeqCst).max(version))
    }

    /// The number of a tier.
    pub(crate) fn tier_named(&self, name: &str) -> Result<usize> {
        self.tiers.iter().position(|t| t.name() == name).ok_or_else(|| {
            let known: Vec<_> = self.tiers.iter().map(TierState::name).collect();
            EngineError::UnknownTier { name: name.to_owned(), known: known.join(", ") }
        })
    }
}
