//! A point in time inside the heat module: milliseconds since the caller's epoch.
//!
//! Signed, so that heat read back after a restart can lie before the new epoch without losing its age.

use std::time::Duration;

/// Milliseconds since the caller's epoch; may be negative; `NEVER` is before everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(i64);

impl Moment {
    /// Before any access.
    pub(crate) const NEVER: Self = Self(i64::MIN);

    /// The moment that lies `age` before `now`.
    pub(crate) fn before(now: Self, age: Duration) -> Self {
        Self(now.0.saturating_sub(milliseconds(age)).max(i64::MIN + 1))
    }

    /// Milliseconds from `earlier` to `self`; zero when the clock went back.
    pub(crate) fn milliseconds_since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0).max(0)
    }

    /// How long before `now` this was; `None` for `NEVER`.
    pub(crate) fn age(self, now: Self) -> Option<Duration> {
        if self == Self::NEVER {
            None
        } else {
            Some(Duration::from_millis(now.milliseconds_since(self).unsigned_abs()))
        }
    }

    /// The moment that divides the way from `self` to `other` by `share` (0 to 1).
    pub(crate) fn toward(self, other: Self, share: f64) -> Self {
        if self == Self::NEVER {
            return other;
        }
        if other == Self::NEVER {
            return self;
        }
        let way = other.0.saturating_sub(self.0) as f64 * share.clamp(0.0, 1.0);
        Self(self.0.saturating_add(way as i64))
    }
}

impl From<Duration> for Moment {
    fn from(since_epoch: Duration) -> Self {
        Self(milliseconds(since_epoch))
    }
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
