//! Downward moves (I3): copy, clear in between, drop above.

use rocksdb::{CompactOptions, WriteBatch};

use super::chunk::{Candidate, Chunk};
use super::copy::{Copy, CopyAs};
use super::deletes::Left;
use super::journal::JournalEntry;
use super::{Cancel, Interrupts, MoveReason, Moved, Pace, Part};
use crate::engine::Inner;
use crate::environment::CrashPoint;
use crate::error::{EngineError, Result};
use crate::format::keys;
use crate::format::record::{self, RecordKind};
use crate::guard::Guard;
use crate::lease::RangeLease;
use crate::range::KeyRange;
use crate::stats::MoveKey;
use crate::write::stripes::Stripes;

/// Keys dropped under their stripes at a time: short enough that no writer notices.
const GROUP: usize = 64;

/// A downward move.
pub(crate) struct Demotion<'a> {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) reason: MoveReason,
    /// Keys that stay, because they are hot by themselves. Honoured out of the fastest tier.
    pub(crate) keep: &'a dyn Fn(&[u8]) -> bool,
    /// `None`: as fast as the target takes it.
    pub(crate) pace: Option<Pace<'a>>,
    pub(crate) cancel: &'a Cancel,
    /// Told after every chunk.
    pub(crate) progress: &'a dyn Fn(Part<'_>),
    /// Ends after so many bytes left `from`.
    pub(crate) enough: u64,
}

impl Inner {
    /// Moves what `from` has of the leased range down to `to`.
    pub(crate) fn demote(&self, lease: &RangeLease, demotion: &Demotion<'_>) -> Result<Moved> {
        let Demotion { from, to, .. } = *demotion;
        if from >= to || to >= self.database.tier_count() {
            return Err(EngineError::Invalid(format!("a demotion goes down; from tier {from} to tier {to} does not")));
        }
        let (mut moved, mut read) = (Moved::default(), 0);
        let ended = self.demote_chunks(lease, demotion, &mut moved, &mut read);
        // However it ended, what it did is done.
        let deletes = if from == 0 { moved.records } else { 0 };
        let bytes = if moved.records > 0 { read } else { 0 };
        self.note_left(from, lease.range(), Left { deletes, bytes });
        if moved != Moved::default() {
            let key = MoveKey { from, to, reason: demotion.reason };
            self.stats.moved(key, moved.records, moved.bytes);
        }
        ended.map(|()| moved)
    }

    /// `read` is told the bytes of the chunks that were begun.
    fn demote_chunks(
        &self,
        lease: &RangeLease,
        demotion: &Demotion<'_>,
        moved: &mut Moved,
        read: &mut u64,
    ) -> Result<()> {
        let Demotion { from, to, .. } = *demotion;
        let interrupts = Interrupts { cancel: demotion.cancel, lease: Some(lease) };
        let mut rest = Some(lease.range().clone());
        while let Some(range) = rest {
            self.check_interrupts(&interrupts)?;
            if *read >= demotion.enough {
                break;
            }
            self.space.admit_move(to)?;
            let keep = |key: &[u8]| from == 0 && (demotion.keep)(key);
            let chunk = self.chunk(from, &range, &keep)?;
            self.throttle(to, chunk.bytes, demotion.pace, &interrupts)?;
            *read += chunk.bytes;
            let mut step = Moved::default();
            let ended = self.demote_chunk(lease, demotion, &chunk, &mut step);
            *moved += step;
            // One that ended early is still to be gone through.
            let rest_now = if ended.is_ok() { chunk.rest.as_ref() } else { Some(&range) };
            (demotion.progress)(Part { from, moved: step, rest: rest_now });
            ended?;
            rest = chunk.rest;
        }
        Ok(())
    }

    /// Moves a chunk. `step` is what of it was done, also where it ends early.
    fn demote_chunk(&self, lease: &RangeLease, demotion: &Demotion<'_>, chunk: &Chunk, step: &mut Moved) -> Result<()> {
        if chunk.records.is_empty() {
            return Ok(());
        }
        let moved = self.copy_then_drop(lease, demotion, chunk, step);
        if moved.is_err() {
            // Both copies stay, that is allowed. The entry must go.
            self.abandon_journal(lease.generation());
        }
        moved
    }

