//! An exponentially decayed rate with the time of its last event.
//!
//! Unit: events per day. With time constant `tau` (half life / ln 2) each event adds `1 / tau` and the value falls by
//! `exp(-elapsed / tau)`, so a steady load of `r` events per day converges to `r`, and an idle rate halves every half life.
//! The value is kept as of the last event: nothing has to tick.

use std::time::Duration;

use super::moment::Moment;

const MILLISECONDS_PER_DAY: f64 = 86_400_000.0;

/// How fast rates forget. Shared by all rates of a tracker, so that it can change with the policy.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Decay {
    tau_milliseconds: f64,
}

impl Decay {
    /// Forgets half in `half_life` (at least a millisecond).
    #[must_use]
    pub fn from_half_life(half_life: Duration) -> Self {
        let milliseconds = (half_life.as_secs_f64() * 1000.0).max(1.0);
        Self { tau_milliseconds: milliseconds / std::f64::consts::LN_2 }
    }

    /// What one event adds to a rate, in events per day.
    #[must_use]
    pub fn per_event(&self) -> f64 {
        MILLISECONDS_PER_DAY / self.tau_milliseconds
    }

    fn factor(&self, elapsed_milliseconds: i64) -> f64 {
        if elapsed_milliseconds == 0 {
            return 1.0;
        }
        (-(elapsed_milliseconds as f64) / self.tau_milliseconds).exp()
    }
}

/// Events per day, as of the last event.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct DecayedRate {
    per_day: f64,
    last: Moment,
}

impl DecayedRate {
    /// No event yet.
    pub(crate) const NONE: Self = Self { per_day: 0.0, last: Moment::NEVER };

    /// A rate known from elsewhere: `per_day` as of `last`.
    pub(crate) fn known(per_day: f64, last: Moment) -> Self {
        if last == Moment::NEVER { Self::NONE } else { Self { per_day, last } }
    }

    /// `weight` events happened at `now`.
    pub(crate) fn record(&mut self, weight: f64, now: Moment, decay: &Decay) {
        self.per_day = self.at(now, decay) + weight * decay.per_event();
        self.last = self.last.max(now);
    }

    /// Events per day as of `now`.
    pub(crate) fn at(&self, now: Moment, decay: &Decay) -> f64 {
        if self.last == Moment::NEVER {
            return 0.0;
        }
        self.per_day * decay.factor(now.milliseconds_since(self.last))
    }

    /// The rate as of the last event, and that event.
    pub(crate) fn parts(&self) -> (f64, Moment) {
        (self.per_day, self.last)
    }

    /// When the last event was.
    pub(crate) fn last(&self) -> Moment {
        self.last
    }

    /// The same history with `share` of the events.
    pub(crate) fn scaled(&self, share: f64) -> Self {
        Self { per_day: self.per_day * share, last: self.last }
    }

    /// Both histories together.
    pub(crate) fn sum(&self, other: &Self, decay: &Decay) -> Self {
        let last = self.last.max(other.last);
        Self { per_day: self.at(last, decay) + other.at(last, decay), last }
    }

    /// The hotter of two views of the same history: merging the same view twice changes nothing.
    pub(crate) fn hotter(&self, other: &Self, decay: &Decay) -> Self {
        let last = self.last.max(other.last);
        Self { per_day: self.at(last, decay).max(other.at(last, decay)), last }
    }
}
