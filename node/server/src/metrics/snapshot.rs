//! Metrics read from what the engine, the system and admission count themselves, at the moment somebody asks.

use std::time::Duration;

use prometheus::TextEncoder;
use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType, Quantile, Summary};
use thermocline_engine::{EngineStats, LatencySummary, MoveReason, MoveTotal, TierReport};

use super::{self as table, Definition, Kind, NodeMetrics, ReplicaFigures};
use crate::admission::AdmissionState;
use crate::health::NodeHealth;
use crate::system::Load;

/// The reasons of moves that exist; each pair of neighbouring tiers begins at zero with each.
const REASONS: [MoveReason; 6] = [
    MoveReason::Promote,
    MoveReason::Demote,
    MoveReason::Watermark,
    MoveReason::Prefetch,
    MoveReason::Manual,
    MoveReason::Drain,
];

/// What the figures are read from.
#[derive(Debug)]
pub struct Facts {
    /// Since the node began to serve.
    pub uptime: Duration,
    /// The state it is in.
    pub health: NodeHealth,
    /// What the engine counts.
    pub stats: EngineStats,
    /// Share in use of each tier's file system, in the order of the tiers; absent where it cannot be asked.
    pub disk_usage: Vec<Option<f64>>,
    /// What the process uses.
    pub load: Load,
    /// Its replicas; none where the cluster has no shards.
    pub replicas: ReplicaFigures,
    /// Admission by pool.
    pub pools: Vec<(&'static str, AdmissionState)>,
}

/// Everything in the text format that Prometheus reads.
pub fn render(metrics: &NodeMetrics, facts: &Facts) -> Result<String, prometheus::Error> {
    let mut families = metrics.collect();
    families.extend(collect(facts));
    families.retain(|family| !family.get_metric().is_empty());
    TextEncoder::new().encode_to_string(&families)
}

#[allow(clippy::cast_precision_loss)] // the format has floating point numbers only
fn collect(facts: &Facts) -> Vec<MetricFamily> {
    let stats = &facts.stats;
    let mut out = Families::default();
    out.set(&table::BUILD, &[env!("CARGO_PKG_VERSION")], 1.0);
    out.set(&table::UPTIME, &[], facts.uptime.as_secs_f64());
    for state in NodeHealth::LABELS {
        out.set(&table::HEALTH, &[state], flag(state == facts.health.label()));
    }
    for (pool, state) in &facts.pools {
        out.set(&table::ADMISSION_RUNNING, &[pool], state.running as f64);
        out.set(&table::ADMISSION_WAITING, &[pool], state.waiting as f64);
        out.set(&table::ADMISSION_REFUSED, &[pool], state.refused as f64);
    }
    let counts: [(&Definition, u64); 26] = [
        (&table::READS, stats.reads),
        (&table::WRITES, stats.writes),
        (&table::DELETES, stats.deletes),
        (&table::SCANS, stats.scans),
        (&table::REFUSED, stats.refused),
        (&table::STALL_EVENTS, stats.stall_events),
        (&table::WAL_BYTES, stats.wal_bytes),
        (&table::CORRUPT_COMPACTIONS, stats.corrupt_compactions),
        (&table::ROW_CACHE_HITS, stats.row_cache_hits),
        (&table::ROW_CACHE_MISSES, stats.row_cache_misses),
        (&table::ROW_CACHE_BYTES, stats.row_cache_used_bytes),
        (&table::ROW_CACHE_CAPACITY, stats.row_cache_capacity_bytes),
        (&table::BLOCK_CACHE_HITS, stats.block_cache_hits),
        (&table::BLOCK_CACHE_MISSES, stats.block_cache_misses),
        (&table::BLOCK_CACHE_BYTES, stats.block_cache_used_bytes),
        (&table::BLOCK_CACHE_CAPACITY, stats.block_cache_capacity_bytes),
        (&table::FILTER_HITS, stats.filter_hits),
        (&table::FILTER_MISSES, stats.filter_misses),
        (&table::PREFETCHED, stats.prefetched_bytes),
        (&table::PREFETCH_USED, stats.prefetch_used_bytes),
        (&table::PREFETCH_ENABLED, u64::from(stats.prefetch_enabled)),
        (&table::HEAT_BYTES, stats.heat_bytes),
        (&table::MOVES_RUNNING, stats.moves_running),
        (&table::POLICY_GENERATION, stats.policy_generation),
        (&table::MEMORY, facts.load.memory_bytes),
        (&table::MEMORY_LIMIT, facts.load.memory_limit_bytes),
    ];
    for (definition, count) in counts {
        out.set(definition, &[], count as f64);
    }
    out.set(&table::STALL, &[], stats.stall.as_secs_f64());
    out.set(&table::THROTTLED, &[], stats.throttled.as_secs_f64());
    out.set(&table::CPU_USAGE, &[], facts.load.cpu_ratio);
    out.set(&table::IO_USAGE, &[], facts.load.io_ratio);
    out.summary(&table::READ_DURATION, &[], &stats.read_latency);
    out.summary(&table::WRITE_DURATION, &[], &stats.write_latency);
    for (index, tier) in stats.tiers.iter().enumerate() {
        out.tier(tier, facts.disk_usage.get(index).copied().flatten());
    }
    out.moves(stats);
    out.replicas(&facts.replicas);
    out.families
}

fn flag(set: bool) -> f64 {
    if set { 1.0 } else { 0.0 }
}

/// Families in the making; a definition that comes again adds to its family.
#[derive(Default)]
struct Families {
    families: Vec<MetricFamily>,
}

impl Families {
    fn set(&mut self, definition: &Definition, labels: &[&str], value: f64) {
        let mut metric = Metric::from_label(pairs(definition, labels));
        if definition.kind == Kind::Counter {
            let mut counter = Counter::default();
            counter.set_value(value);
            metric.set_counter(counter);
        } else {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            metric.set_gauge(gauge);
        }
        self.add(definition, metric);
    }

