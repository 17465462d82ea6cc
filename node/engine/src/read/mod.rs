//! Reading: the row cache, point reads over the tiers, scans at one snapshot.

pub(crate) mod merge;
mod multi;
pub(crate) mod part_readers;
pub(crate) mod point;
pub(crate) mod range_size;
#[cfg(test)]
mod readahead_test;
pub(crate) mod readers;
mod row;
pub(crate) mod row_cache;
mod row_table;
pub(crate) mod scan;
pub(crate) mod value;
