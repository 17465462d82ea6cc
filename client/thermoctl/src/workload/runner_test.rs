//! The runner on paused time: pace, stop and what counts as latency.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::workload::OperationKind;

/// Answers after a fixed time; every `fails_every`-th operation fails.
struct Slow {
    answer_after: Duration,
    fails_every: u64,
    seen: AtomicU64,
}

impl Slow {
    fn new(answer_after: Duration, fails_every: u64) -> Arc<Self> {
        Arc::new(Self { answer_after, fails_every, seen: AtomicU64::new(0) })
    }
}

impl Target for Slow {
    async fn execute(&self, _operation: Operation) -> Result<Outcome, String> {
        let number = self.seen.fetch_add(1, Ordering::Relaxed) + 1;
        tokio::time::sleep(self.answer_after).await;
        if self.fails_every != 0 && number.is_multiple_of(self.fails_every) {
            return Err(format!("operation {number} failed"));
        }
        Ok(Outcome::Done)
    }
}

fn plan(pace: Pace, stop: Stop, workers: u64) -> Plan {
    Plan {
        mix: Mix::read_update(1.0),
        distribution: KeyDistribution::Uniform,
        records: 10,
        max_scan: 1,
        workers,
        pace,
        stop,
        seed: 3,
    }
}

#[tokio::test(start_paused = true)]
async fn a_closed_loop_sends_when_answers_come_and_stops_in_time() {
    let target = Slow::new(Duration::from_millis(10), 0);
    let plan = plan(Pace::Closed, Stop::After(Duration::from_secs(1)), 4);
    let report = run(target, &plan, Arc::default()).await;
    // Four workers, each an operation every 10 ms (paused time may round a millisecond up), for a second.
    assert!((360..=404).contains(&report.operations), "{}", report.operations);
    assert_eq!(report.kinds[0].operation, OperationKind::Read);
    assert!((9_900..12_000).contains(&report.kinds[0].p50_micros), "{:?}", report.kinds[0]);
}

#[tokio::test(start_paused = true)]
async fn exactly_the_operations_asked_for_are_sent() {
    let target = Slow::new(Duration::from_millis(1), 5);
    let plan = plan(Pace::Closed, Stop::Operations(100), 7);
    let live = Arc::new(Live::default());
    let report = run(Arc::clone(&target), &plan, Arc::clone(&live)).await;
    assert_eq!(target.seen.load(Ordering::Relaxed), 100);
    assert_eq!((report.operations, report.errors), (80, 20));
    assert_eq!((live.answered(), live.failed()), (80, 20));
    assert!(report.first_error.unwrap().contains("failed"));
}

#[tokio::test(start_paused = true)]
async fn an_open_loop_keeps_its_rate_and_counts_the_wait_of_late_operations() {
    let on_time = Slow::new(Duration::from_millis(5), 0);
    let stop = Stop::After(Duration::from_secs(2));
    let report = run(on_time, &plan(Pace::Open { per_second: 100.0 }, stop, 2), Arc::default()).await;
    assert!((195..=205).contains(&report.operations), "{}", report.operations);
    assert!(report.kinds[0].p99_micros < 10_000, "{:?}", report.kinds[0]);

    // One worker that needs 50 ms for operations that are due every 10 ms falls behind: the wait is latency.
    let late = Slow::new(Duration::from_millis(50), 0);
    let report = run(late, &plan(Pace::Open { per_second: 100.0 }, stop, 1), Arc::default()).await;
    assert!(report.kinds[0].max_micros > 1_000_000, "{:?}", report.kinds[0]);
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_run_ends_after_the_operations_in_flight() {
    let target = Slow::new(Duration::from_millis(10), 0);
    let live = Arc::new(Live::default());
    let plan = plan(Pace::Closed, Stop::After(Duration::from_secs(3600)), 2);
    let running = tokio::spawn({
        let live = Arc::clone(&live);
        async move { run(target, &plan, live).await }
    });
    tokio::time::sleep(Duration::from_millis(105)).await;
    live.cancel();
    let report = running.await.unwrap();
    assert!(report.elapsed_seconds < 1.0);
    assert!(report.operations > 0);
}
