//! Where things are on disk.
//!
//! ```text
//! ROOT/                      on the fastest medium
//!   store.json               the store's identity and its tiers
//!   store.lock               locked while the store is open
//!   synced                   how far the log was synced: the mark (`synced_mark`)
//!   heat.bin                 its heat, written now and then and when it closes
//!   db/                      MANIFEST, CURRENT, OPTIONS, `meta` and the default column family
//!   wal/                     the write-ahead log
//! TIER/                      one per tier, on its device
//!   tier.json                the tier's identity
//!   tier.lock                locked while the store is open
//!   data/                    its SST files: the one cf_path of its column family
//!   incoming/                files being made for ingestion; emptied when the store opens
//! ```

use std::path::PathBuf;

/// The store's own folder.
#[derive(Debug, Clone)]
pub(crate) struct RootLayout(pub(crate) PathBuf);

impl RootLayout {
    pub(crate) fn identity(&self) -> PathBuf {
        self.0.join("store.json")
    }
    pub(crate) fn lock(&self) -> PathBuf {
        self.0.join("store.lock")
    }
    pub(crate) fn mark(&self) -> PathBuf {
        self.0.join("synced")
    }
    pub(crate) fn heat(&self) -> PathBuf {
        self.0.join("heat.bin")
    }
    pub(crate) fn database(&self) -> PathBuf {
        self.0.join("db")
    }
    pub(crate) fn wal(&self) -> PathBuf {
        self.0.join("wal")
    }
}

/// A tier's folder.
#[derive(Debug, Clone)]
pub(crate) struct TierLayout(pub(crate) PathBuf);

impl TierLayout {
    pub(crate) fn identity(&self) -> PathBuf {
        self.0.join("tier.json")
    }
    pub(crate) fn lock(&self) -> PathBuf {
        self.0.join("tier.lock")
    }
    pub(crate) fn data(&self) -> PathBuf {
        self.0.join("data")
    }
    pub(crate) fn incoming(&self) -> PathBuf {
        self.0.join("incoming")
    }
}
