//! What a leader does next for a change of its shard's members. Pure: the job, the group as the leader sees it, and what was
//! done so far decide. Each step may be done twice, so a new leader goes on from what it finds.
//!
//! A replica joins as a learner, catches up, is compared, and only then votes. One that leaves gives up the lead first, is
//! taken out of the group, and only then its copy goes. Up to the cut-over a cancellation undoes what was begun.

use std::collections::BTreeSet;
use std::time::Duration;

use super::merge_steps::{Merging, next_merge_step};
use super::merging::FrozenShard;
use crate::job::{Arrival, Job, JobKind, JobOutcome};
use crate::raft::GroupView;
use crate::{NodeId, ReplicaId, Role};

/// Entries that a learner may lack when it is compared: it has them before the comparison is answered.
pub(super) const NEAR: u64 = 128;
/// One that did not answer for so long is not asked to lead: it may be lost for good.
const SILENT: Duration = Duration::from_secs(10);
/// One that did not answer for so long is not asked to lead yet: until it does nobody would.
const HESITANT: Duration = Duration::from_secs(1);

/// What this leader has done for a job; another one does it again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// New replicas that were made on their nodes.
    pub created: BTreeSet<ReplicaId>,
    /// The entry at which both replicas are being hashed: a large shard takes longer than one step, and is hashed once.
    pub comparing: Option<u64>,
    /// The new replica with data holds what the leader's holds.
    pub verified: bool,
    /// Replicas whose copy was removed from their nodes.
    pub cleared: BTreeSet<ReplicaId>,
    /// Of a merge.
    pub merging: Merging,
}

