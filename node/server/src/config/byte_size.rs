//! A parsed amount of bytes, written the way Kubernetes writes quantities.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// What a byte size may look like; used in error messages.
pub const ALLOWED: &str =
    "a number with an optional suffix k, M, G, T (powers of 1000) or Ki, Mi, Gi, Ti (powers of 1024), such as 512Mi";

const SUFFIXES: [(&str, u64); 9] = [
    ("Ki", 1 << 10),
    ("Mi", 1 << 20),
    ("Gi", 1 << 30),
    ("Ti", 1 << 40),
    ("k", 1_000),
    ("M", 1_000_000),
    ("G", 1_000_000_000),
    ("T", 1_000_000_000_000),
    ("", 1),
];

/// A text that is not a byte size.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ByteSizeError {
    /// The text has no number, or something after it that is no suffix.
    #[error("is not a size in bytes")]
    Malformed,
    /// More than 64 bits hold.
    #[error("is larger than 16Ei")]
    TooLarge,
}

/// An amount of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(u64);

impl ByteSize {
    /// So many bytes.
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// So many times 2^20 bytes.
    pub const fn mebibytes(count: u64) -> Self {
        Self(count << 20)
    }

    /// The amount in bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for ByteSize {
    type Err = ByteSizeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (number, factor) = SUFFIXES
            .iter()
            .find_map(|(suffix, factor)| {
                let number = text.strip_suffix(suffix)?;
                Some((number, u128::from(*factor)))
            })
            .ok_or(ByteSizeError::Malformed)?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        // Nine decimals are finer than a byte for every sensible size, and keep the product inside 128 bits.
        if fraction.is_empty() || fraction.len() > 9 {
            return Err(ByteSizeError::Malformed);
        }
        let scale = 10_u128.pow(u32::try_from(fraction.len()).unwrap_or(9));
        let bytes = (digits(whole)? * scale + digits(fraction)?) * factor / scale;
        u64::try_from(bytes).map(Self).map_err(|_| ByteSizeError::TooLarge)
    }
}

fn digits(text: &str) -> Result<u128, ByteSizeError> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(ByteSizeError::Malformed);
    }
    text.parse::<u64>().map(u128::from).map_err(|_| ByteSizeError::TooLarge)
}

impl fmt::Display for ByteSize {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (suffix, factor) in [("Ti", 1 << 40), ("Gi", 1 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10)] {
            if self.0 >= factor && self.0.is_multiple_of(factor) {
                return write!(formatter, "{}{suffix}", self.0 / factor);
            }
        }
        write!(formatter, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn every_suffix_scales_its_number() {
        for (text, bytes) in [
            ("0", 0),
            ("17", 17),
            ("2k", 2_000),
            ("2Ki", 2_048),
            ("1.5Gi", 1_610_612_736),
            ("3T", 3_000_000_000_000),
            ("1Ti", 1 << 40),
        ] {
            assert_eq!(text.parse::<ByteSize>().map(ByteSize::bytes), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_size_is_refused() {
        for text in ["", "Gi", "-1", "1 Gi", "1GiB", "1e3", "1.", ".5", "0x10", "1.0000000001", "1Ｇi"] {
            assert_eq!(text.parse::<ByteSize>(), Err(ByteSizeError::Malformed), "{text:?}");
        }
        for text in ["99999999999999999999", "99999999999Ti"] {
            assert_eq!(text.parse::<ByteSize>(), Err(ByteSizeError::TooLarge), "{text:?}");
        }
    }

    #[test]
    fn a_size_is_shown_in_the_largest_unit_that_divides_it() {
        for text in ["0", "1000", "16Ki", "512Mi", "4Gi", "2Ti"] {
            assert_eq!(text.parse::<ByteSize>().unwrap().to_string(), text);
        }
    }
}
