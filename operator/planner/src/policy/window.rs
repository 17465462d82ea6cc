//! Windows of time.

use crate::Moment;

const MINUTES_OF_DAY: u64 = 24 * 60;
/// The day of the week of 1970-01-01, Monday being 0.
const FIRST_WEEKDAY: u64 = 3;

/// Days of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Days(u8);

impl Days {
    /// All of them.
    pub const ALL: Self = Self(0b111_1111);

    /// These, Monday being 0; others than 0 to 6 are left out.
    #[must_use]
    pub fn of(days: &[u8]) -> Self {
        Self(days.iter().filter(|day| **day < 7).fold(0, |bits, day| bits | 1 << day))
    }

    const fn contains(self, day: u64) -> bool {
        self.0 >> day & 1 == 1
    }
}

/// A part of the day in UTC, on some days. It may go over midnight: then it belongs to the day that it begins on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// The days it begins on.
    pub days: Days,
    /// Minutes after midnight that it begins at.
    pub start_minute: u16,
    /// Minutes that it lasts, at most a day.
    pub minutes: u16,
}

impl Window {
    /// Whether it is open then.
    #[must_use]
    pub fn contains(&self, moment: Moment) -> bool {
        let minute = moment.0 / 60_000;
        let (day, within) = (minute / MINUTES_OF_DAY, minute % MINUTES_OF_DAY);
        let begins_on = |day: u64| self.days.contains((day + FIRST_WEEKDAY) % 7);
        let (start, end) = (u64::from(self.start_minute), u64::from(self.start_minute) + u64::from(self.minutes));
        let today = begins_on(day) && (start..end).contains(&within);
        let since_yesterday = begins_on(day + 6) && (start..end).contains(&(within + MINUTES_OF_DAY));
        today || since_yesterday
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-01-05 was a Monday.
    const MONDAY: u64 = 1_767_571_200_000;

    fn at(day: u64, hour: u64, minute: u64) -> Moment {
        Moment(MONDAY + ((day * 24 + hour) * 60 + minute) * 60_000)
    }

    #[test]
    fn a_window_is_open_from_its_first_minute_and_closed_at_its_end() {
        let window = Window { days: Days::of(&[0, 2]), start_minute: 60, minutes: 120 };
        for (moment, open) in [
            (at(0, 0, 59), false),
            (at(0, 1, 0), true),
            (at(0, 2, 59), true),
            (at(0, 3, 0), false),
            (at(1, 1, 0), false),
            (at(2, 1, 0), true),
            (at(7, 1, 0), true),
        ] {
            assert_eq!(window.contains(moment), open, "{moment:?}");
        }
    }

    #[test]
    fn a_window_over_midnight_belongs_to_the_day_that_it_begins_on() {
        let window = Window { days: Days::of(&[6]), start_minute: 23 * 60, minutes: 120 };
        for (moment, open) in [
            (at(6, 23, 30), true),
            (at(7, 0, 30), true),
            (at(7, 1, 0), false),
            (at(0, 23, 30), false),
            (at(6, 0, 30), false),
        ] {
            assert_eq!(window.contains(moment), open, "{moment:?}");
        }
    }
}
