//! The decision: thresholds first, then what the tiers can hold. Pure and deterministic.
//!
//! 1. *Cold*: ranges whose keys lost their tier leave it, but for the hot keys in them. Held back while the load is even
//!    and the range is still read: moving would gain nothing.
//! 2. *Pressure*: a tier over its high watermark is emptied, coldest first, down to the low one.
//! 3. *Hot*: what earned a faster tier is copied there as long as that stays under its low watermark; beyond that only in
//!    place of something that is colder by the hysteresis, so that two loads alike never change places.

use std::collections::HashSet;
use std::time::Duration;

use super::choice::{Classification, MoveChoice, MoveReason};
use super::input::ClassifierInput;
use super::survey::{Candidate, Survey, SurveyedRange};
use super::thresholds::{class_of, demotion_target, unread_limit};

/// At this evenness or more a load counts as even.
pub const EVEN: f64 = 0.8;
/// What moves up must be read so many times as often as the store's average byte, unless everything fits.
const LEAST_SKEW: f64 = 1.5;
/// Keys in one promotion.
const KEYS_PER_PROMOTION: usize = 1024;
/// What takes a demoted range's place must fill at least this part of it.
const LEAST_REFILL: u64 = 16;

/// Decides what moves.
#[must_use]
pub fn classify(input: &ClassifierInput<'_>) -> Classification {
    if input.tiers.len() < 2 {
        return Classification::default();
    }
    let survey = Survey::of(input);
    let mut plan = Plan::new(input, &survey);
    if !input.policy.paused {
        plan.demote_cold();
        plan.relieve_pressure();
        plan.promote();
    }
    plan.decision
}

struct Plan<'a> {
    input: &'a ClassifierInput<'a>,
    survey: &'a Survey<'a>,
    /// What each tier holds once the moves so far are done.
    projected: Vec<u64>,
    /// (range, tier) pairs that already leave.
    leaving: HashSet<(usize, usize)>,
    /// Bytes that may still move in this interval, where the policy sets a budget; pressure does not ask.
    budget: Option<u64>,
    decision: Classification,
}

/// A range that may leave a tier.
struct Leaver {
    index: usize,
    bytes: u64,
    keep: Vec<Vec<u8>>,
    /// Accesses per day of what leaves.
    accesses: f64,
    order: (i32, f64, Duration),
}

impl<'a> Plan<'a> {
    fn new(input: &'a ClassifierInput<'a>, survey: &'a Survey<'a>) -> Self {
        let interval = input.policy.evaluation_interval.as_secs_f64();
        Self {
            input,
            survey,
            projected: input.tiers.iter().map(|tier| tier.used_bytes).collect(),
            leaving: HashSet::new(),
            budget: input.policy.bytes_per_second.map(|rate| (rate as f64 * interval) as u64),
            decision: Classification { evenness: survey.evenness, ..Classification::default() },
        }
    }

    fn slowest(&self) -> usize {
        self.input.tiers.len() - 1
    }

    fn demote_cold(&mut self) {
        for tier in 0..self.slowest() {
            for leaver in self.leavers(tier) {
                let range = &self.survey.ranges[leaver.index];
                let target = demotion_target(self.input.policy, range.rest, tier, self.slowest());
                if target == tier || !self.may_leave_when_cold(range, tier) {
                    continue;
                }
                self.demote(leaver, tier, target, MoveReason::Cold);
            }
        }
    }

    /// Residency and grace are over, it will not be rewritten before the next look, and the load is not even.
    fn may_leave_when_cold(&mut self, range: &SurveyedRange<'_>, tier: usize) -> bool {
        let policy = self.input.policy;
        let age = range.age_in(tier);
        let rewritten_soon =
            tier == 0 && range.writes_per_key * policy.evaluation_interval.as_secs_f64() / 86_400.0 >= 0.5;
        if age < policy.min_residency || rewritten_soon {
            return false;
        }
        let limit = unread_limit(policy, tier);
        let Some(read_ago) = range.input.heat.read_ago else {
            // Never read: as if it had been read when it came.
            return age.as_secs_f64() >= limit.as_secs_f64() / policy.hysteresis;
        };
        if self.survey.evenness >= EVEN && read_ago <= limit {
            self.decision.frozen = true;
            return false;
        }
        true
    }

    fn relieve_pressure(&mut self) {
        for tier in 0..self.slowest() {
            let state = &self.input.tiers[tier];
            if self.projected[tier] <= state.high_bytes() {
                continue;
            }
            let leavers = self.leavers(tier);
            let (rested, young): (Vec<_>, Vec<_>) = leavers
                .into_iter()
                .partition(|leaver| self.survey.ranges[leaver.index].age_in(tier) >= self.input.policy.min_residency);
            self.relieve(rested, tier, state.low_bytes());
            if self.projected[tier] > state.critical_bytes() {
                self.relieve(young, tier, state.high_bytes());
            }
        }
    }

