//! Conditions of objects: what is so, since when, and why.
//!
//! Contract: every condition carries the generation it was judged at, so that a reader can tell a stale verdict; the time of
//! transition moves only when the status does, so that writing the same verdict twice changes nothing. The clock is given.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::reasons::Reason;

/// What a condition is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConditionType {
    /// The object does what it is for.
    Ready,
    /// Reads and writes are served (True while at least one node serves).
    Available,
    /// Something is being brought to what is declared.
    Progressing,
    /// Something needs attention although service may go on.
    Degraded,
    /// A device of the tier reports errors.
    MediaDegraded,
    /// A policy is the one that governs its pools.
    InForce,
    /// A migration has reached its goal.
    Complete,
}

impl ConditionType {
    /// As it stands in an object.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "Ready",
            Self::Available => "Available",
            Self::Progressing => "Progressing",
            Self::Degraded => "Degraded",
            Self::MediaDegraded => "MediaDegraded",
            Self::InForce => "InForce",
            Self::Complete => "Complete",
        }
    }
}

/// The verdict of a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is so.
    True,
    /// It is not so.
    False,
    /// It could not be found out.
    Unknown,
}

impl Verdict {
    /// As it stands in an object.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

impl From<bool> for Verdict {
    fn from(so: bool) -> Self {
        if so { Self::True } else { Self::False }
    }
}

/// Writes a verdict into a list of conditions, in place of an older one of the same type.
///
/// Returns whether anything a reader would care about changed (all but the time).
pub fn set(
    conditions: &mut Vec<Condition>,
    about: ConditionType,
    verdict: Verdict,
    reason: Reason,
    message: impl Into<String>,
    observed_generation: Option<i64>,
    now: Timestamp,
) -> bool {
    let mut new = Condition {
        type_: about.as_str().to_owned(),
        status: verdict.as_str().to_owned(),
        reason: reason.as_str().to_owned(),
        message: message.into(),
        observed_generation,
        last_transition_time: Time(now),
    };
    let Some(old) = conditions.iter_mut().find(|condition| condition.type_ == new.type_) else {
        conditions.push(new);
        return true;
    };
    if old.status == new.status {
        new.last_transition_time = old.last_transition_time.clone();
    }
    let changed = *old != new;
    *old = new;
    changed
}

/// The condition of a type, if it was ever judged.
#[must_use]
pub fn get(conditions: &[Condition], about: ConditionType) -> Option<&Condition> {
    conditions.iter().find(|condition| condition.type_ == about.as_str())
}

/// Whether a condition is True for this generation; a verdict over an older one does not count.
#[must_use]
pub fn is_true(conditions: &[Condition], about: ConditionType, generation: Option<i64>) -> bool {
    get(conditions, about).is_some_and(|condition| {
        condition.status == Verdict::True.as_str() && condition.observed_generation >= generation
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap_or_default()
    }

    fn ready(conditions: &mut Vec<Condition>, verdict: bool, message: &str, generation: i64, second: i64) -> bool {
        let reason = if verdict { Reason::AsDeclared } else { Reason::NodesNotReady };
        set(conditions, ConditionType::Ready, verdict.into(), reason, message, Some(generation), at(second))
    }

    #[test]
    fn the_time_moves_only_when_the_status_does() {
        let mut conditions = Vec::new();
        assert!(ready(&mut conditions, false, "1 of 3", 1, 10));
        assert!(!ready(&mut conditions, false, "1 of 3", 1, 20), "the same verdict is no change");
        assert!(ready(&mut conditions, false, "2 of 3", 1, 30));
        assert_eq!(conditions[0].last_transition_time, Time(at(10)));
        assert!(ready(&mut conditions, true, "3 of 3", 1, 40));
        assert_eq!(conditions[0].last_transition_time, Time(at(40)));
        assert_eq!(conditions.len(), 1);
    }

    #[test]
    fn a_verdict_over_an_older_generation_does_not_count() {
        let mut conditions = Vec::new();
        ready(&mut conditions, true, "3 of 3", 1, 10);
        assert!(is_true(&conditions, ConditionType::Ready, Some(1)));
        assert!(!is_true(&conditions, ConditionType::Ready, Some(2)));
        assert!(!is_true(&conditions, ConditionType::Available, Some(1)));
    }
}
