//! A fleet over time.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use thermocline_planner::{
    Change, FleetError, FleetParts, FleetState, Imbalance, Moment, NodeId, Plan, Policies, Policy, Proposal, Refusals,
    ShardId,
    fleet::{Availability, MoveRecord, Node, OpenMove, OpenPhase, Role, Shard, ShardLoad, SplitKey},
    imbalance, plan,
};

use crate::{
    MovesOf, Report, Sample, Scenario, generate, load,
    scenario::{Failure, TierShape},
};

/// When a simulation begins: a Monday, midnight.
const BEGIN: Moment = Moment(1_767_571_200_000);
/// Over so many times its mean load a shard has hot keys ...
const HOT_FACTOR: f64 = 2.0;
/// ... and so many of them.
const HOT_KEYS: u64 = 1_000;

/// Why a simulation stopped.
#[derive(Debug, thiserror::Error)]
pub enum SimulationError {
    /// The fleet contradicts itself.
    #[error("the simulated fleet contradicts itself after {second} s")]
    Fleet {
        /// Simulated seconds since the beginning.
        second: u64,
        /// How.
        source: FleetError,
    },
}

/// A move under way.
#[derive(Debug)]
struct Move {
    proposal: Proposal,
    started: Moment,
    bytes_left: f64,
}

/// A fleet over time: [`plan`](Self::plan) and [`advance`](Self::advance) in turn, until it [ends](Self::is_over).
#[derive(Debug)]
pub struct Simulation {
    scenario: Scenario,
    policies: Policies,
    parts: FleetParts,
    now: Moment,
    /// Of each shard, its mean load and its place in the key space.
    means: BTreeMap<ShardId, (ShardLoad, f64)>,
    prices: Vec<TierShape>,
    moves: Vec<Move>,
    next_number: u64,
    record: Record,
}

/// What is remembered for the report.
#[derive(Debug, Default)]
struct Record {
    samples: Vec<Sample>,
    moves: BTreeMap<String, MovesOf>,
    per_shard: BTreeMap<ShardId, u32>,
    left: BTreeMap<(ShardId, NodeId), Moment>,
    returns: u64,
    duration_errors: Vec<f64>,
    cost_before: f64,
    failed: BTreeMap<NodeId, Moment>,
    recovered: Vec<Duration>,
    refusals: Refusals,
}

impl Simulation {
    /// The scenario in its beginning.
    #[must_use]
    pub fn new(scenario: Scenario) -> Self {
        let parts = generate::fleet(&scenario);
        let total = parts.shards.len().max(1) as f64;
        let place = |number: usize| number as f64 / total;
        let means = parts.shards.iter().enumerate().map(|(number, shard)| (shard.id, (shard.load, place(number))));
        let mut simulation = Self {
            policies: Policies::all(scenario.policy()),
            means: means.collect(),
            prices: scenario.nodes.iter().flat_map(|group| group.tiers.clone()).collect(),
            next_number: parts.shards.len() as u64 * 8 + 1_000,
            parts,
            now: BEGIN,
            moves: Vec::new(),
            record: Record::default(),
            scenario,
        };
        simulation.measure();
        simulation.record.cost_before = simulation.cost();
        simulation
    }