    fn copy_then_drop(
        &self,
        lease: &RangeLease,
        demotion: &Demotion<'_>,
        chunk: &Chunk,
        step: &mut Moved,
    ) -> Result<()> {
        let Demotion { from, to, .. } = *demotion;
        let generation = lease.generation();
        let (source, target) = (self.tiers[from].id(), self.tiers[to].id());
        let range = chunk.covered.clone();
        self.journal(generation, &JournalEntry::Copying { range: range.clone(), from: source, to: target }, false)?;
        self.environment.pass(CrashPoint::MoveJournaled)?;

        let copies = self.plan_copies(from, to, &chunk.records)?;
        self.level_between(lease, from, to, &chunk.records)?;
        step.bytes = self.copy_down(lease, to, &copies)?;
        self.clear_between(lease, from, to, &chunk.records)?;

        self.journal(generation, &JournalEntry::Dropping { range: range.clone(), from: source }, false)?;
        self.environment.pass(CrashPoint::DropJournaled)?;
        if from == 0 {
            self.drop_by_version(lease, &chunk.records, &mut step.records)?;
        } else {
            let _effect = lease.effect("dropping a range")?;
            self.drop_range(from, &range)?;
            step.records = chunk.records.len() as u64;
        }
        self.environment.pass(CrashPoint::Dropped)?;
        self.journal_done(generation, false)?;
        self.environment.pass(CrashPoint::MoveDone)
    }

