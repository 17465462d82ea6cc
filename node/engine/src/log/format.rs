//! The bytes of the log store on disk, documented byte by byte; nothing else in the module knows an offset.
//!
//! All integers are big-endian, so that RocksDB's byte order is the order of (group, incarnation, index).
//!
//! # Keys
//! ```text
//! store   00                                                      1 byte
//! group   01 | group 8                                            9 bytes
//! state   02 | group 8 | incarnation 8 | state key 1             18 bytes
//! entry   03 | group 8 | incarnation 8 | index 8                 25 bytes
//! ```
//! The *incarnation* is a number that the store never gives twice. A group that is removed and made again gets another one, so
//! that whatever a dropped file or a range tombstone leaves behind of the old log can never be read as the new one.
//!
//! # Values
//! Every value is sealed the same way:
//! ```text
//! 0      format version, 1 now
//! 1..9   xxh3-64 of: the key's bytes, the version byte, the payload
//! 9..    payload
//! ```
//! The key is part of the checksum: an entry that sits under another index or group is corrupt, not merely misplaced.
//!
//! Payloads:
//! ```text
//! store   next incarnation 8
//! group   incarnation 8 | purged 1 (0: never, 1: up to the index) | purged index 8 | the caller's mark, the rest
//! state   the caller's bytes
//! entry   the caller's bytes
//! ```

use bytes::Bytes;
use xxhash_rust::xxh3::Xxh3;

/// The version byte of every value.
pub(super) const FORMAT_VERSION: u8 = 1;

const KIND_STORE: u8 = 0;
const KIND_GROUP: u8 = 1;
const KIND_STATE: u8 = 2;
const KIND_ENTRY: u8 = 3;

/// Length of a group record's key.
pub(super) const GROUP_KEY_BYTES: usize = 9;
/// Length of a state record's key.
pub(super) const STATE_KEY_BYTES: usize = 18;
/// Length of an entry's key.
pub(super) const ENTRY_KEY_BYTES: usize = 25;
/// Bytes of a value before its payload.
pub(super) const SEAL_BYTES: usize = 9;
const GROUP_RECORD_FIXED_BYTES: usize = 17;

// A changed layout must not go unnoticed: it needs a new FORMAT_VERSION and a reader for the old one.
const _: () = assert!(GROUP_KEY_BYTES == 1 + size_of::<u64>());
const _: () = assert!(STATE_KEY_BYTES == GROUP_KEY_BYTES + size_of::<u64>() + 1);
const _: () = assert!(ENTRY_KEY_BYTES == GROUP_KEY_BYTES + 2 * size_of::<u64>());
const _: () = assert!(SEAL_BYTES == 1 + size_of::<u64>());
const _: () = assert!(GROUP_RECORD_FIXED_BYTES == 2 * size_of::<u64>() + 1);
const _: () = assert!(KIND_STORE < KIND_GROUP && KIND_GROUP < KIND_STATE && KIND_STATE < KIND_ENTRY);
const _: () = assert!(StateKey::Vote as u8 == 1 && StateKey::Committed as u8 == 2 && StateKey::Identity as u8 == 3);

/// The store record's key.
pub(super) const STORE_KEY: [u8; 1] = [KIND_STORE];
/// Where the group records begin and end.
pub(super) const GROUP_RECORDS: ([u8; 1], [u8; 1]) = ([KIND_GROUP], [KIND_STATE]);
/// Where the state records begin and end.
pub(super) const STATE_RECORDS: ([u8; 1], [u8; 1]) = ([KIND_STATE], [KIND_ENTRY]);
/// Where the entries begin and end.
pub(super) const ENTRIES: ([u8; 1], [u8; 1]) = ([KIND_ENTRY], [KIND_ENTRY + 1]);

/// The small values kept beside a group's entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum StateKey {
    /// The replica's vote.
    Vote = 1,
    /// The last index known to be committed.
    Committed = 2,
    /// Which replica of the group this is.
    Identity = 3,
}

impl StateKey {
    /// Every key, in the order of their bytes.
    pub const ALL: [Self; 3] = [Self::Vote, Self::Committed, Self::Identity];

    pub(super) fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|key| *key as u8 == byte)
    }
}

/// What a purge leaves behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purged {
    /// The last index that is gone.
    pub index: u64,
    /// The caller's bytes for it, for example the log id with its term.
    pub mark: Bytes,
}

/// The payload of a group record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GroupRecord {
    pub(super) incarnation: u64,
    pub(super) purged: Option<Purged>,
}

