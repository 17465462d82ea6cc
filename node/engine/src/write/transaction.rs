//! Batches that can be rolled back: savepoint, rollback, commit. Dropping one rolls it back.

use bytes::Bytes;

use super::batch::{Batch, Condition, WriteOutcome};
use crate::engine::Engine;
use crate::error::Result;
use crate::options::Durability;

/// A point of a [`Transaction`] to roll back to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Savepoint(usize);

/// Changes collected until [`commit`](Self::commit); nothing is visible to others before, and nothing at all if it is
/// dropped. It takes no locks while it collects: conditions given at the commit are checked then, atomically.
#[must_use = "a transaction that is dropped is rolled back"]
pub struct Transaction {
    engine: Engine,
    batch: Batch,
    conditions: Vec<Condition>,
}

impl Transaction {
    pub(crate) const fn new(engine: Engine, batch: Batch) -> Self {
        Self { engine, batch, conditions: Vec::new() }
    }

    /// Sets a key.
    ///
    /// # Errors
    /// When key, value or the whole batch is longer than allowed.
    pub fn put(&mut self, key: impl Into<Bytes>, value: impl Into<Bytes>) -> Result<&mut Self> {
        self.batch.put(key, value)?;
        Ok(self)
    }

    /// Removes a key.
    ///
    /// # Errors
    /// When the key or the whole batch is longer than allowed.
    pub fn delete(&mut self, key: impl Into<Bytes>) -> Result<&mut Self> {
        self.batch.delete(key)?;
        Ok(self)
    }

    /// Adds a condition of the commit.
    pub fn require(&mut self, condition: Condition) -> &mut Self {
        self.conditions.push(condition);
        self
    }

    /// Marks this point.
    pub fn savepoint(&self) -> Savepoint {
        Savepoint(self.batch.len())
    }

    /// Forgets the changes since `savepoint`; savepoints taken later are then void.
    pub fn rollback(&mut self, savepoint: Savepoint) {
        self.batch.truncate(savepoint.0.min(self.batch.len()));
    }

    /// What it would change so far.
    pub const fn batch(&self) -> &Batch {
        &self.batch
    }

    /// Writes the changes, all or none.
    ///
    /// # Errors
    /// As [`Engine::write`].
    pub fn commit(self, durability: Durability) -> Result<WriteOutcome> {
        self.engine.write(&self.batch, &self.conditions, durability)
    }
}