    fn summary(&mut self, definition: &Definition, labels: &[&str], latency: &LatencySummary) {
        let quantiles = [(0.5, latency.p50), (0.99, latency.p99)].map(|(share, value)| {
            let mut quantile = Quantile::default();
            quantile.set_quantile(share);
            quantile.set_value(value.as_secs_f64());
            quantile
        });
        let mut summary = Summary::default();
        summary.set_sample_count(latency.count);
        summary.set_sample_sum(latency.sum.as_secs_f64());
        summary.set_quantile(quantiles.to_vec());
        let mut metric = Metric::from_label(pairs(definition, labels));
        metric.set_summary(summary);
        self.add(definition, metric);
    }

    #[allow(clippy::cast_precision_loss)]
    fn tier(&mut self, tier: &TierReport, disk_usage: Option<f64>) {
        let name = &[tier.name.as_str()];
        self.set(&table::TIER_SIZE, name, tier.used_bytes as f64);
        self.set(&table::TIER_CAPACITY, name, tier.capacity_bytes as f64);
        self.set(&table::TIER_LOGICAL, name, tier.logical_bytes as f64);
        self.set(&table::TIER_KEYS, name, tier.keys as f64);
        self.set(&table::TIER_READS, name, tier.reads as f64);
        self.set(&table::TIER_COMPRESSION, name, tier.compression_ratio);
        self.set(&table::TIER_UNDER_RESERVE, name, flag(tier.under_reserve));
        self.set(&table::TIER_DAMAGED, name, flag(tier.damage.is_some()));
        self.summary(&table::TIER_READ_DURATION, name, &tier.read_latency);
        if let Some(share) = disk_usage {
            self.set(&table::TIER_DISK_USAGE, name, share);
        }
    }

    #[allow(clippy::cast_precision_loss)]
    fn moves(&mut self, stats: &EngineStats) {
        let mut totals: Vec<MoveTotal> = stats.moves.clone();
        for pair in stats.tiers.windows(2) {
            let [upper, lower] = pair else { continue };
            for reason in REASONS {
                let up = matches!(reason, MoveReason::Promote | MoveReason::Prefetch);
                let (from, to) = if up { (lower, upper) } else { (upper, lower) };
                let known =
                    |total: &MoveTotal| total.from == from.name && total.to == to.name && total.reason == reason;
                if !totals.iter().any(known) {
                    totals.push(MoveTotal {
                        from: from.name.clone(),
                        to: to.name.clone(),
                        reason,
                        moves: 0,
                        records: 0,
                        bytes: 0,
                    });
                }
            }
        }
        for total in totals {
            let reason = total.reason.to_string();
            let labels = [total.from.as_str(), total.to.as_str(), reason.as_str()];
            self.set(&table::MOVES, &labels, total.moves as f64);
            self.set(&table::MOVED_RECORDS, &labels, total.records as f64);
            self.set(&table::MOVED_BYTES, &labels, total.bytes as f64);
        }
    }

    #[allow(clippy::cast_precision_loss)]
    fn replicas(&mut self, of: &ReplicaFigures) {
        let ReplicaFigures {
            leaders,
            followers,
            learners,
            witnesses,
            failed,
            leaderless,
            unheard,
            lag,
            jobs,
            copy_left,
        } = *of;
        let roles = [("leader", leaders), ("follower", followers), ("learner", learners), ("witness", witnesses)];
        for (role, count) in roles {
            self.set(&table::REPLICAS, &[role], count as f64);
        }
        let sums = [
            (&table::REPLICAS_FAILED, failed),
            (&table::REPLICAS_LEADERLESS, leaderless),
            (&table::REPLICAS_UNHEARD, unheard),
            (&table::REPLICA_LAG, lag),
            (&table::REPLICA_JOBS, jobs),
            (&table::REPLICA_COPY_LEFT, copy_left),
        ];
        for (definition, sum) in sums {
            self.set(definition, &[], sum as f64);
        }
    }

    fn add(&mut self, definition: &Definition, metric: Metric) {
        let known = self.families.iter_mut().find(|family| family.name() == definition.name);
        if let Some(family) = known {
            family.mut_metric().push(metric);
            return;
        }
        let mut family = MetricFamily::default();
        family.set_name(definition.name.to_owned());
        family.set_help(definition.help.to_owned());
        family.set_field_type(match definition.kind {
            Kind::Counter => MetricType::COUNTER,
            Kind::Gauge => MetricType::GAUGE,
            Kind::Histogram => MetricType::HISTOGRAM,
            Kind::Summary => MetricType::SUMMARY,
        });
        family.set_metric(vec![metric]);
        self.families.push(family);
    }
}

fn pairs(definition: &Definition, values: &[&str]) -> Vec<LabelPair> {
    definition
        .labels
        .iter()
        .zip(values)
        .map(|(name, value)| {
            let mut pair = LabelPair::default();
            pair.set_name((*name).to_owned());
            pair.set_value((*value).to_owned());
            pair
        })
        .collect()
}
