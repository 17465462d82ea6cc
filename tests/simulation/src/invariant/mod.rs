//! What must hold at all times (facts of consensus, and of our shards). Each is a value that is told what happened and says what
//! is wrong with it; none knows the simulation.

mod commits;
mod elections;
mod linearizable;
mod logs;
mod ranges;
mod votes;

use std::fmt;

pub use commits::{Commits, Configs, on_quorum};
pub use elections::Elections;
pub use linearizable::{Action, Operation, Outcome, linearizable};
pub use logs::{EntryId, LogMatching, Mirror, before_all};
pub use ranges::Ranges;
pub use votes::{Promise, Votes};

/// An invariant that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub invariant: &'static str,
    /// What happened.
    pub said: String,
}

impl Violation {
    /// Says that one does not hold.
    pub fn of(invariant: &'static str, said: impl Into<String>) -> Self {
        Self { invariant, said: said.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.invariant, self.said)
    }
}

/// Whether it holds.
pub type Held = Result<(), Violation>;
