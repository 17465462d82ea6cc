//! User writes: to the fastest tier only (I1), each under its stripe.

use std::cell::RefCell;

use bytes::Bytes;
use rocksdb::WriteBatch;

use super::batch::{Batch, Condition, Mutation, WriteOutcome, check_key, check_value};
use super::buffered::Queued;
use super::stripes::{StripeIndex, Stripes};
use crate::engine::Inner;
use crate::error::{EngineError, Result};
use crate::format::keys;
use crate::guard::Guard;
use crate::options::Durability;

/// What a thread keeps of its buffers: batches and values up to their bounds would else stay with every thread.
const KEPT: usize = 1 << 20;
/// What a batch begins with.
const BATCH_BYTES: usize = 64 << 10;

thread_local! {
    /// Key and record of one write: kept, so that a write allocates nothing.
    static BUFFERS: RefCell<(Vec<u8>, Vec<u8>)> = const { RefCell::new((Vec::new(), Vec::new())) };
    /// The batch of a write: cleared, not freed.
    static BATCH: RefCell<WriteBatch> = RefCell::new(WriteBatch::with_capacity_bytes(BATCH_BYTES));
}

impl Inner {
    /// Makes a write that has let go of its stripes as durable as it is to be.
    pub(crate) fn settle(&self, durability: Durability) -> Result<()> {
        match durability {
            Durability::Sync => self.group_sync.join(|| self.database.sync_wal()),
            Durability::Wal | Durability::Buffered => Ok(()),
        }
    }

    /// Sets (`Some`) or removes (`None`) one key.
    pub(crate) fn write_one(&self, key: &[u8], value: Option<&[u8]>, durability: Durability) -> Result<u64> {
        check_key(key)?;
        check_value(value.unwrap_or_default())?;
        self.admit_write()?;
        let timer = self.stats.write_timer(&self.environment);
        let writer = Guard::StripeSequence.on().then(|| self.stripes.write_one(Stripes::of(key)));
        self.fences.check(key)?;
        if Guard::CacheRemove.on() {
            self.row_cache.remove(key);
        }
        let version = self.versions.next(&self.database)?;
        self.loads.note(key, version);
        if durability == Durability::Buffered {
            let queued = Queued { version, value: value.map(Bytes::copy_from_slice) };
            self.buffered.push(&self.database, vec![(Bytes::copy_from_slice(key), queued)])?;
        } else {
            self.buffered.flush_before(&self.database, [key])?;
            // A batch of one that is kept: RocksDB's own single put allocates one each time.
            BATCH.with_borrow_mut(|batch| {
                BUFFERS.with_borrow_mut(|(key_buffer, record_buffer)| {
                    keys::encode_into(key, key_buffer);
                    batch.clear();
                    self.database.stage(batch, key_buffer, version, value, record_buffer);
                });
                let written = self.database.write(batch, &self.database.wal, "write a record");
                if value.is_some_and(|value| value.len() > KEPT) {
                    release(batch);
                }
                written
            })?;
        }
        drop(writer);
        self.settle(durability)?;
        self.stats.wrote(timer, value.is_none(), &self.environment);
        self.heat.record_write(key, value.map_or(0, <[u8]>::len));
        Ok(version)
    }

    /// Writes a batch, all or nothing, if its conditions hold.
    pub(crate) fn write_batch(
        &self,
        batch: &Batch,
        conditions: &[Condition],
        durability: Durability,
    ) -> Result<WriteOutcome> {
        for condition in conditions {
            check_key(condition.key())?;
        }
        self.admit_write()?;
        let timer = self.stats.write_timer(&self.environment);
        let mut stripes: Vec<StripeIndex> = batch
            .mutations()
            .iter()
            .map(Mutation::key)
            .chain(conditions.iter().map(Condition::key))
            .map(|key| Stripes::of(key))
            .collect();
        // Judged while the stripes are held: nobody writes between the look and the write.
        let judged_before =
            if Guard::ConditionExclusive.on() { None } else { Some(self.failed_condition(conditions)?) };
        let writer = self.stripes.write_many(&mut stripes);
        // Before anything is judged: what a half done operation left of a range is no ground for an answer.
        for key in conditions.iter().map(Condition::key).chain(batch.mutations().iter().map(Mutation::key)) {
            self.fences.check(key)?;
        }
        let failed = judged_before.map_or_else(|| self.failed_condition(conditions), Ok)?;
        if let Some((index, actual)) = failed {
            return Ok(WriteOutcome::ConditionFailed { index, actual });
        }
        if Guard::CacheRemove.on() {
            batch.mutations().iter().for_each(|mutation| self.row_cache.remove(mutation.key()));
        }
        let version = self.versions.next(&self.database)?;
        for mutation in batch.mutations() {
            self.loads.note(mutation.key(), version);
        }
        if durability == Durability::Buffered {
            let changes = batch.mutations().iter().map(|m| {
                let value = m.value().cloned();
                (m.key().clone(), Queued { version, value })
            });
            self.buffered.push(&self.database, changes.collect())?;
        } else {
            let changed = batch.mutations().iter().map(|m| m.key().as_ref());
            self.buffered.flush_before(&self.database, changed)?;
            self.write_mutations(batch, version)?;
        }
        drop(writer);
        self.settle(durability)?;
        for mutation in batch.mutations() {
            self.heat.record_write(mutation.key(), mutation.value().map_or(0, Bytes::len));
        }
        self.stats.wrote_batch(timer, batch, &self.environment);
        Ok(WriteOutcome::Written(version))
    }

