//! How healthy a node is, from signals that have names.

use std::time::Duration;

use crate::fleet::{Node, NodeLoad};

/// What a node's health is judged by, beside its load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HealthSignals {
    /// Requests and device operations that failed in the last hour.
    pub failures: u64,
    /// The 99th percentile of its response times.
    pub response_time: Duration,
    /// Since when its process runs.
    pub uptime: Duration,
}

impl Default for HealthSignals {
    /// Those of a node that is well.
    fn default() -> Self {
        Self { failures: 0, response_time: Duration::ZERO, uptime: Duration::from_hours(24) }
    }
}

/// Points that each failure of the last hour costs, and the most they cost together.
const FAILURE_POINTS: (u64, u64) = (4, 40);
/// Response times under the first cost nothing, from the second on they cost [`RESPONSE_POINTS`].
const RESPONSE_TIMES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));
/// The most that response times cost.
const RESPONSE_POINTS: f64 = 30.0;
/// A node that runs for less may be one that starts again and again (FoundationDB's operator waits as long).
const SETTLED: Duration = Duration::from_mins(10);
/// What running for less than [`SETTLED`] costs.
const UNSETTLED_POINTS: u8 = 20;
/// Memory over the first share costs, at all of it [`MEMORY_POINTS`].
const MEMORY_SHARE: f64 = 0.9;
/// The most that memory costs.
const MEMORY_POINTS: f64 = 10.0;

/// A score of 0 (gone) to 100 (well), with what it lacks to 100.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthScore {
    /// The score.
    pub points: u8,
    /// What took points away; nothing at 100.
    pub parts: Vec<HealthPart>,
}

/// What a signal took away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthPart {
    /// The signal.
    pub signal: &'static str,
    /// Points it took.
    pub points: u8,
    /// Why, as a sentence.
    pub why: String,
}

impl HealthScore {
    /// Nothing is placed on a node under this score.
    pub const TARGET_FLOOR: u8 = 50;

    /// The health of a node.
    #[must_use]
    pub fn of(node: &Node) -> Self {
        if node.is_silent() {
            let silent = HealthPart { signal: "availability", points: 100, why: "it is silent".to_owned() };
            return Self { points: 0, parts: vec![silent] };
        }
        let parts: Vec<HealthPart> = [
            failures(node.signals.failures),
            response_time(node.signals.response_time),
            uptime(node.signals.uptime),
            memory(&node.load),
        ]
        .into_iter()
        .flatten()
        .collect();
        let lost: u8 = parts.iter().map(|part| part.points).sum();
        Self { points: 100_u8.saturating_sub(lost), parts }
    }
}

fn failures(failures: u64) -> Option<HealthPart> {
    let (each, most) = FAILURE_POINTS;
    let points = failures.saturating_mul(each).min(most) as u8;
    (points > 0).then(|| HealthPart {
        signal: "failures",
        points,
        why: format!("{failures} failures in the last hour"),
    })
}

fn response_time(time: Duration) -> Option<HealthPart> {
    let (free, worst) = RESPONSE_TIMES;
    let share = time.saturating_sub(free).as_secs_f64() / (worst - free).as_secs_f64();
    let points = (share.min(1.0) * RESPONSE_POINTS).round() as u8;
    let why = || format!("one request in a hundred takes {} ms or longer", time.as_millis());
    (points > 0).then(|| HealthPart { signal: "response time", points, why: why() })
}

fn uptime(uptime: Duration) -> Option<HealthPart> {
    let why = || format!("it has been running for {} s only", uptime.as_secs());
    (uptime < SETTLED).then(|| HealthPart { signal: "uptime", points: UNSETTLED_POINTS, why: why() })
}

fn memory(load: &NodeLoad) -> Option<HealthPart> {
    let share = load.memory_used as f64 / load.memory.max(1) as f64;
    let points = ((share - MEMORY_SHARE) / (1.0 - MEMORY_SHARE)).clamp(0.0, 1.0) * MEMORY_POINTS;
    let why = || format!("{:.0} % of its memory is used", share * 100.0);
    (points >= 1.0).then(|| HealthPart { signal: "memory", points: points as u8, why: why() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_fleet::node;

    #[test]
    fn a_node_that_is_well_has_all_points_and_nothing_to_explain() {
        assert_eq!(HealthScore::of(&node(1)), HealthScore { points: 100, parts: Vec::new() });
    }

    #[test]
    fn every_point_that_is_missing_is_explained_by_a_signal() {
        let mut sick = node(1);
        sick.signals =
            HealthSignals { failures: 3, response_time: Duration::from_millis(550), uptime: Duration::from_secs(60) };
        sick.load.memory_used = sick.load.memory;
        let score = HealthScore::of(&sick);
        let points: Vec<_> = score.parts.iter().map(|part| (part.signal, part.points)).collect();
        assert_eq!(points, [("failures", 12), ("response time", 15), ("uptime", 20), ("memory", 10)]);
        assert_eq!(score.points, 43);
    }

    #[test]
    fn the_worst_signals_together_leave_no_points_and_do_not_wrap() {
        let mut sick = node(1);
        sick.signals = HealthSignals { failures: u64::MAX, response_time: Duration::MAX, uptime: Duration::ZERO };
        sick.load.memory_used = u64::MAX;
        assert_eq!(HealthScore::of(&sick).points, 0);
    }
}
