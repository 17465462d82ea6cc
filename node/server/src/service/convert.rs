//! The engine's reports as messages. Pure.

use std::time::Duration;

use thermocline_engine::{EngineStats, MoveTotal, TierReport};
use thermocline_proto::v1;

use crate::system::Load;

/// The part of the status that the engine knows; the caller fills in the rest.
pub fn status(stats: &EngineStats, paused: bool) -> v1::NodeStatus {
    let state = match (stats.moves_running, paused) {
        (0, true) => "paused",
        (0, false) => "idle",
        _ => "moving",
    };
    v1::NodeStatus {
        policy_generation: stats.policy_generation,
        tiers: stats.tiers.iter().map(tier).collect(),
        operations: Some(v1::OperationTotals {
            reads: stats.reads,
            writes: stats.writes,
            deletes: stats.deletes,
            scans: stats.scans,
            read_p50_nanos: nanos(stats.read_latency.p50),
            read_p99_nanos: nanos(stats.read_latency.p99),
            write_p50_nanos: nanos(stats.write_latency.p50),
            write_p99_nanos: nanos(stats.write_latency.p99),
            stall_micros: micros(stats.stall),
            refused: stats.refused,
        }),
        row_cache: Some(v1::CacheStatus {
            hits: stats.row_cache_hits,
            misses: stats.row_cache_misses,
            used_bytes: stats.row_cache_used_bytes,
            capacity_bytes: stats.row_cache_capacity_bytes,
        }),
        block_cache: Some(v1::CacheStatus {
            hits: stats.block_cache_hits,
            misses: stats.block_cache_misses,
            used_bytes: stats.block_cache_used_bytes,
            capacity_bytes: stats.block_cache_capacity_bytes,
        }),
        mover: Some(v1::MoverStatus {
            state: state.to_owned(),
            totals: stats.moves.iter().map(move_total).collect(),
            throttled_micros: micros(stats.throttled),
            last_classified_ms_ago: stats.last_classified.map_or(0, millis),
            moves_running: stats.moves_running,
        }),
        prefetch: Some(v1::PrefetchStatus {
            prefetched_bytes: stats.prefetched_bytes,
            used_bytes: stats.prefetch_used_bytes,
            enabled: stats.prefetch_enabled,
        }),
        ..v1::NodeStatus::default()
    }
}

/// The load as a message.
pub fn load(load: &Load) -> v1::DeviceLoad {
    v1::DeviceLoad {
        cpu_percent: load.cpu_ratio * 100.0,
        cpu_cores: load.cpu_cores,
        memory_bytes: load.memory_bytes,
        memory_limit_bytes: load.memory_limit_bytes,
        io_percent: load.io_ratio * 100.0,
    }
}

fn tier(tier: &TierReport) -> v1::TierStatus {
    v1::TierStatus {
        name: tier.name.clone(),
        id: tier.id.to_string(),
        rank: tier.rank,
        medium: tier.medium.to_string(),
        capacity_bytes: tier.capacity_bytes,
        used_bytes: tier.used_bytes,
        logical_bytes: tier.logical_bytes,
        keys: tier.keys,
        reads: tier.reads,
        read_share: tier.read_share,
        read_p50_nanos: nanos(tier.read_latency.p50),
        read_p99_nanos: nanos(tier.read_latency.p99),
        compression_ratio: tier.compression_ratio,
        under_reserve: tier.under_reserve,
        high_watermark: tier.settings.high_watermark,
        low_watermark: tier.settings.low_watermark,
        throttle_bytes_per_second: tier.settings.throttle_bytes_per_second.unwrap_or(0),
    }
}

fn move_total(total: &MoveTotal) -> v1::MoveTotal {
    v1::MoveTotal {
        from: total.from.clone(),
        to: total.to.clone(),
        reason: total.reason.to_string(),
        moves: total.moves,
        records: total.records,
        bytes: total.bytes,
    }
}

/// Milliseconds, as many as fit.
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
