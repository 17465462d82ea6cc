//! Moves that are under way, and moves that were.

use crate::{Change, Moment, Priority, Reason};

/// How many ended moves a fleet remembers.
pub const HISTORY_LIMIT: usize = 65_536;

/// A move that has not ended.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenMove {
    /// What it does.
    pub change: Change,
    /// Why.
    pub reason: Reason,
    /// How urgent it is.
    pub priority: Priority,
    /// How far it is.
    pub phase: OpenPhase,
    /// Bytes that were forecast for it.
    pub bytes: u64,
}

/// How far a move is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum OpenPhase {
    /// Waits for a person.
    Proposed,
    /// Waits for its turn.
    Approved,
    /// Under way (or paused in it).
    Running,
}

/// A move that ended.
#[derive(Debug, Clone, PartialEq)]
pub struct MoveRecord {
    /// When it ended.
    pub ended: Moment,
    /// What it did.
    pub change: Change,
    /// Why.
    pub reason: Reason,
    /// Bytes that it moved.
    pub bytes: u64,
    /// Whether it reached its goal.
    pub completed: bool,
}
