//! Tests of the classification, a file for each part, and a simulated store under long loads.
mod classifier;
mod explain;
mod policy;
mod simulation;

use std::time::Duration;

use super::{KeyInput, Policy, RangeInput, TierState, ValidPolicy};
use crate::heat::{AccessPattern, KeyHeat, RangeHeat};
use crate::range::KeyRange;

const NAMES: [&str; 3] = ["hot", "warm", "cold"];
const MIB: u64 = 1 << 20;

fn policy() -> ValidPolicy {
    Policy::default().validate(&NAMES).unwrap()
}

fn hours(hours: u64) -> Duration {
    Duration::from_secs(hours * 3600)
}

fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(minutes * 60)
}

fn tiers(capacity: [u64; 3], used: [u64; 3]) -> Vec<TierState> {
    (0..3)
        .map(|tier| TierState {
            name: NAMES[tier].to_owned(),
            capacity_bytes: capacity[tier],
            used_bytes: used[tier],
            high_watermark: 0.85,
            low_watermark: 0.75,
            accepts_moves: true,
        })
        .collect()
}

/// A range of 1000 keys and 1 MiB that has been where it is for three days.
fn range(start: &str, end: &str, tier: usize, reads_per_day: f64, read_ago: Option<Duration>) -> RangeInput {
    let mut bytes = vec![0; 3];
    bytes[tier] = MIB;
    RangeInput {
        heat: RangeHeat {
            range: KeyRange::new(start, end).unwrap(),
            reads_per_day,
            writes_per_day: 0.0,
            read_ago,
            write_ago: None,
            written_mean_ago: Some(hours(72)),
            watched_for: hours(72),
            moved_ago: None,
            written_bytes: MIB,
            pattern: AccessPattern::Random,
        },
        bytes,
        clean_bytes: Vec::new(),
        keys: 1000,
    }
}

fn key(name: &str, tier: usize, reads_per_day: f64, read_ago: Duration) -> KeyInput {
    KeyInput {
        heat: KeyHeat {
            key: name.as_bytes().to_vec(),
            reads_per_day,
            writes_per_day: 0.0,
            read_error: reads_per_day.sqrt(),
            read_ago: Some(read_ago),
            write_ago: None,
            served_by: None,
            bytes: 1024,
        },
        tier,
        moved_ago: None,
    }
}