/// Why stored bytes are not what was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// Fewer bytes than the record has.
    #[error("{found} bytes, at least {needed} are needed")]
    TooShort {
        /// Bytes there are.
        found: usize,
        /// Bytes the record has at least.
        needed: usize,
    },
    /// Written by a version that is not known here.
    #[error("format version {found}, this build reads {FORMAT_VERSION}")]
    Version {
        /// The version byte.
        found: u8,
    },
    /// The bytes changed after they were written.
    #[error("checksum {found:016x}, the bytes give {computed:016x}")]
    Checksum {
        /// The stored checksum.
        found: u64,
        /// The checksum of what is stored.
        computed: u64,
    },
    /// A key or a field that no version writes.
    #[error("unknown bytes in a key or field")]
    Unknown,
}

fn put<const N: usize>(key: &mut [u8; N], at: usize, value: u64) {
    key[at..at + size_of::<u64>()].copy_from_slice(&value.to_be_bytes());
}

/// The `u64` at an offset, `None` if the bytes end before.
fn number(bytes: &[u8], at: usize) -> Option<u64> {
    let field = bytes.get(at..at + size_of::<u64>())?;
    Some(u64::from_be_bytes(field.try_into().ok()?))
}

/// The key of a group's record.
pub(super) fn group_key(group: u64) -> [u8; GROUP_KEY_BYTES] {
    let mut key = [KIND_GROUP; GROUP_KEY_BYTES];
    put(&mut key, 1, group);
    key
}

/// The key of a state record; `state` is a byte so that 0 can mark where the records of an incarnation begin.
pub(super) fn state_key(group: u64, incarnation: u64, state: u8) -> [u8; STATE_KEY_BYTES] {
    let mut key = [KIND_STATE; STATE_KEY_BYTES];
    put(&mut key, 1, group);
    put(&mut key, 9, incarnation);
    key[17] = state;
    key
}

/// The key of an entry.
pub(super) fn entry_key(group: u64, incarnation: u64, index: u64) -> [u8; ENTRY_KEY_BYTES] {
    let mut key = [KIND_ENTRY; ENTRY_KEY_BYTES];
    put(&mut key, 1, group);
    put(&mut key, 9, incarnation);
    put(&mut key, 17, index);
    key
}

/// The group of a group record's key.
pub(super) fn parse_group_key(key: &[u8]) -> Option<u64> {
    (key.len() == GROUP_KEY_BYTES && key[0] == KIND_GROUP).then(|| number(key, 1))?
}

/// The group and incarnation that a state record or an entry belongs to.
pub(super) fn parse_owner(key: &[u8]) -> Option<(u64, u64)> {
    let known = match key.first() {
        Some(&KIND_STATE) => key.len() == STATE_KEY_BYTES,
        Some(&KIND_ENTRY) => key.len() == ENTRY_KEY_BYTES,
        _ => false,
    };
    known.then(|| Some((number(key, 1)?, number(key, 9)?)))?
}

/// The index of an entry's key.
pub(super) fn parse_index(key: &[u8]) -> Option<u64> {
    (key.len() == ENTRY_KEY_BYTES && key[0] == KIND_ENTRY).then(|| number(key, 17))?
}

fn checksum(key: &[u8], version: u8, payload: &[u8]) -> u64 {
    let mut hash = Xxh3::new();
    hash.update(key);
    hash.update(&[version]);
    hash.update(payload);
    hash.digest()
}

/// The bytes that go before a payload.
pub(super) fn seal(key: &[u8], payload: &[u8]) -> [u8; SEAL_BYTES] {
    let mut head = [FORMAT_VERSION; SEAL_BYTES];
    put(&mut head, 1, checksum(key, FORMAT_VERSION, payload));
    head
}

/// The payload of a sealed value, once it is known to be what was written under this key.
pub(super) fn unseal<'v>(key: &[u8], value: &'v [u8]) -> Result<&'v [u8], FormatError> {
    let short = FormatError::TooShort { found: value.len(), needed: SEAL_BYTES };
    let (head, payload) = value.split_at_checked(SEAL_BYTES).ok_or(short)?;
    let found = number(head, 1).ok_or(short)?;
    let computed = checksum(key, head[0], payload);
    if found != computed {
        return Err(FormatError::Checksum { found, computed });
    }
    if head[0] != FORMAT_VERSION {
        return Err(FormatError::Version { found: head[0] });
    }
    Ok(payload)
}

/// The payload of the store record.
pub(super) fn parse_store_record(payload: &[u8]) -> Result<u64, FormatError> {
    number(payload, 0).ok_or(FormatError::TooShort { found: payload.len(), needed: size_of::<u64>() })
}

