//! The mover's loop: classify when it is time, carry out what was chosen.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;

use super::deletes::Deletes;
use super::demote::Demotion;
use super::promote::Promotion;
use super::{Cancel, Interrupts, MoveReason, Moved, Pace};
use crate::classify::{self, Classification, ClassifierInput, MoveChoice, classify};
use crate::engine::Inner;
use crate::error::{EngineError, Result};
use crate::lease::{Holder, RangeLease};
use crate::range::KeyRange;

/// How often the mover looks whether there is something to do.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How often a tier over its high watermark is relieved, whatever the policy's interval: a full tier cannot wait an hour.
const RELIEVE_EVERY: Duration = Duration::from_secs(1);
/// How often heat is written to its file.
const STORE_EVERY: Duration = Duration::from_secs(60);
/// How long a classification looks for where keys are: a tier that fills up meanwhile is not relieved.
const LOOK_UP_FOR: Duration = Duration::from_secs(5);
/// How long the mover waits for a range that somebody else holds before it leaves it for the next time.
const PATIENCE: Duration = Duration::from_millis(100);

/// What the mover does now, and who may ask it.
#[derive(Default)]
pub(crate) struct MoverControl {
    /// One classification at a time.
    classifying: Mutex<()>,
    running: AtomicU64,
    pub(crate) frozen: AtomicBool,
    /// What moves left in the tiers.
    pub(super) deletes: Mutex<BTreeMap<usize, Deletes>>,
    /// Ranges to compact and their tier, once no lease is held.
    pub(super) due: Mutex<Vec<(usize, KeyRange)>>,
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
            tracing::warn!(error = %crate::error::chain(&error), "a round of moves was not carried out wholly");
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
        !self.tiers_under_pressure().is_empty()
    }

    fn tiers_under_pressure(&self) -> Vec<usize> {
        let over = |tier: &usize| {
            let state = self.tier_state(*tier);
            state.used_bytes as f64 > state.capacity_bytes as f64 * state.high_watermark
        };
        (0..self.tiers.len() - 1).filter(over).collect()
    }

    fn round(&self, round: Round) -> Result<Moved> {
        let _one = self.mover.classifying.lock();
        let policy = self.policy.load_full();
        if policy.paused {
            return Ok(Moved::default());
        }
        // Relief cannot wait for the devices, and only needs to know which keys stay.
        let look_up_for = if round == Round::Pressure { Duration::ZERO } else { LOOK_UP_FOR };
        let (ranges, admitted) = self.survey(look_up_for)?;
        let tiers = self.tier_states();
        let choice = classify(&ClassifierInput { tiers: &tiers, policy: &policy, ranges: &ranges, keys: &admitted });
        let Classification { mut moves, evenness: _, frozen, refused: _ } = choice;
        self.mover.frozen.store(frozen, Ordering::Relaxed);
        moves.retain(|choice| round == Round::Full || frees_space(choice));
        let moved = self.carry_out_all(&moves);
        // However little left a tier that is still too full: what it hides counts as used, and the next round would move
        // as much again.
        self.tiers_under_pressure().into_iter().for_each(|tier| self.all_left_is_due(tier));
        self.compact_due(moved)
    }

    /// Carries out what it can; the first failure that is not in the nature of moves is told at the end.
    pub(super) fn carry_out_all(&self, moves: &[MoveChoice]) -> Result<Moved> {
        let (mut moved, mut failed) = (Moved::default(), Ok(()));
        for choice in moves {
            self.check_open()?;
            match self.carry_out(choice) {
                Ok(step) => moved += step,
                // Somebody else has the range or took it: the next round looks again.
                // A target without space takes no more this round.
                Err(EngineError::RangeHeld { .. } | EngineError::LeaseLost { .. } | EngineError::OutOfSpace { .. }) => {
                }
                // A damaged block stops the moves of its range only, a damaged tier that is full those into it.
                Err(error @ (EngineError::Corrupt { .. } | EngineError::TierDamaged { .. })) => {
                    tracing::error!(%error, "a range cannot be moved");
                }
                // The next one may have another target, and not moving it would fill the tier it is in.
                Err(error) => failed = failed.and(Err(error)),
            }
        }
        failed.map(|()| moved)
    }

    fn carry_out(&self, choice: &MoveChoice) -> Result<Moved> {
        let _running = self.mover.run();
        let pace = self.policy_pace();
        let cancel = &*self.mover.cancel;
        match choice {
            MoveChoice::Promote { keys, to, bytes: _ } => {
                let keys: Vec<Bytes> = keys.iter().map(|k| Bytes::copy_from_slice(k)).collect();
                let moved = self.promote_to(&keys, *to, MoveReason::Promote, pace, cancel)?;
                self.heat.with(|tracker, _| keys.iter().for_each(|key| tracker.note_placed(key, *to)));
                Ok(moved)
            }
            MoveChoice::PromoteRange { range, from: _, to, bytes: _ } => {
                let lease = self.lease_into(*to, range)?;
                let moved = self.promote_range(
                    &lease,
                    *to,
                    &Promotion { reason: MoveReason::Promote, pace, cancel, progress: &|_| {} },
                )?;
                self.heat.with(|tracker, now| tracker.note_moved(range, now));
                Ok(moved)
            }
            MoveChoice::DemoteRange { range, from, to, keep, bytes, reason } => {
                let keep: HashSet<&[u8]> = keep.iter().map(Vec::as_slice).collect();
                let lease = self.lease_into(*to, range)?;
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
                        pace,
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

    /// A lease for a move into a tier, unless that was emptied since the move was chosen.
    fn lease_into(&self, to: usize, range: &KeyRange) -> Result<RangeLease> {
        let lease = self.leases.acquire(&self.database, range, Holder::Mover, PATIENCE)?;
        if self.tiers[to].is_leaving() {
            return Err(EngineError::LeaseLost { before: "moving into a tier that was emptied" });
        }
        Ok(lease)
    }

    /// Copies single keys up to a tier.
    fn promote_to(
        &self,
        user_keys: &[Bytes],
        to: usize,
        reason: MoveReason,
        pace: Option<Pace<'_>>,
        cancel: &Cancel,
    ) -> Result<Moved> {
        if to == 0 {
            return self.promote_keys(user_keys, reason, pace, &Interrupts { cancel, lease: None });
        }
        let mut moved = Moved::default();
        for key in user_keys {
            let range = KeyRange::single(key);
            let lease = self.lease_into(to, &range)?;
            moved += self.promote_range(&lease, to, &Promotion { reason, pace, cancel, progress: &|_| {} })?;
        }
        Ok(moved)
    }
}
