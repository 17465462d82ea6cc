//! DiskFull: a tier over its trigger is relieved down to its low watermark, by what costs least for each byte that leaves
//! it: to a slower medium of the same nodes, or to another node.

use crate::{
    Change, Priority, Reason, Refusal,
    admission::{self, Candidate, pool_is_open},
    fleet::{Replica, Role, Shard},
    ledger::{Ledger, Resource},
    plan::Findings,
    view::View,
};

/// Shards of a node that are tried, the largest in the tier first.
const SHARDS_TRIED: usize = 64;
/// Nodes that a replica is tried on, the emptiest first.
const TARGETS_TRIED: usize = 16;

pub(super) fn find(view: &View<'_>, ledger: &mut Ledger) -> Findings {
    let mut findings = Findings::default();
    for place in view.staying.iter().flatten().copied() {
        for tier in 0..view.fleet.nodes()[place].tiers.len() {
            if !is_over(view, ledger, place, tier) {
                continue;
            }
            let node = &view.fleet.nodes()[place];
            match pool_is_open(view, view.policy_of_node(place), &node.pool, Priority::High) {
                Ok(()) => relieve(view, ledger, &mut findings, place, tier),
                Err(refusal) => findings.refusals.add(refusal),
            }
        }
    }
    findings
}

/// Whether a tier of a node still is over its low watermark: relief goes on below the trigger.
pub(super) fn still_over(view: &View<'_>, ledger: &Ledger, place: usize) -> bool {
    let tiers = view.fleet.nodes()[place].tiers.iter().enumerate();
    tiers.into_iter().any(|(number, tier)| tier.percent(ledger.tier_used(place, number)) > tier.low_percent)
}

fn is_over(view: &View<'_>, ledger: &Ledger, place: usize, number: usize) -> bool {
    let tier = &view.fleet.nodes()[place].tiers[number];
    let percent = tier.percent(ledger.tier_used(place, number));
    let goes_on = view.is_in_episode(place, Reason::DiskFull) && percent > tier.low_percent;
    // As measured: a move that is under way has not freed anything yet, and more of them may be needed.
    let measured = tier.percent(tier.used) > view.policy_of_node(place).triggers.disk_usage_percent;
    goes_on || (measured && percent > tier.low_percent)
}

fn relieve(view: &View<'_>, ledger: &mut Ledger, findings: &mut Findings, place: usize, number: usize) {
    let (node, mut planned) = (&view.fleet.nodes()[place], 0);
    let tier = &node.tiers[number];
    let in_tier =
        |shard: &Shard| shard.bytes.iter().find(|(rank, _)| *rank == tier.rank).map_or(0, |(_, bytes)| *bytes);
    ledger.work += view.fleet.held_count(place) as u64;
    let mut burdens: Vec<(u64, &Shard, &Replica)> = view
        .fleet
        .held(place)
        .filter(|(_, replica)| replica.role != Role::Witness)
        .map(|(shard, replica)| (in_tier(shard), shard, replica))
        .filter(|(bytes, ..)| *bytes > 0)
        .collect();
    burdens.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.id.cmp(&b.1.id)));
    for (bytes, shard, replica) in burdens.into_iter().take(SHARDS_TRIED) {
        if tier.percent(ledger.tier_used(place, number)) <= tier.low_percent {
            return;
        }
        if let Err(refusal) = admission::shard_is_free(view, ledger, shard, Priority::High, Reason::DiskFull) {
            findings.refusals.add(refusal);
            continue;
        }
        match cheapest(view, ledger, (place, number), (shard, replica), bytes) {
            Ok(proposal) => {
                findings.proposals.push(proposal);
                planned += 1;
            }
            Err(refusal) => {
                let spent = matches!(refusal, Refusal::ClusterBudget { .. })
                    || matches!(refusal, Refusal::NodeBudget { node: of, .. } if of == node.id);
                findings.refusals.add(refusal);
                if spent {
                    return;
                }
            }
        }
    }
    if planned == 0 {
        findings.refusals.add(Refusal::NoRelief { node: node.id, figure: crate::Figure::TierPercent(tier.rank) });
    }
}

