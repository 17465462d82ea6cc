//! The keys of the `meta` column family. The first byte names the kind.
//!
//! ```text
//! 0x01                       the store's tiers, JSON (identity::StoreIdentity)
//! 0x02                       version ceiling, 8 bytes big-endian
//! 0x03                       lease generation, 8 bytes big-endian
//! 0x04 generation (8, BE)    journal entry, JSON (mover::journal::JournalEntry)
//! 0x05                       heat, in stores from before it was a file of its own
//! 0x06                       the last tier that has no tombstones, its id, 8 bytes big-endian
//! 0x07                       empty: the record that a sync of the log puts above the mark of what was synced
//! 0x10 ...                   records of the caller (replicas), given as they are
//! ```

/// The tiers of the store.
pub(crate) const STORE: &[u8] = &[0x01];
/// No version above this one has been given out.
pub(crate) const VERSION_CEILING: &[u8] = &[0x02];
/// The last range lease generation given out.
pub(crate) const LEASE_GENERATION: &[u8] = &[0x03];
/// What a journal entry's key begins with.
pub(crate) const JOURNAL: u8 = 0x04;
/// Where the heat was before it was a file of its own; taken from there once.
pub(crate) const HEAT: &[u8] = &[0x05];
/// The tier that was the last one when it was last looked through for tombstones: it has none.
pub(crate) const SWEPT_TIER: &[u8] = &[0x06];
/// Logged with each sync, above the sequence number that is noted as synced.
pub(crate) const SYNCED: &[u8] = &[0x07];
/// What a caller's record's key begins with.
pub(crate) const CALLER: u8 = 0x10;

/// The key of the journal entry of a lease generation.
pub(crate) fn journal(generation: u64) -> [u8; 9] {
    let mut key = [JOURNAL; 9];
    key[1..].copy_from_slice(&generation.to_be_bytes());
    key
}

/// The key of a caller's record.
pub(crate) fn caller(key: &[u8]) -> Vec<u8> {
    let mut full = Vec::with_capacity(key.len() + 1);
    full.push(CALLER);
    full.extend_from_slice(key);
    full
}
