//! Splits: a shard that is too large, or too busy for too long, becomes two at a key that is worth it.

use crate::{
    Change, Effect, Figure, Priority, Reason, Refusal,
    admission::{self, Candidate},
    fleet::{Shard, SplitKey},
    ledger::Ledger,
    plan::Findings,
    policy::defaults,
    view::View,
};

/// Why a shard is to be split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Excess {
    Size,
    Load,
}

pub(super) fn find(view: &View<'_>, ledger: &mut Ledger) -> Findings {
    let mut findings = Findings::default();
    for shard in view.fleet.shards() {
        let Some(excess) = is_wanted(view, shard) else {
            continue;
        };
        match split(view, ledger, shard, excess) {
            Ok(proposal) => findings.proposals.push(proposal),
            Err(refusal) => findings.refusals.add(refusal),
        }
    }
    findings
}

/// Whether a shard is too large, or has been too busy for long enough.
pub(super) fn is_wanted(view: &View<'_>, shard: &Shard) -> Option<Excess> {
    let sizes = &view.policies.of(&shard.pool).shard_sizes;
    if sizes.is_large(shard.size()) {
        return Some(Excess::Size);
    }
    let long_enough = shard.load.busy_since.is_some_and(|since| view.now.since(since) >= sizes.split_after);
    (sizes.is_busy(shard) && long_enough).then_some(Excess::Load)
}

fn split(view: &View<'_>, ledger: &mut Ledger, shard: &Shard, excess: Excess) -> Result<crate::Proposal, Refusal> {
    let left = |key: &SplitKey| if excess == Excess::Size { key.bytes_left } else { key.load_left };
    let off_middle = |key: &SplitKey| (left(key) - 0.5).abs();
    let inside = |key: &&SplitKey| key.key > shard.start && shard.end.as_ref().is_none_or(|end| key.key < *end);
    let best = shard.split_keys.iter().filter(inside).min_by(|a, b| off_middle(a).total_cmp(&off_middle(b)));
    let useful = best.filter(|key| off_middle(key) <= 0.5 - defaults::SPLIT_SHARE);
    let key = useful.ok_or(Refusal::NoSplitKey { shard: shard.id })?;
    let (figure, before) = match excess {
        Excess::Size => (Figure::ShardBytes, shard.size() as f64),
        Excess::Load => (Figure::ShardOperations, shard.operations()),
    };
    // What is left of the shard keeps its name.
    let effect = Effect { figure, node: None, before, after: before * left(key) };
    let change = Change::SplitShard { shard: shard.id, at: key.key.clone() };
    admission::admit(view, ledger, Candidate::new(change, Priority::Normal, Reason::Rebalance).with(effect))
}
