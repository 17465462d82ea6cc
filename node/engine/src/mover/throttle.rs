//! Throttles: a bucket of bytes that drains with time, and the state of the target tier.

use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;

use super::Interrupts;
use crate::engine::Inner;
use crate::environment::Clock;
use crate::error::Result;

/// The mover stops above so many files in level 0 of its target: half of where reads begin to suffer.
const MAX_LEVEL0_FILES: u64 = 24;
/// ... above so many bytes that wait for compaction ...
const MAX_PENDING_BYTES: u64 = 2 << 30;
/// ... and while a write buffer of the target waits for its flush.
const MAX_WAITING_BUFFERS: u64 = 1;

/// A wait for the budget looks so often whether it should end ...
const SLICE: Duration = Duration::from_millis(100);
/// ... and one for the target whether it can take more.
const BUSY_SLICE: Duration = Duration::from_millis(20);

/// Lets so many bytes a second through. It may run into debt by one request, so no request is too large for it.
#[derive(Debug, Default)]
pub(crate) struct Bucket {
    debt: Mutex<Debt>,
}

/// Bytes, not the time that they take: what passed at a slow rate is paid for at the rate of whoever comes next.
#[derive(Debug, Default)]
struct Debt {
    /// Bytes let through and not yet paid for.
    bytes: f64,
    /// As of when, on the monotonic clock.
    at: Duration,
}

/// How fast a move may go.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace<'a> {
    /// Bytes a second.
    pub(crate) rate: u64,
    /// What the bytes are taken from. Whoever has a rate of its own has a bucket of its own: in one bucket the slower
    /// would hold up the faster.
    pub(crate) budget: &'a Bucket,
}

impl Bucket {
    /// How long to wait before `bytes` more at `rate` bytes a second.
    fn charge(&self, now: Duration, bytes: u64, rate: u64) -> Duration {
        let rate = rate.max(1) as f64;
        let mut debt = self.debt.lock();
        let paid = now.saturating_sub(debt.at).as_secs_f64() * rate;
        let owed = (debt.bytes - paid).max(0.0);
        *debt = Debt { bytes: owed + bytes as f64, at: now };
        Duration::try_from_secs_f64(owed / rate).unwrap_or(Duration::MAX)
    }

    /// Takes a charge back: these bytes do not pass.
    fn refund(&self, bytes: u64) {
        let mut debt = self.debt.lock();
        debt.bytes = (debt.bytes - bytes as f64).max(0.0);
    }

    /// Waits until `bytes` may pass, as a device that is busy with them would.
    pub(crate) fn pass(&self, clock: &dyn Clock, bytes: u64, rate: Option<u64>) {
        let wait = rate.map_or(Duration::ZERO, |rate| self.charge(clock.monotonic(), bytes, rate));
        if !wait.is_zero() {
            clock.sleep(wait);
        }
    }

    /// Waits until `bytes` may pass, or until `interrupted` ends it. Whether it waited.
    fn pass_unless(
        &self,
        clock: &dyn Clock,
        bytes: u64,
        rate: u64,
        interrupted: &dyn Fn() -> Result<()>,
    ) -> Result<bool> {
        let wait = self.charge(clock.monotonic(), bytes, rate);
        let mut left = wait;
        while !left.is_zero() {
            interrupted().inspect_err(|_| self.refund(bytes))?;
            let slice = left.min(SLICE);
            clock.sleep(slice);
            left -= slice;
        }
        Ok(!wait.is_zero())
    }
}

