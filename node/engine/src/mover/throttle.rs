//! Throttles: a bucket of bytes that fills with time, and the state of the target tier.

use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;

use super::Cancel;
use crate::engine::Inner;
use crate::environment::Clock;
use crate::error::Result;

/// The mover stops above so many files in level 0 of its target: half of where reads begin to suffer.
const MAX_LEVEL0_FILES: u64 = 24;
/// ... above so many bytes that wait for compaction ...
const MAX_PENDING_BYTES: u64 = 2 << 30;
/// ... and while a write buffer of the target waits for its flush.
const MAX_WAITING_BUFFERS: u64 = 1;

/// Lets so many bytes a second through. It may run into debt by one request, so no request is too large for it.
#[derive(Debug, Default)]
pub(crate) struct Bucket {
    /// When the bytes let through so far are paid for, on the monotonic clock.
    paid_at: Mutex<Duration>,
}

impl Bucket {
    /// How long to wait before `bytes` more at `rate` bytes a second.
    fn charge(&self, now: Duration, bytes: u64, rate: u64) -> Duration {
        let mut paid_at = self.paid_at.lock();
        let wait = paid_at.saturating_sub(now);
        let cost = Duration::from_secs_f64(bytes as f64 / rate.max(1) as f64);
        *paid_at = (*paid_at).max(now).saturating_add(cost);
        wait
    }

    /// Waits until `bytes` may pass; returns how long.
    pub(crate) fn pass(&self, clock: &dyn Clock, bytes: u64, rate: Option<u64>) -> Duration {
        let Some(rate) = rate else {
            return Duration::ZERO;
        };
        let wait = self.charge(clock.monotonic(), bytes, rate);
        if !wait.is_zero() {
            clock.sleep(wait);
        }
        wait
    }
}

impl Inner {
    /// Waits for the budget of moves and until the target can take more (rule 5: a stall anywhere stalls everything).
    pub(crate) fn throttle(&self, to: usize, bytes: u64, rate: Option<u64>, cancel: &Cancel) -> Result<()> {
        let clock = &*self.environment.clock;
        let started = clock.monotonic();
        let waited = self.move_budget.pass(clock, bytes, rate);
        let mut backed_off = false;
        while self.target_is_busy(to) {
            backed_off = true;
            cancel.check()?;
            self.check_open()?;
            // What only a compaction could relieve, and none does: it would be waited for for ever.
            self.check_damage(to)?;
            clock.sleep(Duration::from_millis(20));
        }
        if backed_off || !waited.is_zero() {
            let micros = (clock.monotonic().saturating_sub(started)).as_micros();
            let micros = u64::try_from(micros).unwrap_or(u64::MAX);
            self.stats.throttled_micros.fetch_add(micros, Ordering::Relaxed);
        }
        cancel.check()
    }

    fn check_damage(&self, to: usize) -> Result<()> {
        // Delayed writes of the fastest tier hold all moves up.
        match [to, 0].into_iter().find_map(|tier| Some((tier, self.database.damage(tier)?))) {
            Some((tier, detail)) => Err(self.tier_damaged("nothing moves", tier, &detail)),
            None => Ok(()),
        }
    }

    /// Whether moves into a tier would be refused for its damage.
    pub(crate) fn is_blocked_by_damage(&self, to: usize) -> bool {
        self.check_damage(to).is_err() && self.target_is_busy(to)
    }

    fn target_is_busy(&self, to: usize) -> bool {
        let property = |name| self.database.property(to, name);
        property("rocksdb.num-files-at-level0") > MAX_LEVEL0_FILES
            || property("rocksdb.estimate-pending-compaction-bytes") > MAX_PENDING_BYTES
            || property("rocksdb.num-immutable-mem-table") > MAX_WAITING_BUFFERS
            || property("rocksdb.actual-delayed-write-rate") > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_lets_its_rate_through_and_no_more() {
        let bucket = Bucket::default();
        let second = Duration::from_secs(1);
        assert_eq!(bucket.charge(Duration::ZERO, 100, 100), Duration::ZERO);
        assert_eq!(bucket.charge(Duration::ZERO, 50, 100), second);
        assert_eq!(bucket.charge(second, 100, 100), second / 2);
        assert_eq!(bucket.charge(second * 60, 100, 100), Duration::ZERO);
    }
}
