//! A shard, as its leader reports it.

use std::{collections::BTreeMap, fmt};

use crate::{Epoch, LogId, Moment, NodeId, PoolName, ReplicaId, ShardId, TierRank, Zone};

/// What applying a write costs a follower, as a share of what it costs the leader: it neither answers nor decides.
const APPLY_SHARE: f64 = 0.5;

/// Entries that a replica may be behind and still count as caught up (facts of the move protocol: lag < 128).
const CAUGHT_UP_ENTRIES: u64 = 128;

/// A range of keys with its members.
#[derive(Debug, Clone, PartialEq)]
pub struct Shard {
    /// The shard.
    pub id: ShardId,
    /// The pool whose nodes have it.
    pub pool: PoolName,
    /// Its first key.
    pub start: Vec<u8>,
    /// The first key behind it; none where it goes to the end.
    pub end: Option<Vec<u8>>,
    /// How often its range has changed.
    pub epoch: Epoch,
    /// The entry of its log that its members were last changed by.
    pub membership: LogId,
    /// Bytes of one copy by tier; [`FleetState`](crate::FleetState) has them fastest first.
    pub bytes: Vec<(TierRank, u64)>,
    /// Its keys.
    pub keys: u64,
    /// How busy it is.
    pub load: ShardLoad,
    /// Keys it could be split at.
    pub split_keys: Vec<SplitKey>,
    /// When what happened to it.
    pub times: ShardTimes,
    /// Where those who ask it are: requests a second by zone. Where it is empty, those of the leader's node count.
    pub clients: BTreeMap<Zone, f64>,
    /// Its members; [`FleetState`](crate::FleetState) has them in the order of their ids.
    pub replicas: Vec<Replica>,
}

/// How busy a shard is.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ShardLoad {
    /// Reads a second.
    pub reads: f64,
    /// Writes a second.
    pub writes: f64,
    /// Processor time at the leader, in cores.
    pub cpu: f64,
    /// Keys over the threshold of the hot tier.
    pub hot_keys: u64,
    /// Keys under the threshold of the tier they are in.
    pub cold_keys: u64,
    /// Since when it has been over the load that splits a shard; none where it is not.
    pub busy_since: Option<Moment>,
}

/// A key that a shard could be split at.
#[derive(Debug, Clone, PartialEq)]
pub struct SplitKey {
    /// The first key of the right half.
    pub key: Vec<u8>,
    /// The share of requests to the left of it, 0 to 1.
    pub load_left: f64,
    /// The share of bytes to the left of it, 0 to 1.
    pub bytes_left: f64,
}

/// When what happened to a shard.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ShardTimes {
    /// When it began.
    pub created: Moment,
    /// When it was last split, or split off.
    pub last_split: Option<Moment>,
    /// When it last took in a neighbour.
    pub last_merge: Option<Moment>,
    /// When one of its members or its leader last moved.
    pub last_move: Option<Moment>,
    /// When it was last more than idle, as far as that is watched; of one that was not watched before: since when it is.
    pub last_busy: Option<Moment>,
}

/// A member of a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replica {
    /// The member.
    pub id: ReplicaId,
    /// Where it is.
    pub node: NodeId,
    /// What it does.
    pub role: Role,
    /// Whether it leads.
    pub leader: bool,
    /// Entries it is behind the leader.
    pub lag: u64,
    /// Whether the log no longer has what it lacks.
    pub needs_snapshot: bool,
    /// Whether its node finds it sound.
    pub healthy: bool,
}

/// What a member does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Votes, stores the data, may lead.
    Data,
    /// Votes, stores no data.
    Witness,
    /// Stores the data for readers, does not vote.
    Learner,
}

impl fmt::Display for Role {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Data => "data",
            Self::Witness => "witness",
            Self::Learner => "read",
        })
    }
}

impl Replica {
    /// Whether it has what the leader has, but for a little.
    #[must_use]
    pub const fn is_sound(&self) -> bool {
        self.healthy && !self.needs_snapshot && self.lag < CAUGHT_UP_ENTRIES
    }

    /// Whether it votes.
    #[must_use]
    pub const fn votes(&self) -> bool {
        matches!(self.role, Role::Data | Role::Witness)
    }
}

impl Shard {
    /// Bytes of one copy.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.bytes.iter().map(|(_, bytes)| bytes).sum()
    }

    /// The member that leads, where one does.
    #[must_use]
    pub fn leader(&self) -> Option<&Replica> {
        self.replicas.iter().find(|replica| replica.leader)
    }

    /// The member on a node.
    #[must_use]
    pub fn replica_on(&self, node: NodeId) -> Option<&Replica> {
        self.replicas.iter().find(|replica| replica.node == node)
    }

    /// The members of a role.
    pub fn members(&self, role: Role) -> impl Iterator<Item = &Replica> {
        self.replicas.iter().filter(move |replica| replica.role == role)
    }

    /// Requests a second.
    #[must_use]
    pub fn operations(&self) -> f64 {
        self.load.reads + self.load.writes
    }

    /// Bytes that a member of this role stores.
    #[must_use]
    pub fn bytes_at(&self, role: Role) -> u64 {
        if role == Role::Witness { 0 } else { self.size() }
    }

    /// Operations a second that a member accounts for at its node.
    #[must_use]
    pub fn operations_at(&self, role: Role, leads: bool) -> f64 {
        match (role, leads) {
            (Role::Witness, _) => 0.0,
            (_, true) => self.operations(),
            (_, false) => self.load.writes * APPLY_SHARE,
        }
    }

    /// Processor time, in cores, that a member takes at its node: a follower applies what is written.
    #[must_use]
    pub fn cpu_at(&self, role: Role, leads: bool) -> f64 {
        let operations = self.operations();
        if operations <= 0.0 {
            return if leads { self.load.cpu } else { 0.0 };
        }
        self.load.cpu * self.operations_at(role, leads) / operations
    }
}
