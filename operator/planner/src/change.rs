//! What can be done to a fleet, as values.

use std::fmt;

use crate::{NodeId, ReplicaId, ShardId, TierRank, fleet::Role};

/// One change of one shard (a merge: of two).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Change {
    /// A member goes to another node: learner, catch up, joint swap, remove. Where it leads, the new one leads then.
    MoveReplica {
        /// The shard.
        shard: ShardId,
        /// The member that goes.
        replica: ReplicaId,
        /// What it does.
        role: Role,
        /// The node it leaves.
        from: NodeId,
        /// The node it goes to.
        to: NodeId,
        /// The witness that is on `to` and goes to `from` in the same joint change, so that no node ever has two voters.
        exchange: Option<ReplicaId>,
    },
    /// A member more.
    AddReplica {
        /// The shard.
        shard: ShardId,
        /// What it will do.
        role: Role,
        /// The node it comes to.
        to: NodeId,
    },
    /// A member less.
    RemoveReplica {
        /// The shard.
        shard: ShardId,
        /// The member that goes.
        replica: ReplicaId,
        /// What it did.
        role: Role,
        /// The node it leaves.
        from: NodeId,
    },
    /// Another data replica leads.
    TransferLeader {
        /// The shard.
        shard: ShardId,
        /// The node that leads.
        from: NodeId,
        /// The node that will.
        to: NodeId,
    },
    /// The shard becomes two, the second from this key on.
    SplitShard {
        /// The shard.
        shard: ShardId,
        /// The first key of the second half.
        at: Vec<u8>,
    },
    /// Two neighbours become one.
    MergeShards {
        /// The one that stays.
        left: ShardId,
        /// Its right neighbour, which ends.
        right: ShardId,
    },
    /// Bytes of the shard go to another medium, on every node that stores them: the intent is an entry of its log.
    ChangeTier {
        /// The shard.
        shard: ShardId,
        /// The node that it is to help.
        node: NodeId,
        /// The tier they leave.
        from_tier: TierRank,
        /// The tier they go to.
        to_tier: TierRank,
        /// How many bytes.
        bytes: u64,
    },
}

/// The kinds of [`Change`], as a Migration's `kind`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChangeKind {
    /// First in order: leaders move before replicas do.
    TransferLeader,
    /// A member to another node.
    MoveReplica,
    /// A member more.
    AddReplica,
    /// A member less.
    RemoveReplica,
    /// One shard becomes two.
    SplitShard,
    /// Two shards become one.
    MergeShards,
    /// To another medium.
    ChangeTier,
}

impl fmt::Display for ChangeKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, formatter)
    }
}

impl Change {
    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> ChangeKind {
        match self {
            Self::MoveReplica { .. } => ChangeKind::MoveReplica,
            Self::AddReplica { .. } => ChangeKind::AddReplica,
            Self::RemoveReplica { .. } => ChangeKind::RemoveReplica,
            Self::TransferLeader { .. } => ChangeKind::TransferLeader,
            Self::SplitShard { .. } => ChangeKind::SplitShard,
            Self::MergeShards { .. } => ChangeKind::MergeShards,
            Self::ChangeTier { .. } => ChangeKind::ChangeTier,
        }
    }

    /// Whether every record stays on the nodes it is on, and whoever leads leads on: neither a policy's mode nor its windows nor
    /// the rest after a move hold it up.
    #[must_use]
    pub const fn leaves_nothing(&self) -> bool {
        matches!(self, Self::SplitShard { .. })
    }

    /// The shard it is about; of a merge, the one that stays.
    #[must_use]
    pub const fn shard(&self) -> ShardId {
        match self {
            Self::MoveReplica { shard, .. }
            | Self::AddReplica { shard, .. }
            | Self::RemoveReplica { shard, .. }
            | Self::TransferLeader { shard, .. }
            | Self::SplitShard { shard, .. }
            | Self::MergeShards { left: shard, .. }
            | Self::ChangeTier { shard, .. } => *shard,
        }
    }

