//! Who owns a key: a table of ranges that covers the key space without gap or overlap.
//!
//! Pure. A [`RangeTable`] that exists is total: every key has exactly one owner, so looking one up cannot fail.

use bytes::Bytes;

use crate::key::DisplayKey;

/// Why ranges were refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    /// A range whose end is not after its start.
    #[error(
        "a range from {} to {} holds no key; its end must be greater than its start, or empty for no bound",
        DisplayKey(start),
        DisplayKey(end)
    )]
    Reversed {
        /// Its start.
        start: Bytes,
        /// Its end.
        end: Bytes,
    },
    /// No range at all.
    #[error("no node owns a range; name at least one node")]
    Empty,
    /// Keys that nobody owns.
    #[error(
        "no node owns the keys from {} to {}; one range must begin where another ends, the first at \"\" and the last at no bound",
        DisplayKey(from),
        end_text(to)
    )]
    Gap {
        /// The first key without an owner.
        from: Bytes,
        /// The first key with an owner again; empty for no bound.
        to: Bytes,
    },
    /// Keys that two nodes own.
    #[error("two nodes own the key {}; one range must end where the next begins", DisplayKey(key))]
    Overlap {
        /// The first key with two owners.
        key: Bytes,
    },
}

fn end_text(end: &Bytes) -> String {
    if end.is_empty() { "the end".to_owned() } else { DisplayKey(end).to_string() }
}

/// A half-open range of keys; an empty end means no bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRange {
    start: Bytes,
    end: Bytes,
}

impl KeyRange {
    /// The range `[start, end)`.
    ///
    /// # Errors
    /// [`RangeError::Reversed`] where the end is not after the start.
    pub fn new(start: impl Into<Bytes>, end: impl Into<Bytes>) -> Result<Self, RangeError> {
        let (start, end) = (start.into(), end.into());
        if !end.is_empty() && end <= start {
            return Err(RangeError::Reversed { start, end });
        }
        Ok(Self { start, end })
    }

    /// Every key.
    #[must_use]
    pub const fn all() -> Self {
        Self { start: Bytes::new(), end: Bytes::new() }
    }

    /// The first key, inclusive.
    #[must_use]
    pub const fn start(&self) -> &Bytes {
        &self.start
    }

    /// The end, exclusive; empty for no bound.
    #[must_use]
    pub const fn end(&self) -> &Bytes {
        &self.end
    }

    /// Whether it holds the key.
    #[must_use]
    pub fn contains(&self, key: &[u8]) -> bool {
        self.start.as_ref() <= key && (self.end.is_empty() || key < self.end.as_ref())
    }
}

/// The part of a wanted range that one node owns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Index of the node.
    pub node: usize,
    /// The first key, inclusive.
    pub start: Bytes,
    /// The end, exclusive; empty for no bound.
    pub end: Bytes,
}

/// Ranges sorted by key, each with the index of the node that owns it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RangeTable {
    entries: Vec<(KeyRange, usize)>,
}

impl RangeTable {
    /// Sorts the ranges and checks that they cover the key space once.
    ///
    /// # Errors
    /// [`RangeError::Empty`], [`RangeError::Gap`] or [`RangeError::Overlap`].
    pub fn new(mut entries: Vec<(KeyRange, usize)>) -> Result<Self, RangeError> {
        entries.sort_by(|left, right| left.0.start.cmp(&right.0.start));
        let Some((last, _)) = entries.last() else {
            return Err(RangeError::Empty);
        };
        let last_end = last.end.clone();
        let mut expected = Bytes::new();
        for (index, (range, _)) in entries.iter().enumerate() {
            let unbounded_before = index > 0 && expected.is_empty();
            if unbounded_before || range.start < expected {
                return Err(RangeError::Overlap { key: range.start.clone() });
            }
            if range.start > expected {
                return Err(RangeError::Gap { from: expected, to: range.start.clone() });
            }
            expected = range.end.clone();
        }
        if !last_end.is_empty() {
            return Err(RangeError::Gap { from: last_end, to: Bytes::new() });
        }
        Ok(Self { entries })
    }

    /// From ascending starts, the first of them empty; each range goes on to the next start.
    pub(crate) fn of_starts(starts: Vec<(Bytes, usize)>) -> Self {
        let ends = starts.iter().skip(1).map(|(start, _)| start.clone()).chain([Bytes::new()]).collect::<Vec<_>>();
        let entries = starts.into_iter().zip(ends).map(|((start, node), end)| (KeyRange { start, end }, node));
        Self { entries: entries.collect() }
    }

    /// The range of a node.
    pub(crate) fn range_of(&self, node: usize) -> Option<&KeyRange> {
        self.entries.iter().find(|(_, owner)| *owner == node).map(|(range, _)| range)
    }

    fn entry(&self, key: &[u8]) -> &(KeyRange, usize) {
        // The first range starts at "", so at least one start is not greater than any key.
        let after = self.entries.partition_point(|(range, _)| range.start.as_ref() <= key);
        &self.entries[after.saturating_sub(1)]
    }

    /// The range around the key, which one node owns.
    pub(crate) fn range_around(&self, key: &[u8]) -> &KeyRange {
        &self.entry(key).0
    }

    /// The node that owns the key.
    #[must_use]
    pub fn owner(&self, key: &[u8]) -> usize {
        self.entry(key).1
    }

    /// Where keys that must go to one node part: the end of the range that holds the smallest of them, where another
    /// node owns the largest. `None` where one node owns them all (or there are none).
    #[must_use]
    pub fn split_point<'a>(&self, keys: impl IntoIterator<Item = &'a Bytes>) -> Option<Bytes> {
        let mut bounds: Option<(&Bytes, &Bytes)> = None;
        for key in keys {
            bounds = Some(bounds.map_or((key, key), |(low, high)| (low.min(key), high.max(key))));
        }
        let (low, high) = bounds?;
        let owner = self.owner(low);
        let from = self.entries.partition_point(|(range, _)| range.start.as_ref() <= low.as_ref());
        // A node may own neighbouring ranges: the split is where the owner changes.
        self.entries[from..]
            .iter()
            .take_while(|(range, _)| range.start <= *high)
            .find(|(_, node)| *node != owner)
            .map(|(range, _)| range.start.clone())
    }

    /// The first part of `[start, end)` and who owns it: where a forward scan goes next.
    #[must_use]
    pub fn first_segment(&self, start: &Bytes, end: &Bytes) -> Segment {
        let (range, node) = self.entry(start);
        Segment { node: *node, start: start.clone(), end: smaller_end(&range.end, end) }
    }

    /// The last part of `[start, end)` and who owns it: where a reverse scan goes next.
    #[must_use]
    pub fn last_segment(&self, start: &Bytes, end: &Bytes) -> Segment {
        let count = if end.is_empty() {
            self.entries.len()
        } else {
            self.entries.partition_point(|(range, _)| range.start < *end)
        };
        let (range, node) = &self.entries[count.saturating_sub(1)];
        Segment { node: *node, start: range.start.clone().max(start.clone()), end: smaller_end(&range.end, end) }
    }

    /// Every range in key order, with its node.
    pub fn iter(&self) -> impl Iterator<Item = (&KeyRange, usize)> {
        self.entries.iter().map(|(range, node)| (range, *node))
    }
}

pub(crate) fn smaller_end(left: &Bytes, right: &Bytes) -> Bytes {
    if left.is_empty() {
        right.clone()
    } else if right.is_empty() {
        left.clone()
    } else {
        left.min(right).clone()
    }
}

#[cfg(test)]
#[path = "routing_test.rs"]
mod tests;
