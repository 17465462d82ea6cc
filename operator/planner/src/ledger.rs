//! What will be so once the moves that are open, and those just planned, are done.

mod figures;
mod media;

use std::collections::BTreeMap;

pub(crate) use figures::{ClusterCounts, Counts, Resource, Shift};

use crate::{
    Change, NodeId, Priority, Reason, ShardId,
    change::cannot_wait,
    fleet::{OpenMove, OpenPhase, Replica, Role, Shard},
    imbalance::{DISK_FLOOR, Deviation, LOAD_FLOOR, deviation},
    view::View,
};

/// What a node will have.
#[derive(Debug, Clone)]
struct Account {
    tiers: Vec<u64>,
    capacity: f64,
    cpu: f64,
    io: f64,
    pub counts: Counts,
}

/// What will be so, as plain figures; cloned to try something out.
#[derive(Debug, Clone)]
pub(crate) struct Ledger {
    accounts: Vec<Account>,
    /// Of each pool, by [`Resource::BALANCED`].
    deviations: Vec<[Deviation; 2]>,
    /// Shards that something is done to, or is to be: then how urgent that is.
    busy: BTreeMap<ShardId, Option<Priority>>,
    pub cluster: ClusterCounts,
    /// Bytes that open moves will take, without those that cannot wait.
    pub open_bytes: u64,
    /// Steps of the search, to bound it.
    pub work: u64,
}

impl Ledger {
    /// The fleet with its open moves done, but for those that `counts` leaves out.
    pub fn new(view: &View<'_>, counts: impl Fn(&OpenMove) -> bool) -> Self {
        let accounts = view.fleet.nodes().iter().map(|node| Account {
            tiers: node.tiers.iter().map(|tier| tier.used).collect(),
            capacity: node.capacity() as f64,
            cpu: node.load.cpu_used,
            io: node.load.io_busy,
            counts: Counts::default(),
        });
        let mut ledger = Self {
            accounts: accounts.collect(),
            deviations: vec![[Deviation::default(); 2]; view.pools.len()],
            busy: BTreeMap::new(),
            cluster: ClusterCounts::default(),
            open_bytes: 0,
            work: 0,
        };
        for open in view.fleet.open().iter().filter(|open| counts(open)) {
            if !cannot_wait(open.priority, open.reason) {
                ledger.open_bytes = ledger.open_bytes.saturating_add(open.bytes);
            }
            ledger.count(view, &open.change, open.priority);
            if open.phase != OpenPhase::Running {
                ledger.busy.extend(open.change.shards().map(|shard| (shard, Some(open.priority))));
            }
            ledger.shift(view, &open.change);
        }
        for pool in 0..view.pools.len() {
            ledger.measure(view, pool);
        }
        ledger
    }

    /// Whether something else is done to a shard, or is to be that is as urgent: what only waits holds up nothing that
    /// is more urgent.
    pub fn is_busy(&self, shard: ShardId, priority: Priority) -> bool {
        self.busy.get(&shard).is_some_and(|waits| waits.is_none_or(|waits| waits <= priority))
    }

    /// Open moves of a node.
    pub fn counts(&self, place: usize) -> Counts {
        self.accounts[place].counts
    }

    /// Bytes a tier of a node will hold.
    pub fn tier_used(&self, place: usize, tier: usize) -> u64 {
        self.accounts[place].tiers[tier]
    }

    /// The share of a resource that a node will use.
    pub fn share(&self, view: &View<'_>, place: usize, resource: Resource) -> f64 {
        let account = &self.accounts[place];
        match resource {
            Resource::Disk => account.tiers.iter().sum::<u64>() as f64 / account.capacity,
            Resource::Load => account.cpu / view.fleet.nodes()[place].load.cpu_cores,
            Resource::Io => account.io,
        }
    }

    /// As [`share`](Self::share), in percent.
    pub fn percent(&self, view: &View<'_>, place: usize, resource: Resource) -> f64 {
        self.share(view, place, resource) * 100.0
    }

