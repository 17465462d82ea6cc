//! How much of a shard's log is kept, and when its leader slows down: decided from what the leader knows of the others. Pure.
//!
//! An entry is let go once every replica has it. For one that takes nothing the log waits up to a bound; over it the log goes on
//! without that one, which is *marked*: it needs a snapshot. So a dead replica never stops writes, and no log grows without end.
//! For one that takes entries, but too slowly, the leader slows down instead.

use std::time::Duration;

use crate::ReplicaId;
use crate::command::Release;

/// Bounds of a shard's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogBounds {
    /// So many bytes are let go at a time: each time the state machines are synced.
    pub step_bytes: u64,
    /// So many entries, where they are small.
    pub step_entries: u64,
    /// A voter that takes entries may lack so much before the leader slows down.
    pub lag_bytes: u64,
    /// What is kept for replicas that take no entries, at most.
    pub kept_bytes: u64,
    /// One that took nothing and said nothing for so long is dead for the while.
    pub patience: Duration,
    /// One that answers but took nothing for so long is given a snapshot.
    pub stuck: Duration,
}

impl Default for LogBounds {
    fn default() -> Self {
        Self {
            step_bytes: 32 << 20,
            step_entries: 10_000,
            lag_bytes: 64 << 20,
            kept_bytes: 512 << 20,
            patience: Duration::from_secs(3),
            stuck: Duration::from_secs(30),
        }
    }
}

/// The leader's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogFacts {
    /// The last entry that was let go.
    pub released: u64,
    /// The last one that the leader has applied.
    pub applied: u64,
    /// The bytes of all entries.
    pub bytes: u64,
}

/// Another replica of the group, as the leader knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Follower {
    /// Which.
    pub replica: ReplicaId,
    /// Whether it votes.
    pub votes: bool,
    /// Up to where its log is the leader's; `None`: not known, as while it is sent a snapshot.
    pub matched: Option<u64>,
    /// Bytes that it lacks.
    pub lacks_bytes: u64,
    /// For how long it has taken no entry of those that it lacks.
    pub stalled: Duration,
    /// How long ago it answered.
    pub silent: Duration,
}

/// What the leader does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogDecision {
    /// Nothing new is proposed meanwhile.
    pub slow: bool,
    /// What is said in the log that everybody lets go.
    pub release: Option<Release>,
    /// The leader lets go of what it has applied, whatever the group agrees on: it has the data, and whoever lacks an entry is
    /// sent a snapshot then.
    pub lets_go: bool,
}

/// What a follower means for the log.
enum Claim {
    /// It has the entries up to here.
    Has(u64),
    /// It needs what there is now, as far as the log has room for it.
    Holds,
    /// Nothing: it is sent a snapshot when it is back.
    None,
    /// As none, and the log is to say so at once.
    Marked,
    /// As marked, and it is to be sent a snapshot now.
    Stuck,
}

/// What the leader does about its log.
#[must_use]
pub fn decide(bounds: &LogBounds, log: LogFacts, followers: &[Follower], behind: impl Fn(u64) -> u64) -> LogDecision {
    let slow = followers.iter().any(|follower| is_slow(bounds, log, follower));
    let (mut upto, mut holds, mut marked, mut lets_go) = (log.applied, false, false, false);
    for follower in followers {
        match claim(bounds, log, follower) {
            Claim::Has(matched) => upto = upto.min(matched),
            Claim::Holds => holds = true,
            Claim::None => {}
            Claim::Marked => marked = true,
            Claim::Stuck => (marked, lets_go) = (true, true),
        }
    }
    let freed = log.bytes.saturating_sub(behind(upto));
    let due = freed >= bounds.step_bytes || upto.saturating_sub(log.released) >= bounds.step_entries || marked;
    if holds {
        return LogDecision { slow, ..LogDecision::default() };
    }
    if upto <= log.released || !due {
        return LogDecision { slow, release: None, lets_go };
    }
    let lacks = |follower: &&Follower| follower.matched.is_none_or(|matched| matched < upto);
    let lacking = followers.iter().filter(lacks).map(|follower| follower.replica).collect();
    LogDecision { slow, release: Some(Release { upto, lacking }), lets_go }
}

/// Whether a voter takes entries, but lacks too many.
fn is_slow(bounds: &LogBounds, log: LogFacts, follower: &Follower) -> bool {
    let gets_entries = follower.matched.is_some_and(|matched| matched >= log.released);
    follower.votes && gets_entries && follower.stalled < bounds.patience && follower.lacks_bytes > bounds.lag_bytes
}

fn claim(bounds: &LogBounds, log: LogFacts, follower: &Follower) -> Claim {
    let (answers, advances) = (follower.silent < bounds.patience, follower.stalled < bounds.patience);
    match follower.matched {
        Some(matched) if matched >= log.released => {
            let is_stuck = answers && follower.lacks_bytes > 0 && follower.stalled >= bounds.stuck;
            // For a voter that advances the leader slows down instead.
            let is_over = follower.lacks_bytes > bounds.kept_bytes && !(follower.votes && advances);
            match (is_stuck, is_over) {
                (true, _) => Claim::Stuck,
                (false, true) => Claim::Marked,
                (false, false) => Claim::Has(matched),
            }
        }
        // Dead, and marked before.
        Some(_) if !answers => Claim::None,
        _ if log.bytes > bounds.kept_bytes && !advances => Claim::Marked,
        // It is sent a snapshot and then wants what came after it, or it has not answered this leader yet.
        _ => Claim::Holds,
    }
}

#[cfg(test)]
#[path = "log_bounds_test.rs"]
mod tests;
