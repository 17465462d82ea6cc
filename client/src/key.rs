//! Keys are bytes; this module shows them to people and computes their neighbours.

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};
use thermocline_proto::MAX_KEY_BYTES;

/// Shows a key as quoted text where it is UTF-8, else as an escaped byte string.
#[derive(Debug, Clone, Copy)]
pub struct DisplayKey<'a>(pub &'a [u8]);

impl fmt::Display for DisplayKey<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match std::str::from_utf8(self.0) {
            Ok(text) => write!(formatter, "{text:?}"),
            Err(_) => write!(formatter, "b\"{}\"", self.0.escape_ascii()),
        }
    }
}

/// The smallest key greater than `key`: the inclusive start that continues a forward scan after it.
#[must_use]
pub fn key_after(key: &[u8]) -> Bytes {
    let mut next = BytesMut::with_capacity(key.len() + 1);
    next.extend_from_slice(key);
    next.put_u8(0);
    next.freeze()
}

/// The exclusive end of all keys that begin with `prefix`; empty (no bound) where no such end exists.
#[must_use]
pub fn prefix_end(prefix: &[u8]) -> Bytes {
    let kept = prefix.iter().rposition(|byte| *byte != u8::MAX);
    kept.map_or_else(Bytes::new, |last| {
        let mut end = prefix[..=last].to_vec();
        end[last] += 1;
        end.into()
    })
}

/// The greatest key that a node takes below `end`, which is not empty: who owns it owns what ends there.
#[must_use]
pub(crate) fn last_key_before(end: &[u8]) -> Bytes {
    let cut = end.len().min(MAX_KEY_BYTES);
    match end.split_last() {
        _ if cut < end.len() => Bytes::copy_from_slice(&end[..cut]),
        None => Bytes::new(),
        Some((0, before)) => Bytes::copy_from_slice(before),
        Some((last, before)) => {
            let mut key = before.to_vec();
            key.push(last - 1);
            key.resize(MAX_KEY_BYTES, u8::MAX);
            key.into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_before_the_first_key_that_does_not_begin_with_it() {
        assert_eq!(prefix_end(b"logs/"), "logs0");
        assert_eq!(prefix_end(b"a\xff\xff"), "b");
        assert_eq!(prefix_end(b"\xff"), "", "nothing is greater than every \\xff key");
        assert_eq!(prefix_end(b""), "");
    }

    #[test]
    fn nothing_lies_between_a_key_and_the_one_after_it() {
        let next = key_after(b"k");
        assert!(next.as_ref() > b"k".as_slice());
        assert_eq!(next, b"k\0".as_slice());
    }

    #[test]
    fn no_key_that_a_node_takes_lies_between_an_end_and_the_last_key_before_it() {
        assert_eq!(last_key_before(b"k\0"), "k");
        assert_eq!(last_key_before(b"\0"), "");
        let before = last_key_before(b"kb");
        assert_eq!(before.len(), MAX_KEY_BYTES);
        assert!(before.starts_with(b"ka\xff") && before.as_ref() < b"kb".as_slice());
        let longest = vec![b'k'; MAX_KEY_BYTES];
        assert_eq!(last_key_before(&key_after(&longest)), longest);
        assert_eq!(last_key_before(&[longest.as_slice(), b"kk"].concat()), longest);
    }

    #[test]
    fn keys_are_shown_as_text_where_they_are_text() {
        assert_eq!(DisplayKey("é\"".as_bytes()).to_string(), r#""é\"""#);
        assert_eq!(DisplayKey(b"\xff\x00a").to_string(), r#"b"\xff\x00a""#);
    }
}
