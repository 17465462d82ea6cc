//! What is told of a tier.

use std::collections::BTreeMap;

use thermocline_crds::condition::ConditionType;
use thermocline_crds::reasons::Reason;
use thermocline_crds::v1alpha1::{StorageTier, TierInPool, ValidatedTier};
use thermocline_proto::v1;

use super::{View, count, said};

const GIB: f64 = (1_u64 << 30) as f64;

impl View<'_> {
    pub(super) fn tier(&self, tier: &mut StorageTier) {
        let generation = tier.metadata.generation;
        let Ok(valid) = ValidatedTier::try_from(&*tier) else {
            return;
        };
        let mut pools: BTreeMap<&str, Vec<&v1::TierStatus>> = BTreeMap::new();
        let mut reads: BTreeMap<&str, u64> = BTreeMap::new();
        let mut under_reserve = Vec::new();
        for (name, node) in &self.desired.nodes {
            let Some(told) = self.statuses.get(name) else {
                continue;
            };
            *reads.entry(&node.pool).or_default() += told.tiers.iter().map(|tier| tier.reads).sum::<u64>();
            if let Some(own) = told.tiers.iter().find(|one| one.name == valid.name.as_str()) {
                pools.entry(&node.pool).or_default().push(own);
                if own.under_reserve {
                    under_reserve.push(name.as_str());
                }
            }
        }
        let status = tier.status.get_or_insert_default();
        status.observed_generation = generation;
        if !pools.is_empty() {
            let told =
                pools.iter().map(|(pool, tiers)| in_pool(pool, tiers, reads.get(pool).copied().unwrap_or(0), &valid));
            status.pools = told.collect();
        }
        let used_by = self
            .desired
            .nodes
            .values()
            .any(|node| node.tiers.tiers.iter().any(|setting| setting.name == valid.name.as_str()));
        let slow = valid.read_p99.and_then(|objective| {
            let slowest = status.pools.iter().filter_map(|pool| pool.read_p99_microseconds).max()?;
            (i128::from(slowest) > i128::try_from(objective.as_duration().as_micros()).ok()?)
                .then(|| format!("reads take up to {slowest} us (p99), the objective is {objective}"))
        });
        let ready = if !used_by {
            said(false, Reason::Waiting, "no pool names it")
        } else if pools.is_empty() {
            said(false, Reason::NoNodeReady, "no node that has it answers")
        } else {
            said(true, Reason::AsDeclared, slow.unwrap_or_else(|| "nodes use it".to_owned()))
        };
        self.set(&mut status.conditions, ConditionType::Ready, ready, generation);
        let media = if under_reserve.is_empty() {
            said(false, Reason::AsDeclared, "no device reports errors or is under its reserve")
        } else {
            said(
                true,
                Reason::MediaErrors,
                format!("under the reserve on {}: writes are refused until space returns", under_reserve.join(", ")),
            )
        };
        self.set(&mut status.conditions, ConditionType::MediaDegraded, media, generation);
    }
}

fn in_pool(pool: &str, tiers: &[&v1::TierStatus], reads: u64, valid: &ValidatedTier) -> TierInPool {
    let sum = |of: fn(&v1::TierStatus) -> u64| tiers.iter().map(|tier| of(tier)).sum::<u64>();
    let used = sum(|tier| tier.used_bytes);
    let own = sum(|tier| tier.reads);
    let p99 = tiers.iter().map(|tier| tier.read_p99_nanos).max().unwrap_or(0);
    TierInPool {
        pool: pool.to_owned(),
        capacity_bytes: count(sum(|tier| tier.capacity_bytes)),
        used_bytes: count(used),
        keys: count(sum(|tier| tier.keys)),
        read_share_percent: (reads > 0).then(|| ((own as f64 / reads as f64) * 1000.0).round() / 10.0),
        read_p99_microseconds: (p99 > 0).then(|| count(p99 / 1000)),
        cost_per_month: Some(((used as f64 / GIB) * valid.cost_per_gib_month * 10_000.0).round() / 10_000.0),
    }
}
