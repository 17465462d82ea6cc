//! `io.pressure`: how long tasks stood still for I/O. Used where the device has no line in `/proc/diskstats`.

/// Microseconds in which at least one task of the group waited for I/O, since the group began.
pub fn io_stalled_microseconds(pressure: &str) -> Option<u64> {
    pressure
        .lines()
        .find_map(|line| line.strip_prefix("some "))?
        .split_ascii_whitespace()
        .find_map(|field| field.strip_prefix("total="))?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_of_the_some_line_is_taken() {
        let sample = "some avg10=0.12 avg60=0.08 avg300=0.01 total=154378\n\
                      full avg10=0.00 avg60=0.00 avg300=0.00 total=99887\n";
        assert_eq!(io_stalled_microseconds(sample), Some(154_378));
    }

    #[test]
    fn a_text_without_it_has_none() {
        for text in ["", "full avg10=0 total=3", "some avg10=0.12", "some total=x"] {
            assert_eq!(io_stalled_microseconds(text), None, "{text:?}");
        }
    }
}
