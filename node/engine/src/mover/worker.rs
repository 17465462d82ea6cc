//! The mover's loop: classify when it is time, carry out what was chosen.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;

use super::deletes::Deletes;
use super::demote::Demotion;
use super::promote::Promotion;
use super::{Cancel, Interrupts, MoveReason, Moved};
use crate::classify::{self, Classification, ClassifierInput, KeyInput, MoveChoice, RangeInput, TierState, classify};
use crate::engine::Inner;
use crate::error::{EngineError, Result};
use crate::format::keys;
use crate::heat::{KeyHeat, RangeHeat};
use crate::lease::Holder;
use crate::range::KeyRange;

/// How often the mover looks whether there is something to do.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How often a tier over its high watermark is relieved, whatever the policy's interval: a full tier cannot wait an hour.
const RELIEVE_EVERY: Duration = Duration::from_secs(1);
/// How often heat is written to its file.
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
    /// What moves left in the fastest tier.
    pub(super) deletes: Mutex<Deletes>,
    /// Ranges of the fastest tier to compact, once no lease is held.
    pub(super) due: Mutex<Vec<KeyRange>>,
    /// Generations of ended moves whose journal entries could not be closed yet.
    pub(super) abandoned: Mutex<Vec<u64>>,
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
    let started = clock.monotonic();
    let (mut classified, mut relieved, mut stored) = (started, started, started);
    while !inner.is_closing() {
        let interval = inner.policy.load().evaluation_interval;
        clock.sleep(LOOK_EVERY.min(interval));
        let now = clock.monotonic();
        if now.saturating_sub(classified) >= interval {
            classified = now;
            log_round(inner, inner.reclassify());
        } else if now.saturating_sub(relieved) >= RELIEVE_EVERY && inner.under_pressure() {
            relieved = now;
            log_round(inner, inner.round(Round::Pressure));
        }
        if now.saturating_sub(stored) >= STORE_EVERY {
            stored = now;
            if let Err(error) = inner.heat.store() {
                tracing::warn!(%error, "heat could not be stored");
            }
        }
    }
}

fn log_round(inner: &Inner, round: Result<Moved>) {
    match round {
        Err(error) if !inner.is_closing() => {
            tracing::warn!(error = %crate::error::chain(&error), "a round of moves ended early");
        }
        _ => {}
    }
}

/// What a round of the mover carries out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Round {
    /// Everything the classifier chose.
    Full,
    /// Only what frees space.
    Pressure,
}

fn frees_space(choice: &MoveChoice) -> bool {
    use classify::MoveReason::{MakeRoom, Pressure};
    matches!(choice, MoveChoice::DemoteRange { reason: Pressure | MakeRoom, .. })
}

impl Inner {
    /// Classifies now and carries out what was chosen.
    pub(crate) fn reclassify(&self) -> Result<Moved> {
        self.note_classified();
        self.round(Round::Full)
    }

    /// Whether a tier is over its high watermark and has somewhere to go.
    fn under_pressure(&self) -> bool {
        let tiers = self.tier_states();
        let movable = &tiers[..tiers.len() - 1];
        movable.iter().any(|t| t.used_bytes as f64 > t.capacity_bytes as f64 * t.high_watermark)
    }

    fn round(&self, round: Round) -> Result<Moved> {
        let _one = self.mover.classifying.lock();
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
            if round == Round::Pressure && !frees_space(&choice) {
                continue;
            }
            match self.carry_out(&choice, policy.bytes_per_second) {
                Ok(step) => moved += step,
                // Somebody else has the range or took it: the next round looks again.
                // A target without space takes no more this round.
                Err(EngineError::RangeHeld { .. } | EngineError::LeaseLost { .. } | EngineError::OutOfSpace { .. }) => {
                }
                // A damaged block stops the moves of its range only, a damaged tier that is full those into it.
                Err(error @ (EngineError::Corrupt { .. } | EngineError::TierDamaged { .. })) => {
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
                let moved = self.promote_range(
                    &lease,
                    *to,
                    &Promotion { reason: MoveReason::Promote, rate, cancel, progress: &|_| {} },
                )?;
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
                );
                drop(lease);
                let moved = self.compact_due(moved)?;
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
            return self.promote_keys(user_keys, reason, rate, &Interrupts { cancel, lease: None });
        }
        let mut moved = Moved::default();
        for key in user_keys {
            let range = KeyRange::single(key);
            let lease = self.leases.acquire(&self.database, &range, Holder::Mover, PATIENCE)?;
            moved += self.promote_range(&lease, to, &Promotion { reason, rate, cancel, progress: &|_| {} })?;
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
                    accepts_moves: !self.space.under_reserve(tier) && !self.is_blocked_by_damage(tier),
                }
            })
            .collect()
    }

    fn survey(&self) -> Result<(Vec<RangeInput>, Vec<KeyInput>)> {
        let (ranges, admitted) = self.heat.with(|tracker, now| (tracker.ranges(now), tracker.admitted_keys(now)));
        let densities = self.densities();
        let ranges =
            ranges.into_iter().map(|heat| self.range_input_at(heat, &densities)).collect::<Result<Vec<_>>>()?;
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
        self.range_input_at(heat, &self.densities())
    }

    fn range_input_at(&self, heat: RangeHeat, densities: &[f64]) -> Result<RangeInput> {
        let (start, end) = keys::bounds(&heat.range);
        let bytes = (0..self.database.tier_count())
            .map(|tier| self.database.approximate_bytes(tier, &start, &end))
            .collect::<Result<Vec<_>>>()?;
        let records: f64 = bytes.iter().zip(densities).map(|(bytes, density)| *bytes as f64 * density).sum();
        Ok(RangeInput { heat, bytes, clean_bytes: Vec::new(), keys: records.ceil() as u64 })
    }

    /// Records a byte in each tier, estimated from the whole tier.
    fn densities(&self) -> Vec<f64> {
        let density = |tier| {
            let records = self.database.property(tier, "rocksdb.estimate-num-keys") as f64;
            records / self.database.tier_bytes(tier).max(1) as f64
        };
        (0..self.database.tier_count()).map(density).collect()
    }
}
