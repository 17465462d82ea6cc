//! What RocksDB tells about itself: background failures and write stalls.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use rocksdb::event_listener::{
    CompactionJobInfo, DBBackgroundErrorReason, DBWriteStallCondition, EventListener, MutableStatus, WriteStallInfo,
};

use super::damage::{Damage, is_unreadable};

/// The first failed write to storage: sticky until the store is reopened.
#[derive(Debug, Default)]
pub(crate) struct Failure(OnceLock<String>);

impl Failure {
    pub(crate) fn set(&self, reason: String) {
        if self.0.set(reason.clone()).is_ok() {
            tracing::error!(%reason, "storage failed: writes are refused until the store is reopened");
        }
    }

    pub(crate) fn reason(&self) -> Option<&str> {
        self.0.get().map(String::as_str)
    }
}

/// Counts and keeps what RocksDB reports.
#[derive(Debug, Default)]
pub(crate) struct BackgroundEvents {
    pub(crate) failure: Failure,
    /// Times a column family entered a delayed or stopped state.
    pub(crate) stalls: AtomicU64,
    /// Compactions that met blocks they could not read.
    pub(crate) corrupt_compactions: AtomicU64,
    /// Where those blocks are.
    pub(crate) damage: Damage,
    /// Background writes that found no space.
    pub(crate) out_of_space: AtomicU64,
}

/// The listener handed to RocksDB.
pub(crate) struct Listener(pub(crate) Arc<BackgroundEvents>);

impl EventListener for Listener {
    fn on_stall_conditions_changed(&self, info: &WriteStallInfo) {
        if !matches!(info.cur(), DBWriteStallCondition::KNormal) {
            self.0.stalls.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn on_compaction_completed(&self, info: &CompactionJobInfo) {
        let family = info.cf_name().unwrap_or_default();
        let family = String::from_utf8_lossy(&family);
        match info.status() {
            Ok(()) => self.0.damage.healed(&family, |file| {
                let among =
                    |mut paths: Box<dyn Iterator<Item = &[u8]> + '_>| paths.any(|p| p.ends_with(file.as_bytes()));
                // A file that only changes its level was not read.
                among(Box::new(info.input_files())) && !among(Box::new(info.output_files()))
            }),
            Err(error) if is_unreadable(&error) && self.0.damage.note(&family, error.as_ref()) => {
                tracing::error!(%error, "a compaction met damaged blocks; restore that range or replace the device");
            }
            Err(_) => {}
        }
    }

    fn on_background_error(&self, reason: DBBackgroundErrorReason, status: MutableStatus) {
        let Err(error) = status.result().as_ref() else {
            return;
        };
        let compaction = matches!(reason, DBBackgroundErrorReason::KCompaction);
        if compaction && is_unreadable(error) {
            // The range stays as it is and answers Corrupt; everything else goes on.
            self.0.corrupt_compactions.fetch_add(1, Ordering::Relaxed);
            status.reset();
        } else if error.as_ref().contains("No space left") {
            // RocksDB goes on by itself when space returns; the space monitor refuses writes meanwhile.
            tracing::warn!(%error, "a background write found no space");
            self.0.out_of_space.fetch_add(1, Ordering::Relaxed);
        } else {
            self.0.failure.set(error.to_string());
        }
    }
}
