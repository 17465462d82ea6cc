//! Half-open ranges of keys.

use std::fmt;

/// The keys from `start` (inclusive) to `end` (exclusive; `None`: no upper bound).
#[derive(Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct KeyRange {
    start: Vec<u8>,
    end: Option<Vec<u8>>,
}

impl KeyRange {
    /// Every key.
    #[must_use]
    pub const fn all() -> Self {
        Self { start: Vec::new(), end: None }
    }

    /// From `start` to `end`; an empty `end` means no upper bound. `None` where the end lies before the start.
    #[must_use]
    pub fn new(start: impl Into<Vec<u8>>, end: impl Into<Vec<u8>>) -> Option<Self> {
        let (start, end) = (start.into(), end.into());
        let end = (!end.is_empty()).then_some(end);
        if end.as_ref().is_some_and(|end| *end < start) {
            return None;
        }
        Some(Self { start, end })
    }

    /// The keys that begin with `prefix`.
    ///
    /// ```
    /// use thermocline_engine::KeyRange;
    /// let logs = KeyRange::prefix(b"logs/");
    /// assert!(logs.contains(b"logs/2026") && !logs.contains(b"logs0"));
    /// ```
    #[must_use]
    pub fn prefix(prefix: &[u8]) -> Self {
        let mut end = prefix.to_vec();
        while let Some(last) = end.pop() {
            if last < u8::MAX {
                end.push(last + 1);
                break;
            }
        }
        Self { start: prefix.to_vec(), end: (!end.is_empty()).then_some(end) }
    }

    /// The one key.
    #[must_use]
    pub fn single(key: &[u8]) -> Self {
        let mut end = key.to_vec();
        end.push(0);
        Self { start: key.to_vec(), end: Some(end) }
    }

    /// The first key, inclusive.
    #[must_use]
    pub fn start(&self) -> &[u8] {
        &self.start
    }

    /// The end, exclusive.
    #[must_use]
    pub fn end(&self) -> Option<&[u8]> {
        self.end.as_deref()
    }

    /// Whether the range has this key.
    #[must_use]
    pub fn contains(&self, key: &[u8]) -> bool {
        self.start.as_slice() <= key && self.end.as_deref().is_none_or(|end| key < end)
    }

    /// Whether the two have a key in common.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        let ends_by = |range: &Self, key: &[u8]| range.end().is_some_and(|end| end <= key);
        let start = self.start().max(other.start());
        !ends_by(self, start) && !ends_by(other, start)
    }

    /// Whether the other one's bounds lie within these: true of an empty range inside, which overlaps nothing.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        let ends_within = match (self.end(), other.end()) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(end), Some(other)) => other <= end,
        };
        self.start <= other.start && ends_within
    }

    /// The keys both have; `None` where there is none.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Option<Self> {
        if !self.overlaps(other) {
            return None;
        }
        let start = self.start.clone().max(other.start.clone());
        let end = match (&self.end, &other.end) {
            (Some(a), Some(b)) => Some(a.min(b).clone()),
            (a, b) => a.as_ref().or(b.as_ref()).cloned(),
        };
        Some(Self { start, end })
    }

    /// The smallest range that covers both.
    #[must_use]
    pub fn hull(&self, other: &Self) -> Self {
        Self { start: self.start.clone().min(other.start.clone()), ..self.extended_to(other) }
    }

    /// From its start to the later of the two ends.
    #[must_use]
    pub(crate) fn extended_to(&self, other: &Self) -> Self {
        let end = match (&self.end, &other.end) {
            (Some(a), Some(b)) => Some(a.max(b).clone()),
            _ => None,
        };
        Self { start: self.start.clone(), end }
    }

    /// What is left of it from `key` on (inclusive).
    #[must_use]
    pub fn from_key(&self, key: &[u8]) -> Self {
        Self { start: key.to_vec().max(self.start.clone()), end: self.end.clone() }
    }

    /// What of it comes before `key`.
    #[must_use]
    pub fn until_key(&self, key: &[u8]) -> Self {
        let end = match &self.end {
            Some(end) if end.as_slice() <= key => end.clone(),
            _ => key.to_vec(),
        };
        Self { start: self.start.clone(), end: Some(end) }
    }
}

impl fmt::Debug for KeyRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}, ", self.start.escape_ascii())?;
        match &self.end {
            Some(end) => write!(f, "{})", end.escape_ascii()),
            None => write!(f, "end)"),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_of_all_ones_has_no_upper_bound() {
        assert_eq!(KeyRange::prefix(b"\xff\xff").end(), None);
        assert_eq!(KeyRange::prefix(b"a\xff").end(), Some(&b"b"[..]));
        assert_eq!(KeyRange::prefix(b""), KeyRange::all());
    }

    #[test]
    fn ranges_that_touch_do_not_overlap() {
        let left = KeyRange::new("a", "m").unwrap();
        let right = KeyRange::new("m", "").unwrap();
        assert!(!left.overlaps(&right) && !right.overlaps(&left));
        assert!(left.overlaps(&KeyRange::single(b"l")));
        assert_eq!(left.intersection(&KeyRange::all()), Some(left));
    }

    #[test]
    fn an_empty_range_overlaps_nothing_not_even_the_one_around_it() {
        let (around, empty) = (KeyRange::new("c", "m").unwrap(), KeyRange::new("d", "d").unwrap());
        assert!(!around.overlaps(&empty) && !empty.overlaps(&around) && !empty.overlaps(&empty));
        assert_eq!((around.intersection(&empty), empty.intersection(&around)), (None, None));
    }

    #[test]
    fn a_range_covers_what_lies_within_its_bounds_and_an_empty_one_too() {
        let middle = KeyRange::new("c", "m").unwrap();
        let empty = KeyRange::new("d", "d").unwrap();
        assert!(
            KeyRange::all().covers(&middle) && middle.covers(&middle) && middle.covers(&empty) && empty.covers(&empty)
        );
        for outside in [KeyRange::all(), KeyRange::new("b", "d").unwrap(), KeyRange::new("d", "").unwrap()] {
            assert!(!middle.covers(&outside), "{outside:?}");
        }
    }

    #[test]
    fn an_end_before_the_start_is_refused() {
        assert_eq!(KeyRange::new("b", "a"), None);
    }
}
