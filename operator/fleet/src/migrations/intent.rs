//! What a Migration does, in the planner's terms: names become numbers, by what is known now.

use std::collections::BTreeSet;

use thermocline_crds::v1alpha1::{Move, ReplicaRole};
use thermocline_planner::fleet::Role;
use thermocline_planner::{Change, NodeId, ReplicaId, ShardId};
use thermocline_proto::v1;

use super::Item;
use crate::rebalance::{Known, led, named};

/// What stands for what is not known; no node and no replica has it.
const NONE: u64 = 0;
/// What stands for a shard that is not known; shard 0 is the index of all others.
const NO_SHARD: ShardId = ShardId(u64::MAX);

/// What a Migration does. What it names that is not there has a number that nothing has.
#[must_use]
pub fn change(item: &Item, known: &Known) -> Change {
    let told = led(known, item.shard.0);
    let shard = item.shard;
    let node = |name: &str| NodeId(named(known, name).unwrap_or(NONE));
    match &item.valid.what {
        Move::MoveReplica { from, to, .. } => {
            let to = node(to.as_str());
            let (replica, role, from) = leaving(item, known, told, from.as_str(), Some(to));
            let exchange = told.filter(|_| role == Role::Data).and_then(|told| witness_on(told, to));
            Change::MoveReplica { shard, replica, role, from, to, exchange }
        }
        Move::AddReplica { to, role, .. } => {
            let role = if *role == ReplicaRole::Witness { Role::Witness } else { Role::Data };
            Change::AddReplica { shard, role, to: node(to.as_str()) }
        }
        Move::RemoveReplica { from, .. } => {
            let (replica, role, from) = leaving(item, known, told, from.as_str(), None);
            Change::RemoveReplica { shard, replica, role, from }
        }
        Move::TransferLeader { from, to, .. } => {
            let leads = told.map_or(NodeId(NONE), |told| NodeId(told.leader));
            let from = from.as_ref().map_or(leads, |from| node(from.as_str()));
            Change::TransferLeader { shard, from, to: node(to.as_str()) }
        }
        Move::MergeShards { .. } => Change::MergeShards { left: shard, right: merged(item, told, known) },
        Move::SplitShard { at, .. } => Change::SplitShard { shard, at: at.clone().unwrap_or_default() },
        // No move of a shard.
        Move::ChangeTier { .. } => Change::SplitShard { shard: NO_SHARD, at: Vec::new() },
    }
}

/// The shard that becomes a part of one: the one that its leader was asked for, if it was.
fn merged(item: &Item, told: Option<&v1::ShardStatus>, known: &Known) -> ShardId {
    let jobs = told.into_iter().flat_map(|told| told.job.iter().chain(&told.ended));
    let asked = jobs.filter(|job| job.job == item.job()).map(|job| ShardId(job.right)).next();
    asked.unwrap_or_else(|| follower(told, known))
}

/// The shard behind one; the index of shards, which is the last one, stays alone.
fn follower(told: Option<&v1::ShardStatus>, known: &Known) -> ShardId {
    let end = told.map(|told| &told.end).filter(|end| !end.is_empty());
    let fresh = known.values().filter(|heard| heard.is_fresh());
    let mut shards = fresh.flat_map(|heard| &heard.status.shards).filter(|status| status.leads);
    let found = end.and_then(|end| shards.find(|status| status.start == *end));
    found.map_or(NO_SHARD, |status| ShardId(status.shard))
}

/// What keeps two shards from becoming one, as far as their leaders say; the left one's leader looks again.
#[must_use]
pub fn apart(known: &Known, left: ShardId, right: ShardId) -> Option<String> {
    let places = |told: &v1::ShardStatus| -> BTreeSet<(u64, bool)> {
        told.members.iter().map(|member| (member.node, member.witness)).collect()
    };
    let (one, other) = (led(known, left.0)?, led(known, right.0));
    match other {
        None => Some(format!("there is no shard behind {left} that could become a part of it, or nobody leads it")),
        Some(other) if places(one) != places(other) => {
            Some(format!("{right} is not on the same nodes as {left}: move its replicas there first"))
        }
        Some(_) => None,
    }
}

/// The witness that has to make room: the data replica that moves to its node trades places with it.
fn witness_on(told: &v1::ShardStatus, node: NodeId) -> Option<ReplicaId> {
    let on_node = |member: &&v1::MemberStatus| member.node == node.0 && member.witness && member.votes;
    told.members.iter().find(on_node).map(|member| ReplicaId(member.replica))
}

/// The member that goes. A node that lost its disks is another one under the same name: of several the one that the move was
/// planned for, else the one that is not where the new one comes to.
fn leaving(
    item: &Item,
    known: &Known,
    told: Option<&v1::ShardStatus>,
    name: &str,
    to: Option<NodeId>,
) -> (ReplicaId, Role, NodeId) {
    let planned = item.status.planned.as_ref().and_then(|planned| planned.replica);
    let members = told.map(|told| told.members.as_slice()).unwrap_or_default();
    let called = |member: &&v1::MemberStatus| crate::migrations::proposals::name_of(known, NodeId(member.node)) == name;
    let mut found: Vec<&v1::MemberStatus> = members.iter().filter(called).collect();
    found.sort_by_key(|member| {
        let is_planned = planned.is_some_and(|planned| u64::try_from(planned) == Ok(member.replica));
        (!is_planned, Some(NodeId(member.node)) == to, member.replica)
    });
    match found.first() {
        Some(member) => {
            let role = if member.witness { Role::Witness } else { Role::Data };
            (ReplicaId(member.replica), role, NodeId(member.node))
        }
        None => (ReplicaId(NONE), Role::Data, NodeId(named(known, name).unwrap_or(NONE))),
    }
}
