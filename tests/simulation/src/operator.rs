//! Asks for changes: splits, merges, moves, more and fewer replicas, another leader, shorter logs; and takes some of it back. It knows
//! what the leaders know and gives every number once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use rand::RngExt;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use thermocline_shard::command::{Command, Split};
use thermocline_shard::host::{MergeRefusal, MergeSide, Resident, may_merge};
use thermocline_shard::job::{Job, JobChange, JobControl, JobKind, JobOutcome};
use thermocline_shard::raft::{GroupView, Member};
use thermocline_shard::{NodeId, ReplicaId, Role, ShardId};

use crate::clients::SLOTS;
use crate::node::Node;
use crate::plan::{Plan, generator};
use crate::store::Store;
use crate::trace::Trace;

/// Shards, at most.
const SHARDS: usize = 5;

/// Asks for changes.
pub struct Operator {
    chance: ChaCha8Rng,
    next: u64,
    leisure: u64,
    number: u64,
    asked: Asked,
}

/// What was asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Asked {
    /// Splits.
    pub splits: u32,
    /// Merges.
    pub merges: u32,
    /// Moves, additions and removals of replicas.
    pub jobs: u32,
    /// Other leaders.
    pub transfers: u32,
    /// Shorter logs.
    pub purges: u32,
}

/// A shard, as the replica sees it that leads.
pub struct Led {
    /// Where.
    pub node: NodeId,
    /// The replica.
    pub resident: Arc<Resident<Store>>,
    /// The group.
    pub group: GroupView,
}

/// By shard, whoever leads; of two that believe so the later one.
pub fn leaders(nodes: &BTreeMap<NodeId, Node>) -> BTreeMap<ShardId, Led> {
    let mut found: BTreeMap<ShardId, Led> = BTreeMap::new();
    for node in nodes.values().filter(|node| !node.is_paused()) {
        let Some(host) = node.host() else { continue };
        for resident in host.all() {
            let group = resident.replica().group();
            let newer = found.get(&resident.shard()).is_none_or(|known| known.group.term < group.term);
            if group.leads() && resident.replica().role() == Role::Data && newer {
                found.insert(resident.shard(), Led { node: node.id, resident, group });
            }
        }
    }
    found
}

impl Operator {
    /// One that draws from the run's seed.
    pub fn new(plan: &Plan) -> Self {
        let chance = generator(plan.seed, "operator");
        Self { chance, next: 0, leisure: plan.leisure, number: 100, asked: Asked::default() }
    }

    /// What was asked for.
    pub const fn asked(&self) -> Asked {
        self.asked
    }