/// The next step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Nothing, until something changes.
    Wait(&'static str),
    /// Have a new replica made on its node.
    Create(Arrival),
    /// Let it learn.
    Learn(Arrival),
    /// Compare what it holds with what the leader's replica holds.
    Verify(Arrival),
    /// Say in the log that the job is finished from here on, not undone.
    CutOver,
    /// Make these the voters. Others are no longer members.
    Voters(BTreeSet<ReplicaId>),
    /// Take a learner out of the group.
    Forget(ReplicaId),
    /// Ask another replica to lead.
    HandOver(ReplicaId),
    /// Have a replica that is no member removed from its node.
    Clear(ReplicaId, NodeId),
    /// Have the right neighbour frozen; ask these nodes whether it is there.
    Freeze(BTreeSet<NodeId>),
    /// Say in the log that the neighbour, which is frozen, is a part of the shard; with its replica beside each of the shard's.
    Absorb(Box<FrozenShard>, Vec<(ReplicaId, ReplicaId)>),
    /// Say in the log that the job is cancelled.
    Cancel(&'static str),
    /// Have the right neighbour thawed by whoever of these leads it.
    Thaw(BTreeSet<NodeId>),
    /// Say in the log how the job ended.
    End(JobOutcome, &'static str),
}

/// What the leader does next.
#[must_use]
pub fn next_step(job: &Job, group: &GroupView, progress: &Progress) -> Step {
    if group.is_joint() {
        // Begun by a leader that is gone, or by this one a moment ago.
        return Step::Voters(group.wanted_voters());
    }
    if matches!(job.kind, JobKind::Merge { .. }) {
        return next_merge_step(job, group, &progress.merging);
    }
    let arrivals = job.kind.arrivals();
    if arrivals.iter().any(|new| !group.votes(new.replica)) {
        return join(job, group, progress, &arrivals);
    }
    let departures = job.kind.departures();
    if let Some((leaving, _)) = departures.iter().find(|(leaving, _)| group.members.contains_key(leaving)) {
        return leave(job, group, *leaving);
    }
    if let Some((leaving, node)) = departures.iter().find(|(leaving, _)| !progress.cleared.contains(leaving)) {
        return Step::Clear(*leaving, *node);
    }
    Step::End(JobOutcome::Done, "the members changed")
}

/// Up to where the new replicas vote.
fn join(job: &Job, group: &GroupView, progress: &Progress, arrivals: &[Arrival]) -> Step {
    if job.cancelled {
        return undo(group, progress, arrivals);
    }
    if job.paused && !job.cut_over {
        return Step::Wait("paused");
    }
    if matches!(job.kind, JobKind::Exchange { .. }) && !job.cut_over && remaining_data(job, group).is_empty() {
        // It would have to vote beside the new witness, on one node.
        return Step::End(JobOutcome::Failed, "no other data replica leads while the only one is exchanged");
    }
    for new in arrivals.iter().filter(|new| !group.votes(new.replica)) {
        if !group.members.contains_key(&new.replica) {
            let created = progress.created.contains(&new.replica);
            return if created { Step::Learn(*new) } else { Step::Create(*new) };
        }
        if group.lag(new.replica).is_none_or(|lag| lag > NEAR) {
            return Step::Wait("copying");
        }
        if new.role == Role::Data && !progress.verified {
            let answers = answers(group, new.replica);
            return if answers { Step::Verify(*new) } else { Step::Wait("the new replica does not answer") };
        }
    }
    if !job.cut_over {
        return Step::CutOver;
    }
    let departures = job.kind.departures();
    let leaves = departures.iter().any(|(leaving, _)| *leaving == group.replica);
    let mut heirs = remaining_data(job, group);
    heirs.retain(|id| answers(group, *id));
    if leaves && let Some(step) = hand_over(group, &heirs) {
        return step;
    }
    let mut voters = group.wanted_voters();
    voters.retain(|id| *id == group.replica || departures.iter().all(|(leaving, _)| leaving != id));
    // Where nobody else can lead the new one with data votes first, and the lead goes to it. A new witness would be beside this one.
    voters.extend(arrivals.iter().filter(|new| !leaves || new.role == Role::Data).map(|new| new.replica));
    Step::Voters(voters)
}

/// Takes back what was begun before the members changed.
fn undo(group: &GroupView, progress: &Progress, arrivals: &[Arrival]) -> Step {
    if let Some(new) = arrivals.iter().find(|new| group.members.contains_key(&new.replica)) {
        return Step::Forget(new.replica);
    }
    match arrivals.iter().find(|new| !progress.cleared.contains(&new.replica)) {
        Some(new) => Step::Clear(new.replica, new.node),
        None => Step::End(JobOutcome::Cancelled, "cancelled before the members changed"),
    }
}

/// To the first of these that can lead at once; `None` where there is nobody at all.
fn hand_over(group: &GroupView, heirs: &[ReplicaId]) -> Option<Step> {
    let ready = heirs.iter().find(|id| answered_within(HESITANT, group, **id));
    let wait = || heirs.first().map(|_| Step::Wait("whoever is to lead next does not answer"));
    ready.map(|heir| Step::HandOver(*heir)).or_else(wait)
}

fn answers(group: &GroupView, replica: ReplicaId) -> bool {
    answered_within(SILENT, group, replica)
}

fn answered_within(time: Duration, group: &GroupView, replica: ReplicaId) -> bool {
    replica == group.replica || group.answered_ago.get(&replica).is_some_and(|ago| *ago < time)
}

/// The voting data replicas that stay, the most advanced first.
fn remaining_data(job: &Job, group: &GroupView) -> Vec<ReplicaId> {
    let departures = job.kind.departures();
    let mut data = group.other_data_voters(group.replica);
    data.retain(|id| departures.iter().all(|(leaving, _)| leaving != id));
    if departures.iter().all(|(leaving, _)| *leaving != group.replica) {
        data.insert(0, group.replica);
    }
    data
}

/// From where the new replicas vote, if there are any, for a replica that is still a member.
fn leave(job: &Job, group: &GroupView, leaving: ReplicaId) -> Step {
    if matches!(job.kind, JobKind::Remove { .. }) && !job.cut_over {
        return if job.cancelled {
            Step::End(JobOutcome::Cancelled, "cancelled before the members changed")
        } else {
            Step::CutOver
        };
    }
    if !group.votes(leaving) {
        return Step::Forget(leaving);
    }
    let others = group.other_data_voters(leaving);
    let stores = group.members.get(&leaving).is_some_and(|member| member.role == Role::Data);
    match hand_over(group, &others) {
        None if stores => Step::End(JobOutcome::Failed, "no other replica of the shard has its data"),
        Some(step) if group.replica == leaving => step,
        _ => {
            let mut voters = group.wanted_voters();
            voters.remove(&leaving);
            Step::Voters(voters)
        }
    }
}

#[cfg(test)]
#[path = "steps_test.rs"]
mod tests;
