//! What the demonstration measured, from the nodes' own figures. Pure.

use std::collections::BTreeMap;

use serde::Serialize;
use thermocline_crds::v1alpha1::ValidatedTier;
use thermocline_proto::v1::{CacheStatus, NodeStatus};

use crate::output::{Printer, bytes, count, estimate, nanos, percent};

const GIB: f64 = (1_u64 << 30) as f64;

/// One tier over all nodes.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TierLine {
    pub(super) tier: String,
    pub(super) rank: u32,
    pub(super) medium: String,
    pub(super) used_bytes: u64,
    pub(super) capacity_bytes: u64,
    pub(super) keys: u64,
    pub(super) reads: u64,
    /// Of the slowest node.
    pub(super) read_p50_nanos: u64,
    /// Of the slowest node.
    pub(super) read_p99_nanos: u64,
    pub(super) throttle_bytes_per_second: u64,
    pub(super) cost_per_gib_month: f64,
}

/// Moves from one tier to another for one reason.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MoveLine {
    pub(super) from: String,
    pub(super) to: String,
    pub(super) reason: String,
    pub(super) moves: u64,
    pub(super) records: u64,
    pub(super) bytes: u64,
}

/// Everything that is told at the end.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Summary {
    pub(super) tiers: Vec<TierLine>,
    pub(super) row_cache_hit_ratio: Option<f64>,
    pub(super) block_cache_hit_ratio: Option<f64>,
    pub(super) moves: Vec<MoveLine>,
    pub(super) stored_bytes: u64,
    pub(super) cost_per_month: f64,
    pub(super) cost_on_fastest_per_month: f64,
}

impl Summary {
    /// Adds up what the nodes say.
    pub(super) fn of(statuses: &[NodeStatus], declared: &[ValidatedTier]) -> Self {
        let mut tiers: BTreeMap<u32, TierLine> = BTreeMap::new();
        let mut moves: BTreeMap<(String, String, String), MoveLine> = BTreeMap::new();
        for status in statuses {
            for told in &status.tiers {
                let cost = declared.iter().find(|tier| tier.name.as_str() == told.name);
                let line = tiers.entry(told.rank).or_insert_with(|| TierLine {
                    tier: told.name.clone(),
                    rank: told.rank,
                    medium: told.medium.clone(),
                    throttle_bytes_per_second: told.throttle_bytes_per_second,
                    cost_per_gib_month: cost.map_or(0.0, |tier| tier.cost_per_gib_month),
                    ..TierLine::default()
                });
                line.used_bytes += told.used_bytes;
                line.capacity_bytes += told.capacity_bytes;
                line.keys += told.keys;
                line.reads += told.reads;
                line.read_p50_nanos = line.read_p50_nanos.max(told.read_p50_nanos);
                line.read_p99_nanos = line.read_p99_nanos.max(told.read_p99_nanos);
            }
            for told in status.mover.iter().flat_map(|mover| &mover.totals) {
                let place = (told.from.clone(), told.to.clone(), told.reason.clone());
                let line = moves.entry(place).or_insert_with(|| MoveLine {
                    from: told.from.clone(),
                    to: told.to.clone(),
                    reason: told.reason.clone(),
                    moves: 0,
                    records: 0,
                    bytes: 0,
                });
                line.moves += told.moves;
                line.records += told.records;
                line.bytes += told.bytes;
            }
        }
        let tiers: Vec<TierLine> = tiers.into_values().collect();
        let stored: u64 = tiers.iter().map(|tier| tier.used_bytes).sum();
        let cost = |bytes: u64, per_gib: f64| bytes as f64 / GIB * per_gib;
        Self {
            row_cache_hit_ratio: ratio(statuses.iter().filter_map(|status| status.row_cache.as_ref())),
            block_cache_hit_ratio: ratio(statuses.iter().filter_map(|status| status.block_cache.as_ref())),
            moves: moves.into_values().filter(|line| line.records > 0).collect(),
            stored_bytes: stored,
            cost_per_month: tiers.iter().map(|tier| cost(tier.used_bytes, tier.cost_per_gib_month)).sum(),
            cost_on_fastest_per_month: tiers.first().map_or(0.0, |fastest| cost(stored, fastest.cost_per_gib_month)),
            tiers,
        }
    }

