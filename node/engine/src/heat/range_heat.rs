//! What is known of one range: as it is kept, and as it is told.

use std::time::Duration;

use super::moment::Moment;
use super::pattern::{AccessPattern, PatternStatistics};
use super::rate::{Decay, DecayedRate};
use super::reservoir::Reservoir;
use crate::range::KeyRange;

/// The heat of one range as of the moment it was asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct RangeHeat {
    /// The range.
    pub range: KeyRange,
    /// Reads per day, of all its keys together.
    pub reads_per_day: f64,
    /// Writes per day, of all its keys together.
    pub writes_per_day: f64,
    /// Time since the last sampled read.
    pub read_ago: Option<Duration>,
    /// Time since the last sampled write.
    pub write_ago: Option<Duration>,
    /// Mean age of the bytes written to it, as sampled; `None` where no write was seen.
    pub written_mean_ago: Option<Duration>,
    /// For how long the range has been watched.
    pub watched_for: Duration,
    /// Time since it (or a part) was last moved as a range.
    pub moved_ago: Option<Duration>,
    /// Bytes written to it as sampled, or as last measured.
    pub written_bytes: u64,
    /// How it is used.
    pub pattern: AccessPattern,
}

/// What the range table keeps of a range.
#[derive(Debug, Clone)]
pub(crate) struct RangeEntry {
    pub(crate) reads: DecayedRate,
    pub(crate) writes: DecayedRate,
    pub(crate) written_bytes: f64,
    pub(crate) written_mean: Moment,
    pub(crate) since: Moment,
    pub(crate) moved: Moment,
    /// Sampled accesses since it was split or made.
    pub(crate) samples: u32,
    pub(crate) reservoir: Reservoir,
    pub(crate) pattern: PatternStatistics,
    /// The key of its last sampled access, for the order of accesses.
    pub(crate) last_key: Box<[u8]>,
}

impl RangeEntry {
    pub(crate) fn new(now: Moment) -> Self {
        Self {
            reads: DecayedRate::NONE,
            writes: DecayedRate::NONE,
            written_bytes: 0.0,
            written_mean: Moment::NEVER,
            since: now,
            moved: Moment::NEVER,
            samples: 0,
            reservoir: Reservoir::default(),
            pattern: PatternStatistics::new(now),
            last_key: Box::default(),
        }
    }

    /// Reads and writes per day.
    pub(crate) fn accesses(&self, now: Moment, decay: &Decay) -> f64 {
        self.reads.at(now, decay) + self.writes.at(now, decay)
    }

    /// `bytes` were written at `now`: moves the mean time of writing by their share.
    pub(crate) fn written(&mut self, bytes: f64, now: Moment) {
        self.written_bytes += bytes;
        if self.written_bytes > 0.0 {
            self.written_mean = self.written_mean.toward(now, bytes / self.written_bytes);
        }
    }

    /// The part of it that has `share` of its accesses and bytes; keys stay with the caller.
    pub(crate) fn part(&self, share: f64, reservoir: Reservoir) -> Self {
        Self {
            reads: self.reads.scaled(share),
            writes: self.writes.scaled(share),
            written_bytes: self.written_bytes * share,
            samples: 0,
            reservoir,
            last_key: Box::default(),
            ..self.clone()
        }
    }

    /// This range and its right neighbour as one.
    pub(crate) fn joined(&self, right: &Self, now: Moment, decay: &Decay) -> Self {
        let written_bytes = self.written_bytes + right.written_bytes;
        let right_share = if written_bytes > 0.0 { right.written_bytes / written_bytes } else { 0.5 };
        Self {
            reads: self.reads.sum(&right.reads, decay),
            writes: self.writes.sum(&right.writes, decay),
            written_bytes,
            written_mean: self.written_mean.toward(right.written_mean, right_share),
            since: self.since.min(right.since),
            moved: self.moved.max(right.moved),
            samples: 0,
            reservoir: Reservoir::merged(&self.reservoir, &right.reservoir),
            pattern: self.pattern.merged(&right.pattern, now),
            last_key: Box::default(),
        }
    }

    pub(crate) fn heat(&self, range: KeyRange, now: Moment, decay: &Decay) -> RangeHeat {
        RangeHeat {
            range,
            reads_per_day: self.reads.at(now, decay),
            writes_per_day: self.writes.at(now, decay),
            read_ago: self.reads.last().age(now),
            write_ago: self.writes.last().age(now),
            written_mean_ago: self.written_mean.age(now),
            watched_for: self.since.age(now).unwrap_or_default(),
            moved_ago: self.moved.age(now),
            written_bytes: self.written_bytes as u64,
            pattern: AccessPattern::of(&self.pattern.summary(now)),
        }
    }
}
