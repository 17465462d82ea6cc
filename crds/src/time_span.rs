//! Lengths of time as Kubernetes writes them: `30s`, `24h`, `1h30m`, `500ms`.
//!
//! Contract: what [`TimeSpan`] parses, the schema's pattern accepts and CEL's `duration()` reads as the same length; the
//! pattern alone cannot refuse a sum over the longest. Days are written in hours, as Kubernetes does.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// The pattern of a length of time in the generated schema.
pub const PATTERN: &str = "^([1-9][0-9]{0,5}(ms|s|m|h)){1,4}$";

/// What an accepted length of time looks like, for error messages.
pub const ALLOWED: &str = "whole numbers over 0 with the units h, m, s or ms, such as 30s, 24h or 1h30m";

/// The longest: CEL's `duration()` ends at 2^63 nanoseconds, 2.5 times as long.
const LONGEST_MILLISECONDS: u64 = 999_999 * 3_600_000;

/// Most parts of a text such as `1h30m10s500ms`.
const MOST_PARTS: usize = 4;

/// A length of time over zero, in whole milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimeSpan(Duration);

/// A text that is not a length of time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a length of time: it must be {ALLOWED}")]
pub struct TimeSpanError {
    text: String,
}

impl TimeSpan {
    /// As the standard library's type.
    #[must_use]
    pub const fn as_duration(self) -> Duration {
        self.0
    }

    const fn milliseconds_of(unit: &str) -> Option<u64> {
        match unit.as_bytes() {
            b"ms" => Some(1),
            b"s" => Some(1_000),
            b"m" => Some(60_000),
            b"h" => Some(3_600_000),
            _ => None,
        }
    }

    /// Takes one part (`90m`) off the front: its milliseconds and what follows.
    fn part(text: &str) -> Option<(u64, &str)> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, rest) = text.split_at(digits);
        let letters = rest.bytes().take_while(u8::is_ascii_lowercase).count();
        let (unit, rest) = rest.split_at(letters);
        if digits == 0 || digits > 6 || number.starts_with('0') {
            return None;
        }
        let number: u64 = number.parse().ok()?;
        Some((number.checked_mul(Self::milliseconds_of(unit)?)?, rest))
    }
}

impl FromStr for TimeSpan {
    type Err = TimeSpanError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = || TimeSpanError { text: text.to_owned() };
        let (mut rest, mut milliseconds, mut parts) = (text, 0_u64, 0);
        while !rest.is_empty() {
            let (part, after) = Self::part(rest).ok_or_else(refused)?;
            milliseconds = milliseconds.checked_add(part).ok_or_else(refused)?;
            rest = after;
            parts += 1;
        }
        if parts == 0 || parts > MOST_PARTS || milliseconds > LONGEST_MILLISECONDS {
            return Err(refused());
        }
        Ok(Self(Duration::from_millis(milliseconds)))
    }
}

impl fmt::Display for TimeSpan {
    /// One number with the largest unit that divides it, which every reader of such texts understands; several where that
    /// number would have more than six digits.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(&str, u128); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
        let mut rest = self.0.as_millis();
        let single = UNITS.into_iter().find(|(_, milliseconds)| rest.is_multiple_of(*milliseconds));
        if let Some((unit, milliseconds)) = single.filter(|(_, milliseconds)| rest / milliseconds <= 999_999) {
            return write!(formatter, "{}{unit}", rest / milliseconds);
        }
        for (unit, milliseconds) in UNITS {
            if rest >= milliseconds {
                write!(formatter, "{}{unit}", rest / milliseconds)?;
                rest %= milliseconds;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn parts_are_added_up() {
        for (text, milliseconds) in
            [("500ms", 500), ("30s", 30_000), ("24h", 86_400_000), ("1h30m", 5_400_000), ("1s1ms", 1001)]
        {
            assert_eq!(text.parse::<TimeSpan>().unwrap().as_duration().as_millis(), milliseconds, "{text}");
        }
    }

    #[test]
    fn what_is_not_a_length_of_time_is_refused_with_what_is_allowed() {
        for text in ["", "0s", "5", "1d", "1.5h", "-1s", "1 h", "h", "1h ", "1s1s1s1s1s", "1000000h", "999999h1ms"] {
            let error = text.parse::<TimeSpan>().unwrap_err().to_string();
            assert!(error.contains("24h"), "{text}: {error}");
        }
    }

    #[test]
    fn the_written_form_has_one_part() {
        for (text, written) in
            [("1h30m", "90m"), ("24h", "24h"), ("1500ms", "1500ms"), ("60s", "1m"), ("1h1ms", "1h1ms")]
        {
            assert_eq!(text.parse::<TimeSpan>().unwrap().to_string(), written);
        }
    }

    proptest! {
        #[test]
        fn the_pattern_and_the_parser_agree(text in "([0-9]{0,3}(ms|s|m|h|d)?){0,5}") {
            let pattern = regex::Regex::new(PATTERN).unwrap();
            prop_assert_eq!(pattern.is_match(&text), text.parse::<TimeSpan>().is_ok(), "{}", text);
        }

        #[test]
        fn what_is_written_means_the_same_length(milliseconds in 1_u64..=LONGEST_MILLISECONDS) {
            let span = TimeSpan(Duration::from_millis(milliseconds));
            prop_assert_eq!(span.to_string().parse::<TimeSpan>().unwrap(), span);
        }
    }
}
