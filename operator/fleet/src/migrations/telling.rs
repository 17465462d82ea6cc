//! What is told of a move: its phase and the conditions that follow from it.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use thermocline_crds::condition::{self, ConditionType};
use thermocline_crds::reasons::Reason;
use thermocline_crds::v1alpha1::{MigrationPhase, MigrationStatus};

use super::Item;

/// The status of a move that is in a phase now, for a reason in words.
#[must_use]
pub fn tell(item: &Item, phase: MigrationPhase, words: &str, now: Timestamp) -> MigrationStatus {
    let mut status = item.status.clone();
    status.observed_generation = item.generation;
    status.phase = phase;
    if phase.is_final() {
        status.ended_at = Some(Time(now));
        status.outcome = Some(words.to_owned());
    }
    conditions(&mut status.conditions, phase, words, item.generation, now);
    status
}

/// Writes the conditions of a phase.
pub fn conditions(
    to: &mut Vec<Condition>,
    phase: MigrationPhase,
    words: &str,
    generation: Option<i64>,
    now: Timestamp,
) {
    let reason = reason(phase);
    let moves = matches!(phase, MigrationPhase::Running | MigrationPhase::Verifying);
    let verdicts = [(ConditionType::Progressing, moves), (ConditionType::Complete, phase == MigrationPhase::Completed)];
    for (about, so) in verdicts {
        // Seconds that count down are no news.
        let said = condition::get(to, about).filter(|said| said.reason == reason.as_str());
        let same = said.filter(|said| differ_in_seconds_alone(&said.message, words));
        let kept = same.map(|said| said.message.clone());
        condition::set(to, about, so.into(), reason, kept.unwrap_or_else(|| words.to_owned()), generation, now);
    }
}

const fn reason(phase: MigrationPhase) -> Reason {
    match phase {
        MigrationPhase::Pending | MigrationPhase::Approved => Reason::Waiting,
        MigrationPhase::Proposed => Reason::NeedsApproval,
        MigrationPhase::Running => Reason::Moving,
        MigrationPhase::Paused => Reason::PausedByRequest,
        MigrationPhase::Verifying => Reason::Verifying,
        MigrationPhase::Completed => Reason::Completed,
        MigrationPhase::Cancelled => Reason::Cancelled,
        MigrationPhase::Expired => Reason::Expired,
        MigrationPhase::Failed => Reason::Failed,
    }
}

fn differ_in_seconds_alone(one: &str, other: &str) -> bool {
    let (one, other): (Vec<&str>, Vec<&str>) = (one.split(' ').collect(), other.split(' ').collect());
    let is_seconds = |at: usize| {
        let unit = |words: &[&str]| words.get(at + 1).is_some_and(|word| word.trim_end_matches([',', ';', '.']) == "s");
        unit(&one) && unit(&other)
    };
    one.len() == other.len() && (0..one.len()).all(|at| one[at] == other[at] || is_seconds(at))
}
