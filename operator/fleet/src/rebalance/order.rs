//! A change that the planner proposes, as an order to the leader of the shard.

use thermocline_planner::fleet::Role;
use thermocline_planner::{Change, NodeId, Proposal};
use thermocline_proto::v1;
use thermocline_proto::v1::change_shard_request::Change as Ask;

/// An order to a leader.
#[derive(Debug, Clone, PartialEq)]
pub struct Order {
    /// What is asked.
    pub request: v1::ChangeShardRequest,
    /// What it does.
    pub change: Change,
    /// The pool whose shard it is.
    pub pool: String,
}

/// The order for a proposal; `None` where nodes cannot carry it out. `job` is unlike any other of the shard.
#[must_use]
pub fn order(proposal: &Proposal, job: u64) -> Option<Order> {
    let bytes_per_second = 0;
    let number = |node: NodeId| node.0;
    let ask = match &proposal.change {
        Change::AddReplica { role: Role::Learner, .. } | Change::MoveReplica { exchange: Some(_), .. } => return None,
        Change::AddReplica { role, to, .. } => Ask::AddReplica(v1::AddReplica {
            job,
            node: number(*to),
            witness: *role == Role::Witness,
            bytes_per_second,
        }),
        Change::RemoveReplica { from, .. } => Ask::RemoveReplica(v1::RemoveReplica { job, node: number(*from) }),
        Change::MoveReplica { from, to, .. } => {
            Ask::MoveReplica(v1::MoveReplica { job, from: number(*from), to: number(*to), bytes_per_second })
        }
        Change::TransferLeader { to, .. } => Ask::TransferLeader(v1::TransferLeader { node: number(*to) }),
        Change::SplitShard { at, .. } => Ask::Split(v1::SplitShard { at: at.clone().into() }),
        Change::MergeShards { .. } | Change::ChangeTier { .. } => return None,
    };
    let request = v1::ChangeShardRequest {
        shard: proposal.change.shard().0,
        epoch: proposal.precondition.epoch.0,
        change: Some(ask),
    };
    Some(Order { request, change: proposal.change.clone(), pool: proposal.pool.as_str().to_owned() })
}
