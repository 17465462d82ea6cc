//! A latency histogram that many threads record into without a lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Sub-buckets per power of two: 1/16, so a percentile is at most 6 % off.
const SUB: usize = 16;
const BUCKETS: usize = 64 * SUB;

/// Counts of latencies by logarithmic bucket of nanoseconds.
pub(crate) struct LatencyHistogram {
    counts: Box<[AtomicU64]>,
    sum_nanos: AtomicU64,
}

/// Percentiles of a histogram.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LatencySummary {
    /// Recorded.
    pub count: u64,
    /// In all.
    pub sum: Duration,
    /// The median.
    pub p50: Duration,
    /// 99 % were no slower.
    pub p99: Duration,
}

impl Default for LatencyHistogram {
    fn default() -> Self {
        Self { counts: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect(), sum_nanos: AtomicU64::new(0) }
    }
}

impl LatencyHistogram {
    pub(crate) fn record(&self, latency: Duration) {
        let nanos = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.counts[bucket(nanos)].fetch_add(1, Ordering::Relaxed);
        self.sum_nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    pub(crate) fn summary(&self) -> LatencySummary {
        let counts: Vec<u64> = self.counts.iter().map(|c| c.load(Ordering::Relaxed)).collect();
        let count = counts.iter().sum();
        LatencySummary {
            count,
            sum: Duration::from_nanos(self.sum_nanos.load(Ordering::Relaxed)),
            p50: percentile(&counts, count, 50),
            p99: percentile(&counts, count, 99),
        }
    }
}

fn bucket(nanos: u64) -> usize {
    let nanos = nanos.max(1);
    let power = nanos.ilog2() as usize;
    let sub = if power >= 4 { (nanos >> (power - 4)) as usize & (SUB - 1) } else { 0 };
    power * SUB + sub
}

/// The upper end of a bucket.
fn upper(bucket: usize) -> u64 {
    let (power, sub) = (bucket / SUB, (bucket % SUB) as u128);
    let low = 1_u128 << power;
    let high = low + (sub + 1) * low / SUB as u128;
    u64::try_from(high).unwrap_or(u64::MAX)
}

fn percentile(counts: &[u64], count: u64, percent: u64) -> Duration {
    let wanted = (count * percent).div_ceil(100).max(1);
    let mut seen = 0;
    for (bucket, n) in counts.iter().enumerate() {
        seen += n;
        if *n > 0 && seen >= wanted {
            return Duration::from_nanos(upper(bucket));
        }
    }
    Duration::ZERO
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_within_a_sub_bucket() {
        let histogram = LatencyHistogram::default();
        for micros in 1..=1000 {
            histogram.record(Duration::from_micros(micros));
        }
        let summary = histogram.summary();
        let near = |d: Duration, micros: f64| (d.as_secs_f64() * 1e6 / micros - 1.0).abs() < 0.07;
        assert!(near(summary.p50, 500.0) && near(summary.p99, 990.0), "{summary:?}");
        assert_eq!((summary.count, summary.sum), (1000, Duration::from_micros(500_500)));
    }

    #[test]
    fn an_empty_histogram_says_zero_and_extremes_fit() {
        assert_eq!(LatencyHistogram::default().summary(), LatencySummary::default());
        let histogram = LatencyHistogram::default();
        histogram.record(Duration::ZERO);
        histogram.record(Duration::MAX);
        assert_eq!(histogram.summary().count, 2);
    }
}
