//! When something is done.

use std::time::Duration;

use super::defaults;

/// Thresholds; each one's default and source is in [`defaults`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Triggers {
    /// Percentage of a tier.
    pub disk_usage_percent: f64,
    /// Percentage of the processors.
    pub cpu_percent: f64,
    /// Percentage of time that a device is busy.
    pub io_percent: f64,
    /// Hot keys of a shard.
    pub hot_keys: u64,
    /// Cold keys of a shard.
    pub cold_keys: u64,
    /// Silence after which a node is lost.
    pub node_lost_after: Duration,
    /// Round trip from a leader to its clients.
    pub cross_zone_latency: Duration,
    /// Deviation from the mean, in percent of it.
    pub imbalance_percent: f64,
}

impl Default for Triggers {
    fn default() -> Self {
        Self {
            disk_usage_percent: defaults::DISK_USAGE_PERCENT,
            cpu_percent: defaults::CPU_PERCENT,
            io_percent: defaults::IO_PERCENT,
            hot_keys: defaults::HOT_KEYS,
            cold_keys: defaults::COLD_KEYS,
            node_lost_after: defaults::NODE_LOST_AFTER,
            cross_zone_latency: defaults::CROSS_ZONE_LATENCY,
            imbalance_percent: defaults::IMBALANCE_PERCENT,
        }
    }
}