    fn number(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    /// Adds a replica to the first shard, as clusters grow.
    pub fn add(&mut self, led: &Led, nodes: &BTreeMap<NodeId, Node>, node: NodeId, role: Role, now: u64) {
        let replica = ReplicaId(self.number());
        self.begin(led, nodes, JobKind::Add { replica, node, role }, now);
    }

    fn begin(&mut self, led: &Led, nodes: &BTreeMap<NodeId, Node>, kind: JobKind, now: u64) {
        let job = Job {
            id: self.number(),
            kind,
            bytes_per_second: 0,
            paused: false,
            cancelled: false,
            cut_over: false,
            begun_at_millis: now,
        };
        propose(led, nodes, Command::Job(JobChange::Begin(job)));
    }

    /// Asks for something where it is time to.
    pub fn step(&mut self, now: u64, nodes: &BTreeMap<NodeId, Node>, trace: &Trace) {
        if now < self.next {
            return;
        }
        self.next = now + self.chance.random_range(self.leisure / 4..=self.leisure);
        let all = leaders(nodes);
        let shards: Vec<ShardId> = all.keys().copied().collect();
        let Some(shard) = shards.choose(&mut self.chance) else { return };
        let (led, shards) = (&all[shard], shards.len());
        let job = led.resident.view().jobs.running().copied();
        let said = match (self.chance.random_range(0..100), job) {
            (0..25, Some(job)) => self.control(led, nodes, &job),
            (0..25, None) if shards < SHARDS && led.resident.view().jobs.frozen().is_none() => self.split(led, nodes),
            (25..40, None) if shards > 1 => self.merge(led, &all, nodes, now),
            (25..60, None) => self.change(led, nodes, now),
            (60..80, _) => self.hand_over(led, nodes),
            (80.., _) => self.shorten(led, nodes),
            _ => None,
        };
        if let Some(said) = said {
            trace.note(now, &said, &[]);
        }
    }

    fn control(&mut self, led: &Led, nodes: &BTreeMap<NodeId, Node>, job: &Job) -> Option<String> {
        let cancel = self.chance.random_bool(0.5);
        let control =
            JobControl { job: job.id, cancel, paused: Some(self.chance.random_bool(0.2)), ..Default::default() };
        propose(led, nodes, Command::Job(JobChange::Control(control)));
        Some(format!("asked of {}: {control:?}", led.resident.shard()))
    }

    /// Lets jobs go on that somebody stopped.
    pub fn end(&self, nodes: &BTreeMap<NodeId, Node>) {
        for led in leaders(nodes).values() {
            if let Some(job) = led.resident.view().jobs.running().filter(|job| job.paused) {
                let control = JobControl { job: job.id, paused: Some(false), ..Default::default() };
                propose(led, nodes, Command::Job(JobChange::Control(control)));
            }
        }
    }

    fn split(&mut self, led: &Led, nodes: &BTreeMap<NodeId, Node>) -> Option<String> {
        let descriptor = led.resident.descriptor()?;
        let at = format!("{:02}/", self.chance.random_range(1..SLOTS));
        if at.as_bytes() <= descriptor.range.start() || !descriptor.range.contains(at.as_bytes()) {
            return None;
        }
        let members: Vec<ReplicaId> = led.group.members.keys().copied().collect();
        let replicas = members.into_iter().map(|of| (of, ReplicaId(self.number()))).collect();
        let right = ShardId(self.number());
        let split = Split { at: Bytes::from(at.clone()), epoch: descriptor.epoch, right, replicas };
        propose(led, nodes, Command::Split(split));
        self.asked.splits += 1;
        Some(format!("asked of {}: a split at {at} into {right}", led.resident.shard()))
    }

    /// Has a shard absorb its right neighbour; where that is on other nodes, the neighbour is moved nearer first.
    fn merge(
        &mut self,
        led: &Led,
        all: &BTreeMap<ShardId, Led>,
        nodes: &BTreeMap<NodeId, Node>,
        now: u64,
    ) -> Option<String> {
        let left = MergeSide::of(&led.resident)?;
        let follows = |other: &&Led| {
            let start = other.resident.descriptor().map(|descriptor| descriptor.range.start().to_vec());
            start.as_deref() == left.descriptor.range.end()
        };
        let neighbour = all.values().find(follows)?;
        let right = MergeSide::of(&neighbour.resident)?;
        match may_merge(&left, &right) {
            Ok(()) => {}
            Err(MergeRefusal::Members { .. }) => return self.approach(neighbour, &right, &left, nodes, now),
            Err(_) => return None,
        }
        let (left_epoch, right_epoch) = (left.descriptor.epoch, right.descriptor.epoch);
        let right = right.descriptor.shard;
        self.begin(led, nodes, JobKind::Merge { right, left_epoch, right_epoch }, now);
        self.asked.merges += 1;
        Some(format!("asked of {}: to absorb {right}", left.descriptor.shard))
    }

    /// Moves one replica of a shard to where its neighbour has one that it lacks.
    fn approach(
        &mut self,
        led: &Led,
        from: &MergeSide,
        to: &MergeSide,
        nodes: &BTreeMap<NodeId, Node>,
        now: u64,
    ) -> Option<String> {
        let on = |side: &MergeSide, node: NodeId| side.places().iter().any(|(there, _)| *there == node);
        let (node, role) = to.places().into_iter().find(|(node, _)| !on(from, *node))?;
        let leaves = |(_, member): &(&ReplicaId, &Member)| member.role == role && !on(to, member.node);
        let (leaving, member) = from.group.members.iter().find(leaves)?;
        let (leaving, leaving_node, replica) = (*leaving, member.node, ReplicaId(self.number()));
        let kind = JobKind::Move { replica, node, role, leaving, leaving_node };
        self.begin(led, nodes, kind, now);
        self.asked.jobs += 1;
        Some(format!("asked of {}: {kind:?}, towards its neighbour", from.descriptor.shard))
    }

    fn change(&mut self, led: &Led, nodes: &BTreeMap<NodeId, Node>, now: u64) -> Option<String> {
        let members: Vec<(ReplicaId, NodeId, Role)> =
            led.group.members.iter().map(|(id, member)| (*id, member.node, member.role)).collect();
        let used: BTreeSet<NodeId> = members.iter().map(|(_, node, _)| *node).collect();
        let free: Vec<NodeId> = nodes.keys().copied().filter(|node| !used.contains(node)).collect();
        let (leaving, leaving_node, role) = *members.choose(&mut self.chance)?;
        let data = members.iter().filter(|(_, _, role)| *role == Role::Data).count();
        let replica = ReplicaId(self.number());
        let kind = match self.chance.random_range(0..10) {
            0..7 => JobKind::Move { replica, node: *free.choose(&mut self.chance)?, role, leaving, leaving_node },
            _ if data > 2 && role == Role::Data => JobKind::Remove { leaving, leaving_node },
            _ => JobKind::Add { replica, node: *free.choose(&mut self.chance)?, role: Role::Data },
        };
        self.begin(led, nodes, kind, now);
        self.asked.jobs += 1;
        Some(format!("asked of {}: {kind:?}", led.resident.shard()))
    }

    fn hand_over(&mut self, led: &Led, nodes: &BTreeMap<NodeId, Node>) -> Option<String> {
        let others = led.group.other_data_voters(led.group.replica);
        let to = *others.choose(&mut self.chance)?;
        let replica = Arc::clone(led.resident.replica());
        nodes.get(&led.node)?.spawn(async move { drop(replica.transfer_to(to).await) });
        self.asked.transfers += 1;
        Some(format!("asked of {}: that {to} lead", led.resident.shard()))
    }

    /// Has a data replica let go of all of its log that it may.
    fn shorten(&mut self, led: &Led, nodes: &BTreeMap<NodeId, Node>) -> Option<String> {
        let members: Vec<(ReplicaId, NodeId)> =
            led.group.members.iter().map(|(id, member)| (*id, member.node)).collect();
        let (replica, on) = *members.choose(&mut self.chance)?;
        let node = nodes.get(&on).filter(|node| !node.is_paused())?;
        let resident = node.host()?.resident(replica)?;
        if resident.replica().role() == Role::Witness {
            return None;
        }
        let upto = resident.replica().applied()?;
        node.spawn(async move {
            let replica = resident.replica();
            drop(replica.shorten_log().await);
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            drop(replica.purge_log(upto).await);
        });
        self.asked.purges += 1;
        Some(format!("asked of {replica}: to let go of its log up to entry {upto}"))
    }
}

/// Jobs that ended as asked, by the leaders' memory.
pub fn jobs_done(nodes: &BTreeMap<NodeId, Node>) -> BTreeSet<u64> {
    let views = leaders(nodes).into_values().map(|led| led.resident.view());
    let done = views.flat_map(|view| {
        let ended = view.jobs.ended().filter(|(_, end)| end.outcome == JobOutcome::Done);
        ended.map(|(job, _)| job.id).collect::<Vec<_>>()
    });
    done.collect()
}

/// Has the leader propose something; what comes of it shows in the log.
fn propose(led: &Led, nodes: &BTreeMap<NodeId, Node>, command: Command) {
    let replica = Arc::clone(led.resident.replica());
    if let Some(node) = nodes.get(&led.node) {
        node.spawn(async move { drop(replica.propose(&command).await) });
    }
}
