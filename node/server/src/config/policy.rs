//! Checks the policy of moves between media against the tiers.

use std::time::Duration;

use thermocline_node_config::{PolicyConfig, TemperatureConfig, TierConfig};

use super::amounts::{duration, size};
use super::byte_size::ByteSize;
use super::error::Problems;
use super::settings::{PolicySettings, TemperatureSettings};

/// Shorter and the classifier would never rest.
const LEAST_INTERVAL: Duration = Duration::from_millis(100);
const LEAST_SPAN: Duration = Duration::from_millis(1);

/// The policy, or `None` with the problems noted.
pub(super) fn check(problems: &mut Problems, policy: &PolicyConfig, tiers: &[TierConfig]) -> Option<PolicySettings> {
    let temperatures: Vec<Option<TemperatureSettings>> = policy
        .temperatures
        .iter()
        .enumerate()
        .map(|(index, entry)| {
            let field = format!("policy.temperatures[{index}]");
            in_order(problems, &field, index, policy, tiers);
            temperature(problems, &field, entry)
        })
        .collect();
    let evaluation_interval = policy
        .evaluation_interval
        .as_deref()
        .and_then(|text| duration(problems, "policy.evaluationInterval", text, LEAST_INTERVAL));
    let min_residency = policy
        .min_residency
        .as_deref()
        .and_then(|text| duration(problems, "policy.minResidency", text, Duration::ZERO));
    let bytes_per_second = policy
        .bytes_per_second
        .as_deref()
        .and_then(|text| size(problems, "policy.bytesPerSecond", text, ByteSize::new(1024)));
    if let Some(hysteresis) = policy.hysteresis
        && !(1.0..=1000.0).contains(&hysteresis)
    {
        problems.add("policy.hysteresis", format!("{hysteresis} is out of range"), "1 to 1000");
    }
    Some(PolicySettings {
        generation: policy.generation,
        paused: policy.paused,
        temperatures: temperatures.into_iter().collect::<Option<_>>()?,
        evaluation_interval,
        hysteresis: policy.hysteresis,
        min_residency,
        bytes_per_second,
    })
}

fn in_order(problems: &mut Problems, field: &str, index: usize, policy: &PolicyConfig, tiers: &[TierConfig]) {
    let place = |name: &str| tiers.iter().position(|tier| tier.name == name);
    let Some(entry) = policy.temperatures.get(index) else {
        return;
    };
    let field = format!("{field}.tier");
    let upper: Vec<&str> = tiers.iter().take(tiers.len().saturating_sub(1)).map(|tier| tier.name.as_str()).collect();
    let allowed = if upper.is_empty() {
        "no temperatures where there is one tier".to_owned()
    } else {
        format!("each once, fastest first: {}; the slowest tier takes the rest", upper.join(", "))
    };
    let previous =
        index.checked_sub(1).and_then(|before| policy.temperatures.get(before)).and_then(|before| place(&before.tier));
    match place(&entry.tier) {
        None => problems.add(field, format!("there is no tier `{}`", entry.tier), allowed),
        Some(last) if last + 1 == tiers.len() => {
            problems.add(field, format!("`{}` is the slowest tier", entry.tier), allowed);
        }
        Some(here) if previous.is_some_and(|before| before >= here) => {
            problems.add(field, format!("`{}` is out of order", entry.tier), allowed);
        }
        Some(_) => {}
    }
}

fn temperature(problems: &mut Problems, field: &str, entry: &TemperatureConfig) -> Option<TemperatureSettings> {
    if !entry.reads.is_finite() || entry.reads < 0.0 {
        problems.add(
            format!("{field}.reads"),
            format!("{} is out of range", entry.reads),
            "a number of reads, 0 or more",
        );
    }
    let per = duration(problems, &format!("{field}.per"), &entry.per, LEAST_SPAN);
    let read_within = duration(problems, &format!("{field}.readWithin"), &entry.read_within, LEAST_SPAN);
    Some(TemperatureSettings { tier: entry.tier.clone(), reads: entry.reads, per: per?, read_within: read_within? })
}
