//! How often something happens, from a counter that grows.

use std::time::Duration;

/// After so long the past counts for about a third.
const MEMORY: Duration = Duration::from_secs(10);

/// Events a second, smoothed.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub(super) struct Rate {
    counted: u64,
    per_second: f64,
}

impl Rate {
    /// The counter is at `count`, `since` after the last time it was told.
    pub(super) fn advance(&mut self, count: u64, since: Duration) {
        let seconds = since.as_secs_f64();
        if seconds <= 0.0 {
            return;
        }
        let now = count.saturating_sub(self.counted) as f64 / seconds;
        let weight = 1.0 - (-seconds / MEMORY.as_secs_f64()).exp();
        self.per_second += (now - self.per_second) * weight;
        self.counted = count;
    }

    /// Events a second.
    pub(super) const fn per_second(&self) -> f64 {
        self.per_second
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_counter_gives_its_rate_and_a_still_one_falls_to_nothing() {
        let mut rate = Rate::default();
        for second in 1..=100 {
            rate.advance(second * 50, Duration::from_secs(1));
        }
        assert!((rate.per_second() - 50.0).abs() < 0.1, "{rate:?}");
        for _ in 0..100 {
            rate.advance(5000, Duration::from_secs(1));
        }
        assert!(rate.per_second() < 0.01, "{rate:?}");
    }

    #[test]
    fn one_look_a_second_and_one_in_ten_seconds_agree() {
        let (mut often, mut rarely) = (Rate::default(), Rate::default());
        for second in 1..=10 {
            often.advance(second * 50, Duration::from_secs(1));
        }
        rarely.advance(500, Duration::from_secs(10));
        assert!((often.per_second() - rarely.per_second()).abs() < 1.0, "{often:?}, {rarely:?}");
    }
}
