//! The client's deadline, from the `grpc-timeout` header.
//!
//! The transport drops a call whose time is up, but a blocking call cannot be dropped and a stream is not covered; so
//! the services carry the deadline themselves. It is set a little early, so that the client hears the node's reason
//! before its own clock ends the call.

use std::time::Duration;

use tokio::time::Instant;
use tonic::metadata::MetadataMap;

const MOST_HEAD_START: Duration = Duration::from_millis(10);

/// When the client stops waiting; `None` if it waits for ever.
pub fn of(metadata: &MetadataMap) -> Option<Instant> {
    let timeout = parse(metadata.get("grpc-timeout")?.to_str().ok()?)?;
    let head_start = (timeout / 10).min(MOST_HEAD_START);
    Instant::now().checked_add(timeout - head_start)
}

/// Up to eight digits and a unit, as the gRPC specification writes them; anything else is no deadline.
fn parse(header: &str) -> Option<Duration> {
    let (digits, unit) = header.split_at_checked(header.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(count * 3600),
        "M" => Duration::from_secs(count * 60),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_is_understood_and_nothing_else_is() {
        for (text, expected) in [
            ("1H", Some(Duration::from_secs(3600))),
            ("2M", Some(Duration::from_secs(120))),
            ("3S", Some(Duration::from_secs(3))),
            ("99999999m", Some(Duration::from_millis(99_999_999))),
            ("5u", Some(Duration::from_micros(5))),
            ("6n", Some(Duration::from_nanos(6))),
            ("", None),
            ("S", None),
            ("5", None),
            ("-5S", None),
            ("100000000S", None),
            ("5é", None),
        ] {
            assert_eq!(parse(text), expected, "{text:?}");
        }
    }
}
