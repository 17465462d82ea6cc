//! `/proc/diskstats`: how long a device was busy.

use super::device::DeviceNumber;

/// The column of the time a device had requests in flight, in milliseconds, counted after major, minor and name.
const BUSY_COLUMN: usize = 9;

/// Milliseconds that the device was busy since the machine started; `None` if the file does not list it.
///
/// A partition is listed by itself. For a device without a queue of its own (an overlay, a network file system, tmpfs:
/// major number 0) there is no line.
pub fn busy_milliseconds(diskstats: &str, device: DeviceNumber) -> Option<u64> {
    diskstats.lines().find_map(|line| {
        let mut columns = line.split_ascii_whitespace();
        let major: u32 = columns.next()?.parse().ok()?;
        let minor: u32 = columns.next()?.parse().ok()?;
        if (major, minor) != (device.major, device.minor) {
            return None;
        }
        let _name = columns.next()?;
        columns.nth(BUSY_COLUMN)?.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    const SAMPLE: &str = "\
   7       0 loop0 11 0 28 0 0 0 0 0 0 4 0 0 0 0 0 0 0
 259       0 nvme0n1 186305 4711 13146210 40531 1021445 553012 61031544 1544300 0 431220 1611015 0 0 0 0 81233 26184
 259       1 nvme0n1p1 186100 4711 13130000 40500 1021440 553012 61031544 1544300 0 431100 1584800 0 0 0 0 0 0
   8       0 sda 1 2 3 4 5 6 7 8 9 10 11
";

    #[test]
    fn the_busy_time_of_a_device_and_of_a_partition_is_found() {
        let device = |major, minor| DeviceNumber { major, minor };
        assert_eq!(busy_milliseconds(SAMPLE, device(259, 0)), Some(431_220));
        assert_eq!(busy_milliseconds(SAMPLE, device(259, 1)), Some(431_100));
        assert_eq!(busy_milliseconds(SAMPLE, device(8, 0)), Some(10));
    }

    #[test]
    fn an_unlisted_device_and_a_torn_line_have_none() {
        let device = DeviceNumber { major: 8, minor: 0 };
        assert_eq!(busy_milliseconds("", device), None);
        assert_eq!(busy_milliseconds("8 0 sda 1 2 3", device), None);
        assert_eq!(busy_milliseconds("nonsense\n8 0 sda 1 2 3 4 5 6 7 8 9 12 11", device), Some(12));
    }
}
