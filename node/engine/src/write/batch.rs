//! Atomic batches and their conditions.

use bytes::Bytes;

use crate::error::{EngineError, Result};
use crate::limits::{MAX_BATCH_BYTES, MAX_KEY_BYTES, MAX_VALUE_BYTES};

/// One change of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mutation {
    /// Sets the key's value.
    Put {
        /// The key.
        key: Bytes,
        /// Its new value.
        value: Bytes,
    },
    /// Removes the key.
    Delete {
        /// The key.
        key: Bytes,
    },
}

impl Mutation {
    /// The key it changes.
    #[must_use]
    pub const fn key(&self) -> &Bytes {
        match self {
            Self::Put { key, .. } | Self::Delete { key } => key,
        }
    }

    /// The new value; `None` for a delete.
    #[must_use]
    pub const fn value(&self) -> Option<&Bytes> {
        match self {
            Self::Put { value, .. } => Some(value),
            Self::Delete { .. } => None,
        }
    }
}

/// Changes that happen together or not at all. A later change of the same key wins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    mutations: Vec<Mutation>,
    bytes: usize,
}

impl Batch {
    /// An empty batch with room for `mutations`.
    #[must_use]
    pub fn with_capacity(mutations: usize) -> Self {
        Self { mutations: Vec::with_capacity(mutations), bytes: 0 }
    }

    /// Sets a key.
    ///
    /// # Errors
    /// When key, value or the whole batch is longer than allowed.
    pub fn put(&mut self, key: impl Into<Bytes>, value: impl Into<Bytes>) -> Result<&mut Self> {
        let (key, value) = (key.into(), value.into());
        check_key(&key)?;
        check_value(&value)?;
        self.grow(key.len() + value.len())?;
        self.mutations.push(Mutation::Put { key, value });
        Ok(self)
    }

    /// Removes a key.
    ///
    /// # Errors
    /// When the key or the whole batch is longer than allowed.
    pub fn delete(&mut self, key: impl Into<Bytes>) -> Result<&mut Self> {
        let key = key.into();
        check_key(&key)?;
        self.grow(key.len())?;
        self.mutations.push(Mutation::Delete { key });
        Ok(self)
    }

    fn grow(&mut self, bytes: usize) -> Result<()> {
        let actual = self.bytes + bytes;
        if actual > MAX_BATCH_BYTES {
            return Err(EngineError::BatchLength { actual });
        }
        self.bytes = actual;
        Ok(())
    }

    /// Forgets what came after the first `mutations`.
    pub(crate) fn truncate(&mut self, mutations: usize) {
        for dropped in self.mutations.drain(mutations..) {
            self.bytes -= dropped.key().len() + dropped.value().map_or(0, Bytes::len);
        }
    }

    /// The changes, in order.
    #[must_use]
    pub fn mutations(&self) -> &[Mutation] {
        &self.mutations
    }

    /// How many changes it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.mutations.len()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.mutations.is_empty()
    }

    /// The bytes of its keys and values.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }
}

/// What must hold for a batch to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// The key has no record.
    Absent(Bytes),
    /// The key has a record.
    Exists(Bytes),
    /// The key's record has this version.
    VersionEquals(Bytes, u64),
}

impl Condition {
    /// The key it looks at.
    #[must_use]
    pub const fn key(&self) -> &Bytes {
        match self {
            Self::Absent(key) | Self::Exists(key) | Self::VersionEquals(key, _) => key,
        }
    }

    /// Whether it holds for a key whose record has `version` (`None`: no record).
    #[must_use]
    pub fn holds(&self, version: Option<u64>) -> bool {
        match self {
            Self::Absent(_) => version.is_none(),
            Self::Exists(_) => version.is_some(),
            Self::VersionEquals(_, expected) => version == Some(*expected),
        }
    }
}

/// How a conditional write ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteOutcome {
    /// Every condition held; the changes carry this version.
    Written(u64),
    /// A condition did not hold; nothing was written.
    ConditionFailed {
        /// Which, in the order given.
        index: usize,
        /// The version found; `None`: no record.
        actual: Option<u64>,
    },
}

/// Whether a key may be stored.
pub(crate) const fn check_key(key: &[u8]) -> Result<()> {
    if key.is_empty() || key.len() > MAX_KEY_BYTES {
        return Err(EngineError::KeyLength { actual: key.len() });
    }
    Ok(())
}

/// Whether a value may be stored.
pub(crate) const fn check_value(value: &[u8]) -> Result<()> {
    if value.len() > MAX_VALUE_BYTES {
        return Err(EngineError::ValueLength { actual: value.len() });
    }
    Ok(())
}