    /// What has to be written below before the chunk may leave `from`.
    fn plan_copies<'a>(&self, from: usize, to: usize, records: &'a [Candidate]) -> Result<Vec<Copy<'a>>> {
        let last = self.database.tier_count() - 1;
        let mut copies = Vec::with_capacity(records.len());
        for candidate in records {
            match candidate.kind {
                RecordKind::Value => copies.push((candidate, CopyAs::Value)),
                RecordKind::CleanCopy => {
                    if Guard::CleanSourceCheck.on() && !self.source_is_below(from, candidate)? {
                        copies.push((candidate, CopyAs::Value));
                    }
                }
                RecordKind::Tombstone if !Guard::TombstoneTravels.on() => {}
                RecordKind::Tombstone if to == last => {
                    if Guard::TombstoneDeletesLast.on() && self.header_in_tier(to, &candidate.data_key)?.is_some() {
                        copies.push((candidate, CopyAs::Delete));
                    }
                }
                RecordKind::Tombstone => copies.push((candidate, CopyAs::Tombstone)),
            }
        }
        Ok(copies)
    }

    /// Whether a slower tier has the very version of a clean copy.
    fn source_is_below(&self, from: usize, candidate: &Candidate) -> Result<bool> {
        for tier in from + 1..self.database.tier_count() {
            if let Some((kind, version)) = self.header_in_tier(tier, &candidate.data_key)? {
                return Ok(version == candidate.version && kind != RecordKind::Tombstone);
            }
        }
        Ok(false)
    }

    /// Brings older copies in the tiers that a move skips to the version that moves: until they are cleared they lie
    /// above it (I2), and a reader that has passed the tier above must not find nothing in between.
    fn level_between(&self, lease: &RangeLease, from: usize, to: usize, records: &[Candidate]) -> Result<()> {
        let mut buffer = Vec::new();
        for tier in from + 1..to {
            let mut batch = WriteBatch::default();
            for candidate in records.iter().filter(|c| c.kind != RecordKind::CleanCopy) {
                let present = self.header_in_tier(tier, &candidate.data_key)?;
                if present.is_some_and(|(_, version)| version < candidate.version) {
                    record::encode_into(candidate.kind, candidate.version, &candidate.payload, &mut buffer);
                    batch.put_cf(self.database.tier(tier), &candidate.data_key, &buffer);
                }
            }
            if !batch.is_empty() {
                let _effect = lease.effect("levelling a tier in between")?;
                self.database.write(&batch, &self.database.wal, "level a tier in between")?;
            }
        }
        Ok(())
    }

    /// Removes older copies from the tiers that a move skips: they would be faster than what now lies below (I2).
    fn clear_between(&self, lease: &RangeLease, from: usize, to: usize, records: &[Candidate]) -> Result<()> {
        for tier in from + 1..to {
            let mut batch = WriteBatch::default();
            for candidate in records.iter().filter(|c| c.kind != RecordKind::CleanCopy) {
                if self.header_in_tier(tier, &candidate.data_key)?.is_some() {
                    batch.delete_cf(self.database.tier(tier), &candidate.data_key);
                }
            }
            if !batch.is_empty() {
                let _effect = lease.effect("clearing a tier in between")?;
                self.database.write(&batch, &self.database.wal, "clear a tier in between")?;
            }
        }
        Ok(())
    }

    /// Deletes from the fastest tier what still has the version that was copied; the rest was written since and stays.
    /// `dropped` counts what is gone, also where it ends early.
    pub(super) fn drop_by_version(&self, lease: &RangeLease, records: &[Candidate], dropped: &mut u64) -> Result<()> {
        for group in records.chunks(GROUP) {
            let _effect = lease.effect("dropping copies from the fastest tier")?;
            let mut stripes = group.iter().map(|c| Stripes::of(c.user_key())).collect();
            let held = Guard::DemoteRecheck.on().then(|| self.stripes.hold(&mut stripes));
            // A flush takes no stripe: what is queued of these keys is written now, not between the check and the delete.
            self.buffered.flush_before(&self.database, group.iter().map(Candidate::user_key))?;
            let mut batch = WriteBatch::default();
            for candidate in group {
                if self.may_leave_fastest(candidate)? {
                    batch.delete_cf(self.database.tier(0), &candidate.data_key);
                }
            }
            self.database.write(&batch, &self.database.wal, "drop copies from the fastest tier")?;
            drop(held);
            *dropped += batch.len() as u64;
        }
        Ok(())
    }

    fn may_leave_fastest(&self, candidate: &Candidate) -> Result<bool> {
        if !Guard::DemoteRecheck.on() {
            return Ok(true);
        }
        let now = self.header_in_tier(0, &candidate.data_key)?;
        Ok(now == Some((candidate.kind, candidate.version)))
    }

    fn note_left(&self, tier: usize, range: &KeyRange, left: Left) {
        let capacity = self.tier_state(tier).capacity_bytes;
        let due = self.mover.deletes.lock().entry(tier).or_default().note(range, left, capacity);
        self.mover.due.lock().extend(due.into_iter().map(|range| (tier, range)));
    }

    /// Has all that moves left in a tier compacted, however little it is.
    pub(crate) fn all_left_is_due(&self, tier: usize) {
        let due = self.mover.deletes.lock().entry(tier).or_default().take();
        self.mover.due.lock().extend(due.into_iter().map(|range| (tier, range)));
    }

    /// Compacts the ranges in which moves have left much behind, after the move that ended so. Under no lease: nothing
    /// of the content changes, and range operations would wait for all of it.
    pub(crate) fn compact_due(&self, moved: Result<Moved>) -> Result<Moved> {
        loop {
            let due = self.mover.due.lock().pop();
            match due {
                Some((tier, range)) if self.check_open().is_ok() => {
                    let passed = self.environment.pass(CrashPoint::DeletesDue);
                    if let Err(error) = passed.and_then(|()| self.compact(tier, &range)) {
                        return moved.and(Err(error));
                    }
                }
                _ => return moved,
            }
        }
    }

    /// Rewrites a range of a tier so that its deletes are gone.
    pub(crate) fn compact(&self, tier: usize, range: &KeyRange) -> Result<()> {
        let flushed = self.database.raw().flush_cf(self.database.tier(tier));
        self.database.judge(flushed, "flush a tier before compacting it")?;
        let (start, end) = keys::bounds(range);
        let mut options = CompactOptions::default();
        options.set_exclusive_manual_compaction(false);
        self.database.raw().compact_range_cf_opt(self.database.tier(tier), Some(start), Some(end), &options);
        Ok(())
    }
}
