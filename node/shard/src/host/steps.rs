//! What a leader does next for a change of its shard's members. Pure: the job, the group as the leader sees it, and what was
//! done so far decide. Each step may be done twice, so a new leader goes on from what it finds.
//!
//! A replica joins as a learner, catches up, is compared, and only then votes. One that leaves gives up the lead first, is
//! taken out of the group, and only then its copy goes. Up to the cut-over a cancellation undoes what was begun.

use std::collections::BTreeSet;

use crate::job::{Job, JobKind, JobOutcome};
use crate::raft::GroupView;
use crate::{NodeId, ReplicaId, Role};

/// Entries that a learner may lack when it is compared: it has them before the comparison is answered.
const NEAR: u64 = 128;

/// What this leader has done for a job; another one does it again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// The new replica was made on its node.
    pub created: bool,
    /// The new replica holds what the leader's holds.
    pub verified: bool,
    /// The copy of the replica that goes was removed from its node.
    pub cleared: bool,
}

/// The next step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Nothing, until something changes.
    Wait(&'static str),
    /// Have the new replica made on its node.
    Create,
    /// Let it learn.
    Learn,
    /// Compare what it holds with what the leader's replica holds.
    Verify,
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
    /// Say in the log how the job ended.
    End(JobOutcome, &'static str),
}

/// What the leader does next.
#[must_use]
pub fn next_step(job: &Job, group: &GroupView, progress: Progress) -> Step {
    if group.is_joint() {
        // Begun by a leader that is gone, or by this one a moment ago.
        return Step::Voters(group.wanted_voters());
    }
    match (job.kind.arriving(), job.kind.leaving()) {
        (Some((replica, node, role)), leaving) if !group.votes(replica) => {
            join(job, group, progress, (replica, node, role), leaving)
        }
        (_, Some((leaving, node))) => leave(job, group, progress, leaving, node),
        (Some(_), None) => Step::End(JobOutcome::Done, "the replica votes"),
        // No kind is neither.
        (None, None) => Step::End(JobOutcome::Failed, "the job changes nothing"),
    }
}

/// Up to where the new replica votes.
fn join(
    job: &Job,
    group: &GroupView,
    progress: Progress,
    (replica, node, role): (ReplicaId, NodeId, Role),
    leaving: Option<(ReplicaId, NodeId)>,
) -> Step {
    let is_member = group.members.contains_key(&replica);
    if job.cancelled {
        return match (is_member, progress.cleared) {
            (true, _) => Step::Forget(replica),
            (false, false) => Step::Clear(replica, node),
            (false, true) => Step::End(JobOutcome::Cancelled, "cancelled before the members changed"),
        };
    }
    if job.paused && !job.cut_over {
        return Step::Wait("paused");
    }
    if !is_member {
        return if progress.created { Step::Learn } else { Step::Create };
    }
    if group.lag(replica).is_none_or(|lag| lag > NEAR) {
        return Step::Wait("copying");
    }
    if role == Role::Data && !progress.verified {
        return Step::Verify;
    }
    if !job.cut_over {
        return Step::CutOver;
    }
    let mut voters = group.wanted_voters();
    if let Some((leaving, _)) = leaving.filter(|(leaving, _)| voters.contains(leaving)) {
        if group.replica != leaving {
            voters.remove(&leaving);
        } else if let Some(other) = group.other_data_voters(leaving).first() {
            return Step::HandOver(*other);
        }
        // Otherwise the new one votes first, and the lead goes to it.
    }
    voters.insert(replica);
    Step::Voters(voters)
}

/// From where the new replica votes, if there is one.
fn leave(job: &Job, group: &GroupView, progress: Progress, leaving: ReplicaId, node: NodeId) -> Step {
    if !group.members.contains_key(&leaving) {
        return if progress.cleared {
            Step::End(JobOutcome::Done, "the members changed")
        } else {
            Step::Clear(leaving, node)
        };
    }
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
    match others.first() {
        None if stores => Step::End(JobOutcome::Failed, "no other replica of the shard has its data"),
        Some(other) if group.replica == leaving => Step::HandOver(*other),
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
