//! What a run measured.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    time::Duration,
};

use hdrhistogram::Histogram;
use serde::Serialize;

use super::operation::OperationKind;

/// Latencies are kept from 1 us to 10 min with three digits; longer ones count as 10 min.
const MAX_MICROS: u64 = 600_000_000;
const DIGITS: u8 = 3;

/// Latencies and outcomes of one kind of operation.
#[derive(Debug, Clone)]
struct Kind {
    latency: Histogram<u64>,
    errors: u64,
    not_found: u64,
}

/// Collects latencies; recorders of several workers are merged.
#[derive(Debug, Clone, Default)]
pub struct Recorder {
    kinds: BTreeMap<OperationKind, Kind>,
    first_error: Option<String>,
}

impl Recorder {
    fn kind(&mut self, kind: OperationKind) -> Option<&mut Kind> {
        match self.kinds.entry(kind) {
            Entry::Occupied(entry) => Some(entry.into_mut()),
            Entry::Vacant(entry) => {
                // The bounds are constants that the histogram accepts; a test creates one.
                let latency = Histogram::new_with_bounds(1, MAX_MICROS, DIGITS).ok()?;
                Some(entry.insert(Kind { latency, errors: 0, not_found: 0 }))
            }
        }
    }

    /// An operation that was answered.
    pub fn answered(&mut self, kind: OperationKind, latency: Duration, found: bool) {
        if let Some(entry) = self.kind(kind) {
            let micros = u64::try_from(latency.as_micros()).unwrap_or(MAX_MICROS);
            entry.latency.saturating_record(micros);
            entry.not_found += u64::from(!found);
        }
    }

    /// An operation that failed.
    pub fn failed(&mut self, kind: OperationKind, error: impl FnOnce() -> String) {
        if let Some(entry) = self.kind(kind) {
            entry.errors += 1;
        }
        self.first_error.get_or_insert_with(error);
    }

    /// Adds what another worker recorded.
    pub fn merge(&mut self, other: Self) {
        for (kind, theirs) in other.kinds {
            if let Some(ours) = self.kind(kind) {
                // Histograms of equal bounds always add.
                let _ = ours.latency.add(&theirs.latency);
                ours.errors += theirs.errors;
                ours.not_found += theirs.not_found;
            }
        }
        if self.first_error.is_none() {
            self.first_error = other.first_error;
        }
    }

    /// The report of a run that took `elapsed`.
    #[must_use]
    pub fn report(&self, seed: u64, elapsed: Duration) -> Report {
        let kinds: Vec<LatencySummary> =
            self.kinds.iter().map(|(kind, entry)| LatencySummary::of(*kind, entry)).collect();
        let operations = kinds.iter().map(|kind| kind.operations).sum();
        let seconds = elapsed.as_secs_f64();
        Report {
            seed,
            elapsed_seconds: seconds,
            operations,
            errors: kinds.iter().map(|kind| kind.errors).sum(),
            operations_per_second: if seconds > 0.0 { operations as f64 / seconds } else { 0.0 },
            kinds,
            first_error: self.first_error.clone(),
        }
    }
}

/// Latencies of one kind of operation, in microseconds.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LatencySummary {
    /// The kind.
    pub operation: OperationKind,
    /// How many were answered.
    pub operations: u64,
    /// How many failed.
    pub errors: u64,
    /// How many reads found no record.
    pub not_found: u64,
    /// The mean.
    pub mean_micros: f64,
    /// Half were faster.
    pub p50_micros: u64,
    /// 95 of 100 were faster.
    pub p95_micros: u64,
    /// 99 of 100 were faster.
    pub p99_micros: u64,
    /// 999 of 1000 were faster.
    pub p999_micros: u64,
    /// The slowest.
    pub max_micros: u64,
}

impl LatencySummary {
    fn of(operation: OperationKind, kind: &Kind) -> Self {
        let at = |quantile| kind.latency.value_at_quantile(quantile);
        Self {
            operation,
            operations: kind.latency.len(),
            errors: kind.errors,
            not_found: kind.not_found,
            mean_micros: kind.latency.mean(),
            p50_micros: at(0.5),
            p95_micros: at(0.95),
            p99_micros: at(0.99),
            p999_micros: at(0.999),
            max_micros: kind.latency.max(),
        }
    }
}

/// What a run measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Replays the run.
    pub seed: u64,
    /// How long it took.
    pub elapsed_seconds: f64,
    /// Operations that were answered.
    pub operations: u64,
    /// Operations that failed.
    pub errors: u64,
    /// Answered operations a second.
    pub operations_per_second: f64,
    /// By kind.
    pub kinds: Vec<LatencySummary>,
    /// The first failure, as text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_error: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merged_recorders_report_what_both_saw() {
        let mut first = Recorder::default();
        first.answered(OperationKind::Read, Duration::from_micros(100), true);
        let mut second = Recorder::default();
        second.answered(OperationKind::Read, Duration::from_micros(300), false);
        second.failed(OperationKind::Update, || "gone".to_owned());
        first.merge(second);
        let report = first.report(4, Duration::from_secs(2));
        assert_eq!((report.seed, report.operations, report.errors), (4, 2, 1));
        assert_eq!(report.operations_per_second, 1.0);
        assert_eq!(report.first_error.as_deref(), Some("gone"));
        let reads = &report.kinds[0];
        assert_eq!((reads.operations, reads.not_found), (2, 1));
        assert_eq!((reads.p50_micros, reads.max_micros), (100, 300));
        assert_eq!(report.kinds[1].errors, 1);
    }

    #[test]
    fn a_latency_beyond_the_bounds_counts_as_the_longest() {
        let mut recorder = Recorder::default();
        recorder.answered(OperationKind::Scan, Duration::from_secs(100_000), true);
        let report = recorder.report(0, Duration::from_secs(1));
        assert!(report.kinds[0].max_micros >= MAX_MICROS);
    }
}
