//! Counters of the read, write and move paths.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use parking_lot::Mutex;

use super::latency::{LatencyHistogram, LatencySummary};
use crate::environment::Environment;
use crate::mover::MoveReason;
use crate::spread::SpreadCounter;
use crate::write::batch::Batch;

/// One in so many operations of a thread is timed: asking the clock twice costs as much as a cached read.
const TIMED: u32 = 8;

/// A moment to measure from; empty for an operation that is not timed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timer(Option<Duration>);

impl Timer {
    fn start(environment: &Environment) -> Self {
        thread_local! {
            static OPERATIONS: Cell<u32> = const { Cell::new(0) };
        }
        let timed = OPERATIONS.with(|operations| {
            let number = operations.get();
            operations.set(number.wrapping_add(1));
            number % TIMED == 0
        });
        Self(timed.then(|| environment.clock.monotonic()))
    }

    fn record(self, histogram: &LatencyHistogram, environment: &Environment) {
        if let Some(started) = self.0 {
            histogram.record(environment.clock.monotonic().saturating_sub(started));
        }
    }
}

/// What moves are counted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct MoveKey {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) reason: MoveReason,
}

/// Counts of moves of one kind.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct MoveCount {
    pub(crate) moves: u64,
    pub(crate) records: u64,
    pub(crate) bytes: u64,
}

/// Counters of the whole store.
#[derive(Default)]
pub(crate) struct Stats {
    /// Reads that the row cache did not answer; its hits it counts itself.
    pub(crate) reads: SpreadCounter,
    pub(crate) writes: SpreadCounter,
    pub(crate) deletes: SpreadCounter,
    pub(crate) scans: SpreadCounter,
    read_latency: LatencyHistogram,
    write_latency: LatencyHistogram,
    pub(crate) throttled_micros: AtomicU64,
    moves: Mutex<BTreeMap<MoveKey, MoveCount>>,
}

/// Counters of one tier.
#[derive(Default)]
pub(crate) struct TierStats {
    pub(crate) reads: SpreadCounter,
    latency: LatencyHistogram,
}

impl Stats {
    pub(crate) fn read_timer(&self, environment: &Environment) -> Timer {
        self.reads.add(1);
        Timer::start(environment)
    }

    pub(crate) fn read(&self, timer: Timer, environment: &Environment) {
        timer.record(&self.read_latency, environment);
    }

    pub(crate) fn tier_timer(&self, environment: &Environment) -> Timer {
        Timer::start(environment)
    }

    pub(crate) fn write_timer(&self, environment: &Environment) -> Timer {
        Timer::start(environment)
    }

    pub(crate) fn wrote(&self, timer: Timer, delete: bool, environment: &Environment) {
        let counter = if delete { &self.deletes } else { &self.writes };
        counter.add(1);
        timer.record(&self.write_latency, environment);
    }

    pub(crate) fn wrote_batch(&self, timer: Timer, batch: &Batch, environment: &Environment) {
        let puts = batch.mutations().iter().filter(|m| m.value().is_some()).count() as u64;
        self.writes.add(puts);
        self.deletes.add(batch.len() as u64 - puts);
        timer.record(&self.write_latency, environment);
    }

    pub(crate) fn scanned(&self) {
        self.scans.add(1);
    }

    pub(crate) fn moved(&self, key: MoveKey, records: u64, bytes: u64) {
        let mut moves = self.moves.lock();
        let count = moves.entry(key).or_default();
        count.moves += 1;
        count.records += records;
        count.bytes += bytes;
    }

    pub(crate) fn moves(&self) -> BTreeMap<MoveKey, MoveCount> {
        self.moves.lock().clone()
    }

    pub(crate) fn read_latency(&self) -> LatencySummary {
        self.read_latency.summary()
    }

    pub(crate) fn write_latency(&self) -> LatencySummary {
        self.write_latency.summary()
    }
}

impl TierStats {
    pub(crate) fn answered(&self, reads: u64, timer: Timer, environment: &Environment) {
        self.reads.add(reads);
        timer.record(&self.latency, environment);
    }

    pub(crate) fn latency(&self) -> LatencySummary {
        self.latency.summary()
    }
}
