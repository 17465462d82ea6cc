//! The seam for replicas: apply with given versions, wipe, export, install, logical hash, synced position.

mod apply;
mod export;
mod hash;
mod install;
mod manifest;
mod stage;
mod wipe;

pub(crate) use apply::caller_records;
pub use apply::{ApplyBatch, ApplyEntry, CallerRecord};
pub use hash::LogicalHash;
pub use manifest::{ExportFile, ExportManifest};