impl GroupRecord {
    /// The payload as bytes.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mark = self.purged.as_ref().map_or(&[][..], |purged| &purged.mark);
        let mut payload = Vec::with_capacity(GROUP_RECORD_FIXED_BYTES + mark.len());
        payload.extend_from_slice(&self.incarnation.to_be_bytes());
        payload.push(u8::from(self.purged.is_some()));
        payload.extend_from_slice(&self.purged.as_ref().map_or(0, |purged| purged.index).to_be_bytes());
        payload.extend_from_slice(mark);
        payload
    }

    /// The record of a payload.
    pub(super) fn decode(payload: &[u8]) -> Result<Self, FormatError> {
        let short = FormatError::TooShort { found: payload.len(), needed: GROUP_RECORD_FIXED_BYTES };
        let (fixed, mark) = payload.split_at_checked(GROUP_RECORD_FIXED_BYTES).ok_or(short)?;
        let incarnation = number(fixed, 0).ok_or(short)?;
        let index = number(fixed, 9).ok_or(short)?;
        let purged = match fixed[8] {
            0 => None,
            1 => Some(Purged { index, mark: Bytes::copy_from_slice(mark) }),
            _ => return Err(FormatError::Unknown),
        };
        Ok(Self { incarnation, purged })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn the_bytes_on_disk_are_the_documented_ones() {
        assert_eq!(group_key(0x0102), [1, 0, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!(state_key(1, 2, 3), [2, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 3]);
        assert_eq!(
            entry_key(1, 2, 0x0304),
            [3, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 3, 4]
        );
        let record = GroupRecord { incarnation: 7, purged: Some(Purged { index: 9, mark: Bytes::from_static(b"m") }) };
        assert_eq!(record.encode(), [0, 0, 0, 0, 0, 0, 0, 7, 1, 0, 0, 0, 0, 0, 0, 0, 9, b'm']);
        // Version 1 and the xxh3-64 of `03 .. 04`, 1, "payload": fixed, so that a library that hashes otherwise is noticed.
        let head = seal(&entry_key(1, 2, 0x0304), b"payload");
        assert_eq!(head[0], 1);
        let whole: Vec<u8> = entry_key(1, 2, 0x0304).iter().chain(&[1]).chain(b"payload").copied().collect();
        assert_eq!(head[1..], xxhash_rust::xxh3::xxh3_64(&whole).to_be_bytes());
    }

    #[test]
    fn keys_sort_by_group_then_incarnation_then_index() {
        let mut keys = Vec::new();
        for group in [0, 1, 255, 256, u64::MAX] {
            for incarnation in [0, 1, u64::from(u32::MAX) + 1] {
                for index in [0, 1, 255, 256, u64::MAX] {
                    keys.push(entry_key(group, incarnation, index));
                }
            }
        }
        assert!(keys.is_sorted());
    }

    #[test]
    fn records_read_back_as_written_and_keys_parse_to_their_parts() {
        for purged in [None, Some(Purged { index: u64::MAX, mark: Bytes::new() })] {
            let record = GroupRecord { incarnation: 5, purged };
            assert_eq!(GroupRecord::decode(&record.encode()), Ok(record));
        }
        assert_eq!(parse_group_key(&group_key(77)), Some(77));
        assert_eq!(parse_owner(&entry_key(1, 2, 3)), Some((1, 2)));
        assert_eq!(parse_owner(&state_key(4, 5, 1)), Some((4, 5)));
        assert_eq!(parse_index(&entry_key(1, 2, 3)), Some(3));
        assert_eq!(parse_owner(&group_key(1)), None);
        assert_eq!(parse_index(&state_key(1, 2, 3)), None);
        assert_eq!(StateKey::from_byte(2), Some(StateKey::Committed));
        assert_eq!(StateKey::from_byte(0), None);
    }

    #[test]
    fn every_flipped_bit_of_a_sealed_value_is_noticed() {
        let key = entry_key(1, 2, 3);
        let mut value = seal(&key, b"some payload").to_vec();
        value.extend_from_slice(b"some payload");
        assert_eq!(unseal(&key, &value), Ok(&b"some payload"[..]));
        for bit in 0..value.len() * 8 {
            value[bit / 8] ^= 1 << (bit % 8);
            assert!(unseal(&key, &value).is_err(), "bit {bit}");
            value[bit / 8] ^= 1 << (bit % 8);
        }
        assert!(matches!(unseal(&entry_key(1, 2, 4), &value), Err(FormatError::Checksum { .. })), "another index");
        for length in 0..SEAL_BYTES {
            assert!(matches!(unseal(&key, &value[..length]), Err(FormatError::TooShort { .. })));
        }
    }

    #[test]
    fn a_value_of_a_later_version_is_refused_by_its_version() {
        let key = group_key(1);
        let mut value = vec![FORMAT_VERSION + 1];
        value.extend_from_slice(&checksum(&key, FORMAT_VERSION + 1, b"x").to_be_bytes());
        value.push(b'x');
        assert_eq!(unseal(&key, &value), Err(FormatError::Version { found: FORMAT_VERSION + 1 }));
    }
}
