//! What came of a run.

use std::fmt;

use crate::faults::Wrongs;
use crate::invariant::Violation;
use crate::observer::Sights;
use crate::operator::Asked;

/// What came of a run.
#[derive(Debug, Clone)]
pub struct Report {
    /// Its seed.
    pub seed: u64,
    /// The first invariant that did not hold, and when.
    pub violation: Option<(u64, Violation)>,
    /// The hash of all that happened.
    pub hash: u128,
    /// How many events that is.
    pub events: u64,
    /// Messages that were sent.
    pub messages: u64,
    /// Simulated milliseconds.
    pub millis: u64,
    /// Calls of clients that were answered.
    pub answered: usize,
    /// Writes whose outcome nobody was told.
    pub open: usize,
    /// What was seen.
    pub sights: Sights,
    /// What was asked for.
    pub asked: Asked,
    /// Jobs that were done.
    pub done: usize,
    /// What went wrong.
    pub wrongs: Wrongs,
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, hash, events, messages, millis, answered, open, done, .. } = self;
        let (sights, asked, wrongs) = (self.sights, self.asked, self.wrongs);
        writeln!(formatter, "seed={seed} hash={hash:032x} events={events} messages={messages} millis={millis}")?;
        writeln!(
            formatter,
            "answered={answered} open={open} elections={} shards={} snapshots={} splits={} merges={} jobs={} done={done} transfers={} purges={}",
            sights.elections,
            sights.shards,
            sights.snapshots,
            asked.splits,
            sights.merges,
            asked.jobs,
            asked.transfers,
            asked.purges,
        )?;
        write!(
            formatter,
            "kills={} power-losses={} pauses={} cuts={} others={}",
            wrongs.kills, wrongs.power_losses, wrongs.pauses, wrongs.cuts, wrongs.others,
        )?;
        match &self.violation {
            None => Ok(()),
            Some((at, violation)) => write!(formatter, "\nviolation after {at} ms: {violation}"),
        }
    }
}
