//! Points in time, as the caller gives them.

use std::{
    ops::{Add, Sub},
    time::Duration,
};

/// Milliseconds since 1970-01-01 00:00 UTC. Windows of time are judged by it; all else by differences alone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(pub u64);

impl Moment {
    /// How long ago `earlier` was; nothing where it is not earlier.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// What is left of `span` since `start`; `None` once it is over, and where `start` never was.
    #[must_use]
    pub fn left_of(self, span: Duration, start: Option<Self>) -> Option<Duration> {
        span.checked_sub(self.since(start?)).filter(|left| !left.is_zero())
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(span.as_millis()).unwrap_or(u64::MAX)))
    }
}

impl Sub<Duration> for Moment {
    type Output = Self;

    fn sub(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(span.as_millis()).unwrap_or(u64::MAX)))
    }
}
