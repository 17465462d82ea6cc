//! Emptying a tier, so that it can be taken away.
//!
//! A tier in the middle is demoted. Emptying the slowest goes up: a *logged* copy to the next faster tier, then a wait
//! for the readers that began before it (they may have probed the faster tier already), then the drop below.

use rocksdb::WriteBatch;

use super::chunk::Candidate;
use super::demote::Demotion;
use super::{Cancel, Interrupts, MoveReason, Moved};
use crate::engine::Inner;
use crate::environment::CrashPoint;
use crate::error::{EngineError, Result};
use crate::format::record::{self, RecordKind};
use crate::guard::Guard;
use crate::lease::RangeLease;
use crate::stats::MoveKey;
use crate::write::stripes::Stripes;

impl Inner {
    /// Moves everything out of a tier. The lease is on the whole key space.
    pub(crate) fn empty_tier(&self, lease: &RangeLease, tier: usize, cancel: &Cancel) -> Result<Moved> {
        let last = self.database.tier_count() - 1;
        if tier == 0 {
            return Err(EngineError::Invalid(
                "the fastest tier takes every write and cannot be emptied; add a faster one first".to_owned(),
            ));
        }
        if tier < last {
            return self.demote(
                lease,
                &Demotion {
                    from: tier,
                    to: tier + 1,
                    reason: MoveReason::Drain,
                    keep: &|_| false,
                    pace: None,
                    cancel,
                    progress: &|_| {},
                    enough: u64::MAX,
                },
            );
        }
        let mut moved = Moved::default();
        let ended = self.empty_slowest(lease, tier, cancel, &mut moved);
        // However it ended, what it did is done.
        if moved.records > 0 {
            let key = MoveKey { from: tier, to: tier - 1, reason: MoveReason::Drain };
            self.stats.moved(key, moved.records, moved.bytes);
        }
        ended.map(|()| moved)
    }

    fn empty_slowest(&self, lease: &RangeLease, tier: usize, cancel: &Cancel, moved: &mut Moved) -> Result<()> {
        // What goes up is not journaled, but an entry left over would drop it.
        self.close_abandoned()?;
        let interrupts = Interrupts { cancel, lease: Some(lease) };
        let mut rest = Some(lease.range().clone());
        while let Some(range) = rest {
            self.check_interrupts(&interrupts)?;
            self.space.admit_move(tier - 1)?;
            let chunk = self.chunk(tier, &range, &|_| false)?;
            self.throttle(tier - 1, chunk.bytes, None, &interrupts)?;
            for group in chunk.records.chunks(64) {
                *moved += self.lift_logged(lease, tier, group)?;
            }
            self.database.sync_wal()?;
            self.environment.pass(CrashPoint::EmptyCopied)?;
            if Guard::ReadersMoveOn.on() {
                self.readers.wait_for_current(&*self.environment.clock);
            }
            let _effect = lease.effect("dropping from the slowest tier")?;
            self.drop_range(tier, &chunk.covered)?;
            rest = chunk.rest;
        }
        Ok(())
    }

    /// Copies records of the slowest tier one up, as values, unless a faster tier has the key already.
    fn lift_logged(&self, lease: &RangeLease, tier: usize, group: &[Candidate]) -> Result<Moved> {
        let to = tier - 1;
        let mut stripes = group.iter().map(|c| Stripes::of(c.user_key())).collect();
        // The next faster tier may be the fastest, where users write.
        let _held = self.stripes.hold(&mut stripes);
        // A flush takes no stripe: what is queued of these keys is written now, not over or under the copies.
        self.buffered.flush_before(&self.database, group.iter().map(Candidate::user_key))?;
        let mut batch = WriteBatch::default();
        let (mut buffer, mut moved) = (Vec::new(), Moved::default());
        for candidate in group.iter().filter(|c| c.kind != RecordKind::Tombstone) {
            // A clean copy above is not enough: its source is what leaves.
            let shadowed = (0..=to).try_fold(false, |found, above| {
                let header = self.header_in_tier(above, &candidate.data_key)?;
                Ok::<_, EngineError>(found || header.is_some_and(|(kind, _)| kind != RecordKind::CleanCopy))
            })?;
            if !shadowed {
                record::encode_into(RecordKind::Value, candidate.version, &candidate.payload, &mut buffer);
                batch.put_cf(self.database.tier(to), &candidate.data_key, &buffer);
                moved += Moved { records: 1, bytes: candidate.bytes() };
            }
        }
        let _effect = lease.effect("copying up from the slowest tier")?;
        self.database.write(&batch, &self.database.wal, "copy up from the slowest tier")?;
        Ok(moved)
    }
}
