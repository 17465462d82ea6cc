//! Data keys: one keyspace byte, then the user's key.
//!
//! ```text
//! byte 0      keyspace: 0x01 user data (others are reserved)
//! byte 1..    the user's key, 1 to 4096 bytes, as given
//! ```
//! No shard prefix: a split moves no bytes.

use crate::range::KeyRange;

/// The keyspace of user data.
pub(crate) const USER: u8 = 0x01;
/// The first byte after the user keyspace: an exclusive upper bound.
const AFTER_USER: u8 = 0x02;

/// Writes the data key of `key` into `buffer`, replacing what it held.
pub(crate) fn encode_into(key: &[u8], buffer: &mut Vec<u8>) {
    buffer.clear();
    buffer.reserve(key.len() + 1);
    buffer.push(USER);
    buffer.extend_from_slice(key);
}

/// The data key of `key`.
pub(crate) fn encode(key: &[u8]) -> Vec<u8> {
    let mut buffer = Vec::new();
    encode_into(key, &mut buffer);
    buffer
}

/// The user's key in `data_key`; `None` for another keyspace.
pub(crate) fn decode(data_key: &[u8]) -> Option<&[u8]> {
    match data_key.split_first() {
        Some((&USER, key)) => Some(key),
        _ => None,
    }
}

/// The data keys of a range: inclusive start, exclusive end.
pub(crate) fn bounds(range: &KeyRange) -> (Vec<u8>, Vec<u8>) {
    let start = encode(range.start());
    let end = range.end().map_or_else(|| vec![AFTER_USER], encode);
    (start, end)
}

/// A key behind nearly all that are before `end`, and before it: what takes an end as inclusive must not reach the key `end`, which
/// is another range's. Between the two are only keys that go on with 0xff for long.
pub(crate) fn before(end: &[u8]) -> Vec<u8> {
    const TAIL: usize = 64;
    let mut before = end.to_vec();
    // A key that ends with 0 comes right after the one without it.
    if let Some(last) = before.pop().filter(|last| *last > 0) {
        before.push(last - 1);
        before.resize(before.len() + TAIL, 0xff);
    }
    before
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_before_an_end_leaves_out_the_end_and_little_else() {
        for end in [&b"\x01b"[..], b"\x01b\x00", b"\x01\x00", b"\x02"] {
            assert!(before(end).as_slice() < end, "{end:?}");
        }
        assert!(before(b"\x01b").as_slice() > &b"\x01azzz"[..]);
        assert!(before(b"\x01b\x00").as_slice() >= &b"\x01b"[..]);
        assert!(before(b"\x02").as_slice() > &b"\x01\xff\xff\xff"[..]);
    }

    #[test]
    fn a_data_key_is_the_keyspace_byte_and_the_users_key() {
        assert_eq!(encode(b"a\xff"), b"\x01a\xff");
        assert_eq!(decode(b"\x01a\xff"), Some(&b"a\xff"[..]));
        assert_eq!(decode(b"\x07a"), None);
        assert_eq!(decode(b""), None);
    }

    #[test]
    fn an_unbounded_range_ends_before_the_next_keyspace() {
        assert_eq!(bounds(&KeyRange::all()), (vec![1], vec![2]));
    }
}
