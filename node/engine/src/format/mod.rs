//! The bytes on disk: data keys, records, the keys of `meta`. Written down byte by byte in `docs/format.md`.

pub(crate) mod keys;
pub(crate) mod meta;
pub(crate) mod record;