/// Plans the way out of the tier that reads, sends and writes the fewest bytes for each byte that it frees.
fn cheapest(
    view: &View<'_>,
    ledger: &mut Ledger,
    (place, number): (usize, usize),
    (shard, replica): (&Shard, &Replica),
    bytes: u64,
) -> Result<crate::Proposal, Refusal> {
    let media = slower_tier(view, ledger, place, number, shard, bytes);
    // Between media the bytes are read and written; between nodes the whole replica is read, sent and written.
    let media_cost = media.is_some().then_some(2 * bytes);
    let node_cost = 3 * shard.size();
    let mut refusal = Refusal::NoTarget { shard: shard.id, because: None };
    if let (Some(change), true) = (media, media_cost.is_some_and(|cost| cost <= node_cost)) {
        match admission::admit(view, ledger, Candidate::new(change, Priority::High, Reason::DiskFull)) {
            Ok(proposal) => return Ok(proposal),
            Err(error) => refusal = error,
        }
    }
    let percent = |ledger: &Ledger, place: usize, number: usize, more: u64| {
        view.fleet.nodes()[place].tiers[number].percent(ledger.tier_used(place, number).saturating_add(more))
    };
    let source = percent(ledger, place, number, 0);
    for target in emptiest(view, ledger, place) {
        let to = view.fleet.nodes()[target].id;
        let exchange = match shard.replica_on(to) {
            None => None,
            Some(other) if other.role == Role::Witness && replica.role == Role::Data => Some(other.id),
            Some(_) => continue,
        };
        // A target must not be fuller after the move than the tier that it helps was before.
        let fits = ledger.fit(view, target, shard);
        if fits.is_none_or(|fits| fits.iter().any(|(tier, more)| percent(ledger, target, *tier, *more) >= source)) {
            continue;
        }
        let Replica { id, role, node: from, .. } = *replica;
        let change = Change::MoveReplica { shard: shard.id, replica: id, role, from, to, exchange };
        match admission::admit(view, ledger, Candidate::new(change, Priority::High, Reason::DiskFull)) {
            Ok(proposal) => return Ok(proposal),
            Err(error @ Refusal::ClusterBudget { .. }) => return Err(error),
            Err(error) => refusal = error,
        }
    }
    Err(refusal)
}

fn emptiest(view: &View<'_>, ledger: &mut Ledger, place: usize) -> Vec<usize> {
    let others = view.staying[view.pool_of_node(place)].iter().copied().filter(|other| *other != place);
    let mut shares: Vec<(f64, usize)> =
        others.map(|other| (ledger.share(view, other, Resource::Disk), other)).collect();
    ledger.work += shares.len() as u64;
    shares.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    shares.into_iter().take(TARGETS_TRIED).map(|(_, place)| place).collect()
}

/// The change to the next slower tier, where every node of the shard has room in it.
pub(super) fn slower_tier(
    view: &View<'_>,
    ledger: &Ledger,
    place: usize,
    number: usize,
    shard: &Shard,
    bytes: u64,
) -> Option<Change> {
    let node = &view.fleet.nodes()[place];
    let (from_tier, to_tier) = (node.tiers[number].rank, node.tiers.get(number + 1)?.rank);
    let has_room = |replica: &Replica| {
        let Some(place) = view.fleet.place_of(replica.node) else {
            return false;
        };
        let highest = view.policy_of_node(place).triggers.disk_usage_percent;
        let mut tiers = view.fleet.nodes()[place].tiers.iter().enumerate();
        tiers.find(|(_, tier)| tier.rank == to_tier).is_some_and(|(number, tier)| {
            let after = ledger.tier_used(place, number).saturating_add(bytes);
            !tier.degraded && tier.percent(after) <= tier.high_percent.min(highest)
        })
    };
    let possible = view.policies.abilities.tier_changes;
    let all = possible && shard.replicas.iter().filter(|replica| replica.role != Role::Witness).all(has_room);
    all.then_some(Change::ChangeTier { shard: shard.id, node: node.id, from_tier, to_tier, bytes })
}
