//! Up to where a move begins.

use std::time::Duration;

use thermocline_crds::v1alpha1::Desired;

/// What the planner made and has not begun after so long expires, unless it was approved.
pub const PROPOSAL_LIFE: Duration = Duration::from_secs(3600);

/// A move that has not begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// Whether the planner made it.
    pub planner_made: bool,
    /// Whether a person has approved it.
    pub approved: bool,
    /// Whether it needs that first.
    pub needs_approval: bool,
    /// Whether its policy has been paused since.
    pub unwanted: bool,
    /// What a person wishes.
    pub desired: Desired,
    /// How old it is.
    pub age: Duration,
}

/// What holds up a move that is checked once more before it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Held {
    /// What passes.
    ForNow(String),
    /// What it was planned for is no longer so.
    ForGood(String),
}

/// What is next for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It begins.
    Begin,
    /// It waits for approval.
    Propose(String),
    /// It waits.
    Wait(String),
    /// It waits because a person wants it to.
    Pause,
    /// It ends.
    Cancel,
    /// It ends.
    Expire(String),
}

impl Waiting {
    /// What is next; `check` is asked only where it could begin.
    pub fn next(&self, check: impl FnOnce() -> Result<(), Held>) -> Verdict {
        let minutes = PROPOSAL_LIFE.as_secs() / 60;
        if self.desired == Desired::Cancel {
            return Verdict::Cancel;
        }
        if self.planner_made && !self.approved && self.age >= PROPOSAL_LIFE {
            let why = if self.needs_approval { "nobody approved it" } else { "it could not begin" };
            return Verdict::Expire(format!("{why} within {minutes} minutes"));
        }
        if self.unwanted {
            return Verdict::Expire("the policy of its pool is paused".to_owned());
        }
        if self.needs_approval {
            let words = format!("spec.approved: true lets it begin; it expires {minutes} minutes after it was made");
            return Verdict::Propose(words);
        }
        if self.desired == Desired::Pause {
            return Verdict::Pause;
        }
        match check() {
            Ok(()) => Verdict::Begin,
            Err(Held::ForGood(why)) if self.planner_made => Verdict::Expire(why),
            Err(Held::ForGood(why) | Held::ForNow(why)) => Verdict::Wait(why),
        }
    }
}