    /// Whether the scenario's time is over.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.elapsed() >= self.scenario.duration
    }

    /// Simulated time since the beginning.
    #[must_use]
    pub const fn elapsed(&self) -> Duration {
        self.now.since(BEGIN)
    }

    /// A planning round, whose moves begin at once: what the caller measures the time of.
    ///
    /// # Errors
    /// Where the fleet contradicts itself.
    pub fn plan(&mut self) -> Result<(), SimulationError> {
        let second = self.elapsed().as_secs();
        let fleet = FleetState::new(std::mem::take(&mut self.parts))
            .map_err(|source| SimulationError::Fleet { second, source })?;
        let Plan { proposals, refusals, .. } = plan(&fleet, &self.policies, self.now);
        let balance = imbalance(&fleet, &generate::pool());
        self.parts = fleet.into_parts();
        self.sample(balance);
        self.record.refusals = refusals;
        for proposal in proposals {
            self.parts.open.push(OpenMove {
                change: proposal.change.clone(),
                reason: proposal.reason,
                priority: proposal.priority,
                phase: OpenPhase::Running,
                bytes: proposal.forecast.bytes,
            });
            let bytes_left = proposal.forecast.bytes as f64;
            self.moves.push(Move { proposal, started: self.now, bytes_left });
        }
        Ok(())
    }

    /// Lets a step of time pass.
    pub fn advance(&mut self) {
        self.now = self.now + self.scenario.step;
        self.fail_and_join();
        self.carry_on();
        self.measure();
    }

    /// What has come of it so far.
    #[must_use]
    pub fn report(self) -> Report {
        let target = self.policy().triggers.imbalance_percent;
        let cost_after = self.cost();
        let (nodes, shards) = (self.parts.nodes.len() as u64, self.parts.shards.len() as u64);
        let seconds = self.elapsed().as_secs();
        let Record {
            samples,
            moves,
            per_shard,
            returns,
            duration_errors,
            cost_before,
            failed,
            recovered,
            refusals,
            ..
        } = self.record;
        let in_balance = samples.iter().filter(|sample| sample.imbalance() <= target).count();
        let most = |figure: fn(&Sample) -> f64| samples.iter().map(figure).fold(0.0, f64::max);
        let all: u32 = per_shard.values().sum();
        let mut refused: Vec<(u64, String)> = refusals
            .iter()
            .map(|(_, count, examples)| (count, examples.first().map(ToString::to_string).unwrap_or_default()))
            .collect();
        refused.sort_by(|a, b| b.cmp(a));
        Report {
            nodes,
            shards,
            seed: self.scenario.seed,
            seconds,
            imbalance_target: target,
            imbalance_before: samples.first().map_or(0.0, Sample::imbalance),
            imbalance_after: samples.last().map_or(0.0, Sample::imbalance),
            converged_after: samples.iter().find(|sample| sample.imbalance() <= target).map(|sample| sample.second),
            time_in_balance: in_balance as f64 / samples.len().max(1) as f64,
            bytes_moved: moves.values().map(|moves| moves.bytes).sum(),
            moves,
            moves_per_shard_max: per_shard.values().max().copied().unwrap_or_default(),
            moves_per_moved_shard: f64::from(all) / per_shard.len().max(1) as f64,
            returns,
            disk_max: most(|sample| sample.disk_max),
            cpu_max: most(|sample| sample.cpu_max),
            cost_before,
            cost_after,
            recovered_after: recovered.iter().max().filter(|_| failed.is_empty()).map(Duration::as_secs),
            duration_error: duration_errors.iter().sum::<f64>() / duration_errors.len().max(1) as f64,
            refusals: refused,
            samples,
        }
    }

    fn policy(&self) -> &Policy {
        self.policies.of(&generate::pool())
    }

    fn node_mut(&mut self, id: NodeId) -> Option<&mut Node> {
        self.parts.nodes.iter_mut().find(|node| node.id == id)
    }

    fn fail_and_join(&mut self) {
        let (elapsed, before) = (self.elapsed(), self.elapsed().saturating_sub(self.scenario.step));
        let has_come = |at: Duration| at > before && at <= elapsed || at.is_zero() && before.is_zero();
        for Failure { node, at, back_after } in self.scenario.failures.clone() {
            let (id, now) = (NodeId(node), self.now);
            if has_come(at) {
                self.record.failed.insert(id, now);
                // Who follows leads: elections take seconds, a step is longer.
                self.elect(id);
                if let Some(node) = self.node_mut(id) {
                    node.availability = Availability::Silent { since: now };
                }
                self.moves.retain(|running| running.proposal.change.to() != Some(id));
            }
            if back_after.is_some_and(|after| has_come(at + after)) {
                self.record.failed.remove(&id);
                if let Some(node) = self.node_mut(id) {
                    node.availability = Availability::Live;
                }
            }
        }
        let groups = &self.scenario.nodes;
        let joins = groups.iter().flat_map(|group| (0..group.count).map(move |_| group.joins_at));
        let come = generate::nodes(&self.scenario).into_iter().zip(joins);
        let come = come.filter(|(_, at)| at.is_some_and(has_come));
        self.parts.nodes.extend(come.map(|(node, _)| Node { availability: Availability::New, ..node }));
        self.keep_open();
    }

    fn elect(&mut self, lost: NodeId) {
        let silent: BTreeSet<NodeId> =
            self.parts.nodes.iter().filter(|node| node.is_silent()).map(|node| node.id).collect();
        for shard in &mut self.parts.shards {
            let leads = shard.leader().is_some_and(|leader| leader.node == lost);
            let can = |member: &&mut thermocline_planner::fleet::Replica| {
                member.role == Role::Data && member.node != lost && !silent.contains(&member.node)
            };
            if leads && let Some(successor) = shard.replicas.iter_mut().find(can) {
                let id = successor.id;
                shard.replicas.iter_mut().for_each(|member| member.leader = member.id == id);
            }
        }
    }

    /// What no longer runs is no longer open.
    fn keep_open(&mut self) {
        let running: BTreeSet<&Change> = self.moves.iter().map(|running| &running.proposal.change).collect();
        self.parts.open.retain(|open| running.contains(&open.change));
    }

    /// Lets moves go on at their forecast pace, or slower where a node's network is shared by several.
    fn carry_on(&mut self) {
        let step = self.scenario.step.as_secs_f64();
        let mut at_node: BTreeMap<NodeId, f64> = BTreeMap::new();
        for running in self.moves.iter().filter(|running| running.bytes_left > 0.0) {
            for node in running.proposal.change.from().into_iter().chain(running.proposal.change.to()) {
                *at_node.entry(node).or_default() += 1.0;
            }
        }
        let bandwidth: BTreeMap<NodeId, f64> =
            self.parts.nodes.iter().map(|node| (node.id, node.load.bandwidth as f64)).collect();
        let pace = self.policy().budget.bytes_per_second as f64;
        let mut ended = Vec::new();
        for mut running in std::mem::take(&mut self.moves) {
            let change = &running.proposal.change;
            let share = |node: &NodeId| {
                bandwidth.get(node).copied().unwrap_or(pace) / at_node.get(node).copied().unwrap_or(1.0)
            };
            let pace = change.from().iter().chain(change.to().iter()).map(share).fold(pace, f64::min);
            running.bytes_left -= pace * step;
            if running.bytes_left <= 0.0 {
                ended.push(running);
            } else {
                self.moves.push(running);
            }
        }
        for running in ended {
            self.end(running);
        }
        self.keep_open();
    }

    fn end(&mut self, running: Move) {
        let Proposal { change, reason, forecast, .. } = running.proposal;
        self.parts.change(&change, self.next_number, self.now);
        if let Change::SplitShard { shard, .. } = change {
            self.split_means(shard);
        }
        self.next_number += 2;
        // A step is the finest time there is: what ended within it is told by how much of it was left over.
        let pace = self.policy().budget.bytes_per_second as f64;
        let took = self.now.since(running.started).as_secs_f64() + running.bytes_left / pace;
        let predicted = forecast.duration.as_secs_f64();
        if forecast.bytes > 0 && predicted > 0.0 {
            self.record.duration_errors.push(took / predicted - 1.0);
        }
        let of = self.record.moves.entry(reason.to_string()).or_default();
        of.moves += 1;
        of.bytes += forecast.bytes;
        if matches!(change, Change::MoveReplica { .. } | Change::TransferLeader { .. } | Change::ChangeTier { .. }) {
            *self.record.per_shard.entry(change.shard()).or_default() += 1;
        }
        if let Change::MoveReplica { shard, from, to, .. } = change {
            let day = Duration::from_hours(24);
            let left = self.record.left.get(&(shard, to));
            self.record.returns += u64::from(left.is_some_and(|left| self.now.since(*left) < day));
            self.record.left.insert((shard, from), self.now);
        }
        self.parts.history.push(MoveRecord { ended: self.now, change, reason, bytes: forecast.bytes, completed: true });
        let day = self.now - Duration::from_hours(24);
        self.parts.history.retain(|record| record.ended >= day);
    }

    fn split_means(&mut self, left: ShardId) {
        let right = ShardId(self.next_number);
        if let Some((load, place)) = self.means.get_mut(&left) {
            (load.reads, load.writes, load.cpu) = (load.reads / 2.0, load.writes / 2.0, load.cpu / 2.0);
            let half = (*load, *place);
            self.means.insert(right, half);
        }
    }

    /// Measures the load of shards, and what nodes store and do.
    fn measure(&mut self) {
        let (elapsed, now) = (self.elapsed(), self.now);
        let sizes = self.policy().shard_sizes;
        for shard in &mut self.parts.shards {
            if let Some((mean, place)) = self.means.get(&shard.id) {
                let factor = load::factor(&self.scenario.load, *place, elapsed);
                shard.load.reads = mean.reads * factor;
                shard.load.writes = mean.writes * factor;
                shard.load.cpu = mean.cpu * factor;
                shard.load.hot_keys = if factor > HOT_FACTOR { HOT_KEYS } else { 0 };
                let busy = shard.operations() > sizes.split_operations && shard.load.cpu > sizes.split_cpu;
                if shard.split_keys.is_empty() && (busy || sizes.is_large(shard.size())) {
                    shard.split_keys.extend(middle(shard));
                }
                shard.load.busy_since = shard.load.busy_since.filter(|_| busy).or_else(|| busy.then_some(now));
            }
        }
        let places: BTreeMap<NodeId, usize> =
            self.parts.nodes.iter().enumerate().map(|(place, node)| (node.id, place)).collect();
        for node in &mut self.parts.nodes {
            node.load.cpu_used = 0.0;
            node.tiers.iter_mut().for_each(|tier| tier.used = 0);
        }
        let mut missed: BTreeSet<NodeId> = BTreeSet::new();
        for shard in &self.parts.shards {
            for replica in &shard.replicas {
                let Some(place) = places.get(&replica.node) else {
                    continue;
                };
                let node = &mut self.parts.nodes[*place];
                if node.is_silent() {
                    missed.insert(node.id);
                    continue;
                }
                node.load.cpu_used += shard.cpu_at(replica.role, replica.leader);
                if replica.role != Role::Witness {
                    store(node, shard);
                }
            }
        }
        let whole: Vec<NodeId> = self.record.failed.keys().filter(|node| !missed.contains(node)).copied().collect();
        for node in whole {
            if let Some(failed) = self.record.failed.remove(&node) {
                self.record.recovered.push(now.since(failed));
            }
        }
    }

    /// What the stored bytes cost a month.
    fn cost(&self) -> f64 {
        let gib = (1_u64 << 30) as f64;
        let tiers = self.parts.nodes.iter().flat_map(|node| &node.tiers);
        let price =
            |name: &str| self.prices.iter().find(|tier| tier.name == name).map_or(0.0, |tier| tier.cost_per_gib_month);
        tiers.map(|tier| tier.used as f64 / gib * price(tier.name.as_str())).sum()
    }

    fn sample(&mut self, balance: Imbalance) {
        let staying = || self.parts.nodes.iter().filter(|node| node.stays());
        let disk = staying().flat_map(|node| &node.tiers).map(|tier| tier.percent(tier.used)).fold(0.0, f64::max);
        let cpu = staying().map(|node| node.load.cpu_used / node.load.cpu_cores * 100.0).fold(0.0, f64::max);
        let sample = Sample {
            second: self.elapsed().as_secs(),
            imbalance_disk: balance.disk.percent,
            imbalance_load: balance.load.percent,
            disk_max: disk,
            cpu_max: cpu,
            moving: self.moves.len() as u64,
            bytes_moved: self.record.moves.values().map(|moves| moves.bytes).sum(),
        };
        self.record.samples.push(sample);
    }
}