    fn relieve(&mut self, leavers: Vec<Leaver>, tier: usize, down_to: u64) {
        for leaver in leavers {
            if self.projected[tier] <= down_to {
                return;
            }
            let rest = self.survey.ranges[leaver.index].rest;
            let target = demotion_target(self.input.policy, rest, tier, self.slowest()).max(tier + 1);
            self.demote(leaver, tier, target, MoveReason::Pressure);
        }
    }

    fn promote(&mut self) {
        let mut pending = Vec::new();
        let candidates = &self.survey.candidates;
        for (index, candidate) in candidates.iter().enumerate() {
            if !self.gains(candidate.sure_density, candidate.to) || !self.within_budget() {
                continue;
            }
            if !self.has_room(candidate.to, candidate.bytes) {
                // The keys decided so far come before the move that makes room for the next.
                self.flush_promotions(&mut pending);
                if !self.make_room(candidate, &candidates[index..]) {
                    self.decision.refused += 1;
                    continue;
                }
            }
            self.projected[candidate.to] += candidate.bytes;
            self.spend(candidate.bytes);
            pending.push(*candidate);
        }
        self.flush_promotions(&mut pending);
        self.promote_ranges();
    }

    fn promote_ranges(&mut self) {
        let mut hot: Vec<(f64, usize, usize)> = Vec::new();
        for (index, range) in self.survey.ranges.iter().enumerate() {
            let to = class_of(self.input.policy, range.rest, self.slowest());
            let density = range.rest_reads / range.logical_bytes.max(1) as f64;
            let rested = range.input.heat.moved_ago.is_none_or(|age| age >= self.input.policy.min_residency);
            if to < self.slowest() && rested && range.logical_bytes > 0 && self.gains(density, to) {
                hot.push((density, index, to));
            }
        }
        hot.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        for (_, index, to) in hot {
            for from in to + 1..self.input.tiers.len() {
                self.promote_range(index, from, to);
            }
        }
    }

    fn promote_range(&mut self, index: usize, from: usize, to: usize) {
        let range = self.survey.ranges[index].input;
        let stored = range.bytes.get(from).copied().unwrap_or_default();
        let above: u64 = range.bytes.iter().take(from).sum();
        // Copies stay below: what is above already has its copy here.
        let missing = stored.saturating_sub(above);
        if missing == 0 || missing.saturating_mul(10) < stored || self.leaving.contains(&(index, to)) {
            return;
        }
        if !self.has_room(to, missing) || !self.within_budget() {
            self.decision.refused += 1;
            return;
        }
        self.projected[to] += missing;
        self.spend(missing);
        let range = range.heat.range.clone();
        self.decision.moves.push(MoveChoice::PromoteRange { range, from, to, bytes: missing });
    }

