//! `tiers`: what each tier holds and serves, per node and in total.

use serde::Serialize;
use thermocline_client::NodeEndpoint;
use thermocline_proto::v1::{NodeStatus, TierStatus};

use super::Ended;
use crate::{
    answers::{Answers, ended_without},
    context::Context,
    output::{bytes, count, estimate, nanos, percent},
};

/// A tier of one node, or of all.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct TierView {
    /// The node; `total` for all.
    node: String,
    tier: String,
    rank: u32,
    medium: String,
    used_bytes: u64,
    capacity_bytes: u64,
    logical_bytes: u64,
    keys: u64,
    reads: u64,
    read_share: f64,
    /// Of the total: of the slowest node.
    read_p50_nanos: u64,
    read_p99_nanos: u64,
    under_reserve: bool,
    #[serde(skip_serializing_if = "is_zero")]
    throttle_bytes_per_second: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // The signature that serde asks for.
const fn is_zero(figure: &u64) -> bool {
    *figure == 0
}

#[derive(Debug, Serialize)]
struct TiersView {
    tiers: Vec<TierView>,
    total: Vec<TierView>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    silent: Vec<String>,
}

pub(super) async fn run(context: &Context) -> Ended {
    let client = context.connect().await?;
    let Answers { told, silent } = Answers::of(context.statuses(&client).await)?;
    let view = view(&told, silent);
    context.printer.print(&view, |view| {
        let rows = view.tiers.iter().chain(&view.total).map(row);
        context.printer.table(
            &["NODE", "TIER", "MEDIUM", "USED", "CAPACITY", "FILL", "KEYS", "READS", "SHARE", "P50", "P99", "NOTE"],
            rows.collect(),
        )
    })?;
    Ok(ended_without(&view.silent, &context.printer))
}

fn view(told: &[(NodeEndpoint, NodeStatus)], silent: Vec<String>) -> TiersView {
    let tiers: Vec<TierView> =
        told.iter().flat_map(|(node, status)| status.tiers.iter().map(|tier| TierView::of(&node.name, tier))).collect();
    let total = total(&tiers);
    TiersView { tiers, total, silent }
}

impl TierView {
    fn of(node: &str, tier: &TierStatus) -> Self {
        Self {
            node: node.to_owned(),
            tier: tier.name.clone(),
            rank: tier.rank,
            medium: tier.medium.clone(),
            used_bytes: tier.used_bytes,
            capacity_bytes: tier.capacity_bytes,
            logical_bytes: tier.logical_bytes,
            keys: tier.keys,
            reads: tier.reads,
            read_share: tier.read_share,
            read_p50_nanos: tier.read_p50_nanos,
            read_p99_nanos: tier.read_p99_nanos,
            under_reserve: tier.under_reserve,
            throttle_bytes_per_second: tier.throttle_bytes_per_second,
        }
    }

    fn fill(&self) -> f64 {
        if self.capacity_bytes == 0 { 0.0 } else { self.used_bytes as f64 / self.capacity_bytes as f64 }
    }
}

/// One line per tier name; shares are of all reads of all nodes.
fn total(tiers: &[TierView]) -> Vec<TierView> {
    let mut totals: Vec<TierView> = Vec::new();
    for tier in tiers {
        if let Some(sum) = totals.iter_mut().find(|sum| sum.tier == tier.tier) {
            sum.used_bytes += tier.used_bytes;
            sum.capacity_bytes += tier.capacity_bytes;
            sum.logical_bytes += tier.logical_bytes;
            sum.keys += tier.keys;
            sum.reads += tier.reads;
            sum.read_p50_nanos = sum.read_p50_nanos.max(tier.read_p50_nanos);
            sum.read_p99_nanos = sum.read_p99_nanos.max(tier.read_p99_nanos);
            sum.under_reserve |= tier.under_reserve;
            sum.throttle_bytes_per_second += tier.throttle_bytes_per_second;
        } else {
            totals.push(TierView { node: "total".to_owned(), ..tier.clone() });
        }
    }
    let reads: u64 = totals.iter().map(|sum| sum.reads).sum();
    for sum in &mut totals {
        sum.read_share = if reads == 0 { 0.0 } else { sum.reads as f64 / reads as f64 };
    }
    totals.sort_by_key(|sum| sum.rank);
    totals
}

/// No read was timed where it is zero.
fn latency(value: u64) -> String {
    if value == 0 { "-".to_owned() } else { nanos(value) }
}

fn row(tier: &TierView) -> Vec<String> {
    let mut notes = Vec::new();
    if tier.under_reserve {
        notes.push("under reserve: writes are refused".to_owned());
    }
    if tier.throttle_bytes_per_second > 0 {
        notes.push(format!("emulated, {}/s", bytes(tier.throttle_bytes_per_second)));
    }
    vec![
        tier.node.clone(),
        tier.tier.clone(),
        tier.medium.clone(),
        bytes(tier.used_bytes),
        bytes(tier.capacity_bytes),
        percent(tier.fill()),
        estimate(tier.keys),
        count(tier.reads),
        percent(tier.read_share),
        latency(tier.read_p50_nanos),
        latency(tier.read_p99_nanos),
        notes.join("; "),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str) -> NodeEndpoint {
        NodeEndpoint { name: name.to_owned(), kv: String::new(), admin: String::new(), http: None, range: None }
    }

    fn status(tiers: &[(&str, u32, u64, u64)]) -> NodeStatus {
        NodeStatus {
            tiers: tiers
                .iter()
                .map(|(name, rank, used, reads)| TierStatus {
                    name: (*name).to_owned(),
                    rank: *rank,
                    used_bytes: *used,
                    capacity_bytes: 100,
                    reads: *reads,
                    read_share: 0.5,
                    read_p99_nanos: *used,
                    ..TierStatus::default()
                })
                .collect(),
            ..NodeStatus::default()
        }
    }

    #[test]
    fn totals_add_up_by_tier_and_their_shares_are_of_all_reads() {
        let view = view(
            &[
                (node("a"), status(&[("hot", 0, 10, 60), ("cold", 20, 5, 10)])),
                (node("b"), status(&[("hot", 0, 30, 30)])),
            ],
            Vec::new(),
        );
        assert_eq!(view.tiers.len(), 3);
        let [hot, cold] = &view.total[..] else { unreachable!("two tiers") };
        assert_eq!((hot.tier.as_str(), hot.used_bytes, hot.capacity_bytes), ("hot", 40, 200));
        assert_eq!((hot.read_share, cold.read_share), (0.9, 0.1));
        assert_eq!(hot.read_p99_nanos, 30, "of the slowest node");
        assert_eq!(hot.fill(), 0.2);
    }
}