    /// By how much a shift changes a node's share of a resource.
    pub fn share_of(&self, view: &View<'_>, shift: &Shift, resource: Resource) -> f64 {
        match resource {
            Resource::Disk => shift.bytes / self.accounts[shift.place].capacity,
            Resource::Load => shift.cpu / view.fleet.nodes()[shift.place].load.cpu_cores,
            Resource::Io => shift.io,
        }
    }

    /// The largest deviation of a pool by a balanced resource.
    pub fn deviation(&self, pool: usize, resource: Resource) -> Deviation {
        self.deviations[pool][usize::from(resource != Resource::Disk)]
    }

    /// How full a node will be by the resource it has least left of: what members are placed by.
    pub fn fullness(&self, view: &View<'_>, place: usize) -> f64 {
        self.share(view, place, Resource::Disk).max(self.share(view, place, Resource::Load))
    }

    /// Bytes that a change moves.
    pub fn bytes_of(&self, view: &View<'_>, change: &Change) -> u64 {
        let size = |role| view.fleet.shard(change.shard()).map_or(0, |shard| shard.bytes_at(role));
        match change {
            Change::MoveReplica { role, .. } | Change::AddReplica { role, .. } => size(*role),
            Change::ChangeTier { bytes, .. } => *bytes,
            _ => 0,
        }
    }

    /// What it does to a node when a member, or only its leadership, leaves it.
    pub fn leaving(&self, view: &View<'_>, place: usize, shard: &Shard, replica: &Replica, only_leader: bool) -> Shift {
        let (role, leads) = (replica.role, replica.leader);
        let stays = |figure: f64| if only_leader { figure } else { 0.0 };
        Shift {
            place,
            bytes: if only_leader { 0.0 } else { -(shard.bytes_at(role) as f64) },
            cpu: stays(shard.cpu_at(role, false)) - shard.cpu_at(role, leads),
            io: stays(io_at(view, shard, role, false)) - io_at(view, shard, role, leads),
        }
    }

    /// What a change does to the node that gives and to the node that takes.
    pub fn shifts(&self, view: &View<'_>, change: &Change) -> Vec<Shift> {
        let Some(shard) = view.fleet.shard(change.shard()) else {
            return Vec::new();
        };
        let at = |node: NodeId, role: Role, leads: bool, sign: f64| {
            let place = view.fleet.place_of(node)?;
            Some(Shift {
                place,
                bytes: shard.bytes_at(role) as f64 * sign,
                cpu: shard.cpu_at(role, leads) * sign,
                io: io_at(view, shard, role, leads) * sign,
            })
        };
        let leads = |node: NodeId| shard.replica_on(node).is_some_and(|replica| replica.leader);
        let shifts = match change {
            Change::MoveReplica { role, from, to, .. } => {
                [at(*from, *role, leads(*from), -1.0), at(*to, *role, leads(*from), 1.0)]
            }
            Change::AddReplica { role, to, .. } => [at(*to, *role, false, 1.0), None],
            Change::RemoveReplica { role, from, .. } => [at(*from, *role, leads(*from), -1.0), None],
            Change::TransferLeader { from, to, .. } => {
                let cpu = shard.cpu_at(Role::Data, true) - shard.cpu_at(Role::Data, false);
                let io = io_at(view, shard, Role::Data, true) - io_at(view, shard, Role::Data, false);
                let at = |node, sign: f64| {
                    view.fleet.place_of(node).map(|place| Shift { place, bytes: 0.0, cpu: cpu * sign, io: io * sign })
                };
                [at(*from, -1.0), at(*to, 1.0)]
            }
            Change::SplitShard { .. } | Change::MergeShards { .. } | Change::ChangeTier { .. } => [None, None],
        };
        shifts.into_iter().flatten().collect()
    }

    /// Counts a change that is planned, and has it done.
    pub fn take(&mut self, view: &View<'_>, change: &Change, priority: Priority, reason: Reason) {
        if !cannot_wait(priority, reason) {
            self.open_bytes = self.open_bytes.saturating_add(self.bytes_of(view, change));
        }
        self.count(view, change, priority);
        self.apply(view, change);
    }

