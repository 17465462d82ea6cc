//! What the left shard's leader does next to absorb its right neighbour. Pure, as `steps` is; each step may be done twice.
//!
//! The neighbour is frozen by an entry of its own log. Once it is so wherever it has data, one entry of the left shard's log
//! makes it a part of the left one. Up to that entry a cancellation thaws the neighbour: the job does not end before.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::merging::FrozenShard;
use super::steps::{NEAR, Step};
use crate::job::{Job, JobOutcome};
use crate::raft::GroupView;
use crate::{NodeId, ReplicaId, Role};

/// A member that did not answer for so long is not counted on: the neighbour's keys are answered by nobody while one is waited for.
const LATELY: Duration = Duration::from_secs(2);
/// How long a leader tries.
const PATIENCE: Duration = Duration::from_secs(10);

/// What this leader has done for a job that merges.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Merging {
    /// What the neighbour says of itself, by the nodes where it is frozen and that is synced.
    pub frozen: BTreeMap<NodeId, FrozenShard>,
    /// The neighbour goes on by itself, and the job cannot freeze it any more.
    pub thawed: bool,
    /// Why it cannot be done.
    pub refused: Option<String>,
    /// Since when this leader has tried.
    pub waited: Duration,
}

/// What the leader does next.
pub(super) fn next_merge_step(job: &Job, group: &GroupView, merging: &Merging) -> Step {
    if job.cut_over {
        return Step::End(JobOutcome::Done, "the shards are one");
    }
    if job.cancelled {
        return match (merging.thawed, &merging.refused) {
            (false, _) => Step::Thaw(members(group)),
            (true, Some(_)) => Step::End(JobOutcome::Failed, "it could not be done"),
            (true, None) => Step::End(JobOutcome::Cancelled, "cancelled before the shards were one"),
        };
    }
    if merging.refused.is_some() {
        return Step::Cancel("it is refused");
    }
    if merging.waited >= PATIENCE {
        return Step::Cancel("not all members of both shards have answered in time");
    }
    if group.members.keys().any(|replica| !group.votes(*replica)) {
        return Step::Cancel("a member of the shard does not vote");
    }
    let answers = |replica: &ReplicaId| {
        let lately = group.answered_ago.get(replica).is_some_and(|ago| *ago < LATELY);
        *replica == group.replica || (lately && group.lag(*replica).is_some_and(|lag| lag <= NEAR))
    };
    if !group.members.keys().all(answers) {
        return Step::Wait("a member does not answer or lags");
    }
    let stores = group.members.values().filter(|member| member.role == Role::Data).map(|member| member.node);
    let lacking: BTreeSet<NodeId> = stores.filter(|node| !merging.frozen.contains_key(node)).collect();
    if !lacking.is_empty() {
        return Step::Freeze(lacking);
    }
    match beside(group, &merging.frozen) {
        Some((right, replicas)) => Step::Absorb(Box::new(right), replicas),
        None => Step::Cancel("the members of the two shards differ"),
    }
}

fn members(group: &GroupView) -> BTreeSet<NodeId> {
    group.members.values().map(|member| member.node).collect()
}

/// The neighbour, and its replica beside each of the shard's; `None` where the nodes do not say the same.
fn beside(
    group: &GroupView,
    frozen: &BTreeMap<NodeId, FrozenShard>,
) -> Option<(FrozenShard, Vec<(ReplicaId, ReplicaId)>)> {
    let right = frozen.values().next()?;
    if frozen.values().any(|other| other != right) {
        return None;
    }
    let pair = |(of, member): (&ReplicaId, &crate::raft::Member)| {
        let found = right.members.iter().find(|(_, node)| *node == member.node)?;
        Some((*of, found.0))
    };
    Some((right.clone(), group.members.iter().map(pair).collect::<Option<_>>()?))
}

#[cfg(test)]
#[path = "merge_steps_test.rs"]
mod tests;
