//! The access pattern of a range, from bounded recent statistics.
//!
//! [`PatternStatistics`] counts and ages; [`AccessPattern::of`] decides from a plain summary and nothing else.

use std::time::Duration;

use super::moment::Moment;

/// How a range is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AccessPattern {
    /// Reads and writes without an order worth using.
    Random,
    /// Successive accesses go upwards through the range.
    Sequential,
    /// Accesses come in bursts with long silence between them.
    Batch,
    /// Hardly read; written now and then, or not at all.
    RareWrite,
}

impl AccessPattern {
    /// The name the API uses.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Random => "random",
            Self::Sequential => "sequential",
            Self::Batch => "batch",
            Self::RareWrite => "rare-write",
        }
    }

    /// Classifies a summary. Order matters: a sequential bulk load is sequential before it is a batch.
    #[must_use]
    pub fn of(summary: &PatternSummary) -> Self {
        if summary.reads < FEW_READS && summary.writes < FEW_WRITES {
            return Self::RareWrite;
        }
        if summary.pairs >= ENOUGH_PAIRS && f64::from(summary.ascending) >= SEQUENTIAL_SHARE * f64::from(summary.pairs)
        {
            return Self::Sequential;
        }
        if summary.slots >= ENOUGH_SLOTS
            && summary.active_slots * BATCH_SILENCE <= summary.slots
            && summary.reads + summary.writes >= ENOUGH_PAIRS
        {
            return Self::Batch;
        }
        if summary.reads < FEW_READS && summary.active_slots * BATCH_SILENCE <= summary.slots {
            return Self::RareWrite;
        }
        Self::Random
    }
}

/// Fewer sampled reads than this count as none.
const FEW_READS: u32 = 2;
/// Fewer sampled writes than this are rare.
const FEW_WRITES: u32 = 8;
/// Pairs and accesses below which nothing is claimed.
const ENOUGH_PAIRS: u32 = 16;
/// A random order goes up in half of all pairs, a sequential one in nearly all.
const SEQUENTIAL_SHARE: f64 = 0.85;
/// Observed time below which bursts cannot be told from a beginning.
const ENOUGH_SLOTS: u32 = 16;
/// A batch is silent in all but one of so many slots.
const BATCH_SILENCE: u32 = 8;
/// Counters are halved when they reach this, so that the last few hundred accesses decide.
const COUNT_LIMIT: u32 = 512;
/// Length of a slot of the activity history.
const SLOT: Duration = Duration::from_secs(60);
/// Slots remembered: one bit each.
const SLOTS: u32 = 64;

/// What the pattern is decided from: recent, halved counts of sampled accesses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PatternSummary {
    /// Sampled reads.
    pub reads: u32,
    /// Sampled writes.
    pub writes: u32,
    /// Pairs of successive sampled accesses to different keys.
    pub pairs: u32,
    /// Of these, pairs where the second key is the greater.
    pub ascending: u32,
    /// One-minute slots observed, at most 64.
    pub slots: u32,
    /// Of these, slots with any access.
    pub active_slots: u32,
}

/// Counts the recent accesses of one range.
#[derive(Debug, Clone)]
pub(crate) struct PatternStatistics {
    counts: PatternSummary,
    /// Bit 0 is the slot of `slot_start`.
    activity: u64,
    observed: u32,
    slot_start: Moment,
}

impl PatternStatistics {
    pub(crate) fn new(now: Moment) -> Self {
        Self { counts: PatternSummary::default(), activity: 0, observed: 1, slot_start: now }
    }

    /// One sampled access; `ascending` compares with the range's access before it (`None`: the same key, or the first).
    pub(crate) fn record(&mut self, is_read: bool, ascending: Option<bool>, now: Moment) {
        self.advance(now);
        self.activity |= 1;
        if is_read {
            self.counts.reads += 1;
        } else {
            self.counts.writes += 1;
        }
        if let Some(up) = ascending {
            self.counts.pairs += 1;
            self.counts.ascending += u32::from(up);
        }
        if self.counts.reads + self.counts.writes >= COUNT_LIMIT {
            self.counts.reads /= 2;
            self.counts.writes /= 2;
            self.counts.pairs /= 2;
            self.counts.ascending /= 2;
        }
    }

    pub(crate) fn summary(&self, now: Moment) -> PatternSummary {
        let mut seen = self.clone();
        seen.advance(now);
        PatternSummary { slots: seen.observed, active_slots: seen.activity.count_ones(), ..seen.counts }
    }

    pub(crate) fn merged(&self, other: &Self, now: Moment) -> Self {
        let (mut left, mut right) = (self.clone(), other.clone());
        left.advance(now);
        right.advance(now);
        left.counts.reads = (left.counts.reads + right.counts.reads) / 2;
        left.counts.writes = (left.counts.writes + right.counts.writes) / 2;
        left.counts.pairs = (left.counts.pairs + right.counts.pairs) / 2;
        left.counts.ascending = (left.counts.ascending + right.counts.ascending) / 2;
        left.activity |= right.activity;
        left.observed = left.observed.max(right.observed);
        left
    }

    /// Shifts the activity history to `now`. A history that has become all silence takes the counts with it.
    fn advance(&mut self, now: Moment) {
        let slot = SLOT.as_millis() as i64;
        let passed = now.milliseconds_since(self.slot_start) / slot;
        if passed == 0 {
            return;
        }
        if passed >= i64::from(SLOTS) {
            self.activity = 0;
            self.counts = PatternSummary::default();
            self.observed = SLOTS;
            self.slot_start = now;
            return;
        }
        self.activity <<= passed;
        self.observed = (self.observed + passed as u32).min(SLOTS);
        let whole = Duration::from_millis((passed * slot).unsigned_abs());
        let rest = Duration::from_millis(now.milliseconds_since(self.slot_start).unsigned_abs()).saturating_sub(whole);
        self.slot_start = Moment::before(now, rest);
    }
}
