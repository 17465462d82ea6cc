//! The smallest and the largest key of a call: all of them go to one owner.

use bytes::Bytes;

#[derive(Debug, Clone)]
pub(super) struct KeySpan {
    pub(super) low: Bytes,
    pub(super) high: Bytes,
}

impl KeySpan {
    pub(super) fn of(key: &Bytes) -> Self {
        Self { low: key.clone(), high: key.clone() }
    }

    /// Without keys it is that of the first key there is.
    pub(super) fn around<'a>(keys: impl Iterator<Item = &'a Bytes> + Clone) -> Self {
        Self { low: keys.clone().min().cloned().unwrap_or_default(), high: keys.max().cloned().unwrap_or_default() }
    }
}