    fn failed_condition(&self, conditions: &[Condition]) -> Result<Option<(usize, Option<u64>)>> {
        for (index, condition) in conditions.iter().enumerate() {
            let actual = self.read_tiers(condition.key())?.map(|r| r.version);
            if !condition.holds(actual) {
                return Ok(Some((index, actual)));
            }
        }
        Ok(None)
    }

    fn write_mutations(&self, batch: &Batch, version: u64) -> Result<()> {
        BATCH.with_borrow_mut(|rocks| {
            rocks.clear();
            BUFFERS.with_borrow_mut(|(key_buffer, record_buffer)| {
                for mutation in batch.mutations() {
                    keys::encode_into(mutation.key(), key_buffer);
                    let value = mutation.value().map(AsRef::as_ref);
                    self.database.stage(rocks, key_buffer, version, value, record_buffer);
                }
            });
            let written = self.database.write(rocks, &self.database.wal, "write a batch");
            release(rocks);
            written
        })
    }

    /// Refuses before anything is started.
    pub(crate) fn admit_write(&self) -> Result<()> {
        self.database.check()?;
        self.admit_undamaged()?;
        self.space.admit_write()
    }

    /// What a damaged tier cannot take.
    pub(crate) fn tier_damaged(&self, refused: &'static str, tier: usize, detail: &str) -> EngineError {
        EngineError::TierDamaged { refused, tier: self.tiers[tier].name().to_owned(), detail: detail.to_owned() }
    }

    /// Refuses while damage keeps the fastest tier from being compacted and its level 0 is full.
    pub(crate) fn admit_undamaged(&self) -> Result<()> {
        match self.database.refusing_damage() {
            None => Ok(()),
            Some(detail) => Err(self.tier_damaged("writes are refused", 0, &detail)),
        }
    }
}

/// Gives back what a large write left in this thread's buffers.
fn release(batch: &mut WriteBatch) {
    if batch.size_in_bytes() > KEPT {
        *batch = WriteBatch::with_capacity_bytes(BATCH_BYTES);
    }
    BUFFERS.with_borrow_mut(|(_, record)| {
        if record.capacity() > KEPT {
            *record = Vec::new();
        }
    });
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{Engine, EngineOptions, Environment, Medium, TierSpec};

    /// What this thread holds of its last writes: the batch, and the record.
    fn held() -> (usize, usize) {
        let batch = BATCH.with_borrow(WriteBatch::size_in_bytes);
        (batch, BUFFERS.with_borrow(|(_, record)| record.capacity()))
    }

    #[test]
    fn a_large_write_leaves_nothing_large_with_the_thread_that_made_it() {
        let folder = tempfile::tempdir().unwrap();
        let tiers = vec![TierSpec::new("hot", 0, Medium::Nvme, folder.path().join("hot"), 1 << 30)];
        let engine = Engine::open(EngineOptions::new(tiers, 64 << 20), Environment::system(7)).unwrap();
        let large = vec![b'v'; 4 << 20];
        engine.put(b"small", b"v", Durability::Wal).unwrap();
        assert!(held().0 > 0, "a write goes by this thread's batch");

        engine.put(b"large", &large, Durability::Wal).unwrap();
        assert!(held().0 <= KEPT && held().1 <= KEPT, "{:?}", held());
        let mut batch = Batch::default();
        for key in 0..4_u8 {
            batch.put(vec![key], large.clone()).unwrap();
        }
        engine.write(&batch, &[], Durability::Wal).unwrap();
        assert!(held().0 <= KEPT && held().1 <= KEPT, "{:?}", held());
    }
}
