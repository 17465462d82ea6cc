//! Records: what a tier's column family stores under a data key.
//!
//! ```text
//! byte 0      tag. bits 0-1: kind (0 value, 1 tombstone, 2 clean copy); bit 2: expiry follows the version (reserved,
//!             refused today); bits 3-7: zero
//! byte 1..9   version, 8 bytes big-endian
//! byte 9..    payload (a tombstone has none)
//! ```
//! A *clean copy* is a value whose same version also stands in a slower tier, so it may leave by a bare delete.

/// The bytes before the payload.
pub(crate) const HEADER: usize = 9;
const KIND_MASK: u8 = 0b0000_0011;
const KNOWN_BITS: u8 = KIND_MASK;

/// What a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum RecordKind {
    /// The only copy of a value, as far as this tier knows.
    Value = 0,
    /// The key is deleted.
    Tombstone = 1,
    /// A value whose same version stands in a slower tier too.
    CleanCopy = 2,
}

/// A decoded record, borrowing its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RecordRef<'a> {
    pub(crate) kind: RecordKind,
    pub(crate) version: u64,
    pub(crate) payload: &'a [u8],
}

/// Why stored bytes are no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RecordError {
    #[error("a record of {0} bytes is shorter than its header")]
    Short(usize),
    #[error("record tag {0:#04x} is not known to this version")]
    Tag(u8),
}

/// Writes a record into `buffer`, replacing what it held.
pub(crate) fn encode_into(kind: RecordKind, version: u64, payload: &[u8], buffer: &mut Vec<u8>) {
    buffer.clear();
    buffer.reserve(HEADER + payload.len());
    buffer.push(kind as u8);
    buffer.extend_from_slice(&version.to_be_bytes());
    buffer.extend_from_slice(payload);
}

/// Reads a record.
pub(crate) fn decode(bytes: &[u8]) -> Result<RecordRef<'_>, RecordError> {
    let (header, payload) = bytes.split_first_chunk::<HEADER>().ok_or(RecordError::Short(bytes.len()))?;
    let [tag, v @ ..] = *header;
    if tag & !KNOWN_BITS != 0 {
        return Err(RecordError::Tag(tag));
    }
    let kind = match tag & KIND_MASK {
        0 => RecordKind::Value,
        1 => RecordKind::Tombstone,
        2 => RecordKind::CleanCopy,
        _ => return Err(RecordError::Tag(tag)),
    };
    Ok(RecordRef { kind, version: u64::from_be_bytes(v), payload })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_tag_version_payload() {
        let mut buffer = vec![9; 3];
        encode_into(RecordKind::CleanCopy, 0x0102, b"xy", &mut buffer);
        assert_eq!(buffer, [2, 0, 0, 0, 0, 0, 0, 1, 2, b'x', b'y']);
        let record = decode(&buffer).unwrap();
        assert_eq!((record.kind, record.version, record.payload), (RecordKind::CleanCopy, 0x0102, &b"xy"[..]));
    }

    #[test]
    fn unknown_tags_and_short_records_are_refused() {
        assert_eq!(decode(&[0; 8]), Err(RecordError::Short(8)));
        for tag in [3_u8, 4, 8, 0x80] {
            let mut bytes = [0; HEADER];
            bytes[0] = tag;
            assert_eq!(decode(&bytes), Err(RecordError::Tag(tag)));
        }
    }
}
