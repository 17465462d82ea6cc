//! Parses sizes and lengths of time of a configuration, and notes what is wrong with them.

use std::str::FromStr;
use std::time::Duration;

use super::byte_size::{self, ByteSize};
use super::error::Problems;

/// What a length of time may look like; used in messages.
pub const LENGTHS_OF_TIME: &str = "numbers with a unit, such as 500ms, 30s, 10m, 24h or 1h 30m";

/// Parses a size of at least `least`.
pub(super) fn size(problems: &mut Problems, field: &str, text: &str, least: ByteSize) -> Option<ByteSize> {
    match ByteSize::from_str(text) {
        Ok(size) if size >= least => Some(size),
        Ok(_) => {
            problems.add(field, format!("`{text}` is too small"), format!("at least {least}"));
            None
        }
        Err(error) => {
            problems.add(field, format!("`{text}` {error}"), byte_size::ALLOWED);
            None
        }
    }
}

/// Parses a length of time of at least `least`.
pub(super) fn duration(problems: &mut Problems, field: &str, text: &str, least: Duration) -> Option<Duration> {
    match humantime::parse_duration(text) {
        Ok(duration) if duration >= least => Some(duration),
        Ok(_) => {
            problems.add(
                field,
                format!("`{text}` is too short"),
                format!("at least {}", humantime::format_duration(least)),
            );
            None
        }
        Err(_) => {
            problems.add(field, format!("`{text}` is not a length of time"), LENGTHS_OF_TIME);
            None
        }
    }
}