impl Inner {
    /// The pace of the moves that the policy asks for and of those that say none of their own.
    pub(crate) fn policy_pace(&self) -> Option<Pace<'_>> {
        let rate = self.policy.load().bytes_per_second;
        rate.map(|rate| Pace { rate, budget: &self.move_budget })
    }

    /// Waits for the budget of moves and until the target can take more (rule 5: a stall anywhere stalls everything).
    pub(crate) fn throttle(
        &self,
        to: usize,
        bytes: u64,
        pace: Option<Pace<'_>>,
        interrupts: &Interrupts<'_>,
    ) -> Result<()> {
        let clock = &*self.environment.clock;
        let started = clock.monotonic();
        let waited = self.wait_for_turn(to, bytes, pace, &|| self.check_interrupts(interrupts));
        if !matches!(waited, Ok(false)) {
            let micros = (clock.monotonic().saturating_sub(started)).as_micros();
            let micros = u64::try_from(micros).unwrap_or(u64::MAX);
            self.stats.throttled_micros.fetch_add(micros, Ordering::Relaxed);
        }
        waited.and_then(|_| self.check_interrupts(interrupts))
    }

    /// Whether it waited.
    fn wait_for_turn(
        &self,
        to: usize,
        bytes: u64,
        pace: Option<Pace<'_>>,
        interrupted: &dyn Fn() -> Result<()>,
    ) -> Result<bool> {
        let clock = &*self.environment.clock;
        let mut waited = match pace {
            Some(Pace { rate, budget }) => budget.pass_unless(clock, bytes, rate, interrupted)?,
            None => false,
        };
        while self.target_is_busy(to) {
            waited = true;
            interrupted()?;
            // What only a compaction could relieve, and none does: it would be waited for for ever.
            self.check_damage(to)?;
            clock.sleep(BUSY_SLICE);
        }
        Ok(waited)
    }

    fn check_damage(&self, to: usize) -> Result<()> {
        match self.database.damage(to) {
            Some(detail) => Err(self.tier_damaged("nothing moves there", to, &detail)),
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
    use crate::EngineError;

    /// A clock that says how long it was slept on, and in one piece at most.
    #[derive(Default)]
    struct Slept(Mutex<(Duration, Duration)>);

    impl Clock for Slept {
        fn wall(&self) -> Duration {
            Duration::ZERO
        }

        fn monotonic(&self) -> Duration {
            self.0.lock().0
        }

        fn sleep(&self, duration: Duration) {
            let mut slept = self.0.lock();
            *slept = (slept.0 + duration, slept.1.max(duration));
        }
    }

    #[test]
    fn a_long_wait_is_slept_in_slices_and_ends_when_it_is_interrupted() {
        let (bucket, clock) = (Bucket::default(), Slept::default());
        assert!(matches!(bucket.pass_unless(&clock, 1000, 100, &|| Ok(())), Ok(false)));
        assert!(matches!(bucket.pass_unless(&clock, 5000, 100, &|| Ok(())), Ok(true)));
        let (all, longest) = *clock.0.lock();
        assert_eq!((all, longest), (Duration::from_secs(10), SLICE));
        let after = |end: Duration| if clock.monotonic() < end { Ok(()) } else { Err(EngineError::Cancelled) };
        let interrupted = bucket.pass_unless(&clock, 7000, 100, &|| after(Duration::from_secs(11)));
        assert!(matches!(interrupted, Err(EngineError::Cancelled)));
        assert!(clock.monotonic() <= Duration::from_secs(11) + SLICE);
        // What was not let through is not paid for.
        assert_eq!(bucket.charge(Duration::from_secs(60), 0, 100), Duration::ZERO);
    }

    #[test]
    fn a_bucket_lets_its_rate_through_and_no_more() {
        let bucket = Bucket::default();
        let second = Duration::from_secs(1);
        assert_eq!(bucket.charge(Duration::ZERO, 100, 100), Duration::ZERO);
        assert_eq!(bucket.charge(Duration::ZERO, 50, 100), second);
        assert_eq!(bucket.charge(second, 100, 100), second / 2);
        assert_eq!(bucket.charge(second * 60, 100, 100), Duration::ZERO);
    }

    #[test]
    fn what_passed_at_a_slow_rate_is_paid_for_at_the_next_one() {
        let bucket = Bucket::default();
        assert_eq!(bucket.charge(Duration::ZERO, 8 << 20, 1), Duration::ZERO);
        assert_eq!(bucket.charge(Duration::ZERO, 1, 8 << 20), Duration::from_secs(1));
        assert_eq!(bucket.charge(Duration::from_secs(2), 1, 8 << 20), Duration::ZERO);
    }
}
