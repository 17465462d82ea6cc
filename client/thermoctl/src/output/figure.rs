//! Figures as people read them, and sizes and time spans as people write them.

use std::time::Duration;

use thermocline_crds::quantity::ByteSize;

/// A size in binary units, e.g. `1.5 MiB`.
#[must_use]
pub fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

/// A count with thousands separated, e.g. `12,345`.
#[must_use]
pub fn count(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count that is estimated, e.g. `~12,345`.
#[must_use]
pub fn estimate(estimated: u64) -> String {
    format!("~{}", count(estimated))
}

/// A latency, e.g. `850 ns`, `12.3 us`, `4.5 ms`, `2.00 s`.
#[must_use]
pub fn nanos(nanos: u64) -> String {
    let value = nanos as f64;
    match nanos {
        0..1_000 => format!("{nanos} ns"),
        1_000..1_000_000 => format!("{:.1} us", value / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} ms", value / 1e6),
        _ => format!("{:.2} s", value / 1e9),
    }
}

/// A share of 1 in percent, e.g. `12.5 %`.
#[must_use]
pub fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// A rate, e.g. `950/s`, `12.3K/s`, `1.2M/s`.
#[must_use]
pub fn rate(per_second: f64) -> String {
    if per_second >= 1e6 {
        format!("{:.1}M/s", per_second / 1e6)
    } else if per_second >= 1e4 {
        format!("{:.1}K/s", per_second / 1e3)
    } else {
        format!("{per_second:.0}/s")
    }
}

/// Reads a size as manifests write it.
///
/// # Errors
/// What is allowed.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    text.parse::<ByteSize>().map(ByteSize::bytes).map_err(|error| error.to_string())
}

/// Reads a time span.
///
/// # Errors
/// What is allowed.
pub fn parse_time(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|_| {
        format!("{text:?} is not a time span; write whole numbers with ms, s, m, h or d, such as 500ms, 10s or 1m30s")
    })
}

/// Reads a time span that is longer than nothing.
///
/// # Errors
/// What is allowed.
pub fn parse_some_time(text: &str) -> Result<Duration, String> {
    let span = parse_time(text)?;
    if span.is_zero() { Err("it must be longer than 0, such as 500ms or 10s".to_owned()) } else { Ok(span) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_read_as_people_write_them() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(3 << 30), "3.0 GiB");
        assert_eq!(count(7), "7");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(estimate(1_234), "~1,234");
        assert_eq!(nanos(999), "999 ns");
        assert_eq!(nanos(12_300), "12.3 us");
        assert_eq!(nanos(2_000_000_000), "2.00 s");
        assert_eq!(percent(0.125), "12.5 %");
        assert_eq!(rate(12_345.0), "12.3K/s");
    }

    #[test]
    fn sizes_are_read_as_manifests_write_them() {
        for text in ["64Mi", "64k", "17", "2K", "1.5Gi", "0", "", "99999999999Ti"] {
            let of_a_manifest = text.parse::<ByteSize>().ok().map(ByteSize::bytes);
            assert_eq!(parse_bytes(text).ok(), of_a_manifest, "{text}");
        }
        assert_eq!(parse_bytes("64k"), Ok(64_000));
        assert!(parse_bytes("64K").unwrap_err().contains("512Mi"), "it says what is allowed");
    }

    #[test]
    fn a_time_span_that_is_none_is_told_what_one_looks_like() {
        assert_eq!(parse_time("1m30s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_time("0s"), Ok(Duration::ZERO));
        for bad in ["abc", "10", "", "-1s", "5 parsecs"] {
            let said = parse_time(bad).unwrap_err();
            assert!(said.contains("500ms"), "{bad}: {said}");
        }
        assert!(parse_some_time("0ms").unwrap_err().contains("longer than 0"));
    }
}