    /// Every shard that can do nothing else meanwhile.
    pub fn shards(&self) -> impl Iterator<Item = ShardId> {
        let other = match self {
            Self::MergeShards { right, .. } => Some(*right),
            _ => None,
        };
        std::iter::once(self.shard()).chain(other)
    }

    /// The node that gives something away.
    #[must_use]
    pub const fn from(&self) -> Option<NodeId> {
        match self {
            Self::MoveReplica { from, .. } | Self::RemoveReplica { from, .. } | Self::TransferLeader { from, .. } => {
                Some(*from)
            }
            Self::ChangeTier { node, .. } => Some(*node),
            _ => None,
        }
    }

    /// The node that takes something in.
    #[must_use]
    pub const fn to(&self) -> Option<NodeId> {
        match self {
            Self::MoveReplica { to, .. } | Self::AddReplica { to, .. } | Self::TransferLeader { to, .. } => Some(*to),
            Self::ChangeTier { node, .. } => Some(*node),
            _ => None,
        }
    }

    /// Whether a member goes to a node: what the budgets of moves count.
    #[must_use]
    pub const fn copies_between_nodes(&self) -> bool {
        matches!(self, Self::MoveReplica { .. } | Self::AddReplica { .. })
    }
}

impl fmt::Display for Change {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MoveReplica { shard, role, from, to, exchange: None, .. } => {
                write!(formatter, "move the {role} replica of {shard} from {from} to {to}")
            }
            Self::MoveReplica { shard, role, from, to, exchange: Some(_), .. } => {
                write!(formatter, "exchange the {role} replica of {shard} on {from} with the witness on {to}")
            }
            Self::AddReplica { shard, role, to } => write!(formatter, "add a {role} replica of {shard} on {to}"),
            Self::RemoveReplica { shard, role, from, .. } => {
                write!(formatter, "remove the {role} replica of {shard} from {from}")
            }
            Self::TransferLeader { shard, from, to } => {
                write!(formatter, "lead {shard} from {to} instead of {from}")
            }
            Self::SplitShard { shard, .. } => write!(formatter, "split {shard}"),
            Self::MergeShards { left, right } => write!(formatter, "merge {right} into {left}"),
            Self::ChangeTier { shard, node, from_tier, to_tier, bytes } => {
                write!(formatter, "move {bytes} bytes of {shard} on {node} from {from_tier} to {to_tier}")
            }
        }
    }
}

/// How urgent a move is. The first is the most urgent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// Data has fewer copies than it should.
    Critical,
    /// A node is about to fail its users.
    High,
    /// It makes the fleet better.
    Normal,
    /// It saves something.
    Low,
}

/// Why something moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// A node's CPU or devices are over the policy's share.
    NodeOverload,
    /// A tier of a node is over the policy's share.
    DiskFull,
    /// A shard is read so much that more nodes should serve it.
    HotDataReplication,
    /// Cold data fills a fast tier.
    ColdDataArchive,
    /// A leader is far from those who ask it.
    NetworkOptimization,
    /// A node is gone.
    NodeFailure,
    /// Nodes differ too much; also shards that are too large, too busy or too small, and members that are missing or
    /// too many.
    Rebalance,
    /// A node is being emptied.
    Drain,
    /// A person asked for it; the planner never says so itself.
    Manual,
}

impl Reason {
    /// Whether it must happen whatever the figures say: for safety, or because a person wants it.
    #[must_use]
    pub const fn must_happen(self) -> bool {
        matches!(self, Self::NodeFailure | Self::Drain | Self::Manual)
    }

    /// Whether a person asked for it, so that no policy's mode holds it up.
    #[must_use]
    pub const fn is_declared(self) -> bool {
        matches!(self, Self::Drain | Self::Manual)
    }
}

impl Priority {
    /// Whether it waits for the policy's windows of time.
    #[must_use]
    pub const fn waits_for_windows(self) -> bool {
        matches!(self, Self::Normal | Self::Low)
    }
}

/// Whether residency, cooldown, the moves of a shard, the bytes of a day and the balance of the fleet do not hold it up.
pub(crate) const fn cannot_wait(priority: Priority, reason: Reason) -> bool {
    matches!(priority, Priority::Critical) || reason.must_happen()
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, formatter)
    }
}
