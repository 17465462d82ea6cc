//! The policy's thresholds applied to one rate: where it belongs, whether it earned a faster tier, whether it lost its own.
//!
//! A tier is earned at the threshold as the policy states it and lost below the threshold divided by the hysteresis; the
//! age of the last read is treated alike. In between, data stays where it is.

use std::time::Duration;

use super::policy::ValidPolicy;

/// How often and how lately one thing is read, on average for one key.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Warmth {
    pub(super) reads_per_day: f64,
    pub(super) read_ago: Option<Duration>,
}

/// The tier the policy gives it; the slowest takes what no temperature claims.
pub(super) fn class_of(policy: &ValidPolicy, warmth: Warmth, slowest: usize) -> usize {
    policy
        .temperatures
        .iter()
        .find(|temperature| meets(policy, temperature.tier, warmth, 1.0))
        .map_or(slowest, |temperature| temperature.tier)
}

/// The slowest tier it may fall to from `tier`: its own while it keeps the softened thresholds of it or of a faster one.
pub(super) fn demotion_target(policy: &ValidPolicy, warmth: Warmth, tier: usize, slowest: usize) -> usize {
    policy
        .temperatures
        .iter()
        .find(|temperature| meets(policy, temperature.tier, warmth, policy.hysteresis))
        .map_or(slowest, |temperature| temperature.tier)
        .max(tier)
}

/// How long data may stay unread in `tier` before the policy takes it away; zero where it has no temperature.
pub(super) fn unread_limit(policy: &ValidPolicy, tier: usize) -> Duration {
    policy
        .temperatures
        .iter()
        .find(|temperature| temperature.tier == tier)
        .map_or(Duration::ZERO, |temperature| temperature.stated.read_within.mul_f64(policy.hysteresis.min(1e6)))
}

fn meets(policy: &ValidPolicy, tier: usize, warmth: Warmth, softness: f64) -> bool {
    policy.temperatures.iter().filter(|temperature| temperature.tier == tier).any(|temperature| {
        warmth.reads_per_day * softness > temperature.reads_per_day
            && warmth
                .read_ago
                .is_some_and(|ago| ago.as_secs_f64() <= temperature.stated.read_within.as_secs_f64() * softness)
    })
}
