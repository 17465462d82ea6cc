//! Runs a stream of operations against a target, closed loop or open loop.
//!
//! Closed loop: each worker sends its next operation when the last one is answered. Open loop: operations are due at
//! a fixed rate whether or not earlier ones are answered; a latency counts from when the operation was due, so a
//! stalled store shows as latency and not as fewer operations.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{task::JoinSet, time::Instant};

use super::{
    distribution::KeyDistribution,
    operation::{Mix, Operation, OperationStream},
    report::{Recorder, Report},
};

/// What an operation met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Done; of a read, there was a record.
    Done,
    /// A read that found no record.
    NotFound,
}

/// Something operations are run against.
pub trait Target: Send + Sync + 'static {
    /// Executes an operation; the error is shown to a person.
    fn execute(&self, operation: Operation) -> impl Future<Output = Result<Outcome, String>> + Send;
}

/// How fast operations are sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    /// As fast as the workers get answers.
    Closed,
    /// So many a second over all workers.
    Open {
        /// Operations a second.
        per_second: f64,
    },
}

/// When a run ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// After this long.
    After(Duration),
    /// After so many operations.
    Operations(u64),
}

/// A run.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Shares of the operations.
    pub mix: Mix,
    /// Which records they touch.
    pub distribution: KeyDistribution,
    /// Records that are loaded.
    pub records: u64,
    /// The longest scan, in records.
    pub max_scan: u64,
    /// Concurrent workers, at least 1.
    pub workers: u64,
    /// How fast.
    pub pace: Pace,
    /// When it ends.
    pub stop: Stop,
    /// Replays it.
    pub seed: u64,
}

/// Counters that a display reads while a run goes on, and the switch that ends it early.
#[derive(Debug, Default)]
pub struct Live {
    answered: AtomicU64,
    failed: AtomicU64,
    claimed: AtomicU64,
    inserted: Arc<AtomicU64>,
    cancelled: AtomicBool,
}

impl Live {
    /// Operations answered so far.
    pub fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    /// Operations failed so far.
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// Records that the run may have inserted beyond those that were loaded.
    pub fn inserted(&self) -> u64 {
        self.inserted.load(Ordering::Relaxed)
    }

    /// Ends the run after the operations in flight.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }
}

/// Runs the plan to its end and reports.
pub async fn run<T: Target>(target: Arc<T>, plan: &Plan, live: Arc<Live>) -> Report {
    let start = Instant::now();
    let workers = plan.workers.max(1);
    let mut tasks = JoinSet::new();
    for worker in 0..workers {
        let stream = OperationStream::new(
            plan.mix,
            plan.distribution,
            plan.records,
            plan.max_scan,
            plan.seed,
            (worker, workers),
            Arc::clone(&live.inserted),
        );
        let schedule = Schedule::new(plan.pace, start, worker, workers);
        tasks.spawn(work(Arc::clone(&target), stream, schedule, plan.stop, start, Arc::clone(&live)));
    }
    let mut all = Recorder::default();
    while let Some(finished) = tasks.join_next().await {
        match finished {
            Ok(recorder) => all.merge(recorder),
            Err(error) => tracing::error!(%error, "a worker of the load stopped"),
        }
    }
    all.report(plan.seed, start.elapsed())
}

/// When the operations of one worker are due.
#[derive(Debug, Clone, Copy)]
struct Schedule {
    next: Option<Instant>,
    interval: Duration,
}

impl Schedule {
    /// Workers are due one after the other, evenly.
    fn new(pace: Pace, start: Instant, worker: u64, workers: u64) -> Self {
        match pace {
            Pace::Closed => Self { next: None, interval: Duration::ZERO },
            Pace::Open { per_second } => {
                let between = 1.0 / per_second.max(0.001);
                Self {
                    next: Some(start + Duration::from_secs_f64(between * worker as f64)),
                    interval: Duration::from_secs_f64(between * workers as f64),
                }
            }
        }
    }

    /// When the next operation is due; `None` for at once.
    fn take(&mut self) -> Option<Instant> {
        let due = self.next?;
        self.next = Some(due + self.interval);
        Some(due)
    }
}

async fn work<T: Target>(
    target: Arc<T>,
    mut stream: OperationStream,
    mut schedule: Schedule,
    stop: Stop,
    start: Instant,
    live: Arc<Live>,
) -> Recorder {
    let mut recorder = Recorder::default();
    loop {
        let due = schedule.take();
        let begins = due.unwrap_or_else(Instant::now);
        let over = match stop {
            Stop::After(limit) => begins.duration_since(start) >= limit || start.elapsed() >= limit,
            Stop::Operations(limit) => live.claimed.fetch_add(1, Ordering::Relaxed) >= limit,
        };
        if over || live.cancelled.load(Ordering::Relaxed) {
            return recorder;
        }
        if let Some(due) = due {
            tokio::time::sleep_until(due).await;
        }
        let operation = stream.next_operation();
        match target.execute(operation).await {
            Ok(outcome) => {
                recorder.answered(operation.kind, begins.elapsed(), outcome == Outcome::Done);
                live.answered.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => {
                recorder.failed(operation.kind, || error);
                live.failed.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

#[cfg(test)]
#[path = "runner_test.rs"]
mod tests;
