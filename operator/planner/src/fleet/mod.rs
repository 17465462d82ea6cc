//! What is so of a fleet, as it was measured: nodes, shards, moves under way, moves of the last days.

mod apply;
mod node;
mod open_move;
mod shard;
mod validate;

pub use node::{Availability, Node, NodeLoad, Tier};
pub use open_move::{HISTORY_LIMIT, MoveRecord, OpenMove, OpenPhase};
pub use shard::{Replica, Role, Shard, ShardLoad, ShardTimes, SplitKey};
pub use validate::FleetError;

use crate::{NodeId, PoolName, ShardId};

/// What a [`FleetState`] is made of, in any order.
#[derive(Debug, Clone, Default)]
pub struct FleetParts {
    /// The nodes, also those that are lost.
    pub nodes: Vec<Node>,
    /// The shards.
    pub shards: Vec<Shard>,
    /// Moves that are proposed, approved or running; at most one a shard.
    pub open: Vec<OpenMove>,
    /// Moves that ended, of the last day at least; the newest [`HISTORY_LIMIT`] are kept.
    pub history: Vec<MoveRecord>,
}

/// A fleet that contradicts itself nowhere. Nodes and shards are in the order of their ids.
#[derive(Debug, Clone)]
pub struct FleetState {
    parts: FleetParts,
    /// The pools that nodes or shards are of, in order.
    pools: Vec<PoolName>,
    /// Of each node, in order, which replicas it has.
    held: Vec<Vec<Held>>,
    /// Of each node, in order, the operations a second that its replicas account for.
    operations: Vec<f64>,
}

/// A replica, by its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Held {
    /// The shard's place in the order of shards.
    pub shard: u32,
    /// The replica's place in the shard.
    pub replica: u32,
}

impl FleetState {
    /// The fleet that these parts make.
    ///
    /// # Errors
    /// Where they contradict each other, or a figure is none.
    pub fn new(mut parts: FleetParts) -> Result<Self, FleetError> {
        parts.nodes.sort_by_key(|node| node.id);
        parts.shards.sort_by_key(|shard| shard.id);
        parts.open.sort_by(|a, b| a.change.cmp(&b.change));
        parts.history.sort_by(|a, b| (a.ended, &a.change).cmp(&(b.ended, &b.change)));
        let superfluous = parts.history.len().saturating_sub(HISTORY_LIMIT);
        parts.history.drain(..superfluous);
        for node in &mut parts.nodes {
            node.tiers.sort_by_key(|tier| tier.rank);
        }
        for shard in &mut parts.shards {
            shard.bytes.sort_by_key(|(rank, _)| *rank);
            shard.replicas.sort_by_key(|replica| replica.id);
        }
        validate::check(&parts)?;
        let mut held = vec![Vec::new(); parts.nodes.len()];
        let mut operations = vec![0.0; parts.nodes.len()];
        for (place, shard) in parts.shards.iter().enumerate() {
            for (number, replica) in shard.replicas.iter().enumerate() {
                let Ok(node) = parts.nodes.binary_search_by_key(&replica.node, |node| node.id) else {
                    return Err(FleetError::UnknownNode { shard: shard.id, node: replica.node });
                };
                held[node].push(Held { shard: place as u32, replica: number as u32 });
                operations[node] += shard.operations_at(replica.role, replica.leader);
            }
        }
        Ok(Self { pools: pools(&parts), parts, held, operations })
    }

    /// The parts, to be changed and made a fleet again.
    #[must_use]
    pub fn into_parts(self) -> FleetParts {
        self.parts
    }

    /// The nodes, in the order of their ids.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.parts.nodes
    }

    /// The shards, in the order of their ids.
    #[must_use]
    pub fn shards(&self) -> &[Shard] {
        &self.parts.shards
    }

    /// The moves that are proposed, approved or running.
    #[must_use]
    pub fn open(&self) -> &[OpenMove] {
        &self.parts.open
    }

    /// The moves that ended, oldest first.
    #[must_use]
    pub fn history(&self) -> &[MoveRecord] {
        &self.parts.history
    }

    /// A node.
    #[must_use]
    pub fn node(&self, id: NodeId) -> Option<&Node> {
        self.place_of(id).map(|place| &self.parts.nodes[place])
    }

    /// A shard.
    #[must_use]
    pub fn shard(&self, id: ShardId) -> Option<&Shard> {
        self.parts.shards.binary_search_by_key(&id, |shard| shard.id).ok().map(|place| &self.parts.shards[place])
    }

    /// The pools that nodes or shards are of, in order.
    #[must_use]
    pub fn pools(&self) -> &[PoolName] {
        &self.pools
    }

    /// A node's place in the order of nodes.
    pub(crate) fn place_of(&self, id: NodeId) -> Option<usize> {
        self.parts.nodes.binary_search_by_key(&id, |node| node.id).ok()
    }

    /// The replicas of the node at this place, in the order of their shards.
    pub(crate) fn held(&self, place: usize) -> impl Iterator<Item = (&Shard, &Replica)> {
        self.held[place].iter().map(|held| {
            let shard = &self.parts.shards[held.shard as usize];
            (shard, &shard.replicas[held.replica as usize])
        })
    }

    /// How many replicas the node at this place has.
    pub(crate) fn held_count(&self, place: usize) -> usize {
        self.held[place].len()
    }

    /// The operations a second that the replicas of the node at this place account for.
    pub(crate) fn operations(&self, place: usize) -> f64 {
        self.operations[place]
    }
}

fn pools(parts: &FleetParts) -> Vec<PoolName> {
    let mut pools: Vec<PoolName> = parts.nodes.iter().map(|node| node.pool.clone()).collect();
    for shard in &parts.shards {
        if pools.last() != Some(&shard.pool) {
            pools.push(shard.pool.clone());
        }
    }
    pools.sort();
    pools.dedup();
    pools
}

#[cfg(test)]
#[path = "fleet_test.rs"]
mod tests;
