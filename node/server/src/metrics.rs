//! Every metric of the node: name, help, kind and labels stand once, here.
//!
//! Base units, `_total` on counters, a label `tier` where a figure belongs to one; never a label for keys or shards,
//! whose number has no bound. Calls are counted as they happen ([`NodeMetrics`]); what the engine counts itself is read
//! when somebody asks ([`snapshot`]).

mod replicas;
mod requests;
pub mod snapshot;

pub use replicas::ReplicaFigures;
pub use requests::{NodeMetrics, RequestTimer, Rpc};

/// What a metric does over time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, from the start of the process.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts by bucket.
    Histogram,
    /// Count, sum and the quantiles 0.5 and 0.99 since the start of the process.
    Summary,
}

/// One metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Definition {
    /// Its name.
    pub name: &'static str,
    /// What it says and, where that helps, when to worry.
    pub help: &'static str,
    /// What it does over time.
    pub kind: Kind,
    /// Its labels.
    pub labels: &'static [&'static str],
}

macro_rules! definitions {
    ($($constant:ident = $kind:ident $name:literal [$($label:literal),*] $help:literal;)+) => {
        $(
            #[doc = $help]
            pub const $constant: Definition = Definition {
                name: $name,
                help: $help,
                kind: Kind::$kind,
                labels: &[$($label),*],
            };
        )+
        /// Every metric of the node, in the order of the documentation.
        pub const ALL: &[Definition] = &[$($constant),+];
    };
}

