//! ColdDataArchive: where a fast tier is over its low watermark, shards with many cold keys give them to the next slower
//! tier, or go to a node whose slower tier has room.

use super::disk_full::slower_tier;
use crate::{
    Change, Priority, Reason, Refusal,
    admission::{self, Candidate, pool_is_open},
    fleet::{Replica, Role, Shard},
    ledger::{Ledger, Resource},
    placement::{self, Arrival},
    plan::Findings,
    view::View,
};

/// Shards of a node that are tried, those with the most cold bytes first.
const SHARDS_TRIED: usize = 64;

pub(super) fn find(view: &View<'_>, ledger: &mut Ledger) -> Findings {
    let mut findings = Findings::default();
    for place in view.staying.iter().flatten().copied() {
        let node = &view.fleet.nodes()[place];
        for tier in 0..node.tiers.len() - 1 {
            if !is_over_low(view, ledger, place, tier) {
                continue;
            }
            let burdens = cold(view, ledger, place, tier);
            if burdens.is_empty() {
                continue;
            }
            match pool_is_open(view, view.policy_of_node(place), &node.pool, Priority::Low) {
                Ok(()) => archive(view, ledger, &mut findings, (place, tier), burdens),
                Err(refusal) => findings.refusals.add(refusal),
            }
        }
    }
    findings
}

/// Whether a faster tier of a node is over its low watermark.
pub(super) fn presses(view: &View<'_>, ledger: &Ledger, place: usize) -> bool {
    (0..view.fleet.nodes()[place].tiers.len() - 1).any(|tier| is_over_low(view, ledger, place, tier))
}

fn is_over_low(view: &View<'_>, ledger: &Ledger, place: usize, number: usize) -> bool {
    let tier = &view.fleet.nodes()[place].tiers[number];
    tier.percent(ledger.tier_used(place, number)) > tier.low_percent
}

/// Cold bytes in a tier of a node by shard, the most first.
fn cold<'a>(view: &View<'a>, ledger: &mut Ledger, place: usize, number: usize) -> Vec<(u64, &'a Shard, &'a Replica)> {
    let rank = view.fleet.nodes()[place].tiers[number].rank;
    let least = view.policy_of_node(place).triggers.cold_keys;
    ledger.work += view.fleet.held_count(place) as u64;
    let cold_bytes = |shard: &Shard| {
        let bytes = shard.bytes.iter().find(|(tier, _)| *tier == rank).map_or(0, |(_, bytes)| *bytes);
        (bytes as f64 * (shard.load.cold_keys as f64 / shard.keys.max(1) as f64).min(1.0)) as u64
    };
    let mut found: Vec<_> = view
        .fleet
        .held(place)
        .filter(|(shard, replica)| replica.role != Role::Witness && shard.load.cold_keys >= least)
        .map(|(shard, replica)| (cold_bytes(shard), shard, replica))
        .filter(|(bytes, ..)| *bytes > 0)
        .collect();
    found.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.id.cmp(&b.1.id)));
    found.truncate(SHARDS_TRIED);
    found
}

fn archive(
    view: &View<'_>,
    ledger: &mut Ledger,
    findings: &mut Findings,
    (place, tier): (usize, usize),
    burdens: Vec<(u64, &Shard, &Replica)>,
) {
    let of = view.fleet.nodes()[place].id;
    for (bytes, shard, replica) in burdens {
        if !is_over_low(view, ledger, place, tier) {
            return;
        }
        match archive_one(view, ledger, (place, tier), (shard, replica), bytes) {
            Ok(proposal) => findings.proposals.push(proposal),
            Err(refusal) => {
                let spent = matches!(refusal, Refusal::ClusterBudget { .. })
                    || matches!(refusal, Refusal::NodeBudget { node, .. } if node == of);
                findings.refusals.add(refusal);
                if spent {
                    return;
                }
            }
        }
    }
}

fn archive_one(
    view: &View<'_>,
    ledger: &mut Ledger,
    (place, tier): (usize, usize),
    (shard, replica): (&Shard, &Replica),
    bytes: u64,
) -> Result<crate::Proposal, Refusal> {
    admission::shard_is_free(view, ledger, shard, Priority::Low, Reason::ColdDataArchive)?;
    if let Some(change) = slower_tier(view, ledger, place, tier, shard, bytes) {
        return admission::admit(view, ledger, Candidate::new(change, Priority::Low, Reason::ColdDataArchive));
    }
    let Replica { id, node: from, role, .. } = *replica;
    let arrival = Arrival { shard, role, leaving: Some(from), exchange: false, cannot_wait: false };
    let to = placement::choose(view, ledger, &arrival)?;
    let change = Change::MoveReplica { shard: shard.id, replica: id, role, from, to, exchange: None };
    let candidate = Candidate::new(change, Priority::Low, Reason::ColdDataArchive).levelling(Resource::Disk);
    admission::admit(view, ledger, candidate)
}
