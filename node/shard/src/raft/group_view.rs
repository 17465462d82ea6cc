//! A group as one of its replicas sees it: who belongs to it, who leads, how far everybody is. Plain values, for decisions.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use openraft::{Instant, RaftMetrics};

use super::types::{Member, TypeConfig};
use crate::{ReplicaId, Role};

/// The group, as of now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupView {
    /// Whose view it is.
    pub replica: ReplicaId,
    /// Who leads, as far as is known.
    pub leader: Option<ReplicaId>,
    /// The term that it is in.
    pub term: u64,
    /// Everybody, voters and learners.
    pub members: BTreeMap<ReplicaId, Member>,
    /// The sets of voters: two while the members change.
    pub voters: Vec<BTreeSet<ReplicaId>>,
    /// The index of the entry that said so.
    pub members_changed_at: u64,
    /// The last entry of the log.
    pub last: u64,
    /// The last one applied.
    pub applied: u64,
    /// Of the leader: how far the others' logs are the same; `None`: not known yet.
    pub matched: BTreeMap<ReplicaId, Option<u64>>,
    /// Of the leader: how long ago each of the others answered; not there: never.
    pub answered_ago: BTreeMap<ReplicaId, Duration>,
    /// Of the leader: how long ago a quorum acknowledged it.
    pub acknowledged_ago: Option<Duration>,
    /// Whether the replica has stopped by itself.
    pub failed: bool,
}

fn answered(metrics: &RaftMetrics<TypeConfig>) -> BTreeMap<ReplicaId, Duration> {
    let all = metrics.heartbeat.iter().flatten();
    all.filter_map(|(id, at)| Some((*id, at.as_ref()?.elapsed()))).collect()
}

impl GroupView {
    pub(super) fn of(metrics: &RaftMetrics<TypeConfig>) -> Self {
        let membership = metrics.membership_config.membership();
        let index = |id: &Option<super::types::LogId>| id.as_ref().map(|id| id.index);
        Self {
            replica: metrics.id,
            leader: metrics.current_leader,
            term: metrics.current_term,
            members: membership.nodes().map(|(id, member)| (*id, *member)).collect(),
            voters: membership.get_joint_config().clone(),
            members_changed_at: index(metrics.membership_config.log_id()).unwrap_or_default(),
            last: metrics.last_log_index.unwrap_or_default(),
            applied: index(&metrics.last_applied).unwrap_or_default(),
            matched: metrics.replication.iter().flatten().map(|(id, matched)| (*id, index(matched))).collect(),
            answered_ago: answered(metrics),
            acknowledged_ago: metrics.last_quorum_acked.map(|at| at.elapsed()),
            failed: metrics.running_state.is_err(),
        }
    }

    /// Whether this replica leads.
    #[must_use]
    pub fn leads(&self) -> bool {
        self.leader == Some(self.replica)
    }

    /// Whether a replica votes, now or with the members that it is changing to.
    #[must_use]
    pub fn votes(&self, replica: ReplicaId) -> bool {
        self.voters.iter().any(|voters| voters.contains(&replica))
    }

    /// The voters that the group has or is changing to.
    #[must_use]
    pub fn wanted_voters(&self) -> BTreeSet<ReplicaId> {
        self.voters.last().cloned().unwrap_or_default()
    }

    /// Whether the members are changing.
    #[must_use]
    pub fn is_joint(&self) -> bool {
        self.voters.len() > 1
    }

    /// Whether its members are agreed upon: others may still be taken back.
    #[must_use]
    pub fn is_agreed(&self) -> bool {
        !self.is_joint() && self.applied >= self.members_changed_at
    }

    /// Entries that a replica lacks, as its leader knows; `None`: not known.
    #[must_use]
    pub fn lag(&self, replica: ReplicaId) -> Option<u64> {
        let matched = (*self.matched.get(&replica)?)?;
        Some(self.last.saturating_sub(matched))
    }

    /// The voting data replicas other than one, the most advanced first.
    #[must_use]
    pub fn other_data_voters(&self, than: ReplicaId) -> Vec<ReplicaId> {
        let data = |id: &ReplicaId| self.members.get(id).is_some_and(|member| member.role == Role::Data);
        let mut others: Vec<ReplicaId> =
            self.wanted_voters().into_iter().filter(|id| *id != than && data(id)).collect();
        others.sort_by_key(|id| self.lag(*id).unwrap_or(u64::MAX));
        others
    }
}
