//! What whoever carries out moves can do.

use crate::{Change, fleet::Role};

/// Changes that are not always possible; all others always are. What cannot be carried out is not planned: it would be planned
/// again in each round, and take room and budgets from what can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Abilities {
    /// A replica trades places with its shard's witness.
    pub exchanges: bool,
    /// Replicas that only read.
    pub read_replicas: bool,
    /// Two shards become one.
    pub merges: bool,
    /// A shard's bytes go to another medium on all of its nodes.
    pub tier_changes: bool,
}

impl Default for Abilities {
    fn default() -> Self {
        Self { exchanges: true, read_replicas: true, merges: true, tier_changes: true }
    }
}

impl Abilities {
    /// What a change takes that is not there.
    #[must_use]
    pub const fn lacks(&self, change: &Change) -> Option<&'static str> {
        match change {
            Change::MoveReplica { exchange: Some(_), .. } if !self.exchanges => {
                Some("the exchange of a replica with its shard's witness")
            }
            Change::AddReplica { role: Role::Learner, .. } if !self.read_replicas => Some("read replicas"),
            Change::MergeShards { .. } if !self.merges => Some("the merge of shards"),
            Change::ChangeTier { .. } if !self.tier_changes => Some("the change of a shard's medium"),
            _ => None,
        }
    }
}
