//! Heat and Explain: what the engine knows of keys and ranges, as messages.

use std::time::Duration;

use thermocline_engine::classify::{Policy, RangeInput, ValidPolicy, range_class};
use thermocline_engine::heat::{KeyHeat, RangeHeat};
use thermocline_engine::{CopyReport, Engine, EngineError, RecordKind, TierReport};
use thermocline_proto::{MAX_KEY_BYTES, v1};

use crate::service::convert::millis;
use crate::service::{Rejection, limits};

const DEFAULT_KEYS: u32 = 20;
const MOST_KEYS: u32 = 1000;
const DEFAULT_RANGES: u32 = 64;
const MOST_RANGES: u32 = 4096;

/// How much of the heat is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Question {
    keys: u32,
    ranges: u32,
}

impl Question {
    /// Zero means the default; too much is refused.
    pub(super) fn parse(request: &v1::HeatRequest) -> Result<Self, Rejection> {
        let bounded = |field, asked: u32, default: u32, most: u32| {
            limits::at_most(field, "entries", asked as usize, most as usize)?;
            Ok(if asked == 0 { default } else { asked })
        };
        Ok(Self {
            keys: bounded("top_keys", request.top_keys, DEFAULT_KEYS, MOST_KEYS)?,
            ranges: bounded("ranges", request.ranges, DEFAULT_RANGES, MOST_RANGES)?,
        })
    }

    /// Asks the engine; the policy gives the ranges their class.
    pub(super) fn ask(self, engine: &Engine, policy: &Policy) -> Result<v1::HeatResponse, EngineError> {
        // The class of a range is that of its keys without the hot ones, so all that may be are asked for.
        let report = engine.heat(MOST_KEYS as usize, self.ranges as usize)?;
        let tiers = engine.stats().tiers;
        let names: Vec<&str> = tiers.iter().map(|tier| tier.name.as_str()).collect();
        let policy = policy.validate(&names)?;
        let hot: Vec<KeyHeat> = report.keys.iter().map(|(heat, _)| heat.clone()).collect();
        let ranges = report.ranges.into_iter().map(|(heat, bytes)| {
            let class = class(&policy, &tiers, &hot, &heat, &bytes);
            range(&heat, class, tier_bytes(&tiers, &bytes))
        });
        Ok(v1::HeatResponse {
            keys: report.keys.iter().take(self.keys as usize).map(|(heat, tier)| key(heat, tier)).collect(),
            ranges: ranges.collect(),
            tracked_bytes: report.tracked_bytes,
        })
    }
}

/// Why a key is where it is.
pub(super) fn explain(engine: &Engine, asked: &[u8]) -> Result<v1::ExplainResponse, EngineError> {
    let answer = engine.explain(asked)?;
    // A tracked key has a class of its own; its range's is that of a neighbour which is not tracked.
    let range_class = match &answer.key_heat {
        None => answer.class.clone(),
        Some(_) => {
            let mut neighbour = answer.range_heat.range.start().to_vec();
            neighbour.push(0);
            neighbour.truncate(MAX_KEY_BYTES);
            let neighbour = engine.explain(&neighbour)?;
            if neighbour.key_heat.is_none() { neighbour.class } else { String::new() }
        }
    };
    let newest = answer.copies.first();
    let tier = newest.map_or("", |copy| copy.tier.as_str());
    Ok(v1::ExplainResponse {
        exists: newest.is_some_and(|copy| copy.kind != RecordKind::Tombstone),
        heat: answer.key_heat.as_ref().map(|heat| key(heat, tier)),
        range: Some(range(&answer.range_heat, range_class, Vec::new())),
        copies: answer.copies.into_iter().map(copy).collect(),
        class: answer.class,
        rule: answer.rule,
        decision: answer.decision,
        in_row_cache: answer.in_row_cache,
    })
}

fn copy(copy: CopyReport) -> v1::KeyCopy {
    let kind = match copy.kind {
        RecordKind::Value => "value",
        RecordKind::Tombstone => "tombstone",
        RecordKind::CleanCopy => "clean copy",
    };
    v1::KeyCopy { tier: copy.tier, version: copy.version, kind: kind.to_owned(), bytes: copy.bytes }
}

fn key(heat: &KeyHeat, tier: &str) -> v1::KeyHeat {
    v1::KeyHeat {
        key: heat.key.clone().into(),
        reads_per_day: heat.reads_per_day,
        writes_per_day: heat.writes_per_day,
        last_read_ms_ago: ago(heat.read_ago),
        tier: tier.to_owned(),
    }
}

/// The tier that the policy gives the keys of a range; their number is estimated from the density of the tiers.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn class(policy: &ValidPolicy, tiers: &[TierReport], hot: &[KeyHeat], heat: &RangeHeat, bytes: &[u64]) -> String {
    let keys = tiers.iter().zip(bytes).map(|(tier, bytes)| {
        let density = tier.keys as f64 / tier.used_bytes.max(1) as f64;
        *bytes as f64 * density
    });
    let keys = keys.sum::<f64>().ceil() as u64;
    let hot: Vec<KeyHeat> = hot.iter().filter(|key| heat.range.contains(&key.key)).cloned().collect();
    let input = RangeInput { heat: heat.clone(), bytes: bytes.to_vec(), clean_bytes: Vec::new(), keys };
    let class = range_class(policy, &input, &hot, tiers.len());
    tiers.get(class).map(|tier| tier.name.clone()).unwrap_or_default()
}

fn range(heat: &RangeHeat, class: String, bytes: Vec<v1::TierBytes>) -> v1::RangeHeat {
    v1::RangeHeat {
        start: heat.range.start().to_vec().into(),
        end: heat.range.end().unwrap_or_default().to_vec().into(),
        reads_per_day: heat.reads_per_day,
        writes_per_day: heat.writes_per_day,
        last_read_ms_ago: ago(heat.read_ago),
        pattern: heat.pattern.as_str().to_owned(),
        class,
        bytes,
    }
}

fn tier_bytes(tiers: &[TierReport], bytes: &[u64]) -> Vec<v1::TierBytes> {
    tiers.iter().zip(bytes).map(|(tier, bytes)| v1::TierBytes { tier: tier.name.clone(), bytes: *bytes }).collect()
}

/// Milliseconds since; a read that never was is as long ago as can be said.
fn ago(since: Option<Duration>) -> u64 {
    since.map_or(u64::MAX, millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_asks_for_the_default_and_too_much_is_refused() {
        let of = |top_keys, ranges| Question::parse(&v1::HeatRequest { top_keys, ranges });
        assert_eq!(of(0, 0), Ok(Question { keys: 20, ranges: 64 }));
        assert_eq!(of(1000, 4096), Ok(Question { keys: 1000, ranges: 4096 }));
        assert!(of(1001, 0).is_err() && of(0, 4097).is_err());
    }
}
