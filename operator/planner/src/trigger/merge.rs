//! Merges: neighbours that have been small and idle for a while, not split meanwhile, and on the same nodes become one. Together
//! they are far under what splits a shard.

use std::collections::BTreeSet;

use crate::{
    Change, Effect, Figure, Priority, Reason, Refusal, RefusalKind,
    admission::{self, Candidate},
    fleet::Shard,
    ledger::Ledger,
    plan::Findings,
    view::View,
};

pub(super) fn find(view: &View<'_>, ledger: &mut Ledger) -> Findings {
    let mut findings = Findings::default();
    let mut small: Vec<&Shard> = view.fleet.shards().iter().filter(|shard| is_small_and_idle(view, shard)).collect();
    small.sort_by(|a, b| a.start.cmp(&b.start));
    for pair in small.windows(2) {
        let [left, right] = pair else {
            continue;
        };
        let outcome = match may_merge(view, left, right) {
            None => continue,
            Some(Err(refusal)) => Err(refusal),
            Some(Ok(())) => merge(view, ledger, left, right),
        };
        match outcome {
            Ok(proposal) => findings.proposals.push(proposal),
            Err(refusal) => {
                let spent = refusal.kind() == RefusalKind::ClusterBudget;
                findings.refusals.add(refusal);
                if spent {
                    break;
                }
            }
        }
    }
    findings
}

/// Whether two shards may become one; `None` where they are no candidates at all.
pub(super) fn may_merge(view: &View<'_>, left: &Shard, right: &Shard) -> Option<Result<(), Refusal>> {
    let neighbours = left.end.as_ref() == Some(&right.start) && left.pool == right.pool;
    if !neighbours || !is_small_and_idle(view, left) || !is_small_and_idle(view, right) {
        return None;
    }
    let after = view.policies.of(&left.pool).shard_sizes.merge_after;
    for shard in [left, right] {
        let young = shard.times.last_split.max(Some(shard.times.created)).max(shard.times.last_busy);
        if let Some(left) = view.now.left_of(after, young) {
            return Some(Err(Refusal::TooYoung { shard: shard.id, left }));
        }
    }
    let members =
        |shard: &Shard| -> BTreeSet<_> { shard.replicas.iter().map(|member| (member.node, member.role)).collect() };
    if members(left) != members(right) {
        return Some(Err(Refusal::MembersDiffer { left: left.id, right: right.id }));
    }
    Some(Ok(()))
}

fn is_small_and_idle(view: &View<'_>, shard: &Shard) -> bool {
    view.policies.of(&shard.pool).shard_sizes.is_idle(shard)
}

fn merge(view: &View<'_>, ledger: &mut Ledger, left: &Shard, right: &Shard) -> Result<crate::Proposal, Refusal> {
    let effect = Effect {
        figure: Figure::ShardBytes,
        node: None,
        before: left.size() as f64,
        after: (left.size() + right.size()) as f64,
    };
    let change = Change::MergeShards { left: left.id, right: right.id };
    admission::admit(view, ledger, Candidate::new(change, Priority::Low, Reason::Rebalance).with(effect))
}
