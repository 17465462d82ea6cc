//! One pass over the input: what each range is without its admitted keys, which keys stay, how even the load is.

use std::time::Duration;

use super::input::{ClassifierInput, KeyInput, RangeInput};
use super::thresholds::{Warmth, class_of, demotion_target};

/// A key of unknown size counts as this.
const LEAST_KEY_BYTES: u64 = 64;
/// Bytes of a key where the number of keys is unknown.
const ASSUMED_KEY_BYTES: u64 = 1024;
/// Standard errors taken off a key's rate before it may displace or outrank anything: of 100,000 keys read alike, none
/// looks hotter than the others by more than chance allows.
const SURE: f64 = 3.0;
/// Share of the low watermark that kept and promoted keys may fill.
const KEPT_SHARE: f64 = 0.9;

/// A key that wants to move up.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate<'a> {
    pub(super) key: &'a KeyInput,
    pub(super) to: usize,
    pub(super) bytes: u64,
    /// Reads per day and byte that are beyond chance.
    pub(super) sure_density: f64,
}

/// A range without the keys that are judged by themselves.
#[derive(Debug)]
pub(super) struct SurveyedRange<'a> {
    pub(super) input: &'a RangeInput,
    /// Bytes of all its data, copies once.
    pub(super) logical_bytes: u64,
    /// Reads per day of its other keys together.
    pub(super) rest_reads: f64,
    /// How warm one of its other keys is on average.
    pub(super) rest: Warmth,
    /// Writes per day of one key on average.
    pub(super) writes_per_key: f64,
    /// The admitted keys in it, in key order.
    pub(super) tracked: Vec<&'a KeyInput>,
}

impl SurveyedRange<'_> {
    /// How long what is in `tier` has been there.
    pub(super) fn age_in(&self, tier: usize) -> Duration {
        let heat = &self.input.heat;
        let written = if tier == 0 { heat.written_mean_ago } else { None };
        match (heat.moved_ago, written) {
            (Some(moved), Some(written)) => moved.min(written),
            (Some(age), None) | (None, Some(age)) => age,
            (None, None) => heat.watched_for,
        }
    }
}

/// The surveyed input.
#[derive(Debug)]
pub(super) struct Survey<'a> {
    pub(super) ranges: Vec<SurveyedRange<'a>>,
    /// Keys that earned a faster tier, hottest byte first.
    pub(super) candidates: Vec<Candidate<'a>>,
    /// Reads per day and byte of the whole store.
    pub(super) mean_density: f64,
    /// Bytes of the whole store, copies once.
    pub(super) logical_bytes: u64,
    /// 1: every byte is read alike.
    pub(super) evenness: f64,
    /// Of each tier, the density under which admitted keys are no longer kept.
    keep_over: Vec<f64>,
    input: &'a ClassifierInput<'a>,
}

impl<'a> Survey<'a> {
    pub(super) fn of(input: &'a ClassifierInput<'a>) -> Self {
        let mut tracked: Vec<&KeyInput> = input.keys.iter().collect();
        tracked.sort_unstable_by(|a, b| a.heat.key.cmp(&b.heat.key));
        let mut rest = tracked.as_slice();
        let mut ranges = Vec::with_capacity(input.ranges.len());
        for range in input.ranges {
            let before = rest.partition_point(|key| key.heat.key.as_slice() < range.heat.range.start());
            let inside =
                rest.partition_point(|key| range.heat.range.end().is_none_or(|end| key.heat.key.as_slice() < end));
            let own = rest.get(before..inside).unwrap_or_default();
            rest = rest.get(inside.max(before)..).unwrap_or_default();
            ranges.push(survey_range(range, own));
        }
        let logical_bytes: u64 = ranges.iter().map(|range| range.logical_bytes).sum();
        let reads: f64 = ranges.iter().map(|range| range.input.heat.reads_per_day).sum();
        let mut survey = Self {
            evenness: evenness(&ranges, reads, logical_bytes),
            mean_density: if logical_bytes > 0 { reads / logical_bytes as f64 } else { 0.0 },
            logical_bytes,
            candidates: Vec::new(),
            keep_over: vec![0.0; input.tiers.len()],
            ranges,
            input,
        };
        survey.candidates = survey.find_candidates();
        survey.keep_over = (0..input.tiers.len()).map(|tier| survey.keep_limit(tier)).collect();
        survey
    }

    /// The admitted keys of a range that stay in `tier` when the rest of it leaves, and their bytes.
    pub(super) fn kept(&self, range: &SurveyedRange<'_>, tier: usize) -> (Vec<Vec<u8>>, u64) {
        let limit = self.keep_over.get(tier).copied().unwrap_or_default();
        let mut keys = Vec::new();
        let mut bytes = 0;
        for key in range.tracked.iter().filter(|key| key.tier == tier && self.stays(key)) {
            if density(key) >= limit {
                bytes += key_bytes(key);
                keys.push(key.heat.key.clone());
            }
        }
        (keys, bytes)
    }

    fn stays(&self, key: &KeyInput) -> bool {
        demotion_target(self.input.policy, warmth(key), key.tier, self.input.tiers.len() - 1) == key.tier
    }

