//! Every default of a policy, once.

use std::time::Duration;

/// Over this percentage of a tier its node has to give something away (the API's `diskUsagePercent`; Ceph's "near full").
pub const DISK_USAGE_PERCENT: f64 = 85.0;
/// Over this percentage of its processors a node has to give load away (the API's `cpuPercent`).
pub const CPU_PERCENT: f64 = 80.0;
/// Over this percentage of time that a device is busy a node has to give load away (the API's `ioPercent`).
pub const IO_PERCENT: f64 = 90.0;
/// So many hot keys make a shard one for read replicas (the API's `hotKeys`).
pub const HOT_KEYS: u64 = 100;
/// So many cold keys are worth a move (the API's `coldKeys`).
pub const COLD_KEYS: u64 = 10_000;
/// A node that is silent for so long is lost (the API's `nodeLostAfter`); recovery is to take less than 5 minutes.
pub const NODE_LOST_AFTER: Duration = Duration::from_secs(30);
/// Clients that are farther than this deserve a nearer leader (the API's `crossZoneLatency`).
pub const CROSS_ZONE_LATENCY: Duration = Duration::from_millis(100);
/// Nodes may differ from the mean by this percentage of it (the API's `imbalancePercent`).
pub const IMBALANCE_PERCENT: f64 = 20.0;
/// As of moves between media (the API's `hysteresis`); CockroachDB too wants a gap of twice what it closes.
pub const HYSTERESIS: f64 = 2.0;
/// As of moves between media (the API's `minResidency`).
pub const MIN_RESIDENCY: Duration = Duration::from_mins(10);
/// CockroachDB's interval of load-based rebalancing.
pub const COOLDOWN: Duration = Duration::from_mins(1);
/// A load that comes and goes each day moves a shard there and back, and once more.
pub const MOVES_PER_SHARD: u32 = 4;
/// Between CockroachDB's 32 MiB/s and TiKV's 100 MB/s for snapshots.
pub const BYTES_PER_SECOND: u64 = 64 << 20;
/// Moves into a node at a time (ScyllaDB: two streams a shard; CockroachDB: one snapshot a store).
pub const MOVES_IN: u32 = 2;
/// Moves out of a node at a time.
pub const MOVES_OUT: u32 = 2;
/// Moves of a cluster at a time.
pub const MOVES_PER_CLUSTER: u32 = 8;
/// Leaders that move away from a node or to it at a time (TiKV's limit of leader schedules).
pub const LEADER_MOVES: u32 = 4;
/// Splits and merges of a cluster at a time (TiKV's limit of merge schedules).
pub const RANGE_CHANGES: u32 = 8;
/// Two replicas with data ...
pub const DATA_REPLICAS: u32 = 2;
/// ... and a witness.
pub const WITNESS: bool = true;
/// The size of a shard; it is split over twice and merged under a quarter of it (ScyllaDB: 5 GiB, over 10, under 2.5).
pub const SHARD_TARGET: u64 = 4 << 30;
/// A shard is split over so many times its target size.
pub const SPLIT_OVER: f64 = 2.0;
/// Neighbours are merged where both are under this share of the target size.
pub const MERGE_UNDER: f64 = 0.25;
/// Requests a second that split a shard (CockroachDB) ...
pub const SPLIT_OPERATIONS: f64 = 2_500.0;
/// ... where they also take so many cores ...
pub const SPLIT_CPU: f64 = 0.3;
/// ... for so long: 10 rounds of 10 s (TiKV).
pub const SPLIT_AFTER: Duration = Duration::from_secs(100);
/// A split key is useful where at least this share of load (or of bytes) is on each side of it.
pub const SPLIT_SHARE: f64 = 0.25;
/// A shard with fewer requests a second is idle: a twenty-fifth of what splits one.
pub const MERGE_OPERATIONS: f64 = 100.0;
/// Neighbours are merged so long after they were split (TiKV's interval between split and merge).
pub const MERGE_AFTER: Duration = Duration::from_hours(1);
/// Read replicas of one shard.
pub const READ_REPLICAS: u32 = 2;
