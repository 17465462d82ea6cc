//! The reserve of the log's device: appends are refused while there is still room for votes, purges and RocksDB itself.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::error::LogError;
use super::fault::Fault;

/// Bytes accepted between two looks at the device, at most: small against any sensible reserve.
const BYTES_PER_LOOK: u64 = 4 << 20;

/// Decides whether an append still fits.
pub(super) struct Reserve {
    folder: PathBuf,
    bytes: AtomicU64,
    fault: Option<Arc<dyn Fault>>,
    // What may be accepted before the next look.
    allowance: AtomicU64,
}

impl Reserve {
    /// Keeps `bytes` free on the device of `folder`.
    pub(super) fn new(folder: PathBuf, bytes: u64, fault: Option<Arc<dyn Fault>>) -> Self {
        Self { folder, bytes: AtomicU64::new(bytes), fault, allowance: AtomicU64::new(0) }
    }

    /// Keeps so much free from now on.
    pub(super) fn set(&self, bytes: u64) {
        self.bytes.store(bytes, Ordering::SeqCst);
        // What was allowed under the old reserve is looked at again. An append that looked just before may bring up to
        // `BYTES_PER_LOOK` back: as small against the new reserve.
        self.allowance.store(0, Ordering::SeqCst);
    }

    /// Refuses an append of so many bytes if it would go into the reserve.
    pub(super) fn admit(&self, bytes: usize) -> Result<(), LogError> {
        let bytes = bytes as u64;
        let take = |allowance: u64| allowance.checked_sub(bytes);
        if self.allowance.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok() {
            return Ok(());
        }
        let reserve = self.bytes.load(Ordering::SeqCst);
        let available = self.available().map_err(|source| LogError::Space(Arc::new(source)))?;
        let Some(free) = available.checked_sub(reserve.saturating_add(bytes)) else {
            return Err(LogError::OutOfSpace { available, reserve });
        };
        self.allowance.store(free.min(BYTES_PER_LOOK), Ordering::Relaxed);
        Ok(())
    }

    fn available(&self) -> io::Result<u64> {
        let facts = rustix::fs::statvfs(&self.folder)?;
        let measured = facts.f_bavail.saturating_mul(facts.f_frsize);
        Ok(self.fault.as_ref().map_or(measured, |fault| fault.available_bytes(measured)))
    }
}
