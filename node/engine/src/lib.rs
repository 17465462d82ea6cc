//! The tiered storage engine of Thermocline: one RocksDB, a column family per tier, data moved between media by measured
//! heat under live traffic.
//!
//! A library: no network, no Kubernetes, and the only crate that names RocksDB. Calls block.
//!
//! ```
//! use thermocline_engine::{Durability, Engine, EngineOptions, Environment, Medium, TierSpec};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! let tier = |name: &str, rank, medium| TierSpec::new(name, rank, medium, folder.path().join(name), 1 << 30);
//! let tiers = vec![tier("hot", 0, Medium::Nvme), tier("cold", 20, Medium::Hdd)];
//! let engine = Engine::open(EngineOptions::new(tiers, 64 << 20), Environment::system(1))?;
//! let version = engine.put(b"greeting", b"hello", Durability::Wal)?;
//! let record = engine.get(b"greeting")?.expect("it was just written");
//! assert_eq!((record.value.as_ref(), record.version), (&b"hello"[..], version));
//! engine.close()?;
//! # Ok(())
//! # }
//! ```
//!
//! Invariants (each has a [`Guard`] and a test that fails without it):
//! - **I1** user writes touch the fastest tier only;
//! - **I2** for every key the version in a faster tier is at least the version in a slower one;
//! - **I3** a copy leaves a tier only when the same or a newer version is durable below, or it is a clean copy whose
//!   source is there, or a tombstone with nothing left below;
//! - **I4** only the holder of a range lease writes slower tiers.
//!
//! Where to read on: `write/writer.rs` and `read/point.rs` (the paths of users), `mover/demote.rs` and
//! `mover/promote.rs` (the protocol of moves), `lease` and `mover/journal.rs` (who may, and what a crash leaves).

// Tests race threads against each other in real time; what they hand to the code is a clock of their own.
#![cfg_attr(test, allow(clippy::disallowed_methods))]

pub mod classify;
pub mod heat;
pub mod log;

mod engine;
mod environment;
mod error;
mod format;
mod guard;
mod lease;
mod limits;
mod mover;
mod options;
mod prefetch;
mod range;
mod read;
mod replica;
mod rocks;
mod space;
mod spread;
mod stats;
mod synced_mark;
mod temperature;
mod tier;
mod write;

pub use engine::{AuditReport, CopyReport, Engine, Explanation, HeatReport, MoveRequest, OpenError, Same};
pub use environment::{Clock, CrashHook, CrashPoint, DeviceProbe, DeviceSpace, Environment, SystemClock, SystemProbe};
pub use error::{EngineError, Result, chain, printable_key};
pub use format::record::RecordKind;
pub use guard::Guard;
pub use lease::RangeLease;
pub use limits::{
    MAX_BATCH_BYTES, MAX_KEY_BYTES, MAX_QUEUED_BYTES, MAX_QUEUED_ENTRIES, MAX_TIERS, MAX_VALUE_BYTES, MAX_VERSION,
};
pub use mover::{Cancel, MoveReason, MoveStep, Moved};
pub use options::{Durability, EngineOptions};
pub use range::KeyRange;
pub use read::point::Record;
pub use read::range_size::RangeSize;
pub use read::scan::{Scan, ScanOptions, Snapshot};
pub use read::value::Value;
pub use replica::{ApplyBatch, ApplyEntry, CallerRecord, ExportFile, ExportManifest, LogicalHash};
pub use stats::{EngineStats, Health, LatencySummary, MoveTotal, TierReport};
pub use tier::{Compression, Medium, Profile, TierId, TierSettings, TierSpec};
pub use write::batch::{Batch, Condition, Mutation, WriteOutcome};
pub use write::bulk::{BulkLoad, BulkMode};
pub use write::transaction::{Savepoint, Transaction};
