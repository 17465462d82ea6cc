//! Why anything is done: one file a trigger. Each finds what should be done about one thing, admits it to the ledger, and
//! says what it had to leave.

mod cold_data;
mod disk_full;
mod drain;
mod hot_data;
mod merge;
mod network;
mod node_failure;
mod node_overload;
mod rebalance;
mod relief;
mod replication;
mod split;

pub(crate) use network::majority_zone;

use crate::{
    Change, Proposal, Reason, Refusal,
    ledger::{Ledger, Resource},
    plan::Findings,
    view::View,
};

/// A trigger.
type Find = fn(&View<'_>, &mut Ledger) -> Findings;

/// All of them, the most urgent first: what comes later gets what budgets and room the ones before have left.
pub(crate) const IN_ORDER: [Find; 12] = [
    node_failure::find,
    replication::missing,
    disk_full::find,
    drain::find,
    node_overload::find,
    split::find,
    hot_data::find,
    network::find,
    rebalance::find,
    replication::surplus,
    cold_data::find,
    merge::find,
];

/// Whether what a proposal is to mend is still so, and what it must level, where it levels anything.
///
/// # Errors
/// Where it is no longer so, or must not be mended now.
pub(crate) fn still_needed(view: &View<'_>, ledger: &Ledger, proposal: &Proposal) -> Result<Option<Resource>, Refusal> {
    let change = &proposal.change;
    let not_needed = || Refusal::NotNeeded { change: change.clone() };
    let shard = view.fleet.shard(change.shard()).ok_or_else(not_needed)?;
    let from = change.from().and_then(|node| view.fleet.place_of(node));
    let only_if = |needed: bool| if needed { Ok(None) } else { Err(not_needed()) };
    match (proposal.reason, change) {
        (Reason::Manual, _) => Ok(None),
        (Reason::NodeFailure, _) => {
            node_failure::is_lost(view, from.ok_or_else(not_needed)?).ok_or_else(not_needed)?.map(|()| None)
        }
        (Reason::Drain, _) => only_if(from.is_some_and(|place| view.fleet.nodes()[place].is_draining())),
        (Reason::NodeOverload, _) => {
            let place = from.ok_or_else(not_needed)?;
            node_overload::still_over(view, ledger, place).map(Some).ok_or_else(not_needed)
        }
        (Reason::DiskFull, _) => only_if(from.is_some_and(|place| disk_full::still_over(view, ledger, place))),
        (Reason::HotDataReplication, Change::RemoveReplica { .. }) => only_if(hot_data::has_cooled(view, shard)),
        (Reason::HotDataReplication, _) => only_if(hot_data::is_hot(view, ledger, shard)),
        (Reason::NetworkOptimization, _) => only_if(network::is_far(view, shard).is_some()),
        (Reason::ColdDataArchive, _) => only_if(from.is_some_and(|place| cold_data::presses(view, ledger, place))),
        (Reason::Rebalance, Change::SplitShard { .. }) => only_if(split::is_wanted(view, shard).is_some()),
        (Reason::Rebalance, Change::MergeShards { right, .. }) => {
            let right = view.fleet.shard(*right).ok_or_else(not_needed)?;
            merge::may_merge(view, shard, right).ok_or_else(not_needed)?.map(|()| None)
        }
        (Reason::Rebalance, Change::AddReplica { .. }) => only_if(replication::lacks(view, shard).is_some()),
        (Reason::Rebalance, Change::RemoveReplica { .. }) => only_if(replication::has_too_many(view, shard).is_some()),
        (Reason::Rebalance, _) => rebalance::what_it_levels(view, ledger, change).map(Some).ok_or_else(not_needed),
    }
}
