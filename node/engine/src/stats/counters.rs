//! Counters of the read, write and move paths.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::latency::{LatencyHistogram, LatencySummary};
use crate::environment::Environment;
use crate::mover::MoveReason;
use crate::write::batch::Batch;

/// A moment to measure from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timer(Duration);

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
    pub(crate) reads: AtomicU64,
    pub(crate) writes: AtomicU64,
    pub(crate) deletes: AtomicU64,
    pub(crate) scans: AtomicU64,
    read_latency: LatencyHistogram,
    write_latency: LatencyHistogram,
    pub(crate) throttled_micros: AtomicU64,
    moves: Mutex<BTreeMap<MoveKey, MoveCount>>,
}

/// Counters of one tier.
#[derive(Default)]
pub(crate) struct TierStats {
    pub(crate) reads: AtomicU64,
    latency: LatencyHistogram,
}

impl Stats {
    pub(crate) fn read_timer(&self, environment: &Environment) -> Timer {
        self.reads.fetch_add(1, Ordering::Relaxed);
        Timer(environment.clock.monotonic())
    }

    pub(crate) fn read(&self, timer: Timer, environment: &Environment) {
        self.read_latency.record(since(timer, environment));
    }

    /// A read that the row cache answered: counted, not timed, since asking the clock would cost as much as the read.
    pub(crate) fn cache_hit(&self) {
        self.reads.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn tier_timer(&self, environment: &Environment) -> Timer {
        Timer(environment.clock.monotonic())
    }

    pub(crate) fn write_timer(&self, environment: &Environment) -> Timer {
        Timer(environment.clock.monotonic())
    }

    pub(crate) fn wrote(&self, timer: Timer, delete: bool, environment: &Environment) {
        let counter = if delete { &self.deletes } else { &self.writes };
        counter.fetch_add(1, Ordering::Relaxed);
        self.write_latency.record(since(timer, environment));
    }

    pub(crate) fn wrote_batch(&self, timer: Timer, batch: &Batch, environment: &Environment) {
        let puts = batch.mutations().iter().filter(|m| m.value().is_some()).count() as u64;
        self.writes.fetch_add(puts, Ordering::Relaxed);
        self.deletes.fetch_add(batch.len() as u64 - puts, Ordering::Relaxed);
        self.write_latency.record(since(timer, environment));
    }

    pub(crate) fn scanned(&self) {
        self.scans.fetch_add(1, Ordering::Relaxed);
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
    pub(crate) fn answered(&self, timer: Timer, environment: &Environment) {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.latency.record(since(timer, environment));
    }

    pub(crate) fn latency(&self) -> LatencySummary {
        self.latency.summary()
    }
}

fn since(timer: Timer, environment: &Environment) -> Duration {
    environment.clock.monotonic().saturating_sub(timer.0)
}
