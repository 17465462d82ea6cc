//! How far a Migration between media is, and what to do about it next. Pure.
//!
//! Each node that owns a part of the range carries out its part by itself; what has moved stays moved, whatever happens. A node
//! cannot hold a move, so that Pause ends it and Run begins it again: what is in place already is nothing to do.

use std::collections::BTreeMap;

use thermocline_crds::v1alpha1::{Desired, MigrationPhase, ValidatedKeyRange};
use thermocline_node_config::OwnedRange;

/// A node's part of a move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Not begun, or to be begun again.
    Waiting,
    /// It could not go on for what passes, and is begun again in a while.
    Held {
        /// Why.
        reason: String,
    },
    /// Under way.
    Running {
        /// Bytes moved so far.
        bytes: u64,
        /// Of a hundred parts, how many are done.
        percent: u32,
    },
    /// In place.
    Done {
        /// Bytes moved.
        bytes: u64,
    },
    /// Ended because it was asked to.
    Cancelled {
        /// Bytes moved.
        bytes: u64,
    },
    /// Ended without reaching its goal.
    Failed {
        /// Why.
        reason: String,
    },
}

/// What to do, and what to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The nodes on which the move is to be begun.
    pub begin: Vec<String>,
    /// The nodes on which it is to be ended.
    pub cancel: Vec<String>,
    /// The phase to tell.
    pub phase: MigrationPhase,
    /// Of a hundred parts, how many are done.
    pub progress: i32,
    /// Bytes moved.
    pub bytes: u64,
    /// How it ended, in words.
    pub outcome: Option<String>,
    /// What holds it up, in words.
    pub held: Option<String>,
}

/// Whether a node's range and a move's have a key in common.
#[must_use]
pub fn overlaps(owned: &OwnedRange, range: &ValidatedKeyRange) -> bool {
    let before_end = |key: &[u8], end: Option<&[u8]>| end.is_none_or(|end| key < end);
    let owned_end = Some(owned.end.as_bytes()).filter(|end| !end.is_empty());
    before_end(owned.start.as_bytes(), range.end.as_deref()) && before_end(&range.start, owned_end)
}

/// What to do next about a move that is not over.
#[must_use]
pub fn step(desired: Desired, parts: &BTreeMap<String, Part>) -> Step {
    let names = |wanted: fn(&Part) -> bool| -> Vec<String> {
        parts.iter().filter(|(_, part)| wanted(part)).map(|(name, _)| name.clone()).collect()
    };
    let running = names(|part| matches!(part, Part::Running { .. }));
    let mut step = Step {
        begin: Vec::new(),
        cancel: Vec::new(),
        phase: MigrationPhase::Running,
        progress: progress(parts),
        bytes: parts.values().map(bytes_of).sum(),
        outcome: None,
        held: parts.iter().find_map(|(name, part)| match part {
            Part::Held { reason } => Some(format!("{name}: {reason}")),
            _ => None,
        }),
    };
    let failed = parts.iter().find_map(|(name, part)| match part {
        Part::Failed { reason } => Some(format!("{name}: {reason}")),
        _ => None,
    });
    let done = parts.values().all(|part| matches!(part, Part::Done { .. }));
    match desired {
        _ if done => {
            step.phase = MigrationPhase::Completed;
            step.outcome = Some(format!("{} bytes moved on {} nodes", step.bytes, parts.len()));
        }
        Desired::Cancel if running.is_empty() => {
            step.phase = MigrationPhase::Cancelled;
            step.outcome = Some(format!("cancelled; {} bytes had moved and stay where they are", step.bytes));
        }
        Desired::Cancel => step.cancel = running,
        // The other nodes end what they do first, so that the outcome says all of it.
        _ if failed.is_some() => {
            if running.is_empty() {
                step.phase = MigrationPhase::Failed;
                step.outcome = failed;
            }
        }
        Desired::Pause => {
            if running.is_empty() {
                step.phase = MigrationPhase::Paused;
            }
            step.cancel = running;
        }
        Desired::Run => step.begin = names(|part| matches!(part, Part::Waiting | Part::Cancelled { .. })),
    }
    step
}

const fn bytes_of(part: &Part) -> u64 {
    match part {
        Part::Running { bytes, .. } | Part::Done { bytes } | Part::Cancelled { bytes } => *bytes,
        Part::Waiting | Part::Held { .. } | Part::Failed { .. } => 0,
    }
}

/// The mean over the nodes; 100 only when all are done.
fn progress(parts: &BTreeMap<String, Part>) -> i32 {
    let of = |part: &Part| match part {
        Part::Running { percent, .. } => (*percent).min(99),
        Part::Done { .. } => 100,
        _ => 0,
    };
    let sum: u32 = parts.values().map(of).sum();
    let count = u32::try_from(parts.len()).unwrap_or(u32::MAX).max(1);
    if parts.is_empty() { 100 } else { i32::try_from(sum / count).unwrap_or(100) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
#[path = "migration_test.rs"]
mod tests;
