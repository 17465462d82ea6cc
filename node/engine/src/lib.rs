//! The tiered storage engine: one RocksDB, a column family per tier, moved by measured heat
