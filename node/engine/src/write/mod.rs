//! Writing: stripes, versions, batches, conditions, the buffered queue.

pub(crate) mod batch;
pub(crate) mod buffered;
pub(crate) mod bulk;
pub(crate) mod group_sync;
pub(crate) mod loads;
pub(crate) mod stripes;
#[cfg(test)]
mod sync_test;
pub(crate) mod transaction;
pub(crate) mod versions;
pub(crate) mod writer;
