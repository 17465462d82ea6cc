//! The bytes of a value, as a reader gets them.

use std::fmt;
use std::ops::Deref;

use bytes::Bytes;

use super::row::Row;

/// The bytes of a value. It reads like a slice; a clone shares the bytes, and so does [`Bytes`] made from it.
///
/// ```
/// use thermocline_engine::Value;
///
/// let value = Value::from(bytes::Bytes::from_static(b"hello"));
/// assert_eq!(value, *b"hello");
/// assert_eq!(value.len(), 5);
/// ```
#[derive(Clone)]
pub struct Value(Owner);

#[derive(Clone)]
enum Owner {
    /// Shared with the row cache.
    Row(Row),
    Bytes(Bytes),
}

impl Value {
    pub(super) const fn of_row(row: Row) -> Self {
        Self(Owner::Row(row))
    }
}

impl Deref for Value {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Owner::Row(row) => row.value(),
            Owner::Bytes(bytes) => bytes,
        }
    }
}

impl AsRef<[u8]> for Value {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl From<Bytes> for Value {
    fn from(bytes: Bytes) -> Self {
        Self(Owner::Bytes(bytes))
    }
}

impl From<Value> for Bytes {
    /// Copies nothing.
    fn from(value: Value) -> Self {
        match value.0 {
            Owner::Bytes(bytes) => bytes,
            Owner::Row(_) => Self::from_owner(value),
        }
    }
}

impl<T: AsRef<[u8]> + ?Sized> PartialEq<T> for Value {
    fn eq(&self, other: &T) -> bool {
        **self == *other.as_ref()
    }
}

impl Eq for Value {}

impl fmt::Debug for Value {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "b\"{}\"", self.escape_ascii())
    }
}
