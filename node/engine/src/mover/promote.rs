//! Upward moves: copies. The source stays, so a snapshot-less reader never misses a key, and the copy may leave again
//! by a bare delete. Copies go up without the log: a lost one is still below.

use bytes::Bytes;
use rocksdb::WriteBatch;

use super::{Cancel, Interrupts, MoveReason, Moved, Pace, Part};
use crate::engine::Inner;
use crate::error::Result;
use crate::format::keys;
use crate::format::record::{self, RecordKind};
use crate::guard::Guard;
use crate::lease::RangeLease;
use crate::read::point::Found;
use crate::stats::MoveKey;
use crate::write::stripes::{Sequence, StripeIndex, Stripes};

/// Keys copied up under their stripes at a time.
const GROUP: usize = 64;

/// An upward move of a range.
pub(crate) struct Promotion<'a> {
    pub(crate) reason: MoveReason,
    /// `None`: as fast as the target takes it.
    pub(crate) pace: Option<Pace<'a>>,
    pub(crate) cancel: &'a Cancel,
    /// Told after every chunk.
    pub(crate) progress: &'a dyn Fn(Part<'_>),
}

/// A key that may go up, and what its stripe's sequence said before its source was read.
pub(super) struct Rising {
    data_key: Vec<u8>,
    stripe: StripeIndex,
    before: Sequence,
    found: Found,
}

impl Inner {
    /// Copies keys into the fastest tier. Keys that are there already, are gone, or are written meanwhile are left.
    pub(crate) fn promote_keys(
        &self,
        user_keys: &[Bytes],
        reason: MoveReason,
        pace: Option<Pace<'_>>,
        interrupts: &Interrupts<'_>,
    ) -> Result<Moved> {
        let mut moved = Moved::default();
        for group in user_keys.chunks(GROUP) {
            self.check_interrupts(interrupts)?;
            self.space.admit_move(0)?;
            let mut rising = Vec::with_capacity(group.len());
            for key in group {
                rising.extend(self.look_up_below(key)?);
            }
            let bytes = rising.iter().map(|r| (r.data_key.len() + r.found.value.len()) as u64).sum();
            self.throttle(0, bytes, pace, interrupts)?;
            let mut from: Vec<usize> = rising.iter().map(|r| r.found.tier).collect();
            from.dedup();
            let step = self.raise(rising)?;
            if step.records > 0 {
                let from = from.first().copied().unwrap_or(1);
                self.stats.moved(MoveKey { from, to: 0, reason }, step.records, step.bytes);
            }
            moved += step;
        }
        Ok(moved)
    }

    pub(super) fn look_up_below(&self, key: &Bytes) -> Result<Option<Rising>> {
        let stripe = Stripes::of(key);
        let before = self.stripes.sequence(stripe);
        let data_key = keys::encode(key);
        if self.header_in_tier(0, &data_key)?.is_some() {
            return Ok(None);
        }
        for tier in 1..self.database.tier_count() {
            if let Some(found) = self.find_in_tier(tier, key, &data_key, false)? {
                let rising = Rising { data_key, stripe, before, found };
                return Ok((rising.found.kind != RecordKind::Tombstone).then_some(rising));
            }
        }
        Ok(None)
    }

    pub(super) fn raise(&self, rising: Vec<Rising>) -> Result<Moved> {
        let mut stripes = rising.iter().map(|r| r.stripe).collect();
        let held = Guard::PromoteRecheck.on().then(|| self.stripes.hold(&mut stripes));
        // A flush takes no stripe: what is queued of these keys is written now, so that it is seen below.
        let keys = rising.iter().filter_map(|r| keys::decode(&r.data_key));
        self.buffered.flush_before(&self.database, keys)?;
        let mut batch = WriteBatch::default();
        let mut buffer = Vec::new();
        let mut moved = Moved::default();
        for rise in &rising {
            if !self.may_rise(rise)? {
                continue;
            }
            record::encode_into(RecordKind::CleanCopy, rise.found.version, &rise.found.value, &mut buffer);
            batch.put_cf(self.database.tier(0), &rise.data_key, &buffer);
            if !Guard::PromoteCopies.on() {
                batch.delete_cf(self.database.tier(rise.found.tier), &rise.data_key);
            }
            moved += Moved { records: 1, bytes: (rise.data_key.len() + rise.found.value.len()) as u64 };
        }
        if moved.records > 0 {
            self.database.write(&batch, &self.database.no_wal, "copy keys up")?;
        }
        drop(held);
        Ok(moved)
    }

