//! The mover's loop: take in heat, classify when it is time, carry out what was chosen.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;

use super::demote::Demotion;
use super::{Cancel, MoveReason, Moved};
use crate::classify::{self, Classification, ClassifierInput, KeyInput, MoveChoice, RangeInput, TierState, classify};
use crate::engine::Inner;
use crate::error::{EngineError, Result};
use crate::format::keys;
use crate::heat::{KeyHeat, RangeHeat};
use crate::lease::Holder;
use crate::range::KeyRange;

/// How often samples are taken in: rings of samples are bounded.
const ABSORB_EVERY: Duration = Duration::from_millis(200);
/// How often heat is written to `meta`.
const STORE_EVERY: Duration = Duration::from_secs(60);
/// How long the mover waits for a range that somebody else holds before it leaves it for the next time.
const PATIENCE: Duration = Duration::from_millis(100);

/// What the mover does now, and who may ask it.
#[derive(Default)]
pub(crate) struct MoverControl {
    /// One classification at a time.
    classifying: Mutex<()>,
    running: AtomicU64,
    pub(crate) frozen: AtomicBool,
    cancel: Arc<Cancel>,
}

/// Counts a move as running until dropped.
pub(crate) struct Running<'a>(&'a AtomicU64);

impl MoverControl {
    pub(crate) fn run(&self) -> Running<'_> {
        self.running.fetch_add(1, Ordering::SeqCst);
        Running(&self.running)
    }

    pub(crate) fn running(&self) -> u64 {
        self.running.load(Ordering::SeqCst)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Runs until the store closes.
pub(crate) fn run_mover(inner: &Inner) {
    let clock = &*inner.environment.clock;
    let (mut classified, mut stored) = (clock.monotonic(), clock.monotonic());
    while !inner.is_closing() {
        let interval = inner.policy.load().evaluation_interval;
        clock.sleep(ABSORB_EVERY.min(interval));
        inner.heat.absorb();
        let now = clock.monotonic();
        if now.saturating_sub(classified) >= interval {
            classified = now;
            if let Err(error) = inner.reclassify()
                && !inner.is_closing()
            {
                tracing::warn!(error = %crate::error::chain(&error), "a round of moves ended early");
            }
        }
        if now.saturating_sub(stored) >= STORE_EVERY {
            stored = now;
            if let Err(error) = inner.heat.store(&inner.database) {
                tracing::warn!(%error, "heat could not be stored");
            }
        }
    }
}

impl Inner {
    /// Classifies now and carries out what was chosen.
    pub(crate) fn reclassify(&self) -> Result<Moved> {
        let _one = self.mover.classifying.lock();
        self.note_classified();
        let policy = self.policy.load_full();
        if policy.paused {
            return Ok(Moved::default());
        }
        let (ranges, admitted) = self.survey()?;
        let tiers = self.tier_states();
        let choice = classify(&ClassifierInput { tiers: &tiers, policy: &policy, ranges: &ranges, keys: &admitted });
        let Classification { moves, evenness: _, frozen, refused: _ } = choice;
        self.mover.frozen.store(frozen, Ordering::Relaxed);
        let mut moved = Moved::default();
        for choice in moves {
            self.check_open()?;
            match self.carry_out(&choice, policy.bytes_per_second) {
                Ok(step) => moved += step,
                // Somebody else has the range or took it: the next round looks again.
                Err(EngineError::RangeHeld { .. } | EngineError::LeaseLost { .. }) => {}
                // A damaged block stops the moves of its range only.
                Err(error @ EngineError::Corrupt { .. }) => {
                    tracing::error!(%error, "a range cannot be moved");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(moved)
    }

    fn carry_out(&self, choice: &MoveChoice, rate: Option<u64>) -> Result<Moved> {
        let _running = self.mover.run();
        let cancel = &*self.mover.cancel;
        match choice {
            MoveChoice::Promote { keys, to, bytes: _ } => {
                let keys: Vec<Bytes> = keys.iter().map(|k| Bytes::copy_from_slice(k)).collect();
                self.promote_to(&keys, *to, MoveReason::Promote, rate, cancel)
            }
            MoveChoice::PromoteRange { range, from: _, to, bytes: _ } => {
                let lease = self.leases.acquire(&self.database, range, Holder::Mover, PATIENCE)?;
                let moved = self.promote_range(&lease, *to, rate, cancel, &|_| {})?;
                self.heat.with(|tracker, now| tracker.note_moved(range, now));
                Ok(moved)
            }
            MoveChoice::DemoteRange { range, from, to, keep, bytes, reason } => {
                let keep: HashSet<&[u8]> = keep.iter().map(Vec::as_slice).collect();
                let lease = self.leases.acquire(&self.database, range, Holder::Mover, PATIENCE)?;
                let moved = self.demote(
                    &lease,
                    &Demotion {
                        from: *from,
                        to: *to,
                        reason: match reason {
                            classify::MoveReason::Hot | classify::MoveReason::Cold => MoveReason::Demote,
                            classify::MoveReason::Pressure | classify::MoveReason::MakeRoom => MoveReason::Watermark,
                        },
                        keep: &|key| keep.contains(key),
                        rate,
                        cancel,
                        progress: &|_| {},
                        enough: (*bytes).max(1),
                    },
                )?;
                self.heat.with(|tracker, now| tracker.note_moved(range, now));
                Ok(moved)
            }
        }
    }

    /// Copies single keys up to a tier.
    fn promote_to(
        &self,
        user_keys: &[Bytes],
        to: usize,
        reason: MoveReason,
        rate: Option<u64>,
        cancel: &Cancel,
    ) -> Result<Moved> {
        if to == 0 {
            return self.promote_keys(user_keys, reason, rate, cancel);
        }
        let mut moved = Moved::default();
        for key in user_keys {
            let range = KeyRange::single(key);
            let lease = self.leases.acquire(&self.database, &range, Holder::Mover, PATIENCE)?;
            moved += self.promote_range(&lease, to, rate, cancel, &|_| {})?;
        }
        Ok(moved)
    }

    /// The tiers as the classifier sees them.
    pub(crate) fn tier_states(&self) -> Vec<TierState> {
        (0..self.tiers.len())
            .map(|tier| {
                let settings = self.tiers[tier].settings();
                let used_bytes = self.database.tier_bytes(tier);
                TierState {
                    name: self.tiers[tier].name().to_owned(),
                    capacity_bytes: self.space.capacity(tier, settings.size_bytes, used_bytes),
                    used_bytes,
                    high_watermark: settings.high_watermark,
                    low_watermark: settings.low_watermark,
                    accepts_moves: !self.space.under_reserve(tier),
                }
            })
            .collect()
    }

    fn survey(&self) -> Result<(Vec<RangeInput>, Vec<KeyInput>)> {
        let (ranges, admitted) = self.heat.with(|tracker, now| (tracker.ranges(now), tracker.admitted_keys(now)));
        let ranges = ranges.into_iter().map(|heat| self.range_input(heat)).collect::<Result<Vec<_>>>()?;
        self.heat.with(|tracker, _| {
            for range in &ranges {
                tracker.set_stored_bytes(range.heat.range.start(), range.bytes.iter().sum());
            }
        });
        let mut keys = Vec::with_capacity(admitted.len());
        for heat in admitted {
            if let Some(tier) = self.placed_in(&heat)? {
                keys.push(KeyInput { heat, tier, moved_ago: None });
            }
        }
        Ok((ranges, keys))
    }

    pub(crate) fn placed_in(&self, heat: &KeyHeat) -> Result<Option<usize>> {
        let data_key = keys::encode(&heat.key);
        for tier in 0..self.database.tier_count() {
            match self.header_in_tier(tier, &data_key) {
                Ok(Some(_)) => return Ok(Some(tier)),
                Ok(None) => {}
                // Where it is cannot be read: it is not moved.
                Err(EngineError::Corrupt { .. }) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// A range's heat with its bytes per tier, as RocksDB estimates them.
    pub(crate) fn range_input(&self, heat: RangeHeat) -> Result<RangeInput> {
        let (start, end) = keys::bounds(&heat.range);
        let bytes = (0..self.database.tier_count())
            .map(|tier| self.database.approximate_bytes(tier, &start, &end))
            .collect::<Result<Vec<_>>>()?;
        Ok(RangeInput { heat, bytes, clean_bytes: Vec::new(), keys: 0 })
    }
}