/// A key in the middle of a shard, which has half of its load and half of its bytes on each side.
fn middle(shard: &Shard) -> Option<SplitKey> {
    let keys = (0..8).map(|bit| shard.start.iter().copied().chain([0x80 >> bit]).collect::<Vec<u8>>());
    let key = keys.into_iter().find(|key| shard.end.as_ref().is_none_or(|end| key < end))?;
    Some(SplitKey { key, load_left: 0.5, bytes_left: 0.5 })
}

/// Puts a copy on a node's tiers: what a tier has no room for below its high watermark goes to the next slower one, as
/// the node itself would do it.
fn store(node: &mut Node, shard: &Shard) {
    let slowest = node.tiers.len() - 1;
    for (rank, bytes) in &shard.bytes {
        let mut left = *bytes;
        for (number, tier) in node.tiers.iter_mut().enumerate() {
            if tier.rank < *rank && number < slowest {
                continue;
            }
            let room = ((tier.capacity as f64 * tier.high_percent / 100.0) as u64).saturating_sub(tier.used);
            let taken = if number == slowest { left } else { left.min(room) };
            tier.used += taken;
            left -= taken;
            if left == 0 {
                break;
            }
        }
    }
}

#[cfg(test)]
#[path = "simulation_test.rs"]
mod tests;