    /// For people.
    pub(super) fn text(&self, printer: &Printer) -> String {
        let reads: u64 = self.tiers.iter().map(|tier| tier.reads).sum();
        let rows = self.tiers.iter().map(|tier| {
            let medium = if tier.throttle_bytes_per_second == 0 {
                tier.medium.clone()
            } else {
                format!("{} (emulated, {}/s a node)", tier.medium, bytes(tier.throttle_bytes_per_second))
            };
            vec![
                tier.tier.clone(),
                medium,
                bytes(tier.used_bytes),
                share(tier.used_bytes, self.stored_bytes),
                estimate(tier.keys),
                share(tier.reads, reads),
                nanos(tier.read_p50_nanos),
                nanos(tier.read_p99_nanos),
                format!("{:.4}", tier.used_bytes as f64 / GIB * tier.cost_per_gib_month),
            ]
        });
        let header = ["TIER", "MEDIUM", "BYTES", "OF ALL", "KEYS", "READS", "P50", "P99", "COST/MONTH"];
        let mut text = printer.table(&header, rows.collect());
        text.push_str(
            "READS: share of the reads that reached a tier; those that the row cache answered did not. P50, P99: of the slowest node.\n\
             KEYS are estimates, and a clean copy counts in both of its tiers.\n\
             Media are emulated: all tiers are folders on one physical disk, and the slower ones are throttled.\n\n",
        );
        let cache = |ratio: Option<f64>| ratio.map_or_else(|| "not used".to_owned(), percent);
        text.push_str(&format!(
            "Hit ratio   row cache {}, block cache {}\n\n",
            cache(self.row_cache_hit_ratio),
            cache(self.block_cache_hit_ratio)
        ));
        if self.moves.is_empty() {
            text.push_str("Nothing moved between tiers.\n");
        } else {
            let rows = self.moves.iter().map(|line| {
                vec![
                    line.from.clone(),
                    line.to.clone(),
                    line.reason.clone(),
                    count(line.moves),
                    count(line.records),
                    bytes(line.bytes),
                ]
            });
            text.push_str(&printer.table(&["FROM", "TO", "REASON", "MOVES", "RECORDS", "BYTES"], rows.collect()));
        }
        let saved = if self.cost_on_fastest_per_month > 0.0 {
            1.0 - self.cost_per_month / self.cost_on_fastest_per_month
        } else {
            0.0
        };
        let fastest = self.tiers.first().map_or("the fastest medium", |tier| tier.medium.as_str());
        let per_tib =
            |cost: f64| if self.stored_bytes == 0 { 0.0 } else { cost / (self.stored_bytes as f64 / GIB) * 1024.0 };
        text.push_str(&format!(
            "\nCost a month of the {} that are stored (costPerGiBMonth of the tiers): on {fastest} alone {:.4}, as they lie now {:.4}: {} less.\nFor each TiB stored like this: {:.2} on {fastest} alone, {:.2} now.\n",
            bytes(self.stored_bytes),
            self.cost_on_fastest_per_month,
            self.cost_per_month,
            percent(saved),
            per_tib(self.cost_on_fastest_per_month),
            per_tib(self.cost_per_month),
        ));
        text
    }
}

fn share(part: u64, whole: u64) -> String {
    if whole == 0 { "-".to_owned() } else { percent(part as f64 / whole as f64) }
}

fn ratio<'a>(caches: impl Iterator<Item = &'a CacheStatus>) -> Option<f64> {
    let (hits, misses) = caches.fold((0, 0), |(hits, misses), cache| (hits + cache.hits, misses + cache.misses));
    (hits + misses > 0).then(|| hits as f64 / (hits + misses) as f64)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::output::Format;
    use thermocline_crds::{Validated, validate};
    use thermocline_proto::v1::{MoveTotal, MoverStatus, TierStatus};

    fn tier(name: &str, rank: u32, used_bytes: u64, reads: u64, read_p99_nanos: u64) -> TierStatus {
        TierStatus {
            name: name.into(),
            rank,
            medium: "NVMe".into(),
            used_bytes,
            reads,
            read_p99_nanos,
            ..TierStatus::default()
        }
    }

    fn declared(text: &str) -> Vec<ValidatedTier> {
        let parsed = validate::manifest(text).unwrap();
        parsed
            .iter()
            .filter_map(|one| match one.object.validated().unwrap() {
                Validated::StorageTier(tier) => Some(*tier),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn tiers_and_moves_add_up_over_nodes_and_costs_follow_the_measured_bytes() {
        let moved = MoveTotal {
            from: "hot".into(),
            to: "cold".into(),
            reason: "demote".into(),
            moves: 1,
            records: 5,
            bytes: 50,
        };
        let node = |p99| NodeStatus {
            tiers: vec![tier("hot", 0, 1 << 30, 30, p99), tier("cold", 20, 3 << 30, 10, 9_000)],
            mover: Some(MoverStatus { totals: vec![moved.clone()], ..MoverStatus::default() }),
            row_cache: Some(CacheStatus { hits: 3, misses: 1, ..CacheStatus::default() }),
            ..NodeStatus::default()
        };
        let tiers = declared(
            "{apiVersion: thermocline.dev/v1alpha1, kind: StorageTier, metadata: {name: hot}, spec: {cluster: c, rank: 0, medium: NVMe, size: 1Gi, costPerGiBMonth: 1.0}}\n---\n{apiVersion: thermocline.dev/v1alpha1, kind: StorageTier, metadata: {name: cold}, spec: {cluster: c, rank: 20, medium: HDD, size: 1Gi, costPerGiBMonth: 0.1}}",
        );
        let summary = Summary::of(&[node(100), node(700)], &tiers);
        assert_eq!(summary.tiers[0].read_p99_nanos, 700);
        assert_eq!((summary.moves[0].records, summary.moves[0].bytes), (10, 100));
        assert_eq!(summary.row_cache_hit_ratio, Some(0.75));
        assert_eq!(summary.block_cache_hit_ratio, None);
        assert!((summary.cost_per_month - 2.6).abs() < 1e-9, "{}", summary.cost_per_month);
        assert!((summary.cost_on_fastest_per_month - 8.0).abs() < 1e-9);
        let text = summary.text(&Printer { format: Format::Table, styled: false });
        assert!(text.contains("67.5 % less") && text.contains("emulated"), "{text}");
    }
}