    /// Nothing was written to the stripe since the source was read, and the fastest tier still lacks the key.
    fn may_rise(&self, rise: &Rising) -> Result<bool> {
        if !Guard::PromoteRecheck.on() {
            return Ok(true);
        }
        let unchanged = rise.before.quiet() && self.stripes.sequence(rise.stripe) == rise.before;
        // A range that is wiped or installed meanwhile: its fence disturbs every stripe when it rises and when it goes.
        let fenced = keys::decode(&rise.data_key).is_some_and(|key| self.fences.check(key).is_err());
        Ok(unchanged && !fenced && self.header_in_tier(0, &rise.data_key)?.is_none())
    }

    /// Copies what the tiers below `to` have of the leased range up to `to`.
    pub(crate) fn promote_range(&self, lease: &RangeLease, to: usize, promotion: &Promotion<'_>) -> Result<Moved> {
        let Promotion { reason, pace, cancel, progress } = *promotion;
        let interrupts = Interrupts { cancel, lease: Some(lease) };
        let mut moved = Moved::default();
        for from in to + 1..self.database.tier_count() {
            let mut rest = Some(lease.range().clone());
            while let Some(range) = rest {
                // Copies into the fastest tier need no lease: without this a range operation would wait for all of them.
                self.check_interrupts(&interrupts)?;
                let chunk = self.chunk(from, &range, &|_| false)?;
                let step = if to == 0 {
                    let keys: Vec<Bytes> = chunk.records.iter().map(|c| Bytes::copy_from_slice(c.user_key())).collect();
                    self.promote_keys(&keys, reason, pace, &interrupts)?
                } else {
                    self.space.admit_move(to)?;
                    self.throttle(to, chunk.bytes, pace, &interrupts)?;
                    self.raise_between(lease, to, from, &chunk.records, reason)?
                };
                progress(Part { from, moved: step, rest: chunk.rest.as_ref() });
                moved += step;
                rest = chunk.rest;
            }
        }
        Ok(moved)
    }

    /// Copies records between slower tiers; the lease keeps everybody else out of both.
    fn raise_between(
        &self,
        lease: &RangeLease,
        to: usize,
        from: usize,
        records: &[super::chunk::Candidate],
        reason: MoveReason,
    ) -> Result<Moved> {
        let mut batch = WriteBatch::default();
        let mut buffer = Vec::new();
        let mut moved = Moved::default();
        for candidate in records.iter().filter(|c| c.kind != RecordKind::Tombstone) {
            let mut above = false;
            for tier in to..from {
                above |= self.header_in_tier(tier, &candidate.data_key)?.is_some();
            }
            if !above {
                record::encode_into(RecordKind::CleanCopy, candidate.version, &candidate.payload, &mut buffer);
                batch.put_cf(self.database.tier(to), &candidate.data_key, &buffer);
                moved += Moved { records: 1, bytes: candidate.bytes() };
            }
        }
        if moved.records > 0 {
            let _effect = lease.effect("copying up between slower tiers")?;
            self.database.write(&batch, &self.database.no_wal, "copy up between slower tiers")?;
            self.tiers[to].medium_write(&*self.environment.clock, moved.bytes);
            self.stats.moved(MoveKey { from, to, reason }, moved.records, moved.bytes);
        }
        Ok(moved)
    }
}
