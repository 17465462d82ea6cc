//! Why a key is where it is, in sentences for a person. Uses the classifier's own thresholds.

use std::time::Duration;

use crate::heat::KeyHeat;

use super::input::{RangeInput, TierState};
use super::policy::{ValidPolicy, ValidTemperature};
use super::survey::rest_of;
use super::thresholds::{Warmth, class_of, demotion_target};

/// What is known of a key.
#[derive(Debug, Clone)]
pub struct ExplainInput<'a> {
    /// Its own heat, where it is admitted.
    pub key: Option<&'a KeyHeat>,
    /// The range it is in.
    pub range: &'a RangeInput,
    /// The heat of the admitted keys of that range, this one among them.
    pub range_keys: &'a [KeyHeat],
    /// The policy in force.
    pub policy: &'a ValidPolicy,
    /// The tiers, fastest first.
    pub tiers: &'a [TierState],
    /// Index of the fastest tier that has it; `None`: no tier has it.
    pub placed_in: Option<usize>,
    /// Whether the last classification held moves back because the load is even.
    pub frozen: bool,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The tier the policy wants.
    pub class: String,
    /// The threshold that decided, as the policy states it, and what was measured.
    pub rule: String,
    /// Stays, will move up, will move down; and why.
    pub decision: String,
}

/// Explains where a key belongs and what will happen to it.
#[must_use]
pub fn explain(input: &ExplainInput<'_>) -> Explanation {
    let slowest = input.tiers.len().saturating_sub(1);
    let (warmth, measured) = measured(input);
    let class = class_of(input.policy, warmth, slowest);
    Explanation {
        class: name(input.tiers, class),
        rule: format!("{}; {measured}", rule(input, class)),
        decision: decision(input, warmth, class, slowest),
    }
}

/// Index of the tier the policy gives to the keys of a range on average, without its admitted keys.
#[must_use]
pub fn range_class(policy: &ValidPolicy, range: &RangeInput, range_keys: &[KeyHeat], tier_count: usize) -> usize {
    class_of(policy, rest_warmth(range, range_keys), tier_count.saturating_sub(1))
}

fn rest_warmth(range: &RangeInput, range_keys: &[KeyHeat]) -> Warmth {
    let tracked_reads = range_keys.iter().map(|key| key.reads_per_day).sum();
    rest_of(range, range_keys.len(), tracked_reads).1
}

fn measured(input: &ExplainInput<'_>) -> (Warmth, String) {
    if let Some(key) = input.key {
        let warmth = Warmth { reads_per_day: key.reads_per_day, read_ago: key.read_ago };
        return (
            warmth,
            format!("this key has about {:.0} reads per day, {}", key.reads_per_day, last_read(key.read_ago)),
        );
    }
    let warmth = rest_warmth(input.range, input.range_keys);
    let text = format!(
        "this key is not read often enough to be tracked by itself; the keys around it have about {:.2} reads per day each, their range {}",
        warmth.reads_per_day,
        last_read(warmth.read_ago)
    );
    (warmth, text)
}

fn rule(input: &ExplainInput<'_>, class: usize) -> String {
    let temperature = |tier: usize| input.policy.temperatures.iter().find(|temperature| temperature.tier == tier);
    match (temperature(class), input.policy.temperatures.last()) {
        (Some(earned), _) => stated(earned),
        (None, Some(last)) => {
            format!("{} takes what is under the threshold {}", name(input.tiers, class), stated(last))
        }
        (None, None) => format!("the policy names no threshold: {} takes everything", name(input.tiers, class)),
    }
}

fn stated(temperature: &ValidTemperature) -> String {
    format!(
        "{}: more than {} reads in {} and read within {}",
        temperature.name,
        temperature.stated.reads,
        span(temperature.stated.per),
        span(temperature.stated.read_within)
    )
}

fn decision(input: &ExplainInput<'_>, warmth: Warmth, class: usize, slowest: usize) -> String {
    let Some(at) = input.placed_in else {
        return "nothing to move: no tier has this key".to_owned();
    };
    let here = name(input.tiers, at);
    let there = name(input.tiers, class);
    if input.policy.paused {
        return format!("stays in {here}: the policy is paused");
    }
    if let Some(tier) = input.tiers.get(at)
        && tier.used_bytes > tier.high_bytes()
        && at < slowest
        && class >= at
    {
        return format!("may move down from {here}: it is over its high watermark, the coldest leave first");
    }
    let moved = input.range.heat.moved_ago.filter(|ago| *ago < input.policy.min_residency);
    if class == at {
        return format!("stays in {here}: that is where the policy wants it");
    }
    if let Some(ago) = moved {
        return format!(
            "stays in {here} for now: its range was moved {} ago and stays for at least {}",
            span(ago),
            span(input.policy.min_residency)
        );
    }
    if class < at {
        if input.key.is_none() && class_of(input.policy, warmth, slowest) == class {
            return format!("will move up to {there} with its range, if there is room");
        }
        return match input.tiers.get(class) {
            Some(tier) if tier.used_bytes >= tier.low_bytes() => {
                format!(
                    "will move up to {there} when there is room, or in place of something colder: {there} is filled to its low watermark"
                )
            }
            _ => format!("will move up to {there} at the next evaluation"),
        };
    }
    let target = demotion_target(input.policy, warmth, at, slowest);
    if target == at {
        return format!(
            "stays in {here}: it is under the threshold, but not by the factor of {} that moves it down",
            input.policy.hysteresis
        );
    }
    if input.frozen {
        return format!("stays in {here}: all data is read alike, moving would gain nothing");
    }
    format!(
        "will move down to {} once it has been in {here} for {}",
        name(input.tiers, target),
        span(input.policy.min_residency)
    )
}

fn last_read(ago: Option<Duration>) -> String {
    ago.map_or_else(|| "never read as far as sampled".to_owned(), |ago| format!("last read {} ago", span(ago)))
}

fn name(tiers: &[TierState], index: usize) -> String {
    tiers.get(index).map(|tier| tier.name.clone()).unwrap_or_default()
}

/// A duration in its largest whole unit.
fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 => format!("{} ms", duration.as_millis()),
        1..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}
