//! Sizes in bytes as Kubernetes writes them: `1Gi`, `512Mi`, `64k`, `4096`.
//!
//! Contract: what the schema's pattern accepts, [`ByteSize`] parses without overflow, and the text it writes is accepted
//! again. Whole numbers only; zero is never a size.

use std::fmt;
use std::str::FromStr;

/// The pattern of a size in the generated schema. At most 999,999 of a unit, so that the largest fits in 64 bits.
pub const PATTERN: &str = "^([1-9][0-9]{0,14}|[1-9][0-9]{0,5}(Ki|Mi|Gi|Ti|k|M|G|T))$";

/// What an accepted size looks like, for error messages.
pub const ALLOWED: &str =
    "a whole number of bytes over 0 with an optional unit Ki, Mi, Gi, Ti, k, M, G or T, such as 512Mi or 1Gi";

/// Most of a unit: six digits.
const LARGEST_COUNT: u64 = 999_999;

const UNITS: [(&str, u64); 8] = [
    ("Ti", 1 << 40),
    ("Gi", 1 << 30),
    ("Mi", 1 << 20),
    ("Ki", 1 << 10),
    ("T", 1_000_000_000_000),
    ("G", 1_000_000_000),
    ("M", 1_000_000),
    ("k", 1_000),
];

/// A number of bytes over zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(u64);

/// A text that is not a size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a size: it must be {ALLOWED}")]
pub struct ByteSizeError {
    text: String,
}

impl ByteSize {
    /// The number of bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for ByteSize {
    type Err = ByteSizeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = || ByteSizeError { text: text.to_owned() };
        let (digits, factor, most) = UNITS
            .iter()
            .find_map(|(unit, factor)| text.strip_suffix(unit).map(|digits| (digits, *factor, 6)))
            .unwrap_or((text, 1, 15));
        let plain = !digits.is_empty()
            && digits.len() <= most
            && !digits.starts_with('0')
            && digits.bytes().all(|byte| byte.is_ascii_digit());
        if !plain {
            return Err(refused());
        }
        let count: u64 = digits.parse().map_err(|_| refused())?;
        count.checked_mul(factor).map(Self).ok_or_else(refused)
    }
}

impl fmt::Display for ByteSize {
    /// The first unit, binary ones first, that divides it and leaves a count the pattern allows: exactly the same number.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, factor) in &UNITS {
            if self.0.is_multiple_of(*factor) && self.0 / factor <= LARGEST_COUNT {
                return write!(formatter, "{}{unit}", self.0 / factor);
            }
        }
        write!(formatter, "{}", self.0)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn units_mean_what_kubernetes_means_by_them() {
        for (text, bytes) in
            [("1", 1), ("64k", 64_000), ("1Ki", 1024), ("512Mi", 512 << 20), ("1G", 1_000_000_000), ("2Ti", 2 << 40)]
        {
            assert_eq!(text.parse::<ByteSize>().unwrap().bytes(), bytes, "{text}");
        }
    }

    #[test]
    fn what_is_not_a_size_is_refused_with_what_is_allowed() {
        for text in ["", "0", "0Mi", "-1", "1.5Gi", "1 Gi", "Gi", "1gi", "01Mi", "1000000Ti", "+1"] {
            let error = text.parse::<ByteSize>().unwrap_err().to_string();
            assert!(error.contains("whole number of bytes"), "{text}: {error}");
        }
    }

    #[test]
    fn the_largest_accepted_text_of_every_unit_fits() {
        for (unit, _) in UNITS {
            assert!(format!("999999{unit}").parse::<ByteSize>().is_ok(), "{unit}");
        }
    }

    proptest! {
        #[test]
        fn the_pattern_and_the_parser_agree(text in "[0-9]{0,7}(Ki|Mi|Gi|Ti|k|M|G|T|K|i)?") {
            let pattern = regex::Regex::new(PATTERN).unwrap();
            prop_assert_eq!(pattern.is_match(&text), text.parse::<ByteSize>().is_ok());
        }

        #[test]
        fn what_is_written_means_the_same_number(text in "[1-9][0-9]{0,5}(Ki|Mi|Gi|Ti|k|M|G|T)|[1-9][0-9]{0,14}") {
            let size: ByteSize = text.parse().unwrap();
            prop_assert_eq!(size.to_string().parse::<ByteSize>().unwrap(), size);
        }
    }
}
