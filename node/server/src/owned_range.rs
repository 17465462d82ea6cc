//! The half-open range of keys that a node owns, and the questions a service asks of it.

use std::fmt::Write;

/// `start <= key < end`, in byte order; an empty end means no upper bound.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OwnedRange {
    start: Vec<u8>,
    end: Vec<u8>,
}

impl OwnedRange {
    /// A range; `None` where it would hold no key.
    pub fn new(start: impl Into<Vec<u8>>, end: impl Into<Vec<u8>>) -> Option<Self> {
        let (start, end) = (start.into(), end.into());
        (end.is_empty() || start < end).then_some(Self { start, end })
    }

    /// Every key.
    pub fn all() -> Self {
        Self::default()
    }

    /// The first key, inclusive; empty: from the first there is.
    pub fn start(&self) -> &[u8] {
        &self.start
    }

    /// The end, exclusive; empty: none.
    pub fn end(&self) -> &[u8] {
        &self.end
    }

    /// Whether a key lies in it.
    pub fn contains(&self, key: &[u8]) -> bool {
        key >= self.start.as_slice() && (self.end.is_empty() || key < self.end.as_slice())
    }

    /// Whether every key of `start..end` lies in it; both may be empty, meaning unbounded.
    pub fn covers(&self, start: &[u8], end: &[u8]) -> bool {
        let end_covered = self.end.is_empty() || (!end.is_empty() && end <= self.end.as_slice());
        start >= self.start.as_slice() && end_covered
    }

    /// Where a set of keys that is partly inside must be cut: the bound that separates the outsider from the range.
    pub fn split_point(&self, outside: &[u8]) -> &[u8] {
        if outside < self.start.as_slice() { &self.start } else { &self.end }
    }
}

/// A key for a message: its text where it is printable ASCII, otherwise with `\xNN` escapes; cut after 64 bytes.
pub fn printable(key: &[u8]) -> String {
    let mut text = String::new();
    for byte in key.iter().take(64) {
        match byte {
            b'\\' => text.push_str("\\\\"),
            0x20..=0x7e => text.push(char::from(*byte)),
            other => {
                // Writing to a String cannot fail.
                let _ = write!(text, "\\x{other:02x}");
            }
        }
    }
    if key.len() > 64 {
        text.push_str("...");
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn the_start_is_inside_and_the_end_is_not() {
        let range = OwnedRange::new("b", "d").unwrap();
        assert!(!range.contains(b"a\xff"));
        assert!(range.contains(b"b"));
        assert!(range.contains(b"c\xff\xff"));
        assert!(!range.contains(b"d"));
        assert!(OwnedRange::all().contains(b"\xff\xff"));
    }

    #[test]
    fn a_range_covers_what_it_holds_wholly() {
        let range = OwnedRange::new("b", "d").unwrap();
        assert!(range.covers(b"b", b"d"));
        assert!(!range.covers(b"b", b""), "an unbounded scan leaves the range");
        assert!(!range.covers(b"", b"c"));
        assert!(!range.covers(b"b", b"d\x00"));
        assert!(OwnedRange::all().covers(b"", b""));
        assert!(OwnedRange::new("b", "").unwrap().covers(b"c", b""));
    }

    #[test]
    fn a_range_without_keys_is_none() {
        assert_eq!(OwnedRange::new("b", "b"), None);
        assert_eq!(OwnedRange::new("c", "b"), None);
    }

    #[test]
    fn the_split_point_is_the_bound_between_outsider_and_range() {
        let range = OwnedRange::new("b", "d").unwrap();
        assert_eq!(range.split_point(b"a"), b"b");
        assert_eq!(range.split_point(b"x"), b"d");
    }

    #[test]
    fn a_key_of_any_bytes_can_be_printed() {
        assert_eq!(printable(b"a\\\x00\xff"), "a\\\\\\x00\\xff");
        assert!(printable(&[b'k'; 100]).ends_with("k..."));
    }
}
