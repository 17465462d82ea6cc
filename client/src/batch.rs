//! An atomic batch of mutations and the conditions they depend on.

use bytes::Bytes;
use thermocline_proto::v1::{
    Condition, Mutation,
    condition::Expected,
    mutation::{self, Kind},
};

/// Puts and deletes that are applied together, or not at all where a condition does not hold.
///
/// All keys, those of conditions too, must belong to one shard, or to one node where nodes stand alone. One with conditions that
/// ends as [`Error::OutcomeUnknown`](crate::Error::OutcomeUnknown) and is written again may fail by its own first writing: read
/// the key before.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Batch {
    pub(crate) conditions: Vec<Condition>,
    pub(crate) mutations: Vec<Mutation>,
}

impl Batch {
    /// An empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty batch with room for `mutations`.
    #[must_use]
    pub fn with_capacity(mutations: usize) -> Self {
        Self { conditions: Vec::new(), mutations: Vec::with_capacity(mutations) }
    }

    /// Adds a put.
    #[must_use]
    pub fn put(mut self, key: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        self.push_put(key, value);
        self
    }

    /// Adds a put to a batch that is filled in a loop.
    pub fn push_put(&mut self, key: impl Into<Bytes>, value: impl Into<Bytes>) {
        self.mutations.push(Mutation { kind: Some(Kind::Put(mutation::Put { key: key.into(), value: value.into() })) });
    }

    /// Adds a delete.
    #[must_use]
    pub fn delete(mut self, key: impl Into<Bytes>) -> Self {
        self.push_delete(key);
        self
    }

    /// Adds a delete to a batch that is filled in a loop.
    pub fn push_delete(&mut self, key: impl Into<Bytes>) {
        self.mutations.push(Mutation { kind: Some(Kind::Delete(mutation::Delete { key: key.into() })) });
    }

    /// Applies the batch only where `key` has no record.
    #[must_use]
    pub fn when_absent(self, key: impl Into<Bytes>) -> Self {
        self.when(key.into(), Expected::Absent(true))
    }

    /// Applies the batch only where `key` has a record.
    #[must_use]
    pub fn when_exists(self, key: impl Into<Bytes>) -> Self {
        self.when(key.into(), Expected::Exists(true))
    }

    /// Applies the batch only where the record of `key` has this version, as a read or write returned it.
    #[must_use]
    pub fn when_version(self, key: impl Into<Bytes>, version: u64) -> Self {
        self.when(key.into(), Expected::VersionEquals(version))
    }

    fn when(mut self, key: Bytes, expected: Expected) -> Self {
        self.conditions.push(Condition { key, expected: Some(expected) });
        self
    }

    /// How many mutations it holds.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.mutations.len()
    }

    /// Whether it would change nothing.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.mutations.is_empty()
    }

    /// Every key it names, conditions first; keys of an unset mutation are absent.
    pub fn keys(&self) -> impl Iterator<Item = &Bytes> + Clone {
        let mutated = self.mutations.iter().filter_map(|mutation| match &mutation.kind {
            Some(Kind::Put(put)) => Some(&put.key),
            Some(Kind::Delete(delete)) => Some(&delete.key),
            None => None,
        });
        self.conditions.iter().map(|condition| &condition.key).chain(mutated)
    }

    /// Every value it writes.
    pub(crate) fn values(&self) -> impl Iterator<Item = &Bytes> {
        self.mutations.iter().filter_map(|mutation| match &mutation.kind {
            Some(Kind::Put(put)) => Some(&put.value),
            _ => None,
        })
    }
}
