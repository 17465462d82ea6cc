//! The bounds of the engine, each defined once.

/// The longest key, in bytes.
pub const MAX_KEY_BYTES: usize = 4 * 1024;
/// The longest value, in bytes.
pub const MAX_VALUE_BYTES: usize = 8 * 1024 * 1024;
/// The largest atomic batch, in bytes of keys and values: it must fit a write buffer.
pub const MAX_BATCH_BYTES: usize = 64 * 1024 * 1024;
/// The most buffered writes that wait while they cannot be written ...
pub const MAX_QUEUED_ENTRIES: usize = 64_000;
/// ... and the most bytes of their keys and values. A single batch may be as large.
pub const MAX_QUEUED_BYTES: usize = MAX_BATCH_BYTES;
/// The highest version of a record. Those above are room for a counter that must not wrap.
pub const MAX_VERSION: u64 = u64::MAX - (1 << 32);
/// The most tiers of one store.
pub const MAX_TIERS: usize = 4;
/// How many stripes keys are hashed to. A power of two. At 8 bytes each they stay in a core's second cache beside what a
/// put touches; with sixteen times as many, fetching the stripe was 3 % of a put.
pub const STRIPES: usize = 4 * 1024;
/// What is read of a spinning disk at once, at most: a seek costs as much as a megabyte.
pub(crate) const READAHEAD_BYTES: usize = 2 << 20;
