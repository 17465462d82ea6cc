//! The one place that opens RocksDB: options, column families, ingestion, properties.
//!
//! One database; a column family per tier named by the tier's id, `meta`, and RocksDB's own `default`, which stays
//! empty. Each tier's column family has exactly one `cf_path`: with several, RocksDB places files by level and size,
//! not by heat, and switches dynamic levels off.

mod checkpoint;
mod damage;
mod database;
mod families;
mod listener;
mod synced;
mod table_file;
mod tuning;

pub(crate) use damage::is_unreadable;
pub(crate) use database::{Database, Opened, Opening, TierHandle};
pub(crate) use table_file::TableFile;