    fn find_candidates(&self) -> Vec<Candidate<'a>> {
        let policy = self.input.policy;
        let slowest = self.input.tiers.len().saturating_sub(1);
        let rested = |age: Option<Duration>| age.is_none_or(|age| age >= policy.min_residency);
        let mut candidates: Vec<Candidate<'a>> = self
            .ranges
            .iter()
            .filter(|range| rested(range.input.heat.moved_ago))
            .flat_map(|range| range.tracked.iter().copied())
            .filter(|key| rested(key.moved_ago))
            .filter_map(|key| {
                let to = class_of(policy, warmth(key), slowest);
                (to < key.tier).then(|| Candidate {
                    key,
                    to,
                    bytes: key_bytes(key),
                    sure_density: (key.heat.reads_per_day - SURE * key.heat.read_error).max(0.0)
                        / key_bytes(key) as f64,
                })
            })
            .collect();
        candidates.sort_by(|a, b| {
            b.sure_density.total_cmp(&a.sure_density).then_with(|| a.key.heat.key.cmp(&b.key.heat.key))
        });
        candidates
    }

    /// The hottest keys that fit a tier stay or come; those that are there already count for `hysteresis` times as much.
    fn keep_limit(&self, tier: usize) -> f64 {
        let hysteresis = self.input.policy.hysteresis;
        let Some(state) = self.input.tiers.get(tier) else {
            return 0.0;
        };
        let residents = self.input.keys.iter().filter(|key| key.tier == tier && self.stays(key));
        let mut order: Vec<(f64, u64)> = residents.map(|key| (density(key) * hysteresis, key_bytes(key))).collect();
        order
            .extend(self.candidates.iter().filter(|candidate| candidate.to == tier).map(|c| (c.sure_density, c.bytes)));
        order.sort_by(|a, b| b.0.total_cmp(&a.0));
        let mut room = (state.low_bytes() as f64 * KEPT_SHARE) as u64;
        for (weighted, bytes) in order {
            if bytes > room {
                return weighted / hysteresis;
            }
            room -= bytes;
        }
        0.0
    }
}

pub(super) fn key_bytes(key: &KeyInput) -> u64 {
    u64::from(key.heat.bytes).max(LEAST_KEY_BYTES)
}

pub(super) fn warmth(key: &KeyInput) -> Warmth {
    Warmth { reads_per_day: key.heat.reads_per_day, read_ago: key.heat.read_ago }
}

fn density(key: &KeyInput) -> f64 {
    key.heat.reads_per_day / key_bytes(key) as f64
}

/// Number of keys of a range; an assumption where it is not known.
pub(super) fn key_count(range: &RangeInput) -> u64 {
    if range.keys > 0 { range.keys } else { (logical_bytes(range) / ASSUMED_KEY_BYTES).max(1) }
}

fn logical_bytes(range: &RangeInput) -> u64 {
    range.bytes.iter().sum::<u64>().saturating_sub(range.clean_bytes.iter().sum())
}

/// How warm the keys of a range are on average, without those judged by themselves.
pub(super) fn rest_of(range: &RangeInput, tracked_keys: usize, tracked_reads: f64) -> (f64, Warmth) {
    let rest_reads = (range.heat.reads_per_day - tracked_reads).max(0.0);
    let rest_keys = key_count(range).saturating_sub(tracked_keys as u64).max(1);
    (rest_reads, Warmth { reads_per_day: rest_reads / rest_keys as f64, read_ago: range.heat.read_ago })
}

fn survey_range<'a>(range: &'a RangeInput, tracked: &[&'a KeyInput]) -> SurveyedRange<'a> {
    let tracked_reads: f64 = tracked.iter().map(|key| key.heat.reads_per_day).sum();
    let (rest_reads, rest) = rest_of(range, tracked.len(), tracked_reads);
    SurveyedRange {
        input: range,
        logical_bytes: logical_bytes(range),
        rest_reads,
        rest,
        writes_per_key: range.heat.writes_per_day / key_count(range) as f64,
        tracked: tracked.to_vec(),
    }
}

/// The part of the reads that falls where an even load would put it: the sum of the smaller of read share and byte share.
/// Admitted keys count by themselves, less one standard error, or chance alone would look like skew.
fn evenness(ranges: &[SurveyedRange<'_>], reads: f64, bytes: u64) -> f64 {
    if reads <= 0.0 || bytes == 0 {
        return 0.0;
    }
    let overlap = |part_reads: f64, part_bytes: u64| (part_reads / reads).min(part_bytes as f64 / bytes as f64);
    ranges
        .iter()
        .map(|range| {
            let sure = |key: &KeyInput| (key.heat.reads_per_day - key.heat.read_error).max(0.0);
            let tracked: f64 = range.tracked.iter().map(|key| overlap(sure(key), key_bytes(key))).sum();
            let tracked_reads: f64 = range.tracked.iter().map(|key| sure(key)).sum();
            let tracked_bytes: u64 = range.tracked.iter().map(|key| key_bytes(key)).sum();
            let rest_reads = (range.input.heat.reads_per_day - tracked_reads).max(0.0);
            tracked + overlap(rest_reads, range.logical_bytes.saturating_sub(tracked_bytes))
        })
        .sum::<f64>()
        .min(1.0)
}
