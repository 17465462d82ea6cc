//! A fleet with what every trigger asks of it, prepared once a round.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::{
    ChangeKind, FleetState, HealthScore, Moment, NodeId, Policies, Policy, PoolName, Reason, ShardId,
    fleet::{Replica, Shard},
};

/// How long what was begun over a threshold is remembered: within it, relief goes on below the threshold.
const EPISODE: Duration = Duration::from_mins(30);
/// The span that moves of a shard and bytes are counted over.
const DAY: Duration = Duration::from_hours(24);
/// What counts as a move of a shard: members that come or go are a matter of replication, a split is not one of place.
const MOVES: [ChangeKind; 3] = [ChangeKind::TransferLeader, ChangeKind::MoveReplica, ChangeKind::ChangeTier];

/// The input of a round.
pub(crate) struct View<'a> {
    pub fleet: &'a FleetState,
    pub policies: &'a Policies,
    pub now: Moment,
    /// The pools, in order.
    pub pools: &'a [PoolName],
    /// Of each pool, the places of its nodes that are there and stay.
    pub staying: Vec<Vec<usize>>,
    /// Of each node, its pool's place.
    pool_of: Vec<usize>,
    /// Of each node, its health.
    points: Vec<u8>,
    /// Moves of the last day by shard, without those that must happen.
    moves: BTreeMap<ShardId, u32>,
    /// Bytes of the last day, without those that must happen.
    pub bytes_of_day: u64,
    /// Of each node, when load last moved from or to it.
    last_load_move: Vec<Option<Moment>>,
    /// Nodes that something was done for within the last [`EPISODE`], and why.
    episodes: BTreeSet<(usize, Reason)>,
}

impl<'a> View<'a> {
    pub fn new(fleet: &'a FleetState, policies: &'a Policies, now: Moment) -> Self {
        let pools = fleet.pools();
        let pool_of: Vec<usize> =
            fleet.nodes().iter().map(|node| pools.binary_search(&node.pool).unwrap_or_default()).collect();
        let mut staying = vec![Vec::new(); pools.len()];
        for (place, node) in fleet.nodes().iter().enumerate().filter(|(_, node)| node.stays()) {
            staying[pools.binary_search(&node.pool).unwrap_or_default()].push(place);
        }
        let mut view = Self {
            fleet,
            policies,
            now,
            pools,
            staying,
            pool_of,
            points: fleet.nodes().iter().map(|node| HealthScore::of(node).points).collect(),
            moves: BTreeMap::new(),
            bytes_of_day: 0,
            last_load_move: vec![None; fleet.nodes().len()],
            episodes: BTreeSet::new(),
        };
        view.remember();
        view
    }

    fn remember(&mut self) {
        let fleet = self.fleet;
        for record in fleet.history() {
            let place = |node: Option<NodeId>| node.and_then(|node| fleet.place_of(node));
            let (from, to) = (place(record.change.from()), place(record.change.to()));
            let age = self.now.since(record.ended);
            if age < EPISODE {
                self.episodes.extend(from.map(|from| (from, record.reason)));
            }
            if age < DAY && !record.reason.must_happen() {
                if MOVES.contains(&record.change.kind()) {
                    *self.moves.entry(record.change.shard()).or_default() += 1;
                }
                self.bytes_of_day = self.bytes_of_day.saturating_add(record.bytes);
            }
            if moves_load(record.reason) {
                for place in from.into_iter().chain(to) {
                    self.last_load_move[place] = self.last_load_move[place].max(Some(record.ended));
                }
            }
        }
        for open in fleet.open() {
            let from = open.change.from().and_then(|node| fleet.place_of(node));
            self.episodes.extend(from.map(|from| (from, open.reason)));
        }
    }

    /// The policy of a shard's pool.
    pub fn policy_of_shard(&self, shard: ShardId) -> &'a Policy {
        self.fleet.shard(shard).map_or(&self.policies.fallback, |shard| self.policies.of(&shard.pool))
    }

    /// The policy of a node's pool.
    pub fn policy_of_node(&self, place: usize) -> &'a Policy {
        self.policies.of(&self.fleet.nodes()[place].pool)
    }

    /// The place of a node's pool.
    pub fn pool_of_node(&self, place: usize) -> usize {
        self.pool_of[place]
    }

    /// The place of a shard's pool.
    pub fn pool_of_shard(&self, shard: &Shard) -> usize {
        self.pools.binary_search(&shard.pool).unwrap_or_default()
    }

    /// A node's health.
    pub fn points(&self, place: usize) -> u8 {
        self.points[place]
    }

    /// Whether a member has what the leader has and its node is there.
    pub fn is_sound(&self, replica: &Replica) -> bool {
        replica.is_sound() && self.fleet.node(replica.node).is_some_and(|node| !node.is_silent())
    }

    /// Moves of a shard within a day, without those that must happen.
    pub fn moves_of(&self, shard: ShardId) -> u32 {
        self.moves.get(&shard).copied().unwrap_or_default()
    }

    /// When load last moved from or to a node.
    pub fn last_load_move(&self, place: usize) -> Option<Moment> {
        self.last_load_move[place]
    }

    /// Whether something was done for a node a while ago, or is being done.
    pub fn is_in_episode(&self, place: usize, reason: Reason) -> bool {
        self.episodes.contains(&(place, reason))
    }
}

/// Whether moves for a reason change what processors and devices of nodes do.
pub(crate) const fn moves_load(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::NodeOverload | Reason::HotDataReplication | Reason::NetworkOptimization | Reason::Rebalance
    )
}