definitions! {
    BUILD = Gauge "thermocline_build_info" ["version"] "Always 1; the label is the version of the node.";
    UPTIME = Gauge "thermocline_uptime_seconds" [] "Since the node began to serve.";
    HEALTH = Gauge "thermocline_health" ["state"] "1 for the state the node is in (serving, read_only, not_serving, draining), 0 for the others; alert on not_serving.";

    REQUESTS = Counter "thermocline_requests_total" ["rpc", "code"] "Calls of the data plane that ended, by gRPC code.";
    REQUEST_DURATION = Histogram "thermocline_request_duration_seconds" ["rpc"] "How long calls of the data plane took, waiting for admission included.";
    REQUESTS_IN_FLIGHT = Gauge "thermocline_requests_in_flight" [] "Calls of the data plane under way.";
    ADMISSION_RUNNING = Gauge "thermocline_admission_running" ["pool"] "Calls that run in the engine.";
    ADMISSION_WAITING = Gauge "thermocline_admission_waiting" ["pool"] "Calls that wait for their turn; a queue that stays long means overload.";
    ADMISSION_REFUSED = Counter "thermocline_admission_refused_total" ["pool"] "Calls refused because too many were waiting.";

    READS = Counter "thermocline_reads_total" [] "Keys read, from the row cache or a tier.";
    WRITES = Counter "thermocline_writes_total" [] "Keys written.";
    DELETES = Counter "thermocline_deletes_total" [] "Keys deleted.";
    SCANS = Counter "thermocline_scans_total" [] "Scans begun.";
    REFUSED = Counter "thermocline_writes_refused_total" [] "Writes refused for want of space on a device.";
    READ_DURATION = Summary "thermocline_read_duration_seconds" [] "Latency of reads in the engine that the row cache did not answer.";
    WRITE_DURATION = Summary "thermocline_write_duration_seconds" [] "Latency of writes in the engine.";
    STALL = Counter "thermocline_stall_seconds_total" [] "Time in which writers were held up by the storage engine; should stay 0.";
    STALL_EVENTS = Counter "thermocline_stalls_total" [] "Times a tier asked writers to slow down or stop.";
    WAL_BYTES = Counter "thermocline_wal_written_bytes_total" [] "Bytes written to the write-ahead log.";
    CORRUPT_COMPACTIONS = Counter "thermocline_corrupt_compactions_total" [] "Compactions that met damaged blocks; any is a reason to replace the device.";

    ROW_CACHE_HITS = Counter "thermocline_row_cache_hits_total" [] "Reads that the row cache answered.";
    ROW_CACHE_MISSES = Counter "thermocline_row_cache_misses_total" [] "Reads that the row cache did not answer.";
    ROW_CACHE_BYTES = Gauge "thermocline_row_cache_bytes" [] "Bytes in the row cache.";
    ROW_CACHE_CAPACITY = Gauge "thermocline_row_cache_capacity_bytes" [] "Bytes the row cache may hold.";
    BLOCK_CACHE_HITS = Counter "thermocline_block_cache_hits_total" [] "Blocks found in the block cache.";
    BLOCK_CACHE_MISSES = Counter "thermocline_block_cache_misses_total" [] "Blocks read from a device.";
    BLOCK_CACHE_BYTES = Gauge "thermocline_block_cache_bytes" [] "Bytes in the block cache.";
    BLOCK_CACHE_CAPACITY = Gauge "thermocline_block_cache_capacity_bytes" [] "Bytes the block cache may hold.";
    FILTER_HITS = Counter "thermocline_filter_hits_total" [] "Reads that a filter answered with not here.";
    FILTER_MISSES = Counter "thermocline_filter_misses_total" [] "Reads that a filter let through for nothing.";
    PREFETCHED = Counter "thermocline_prefetched_bytes_total" [] "Bytes fetched ahead.";
    PREFETCH_USED = Counter "thermocline_prefetch_used_bytes_total" [] "Bytes fetched ahead that were then read.";
    PREFETCH_ENABLED = Gauge "thermocline_prefetch_enabled" [] "1 while fetching ahead pays; it switches itself off under 60 % use.";
    HEAT_BYTES = Gauge "thermocline_heat_tracker_bytes" [] "Memory of the heat tracker.";

    TIER_SIZE = Gauge "thermocline_tier_size_bytes" ["tier"] "Bytes in files of the tier.";
    TIER_CAPACITY = Gauge "thermocline_tier_capacity_bytes" ["tier"] "What the tier may hold: the smaller of its size and its file system's.";
    TIER_LOGICAL = Gauge "thermocline_tier_logical_bytes" ["tier"] "Keys and values in the tier before compression, estimated.";
    TIER_KEYS = Gauge "thermocline_tier_keys" ["tier"] "Keys in the tier, estimated.";
    TIER_READS = Counter "thermocline_tier_reads_total" ["tier"] "Reads the tier answered.";
    TIER_READ_DURATION = Summary "thermocline_tier_read_duration_seconds" ["tier"] "Latency of the reads the tier answered.";
    TIER_COMPRESSION = Gauge "thermocline_tier_compression_ratio" ["tier"] "Logical over stored bytes; 0 while there are no files.";
    TIER_DAMAGED = Gauge "thermocline_tier_damaged" ["tier"] "1 while compactions of the tier meet files that they cannot read; alert, it fills up.";
    TIER_UNDER_RESERVE = Gauge "thermocline_tier_under_reserve" ["tier"] "1 while the tier's device is under its reserve.";
    TIER_DISK_USAGE = Gauge "thermocline_disk_usage_ratio" ["tier"] "Share of the tier's file system in use, by anyone.";

    MOVES = Counter "thermocline_moves_total" ["from", "to", "reason"] "Moves between tiers.";
    MOVED_RECORDS = Counter "thermocline_moved_records_total" ["from", "to", "reason"] "Records moved between tiers.";
    MOVED_BYTES = Counter "thermocline_moved_bytes_total" ["from", "to", "reason"] "Bytes moved between tiers.";
    MOVES_RUNNING = Gauge "thermocline_moves_running" [] "Moves between tiers under way.";
    THROTTLED = Counter "thermocline_move_throttled_seconds_total" [] "Time in which moves waited for their budget or their target.";
    POLICY_GENERATION = Gauge "thermocline_policy_generation" [] "Generation of the policy in force.";

    REPLICAS = Gauge "thermocline_replicas" ["role"] "Replicas on the node that run, by what they are now: leader, follower, learner, witness.";
    REPLICAS_FAILED = Gauge "thermocline_replicas_failed" [] "Replicas on the node that do not run; each is opened anew now and then.";
    REPLICAS_LEADERLESS = Gauge "thermocline_replicas_leaderless" [] "Replicas on the node that know of nobody who leads; alert where it lasts, their shards take no writes.";
    REPLICA_LAG = Gauge "thermocline_replica_lag_entries" [] "Entries that the member furthest behind lacks, of the shards led here.";
    REPLICAS_UNHEARD = Gauge "thermocline_replicas_unheard" [] "Members of shards led here that have not answered this leader yet.";
    REPLICA_JOBS = Gauge "thermocline_replica_jobs_running" [] "Changes of the members of shards led here that are under way.";
    REPLICA_COPY_LEFT = Gauge "thermocline_replica_copy_left_bytes" [] "Bytes still to be copied to new replicas of shards led here.";

    CPU_USAGE = Gauge "thermocline_cpu_usage_ratio" [] "CPU time of the node as a share of what it may use.";
    MEMORY = Gauge "thermocline_memory_bytes" [] "Resident memory of the node.";
    MEMORY_LIMIT = Gauge "thermocline_memory_limit_bytes" [] "Memory the node may use.";
    IO_USAGE = Gauge "thermocline_io_usage_ratio" [] "Share of the time in which the busiest device was busy.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_rules_and_are_given_once() {
        for (index, definition) in ALL.iter().enumerate() {
            let name = definition.name;
            assert!(name.starts_with("thermocline_"), "{name}");
            assert!(ALL.iter().skip(index + 1).all(|other| other.name != name), "{name}");
            assert_eq!(name.ends_with("_total"), definition.kind == Kind::Counter, "{name}");
            assert!(definition.help.ends_with('.'), "{name}");
            assert!(!definition.labels.iter().any(|label| ["key", "shard"].contains(label)), "{name}");
        }
    }
}