    /// Demotes ranges that are colder than what waits for their place, if that is worth their bytes.
    fn make_room(&mut self, candidate: &Candidate<'_>, waiting: &[Candidate<'_>]) -> bool {
        let (to, policy) = (candidate.to, self.input.policy);
        for leaver in self.leavers(to) {
            if self.has_room(to, candidate.bytes) {
                break;
            }
            if self.survey.ranges[leaver.index].age_in(to) < policy.min_residency {
                continue;
            }
            let victim_density = leaver.accesses / leaver.bytes.max(1) as f64;
            let mut filled = 0;
            let mut gained = 0.0;
            for next in
                waiting.iter().filter(|next| next.to == to && next.sure_density > victim_density * policy.hysteresis)
            {
                if filled + next.bytes > leaver.bytes {
                    break;
                }
                filled += next.bytes;
                gained += next.sure_density * next.bytes as f64;
            }
            if filled * LEAST_REFILL < leaver.bytes
                || gained <= leaver.accesses * policy.hysteresis
                || !self.within_budget()
            {
                continue;
            }
            let rest = self.survey.ranges[leaver.index].rest;
            let target = demotion_target(policy, rest, to, self.slowest()).max(to + 1);
            self.demote(leaver, to, target, MoveReason::MakeRoom);
        }
        self.has_room(to, candidate.bytes)
    }

    /// What could leave a tier, coldest first, among equally cold ones by (bytes freed) / (bytes written for it).
    fn leavers(&self, tier: usize) -> Vec<Leaver> {
        let mut leavers: Vec<Leaver> = self
            .survey
            .ranges
            .iter()
            .enumerate()
            .filter(|(index, range)| {
                range.input.bytes.get(tier).is_some_and(|bytes| *bytes > 0) && !self.leaving.contains(&(*index, tier))
            })
            .filter_map(|(index, range)| {
                let (keep, kept_bytes) = self.survey.kept(range, tier);
                let stored = range.input.bytes.get(tier).copied().unwrap_or_default();
                let bytes = stored.saturating_sub(kept_bytes);
                // Sizes are estimates: a remainder that small may be nothing.
                if bytes == 0 || bytes < kept_bytes / 4 {
                    return None;
                }
                let clean = range.input.clean_bytes.get(tier).copied().unwrap_or_default().min(bytes);
                // Kept keys are read past; removing a clean copy costs a key.
                let written = (bytes - clean) + clean / 16 + kept_bytes / 16;
                // Admitted keys that go with the rest count, too.
                let dropped: f64 = range
                    .tracked
                    .iter()
                    .filter(|key| key.tier == tier && keep.binary_search(&key.heat.key).is_err())
                    .map(|key| key.heat.reads_per_day)
                    .sum();
                let accesses =
                    range.rest_reads + dropped + if tier == 0 { range.input.heat.writes_per_day } else { 0.0 };
                let coldness = (accesses / bytes as f64).log2().max(-1000.0).floor() as i32;
                let order = (coldness, bytes as f64 / written.max(1) as f64, range.age_in(tier));
                Some(Leaver { index, bytes, keep, accesses, order })
            })
            .collect();
        leavers.sort_by(|a, b| {
            a.order
                .0
                .cmp(&b.order.0)
                .then(b.order.1.total_cmp(&a.order.1))
                .then(b.order.2.cmp(&a.order.2))
                .then(a.index.cmp(&b.index))
        });
        leavers
    }

    /// Adds a demotion to `target` or, where that is full, to the next slower tier that is not.
    fn demote(&mut self, leaver: Leaver, from: usize, target: usize, reason: MoveReason) {
        if reason == MoveReason::Cold && !self.within_budget() {
            return;
        }
        let Some(to) = (target..self.input.tiers.len()).find(|to| self.can_take(*to, leaver.bytes)) else {
            self.decision.refused += 1;
            return;
        };
        self.projected[from] = self.projected[from].saturating_sub(leaver.bytes);
        self.projected[to] += leaver.bytes;
        self.spend(leaver.bytes);
        self.leaving.insert((leaver.index, from));
        self.decision.moves.push(MoveChoice::DemoteRange {
            range: self.survey.ranges[leaver.index].input.heat.range.clone(),
            from,
            to,
            keep: leaver.keep,
            bytes: leaver.bytes,
            reason,
        });
    }

    fn can_take(&self, to: usize, bytes: u64) -> bool {
        let state = &self.input.tiers[to];
        let limit = if to == self.slowest() { state.capacity_bytes } else { state.high_bytes() };
        state.accepts_moves && self.projected[to] + bytes <= limit
    }

    /// Whether bytes may be copied up: a tier is never filled over its low watermark, or pressure would send them back.
    fn has_room(&self, to: usize, bytes: u64) -> bool {
        let state = &self.input.tiers[to];
        state.accepts_moves && self.projected[to] + bytes <= state.low_bytes()
    }

    /// Whether something of this density is worth moving up.
    fn gains(&self, density: f64, to: usize) -> bool {
        let everything_fits = self.survey.logical_bytes <= self.input.tiers[to].low_bytes();
        everything_fits || density >= LEAST_SKEW * self.survey.mean_density
    }

    /// Whether more may move in this interval. What is larger than the rest of the budget takes longer than the interval,
    /// at the same pace: else it would never move.
    fn within_budget(&self) -> bool {
        self.budget.is_none_or(|left| left > 0)
    }

    fn spend(&mut self, bytes: u64) {
        self.budget = self.budget.map(|left| left.saturating_sub(bytes));
    }

    fn flush_promotions(&mut self, pending: &mut Vec<Candidate<'_>>) {
        for tier in 0..self.slowest() {
            let chosen: Vec<&Candidate<'_>> = pending.iter().filter(|candidate| candidate.to == tier).collect();
            for group in chosen.chunks(KEYS_PER_PROMOTION) {
                self.decision.moves.push(MoveChoice::Promote {
                    keys: group.iter().map(|candidate| candidate.key.heat.key.clone()).collect(),
                    to: tier,
                    bytes: group.iter().map(|candidate| candidate.bytes).sum(),
                });
            }
        }
        pending.clear();
    }
}
