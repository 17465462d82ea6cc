//! What nodes' processors and devices do, averaged: a node tells of its last second, and a compaction or a checkpoint is no load
//! that moving a shard would take away.

use std::time::Duration;

use thermocline_proto::v1::DeviceLoad;

/// What was so for this long counts for two thirds of the average.
const OVER: Duration = Duration::from_secs(30);

/// The averages of one node.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LoadAverage {
    cpu_percent: f64,
    io_percent: f64,
}

impl LoadAverage {
    /// Begins with what a node told first.
    #[must_use]
    pub const fn beginning(load: &DeviceLoad) -> Self {
        Self { cpu_percent: load.cpu_percent, io_percent: load.io_percent }
    }

    /// Takes in what it told `since` later.
    #[must_use]
    pub fn and(self, load: &DeviceLoad, since: Duration) -> Self {
        let weight = 1.0 - (-since.as_secs_f64() / OVER.as_secs_f64()).exp();
        let average = |before: f64, now: f64| if now.is_finite() { before + (now - before) * weight } else { before };
        Self {
            cpu_percent: average(self.cpu_percent, load.cpu_percent),
            io_percent: average(self.io_percent, load.io_percent),
        }
    }

    /// Puts the averages in the place of what was told.
    pub const fn tell(self, load: &mut DeviceLoad) {
        load.cpu_percent = self.cpu_percent;
        load.io_percent = self.io_percent;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(percent: f64) -> DeviceLoad {
        DeviceLoad { cpu_percent: percent, io_percent: percent, ..DeviceLoad::default() }
    }

    fn after(begun: f64, percent: f64, seconds: u64) -> f64 {
        let mut told = load(percent);
        let second = Duration::from_secs(1);
        let average =
            (0..seconds).fold(LoadAverage::beginning(&load(begun)), |average, _| average.and(&load(percent), second));
        average.tell(&mut told);
        assert!((told.cpu_percent - told.io_percent).abs() < 1e-9);
        told.cpu_percent
    }

    #[test]
    fn a_burst_of_seconds_is_no_load_and_what_lasts_is() {
        assert!(after(5.0, 100.0, 5) < 25.0);
        assert!(after(5.0, 100.0, 120) > 95.0);
        assert!(after(100.0, 0.0, 120) < 5.0);
    }

    #[test]
    fn how_often_a_node_tells_makes_no_difference() {
        let once = LoadAverage::beginning(&load(0.0)).and(&load(60.0), Duration::from_secs(20));
        assert!((once.cpu_percent - after(0.0, 60.0, 20)).abs() < 1e-6);
    }
}