    /// Has a change done, without counting it.
    pub fn apply(&mut self, view: &View<'_>, change: &Change) {
        self.shift(view, change);
        if let Some(place) = change.from().or_else(|| change.to()).and_then(|node| view.fleet.place_of(node)) {
            self.measure(view, view.pool_of_node(place));
        }
    }

    fn measure(&mut self, view: &View<'_>, pool: usize) {
        let nodes = view.staying[pool].iter().map(|place| (&view.fleet.nodes()[*place], &self.accounts[*place]));
        let disk =
            nodes.clone().map(|(node, account)| (node.id, account.tiers.iter().sum::<u64>() as f64, account.capacity));
        let load = nodes.map(|(node, account)| (node.id, account.cpu, node.load.cpu_cores));
        self.deviations[pool] = [deviation(disk, DISK_FLOOR), deviation(load, LOAD_FLOOR)];
    }

    fn count(&mut self, view: &View<'_>, change: &Change, priority: Priority) {
        self.busy.extend(change.shards().map(|shard| (shard, None)));
        let critical = u32::from(priority == Priority::Critical);
        let place = |node: Option<NodeId>| node.and_then(|node| view.fleet.place_of(node));
        let (from, to) = (place(change.from()), place(change.to()));
        match change {
            Change::MoveReplica { .. } | Change::AddReplica { .. } => {
                self.cluster.moves += 1;
                self.cluster.critical += critical;
                if let Some(from) = from {
                    self.accounts[from].counts.moves_out += 1;
                    self.accounts[from].counts.critical_out += critical;
                }
                if let Some(to) = to {
                    self.accounts[to].counts.moves_in += 1;
                    self.accounts[to].counts.critical_in += critical;
                }
            }
            Change::ChangeTier { .. } => {
                if let Some(from) = from {
                    self.accounts[from].counts.moves_out += 1;
                }
            }
            Change::TransferLeader { .. } => {
                if let (Some(from), Some(to)) = (from, to) {
                    self.accounts[from].counts.leaders_out += 1;
                    self.accounts[to].counts.leaders_in += 1;
                }
            }
            Change::SplitShard { .. } | Change::MergeShards { .. } => self.cluster.range_changes += 1,
            Change::RemoveReplica { .. } => {}
        }
    }

    fn shift(&mut self, view: &View<'_>, change: &Change) {
        for shift in self.shifts(view, change) {
            let account = &mut self.accounts[shift.place];
            account.cpu = (account.cpu + shift.cpu).max(0.0);
            account.io = (account.io + shift.io).clamp(0.0, 1.0);
        }
        let Some(shard) = view.fleet.shard(change.shard()) else {
            return;
        };
        let place = |node: &NodeId| view.fleet.place_of(*node);
        match change {
            Change::MoveReplica { role, from, to, .. } if *role != Role::Witness => {
                self.give(view, place(from), shard);
                self.receive(view, place(to), shard);
            }
            Change::AddReplica { role, to, .. } if *role != Role::Witness => self.receive(view, place(to), shard),
            Change::RemoveReplica { role, from, .. } if *role != Role::Witness => self.give(view, place(from), shard),
            Change::ChangeTier { from_tier, to_tier, bytes, .. } => {
                let stores = |replica: &&Replica| replica.role != Role::Witness;
                for replica in shard.replicas.iter().filter(stores) {
                    self.change_tier(view, place(&replica.node), (*from_tier, *to_tier), *bytes);
                }
            }
            _ => {}
        }
    }
}

/// The share of device time that a member takes: its part of what its leader's node is busy with.
fn io_at(view: &View<'_>, shard: &Shard, role: Role, leads: bool) -> f64 {
    let busiest = shard.leader().or_else(|| shard.members(Role::Data).next());
    let Some(place) = busiest.and_then(|replica| view.fleet.place_of(replica.node)) else {
        return 0.0;
    };
    let all = view.fleet.operations(place);
    if all <= 0.0 {
        return 0.0;
    }
    view.fleet.nodes()[place].load.io_busy * shard.operations_at(role, leads) / all
}
