//! The part of a round that moves shards between nodes: asks the planner, and gives its proposals to the shards' leaders as
//! orders. What a leader has taken is its own business from then on; whether it is done shows in what the nodes say.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use thermocline_crds::Kind;
use thermocline_crds::v1alpha1::Mode;
use thermocline_planner::{Change, FleetState, Moment, Plan, RefusalKind, ShardId};
use thermocline_proto::v1;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Controller;
use crate::chain::chain;
use crate::desired::Desired;
use crate::home::Home;
use crate::rebalance::{self, Heard, Known, Order};
use crate::watch;

/// Between two rounds of planning.
const EVERY: Duration = Duration::from_secs(1);
/// A leader takes an order so soon, or is asked again after the next round.
const PATIENCE: Duration = Duration::from_secs(15);
/// A silent node that has no members is forgotten after so long.
const FORGOTTEN: Duration = Duration::from_secs(60);
/// Refusals of one kind are told once in so long.
const SAME_REFUSAL: Duration = Duration::from_secs(60);
/// An order that was taken shows in what the nodes say after so long.
const SHOWS_AFTER: Duration = Duration::from_secs(3);

/// What is remembered of moves between nodes from round to round.
#[derive(Default)]
pub(super) struct Rebalancing {
    planned: Option<Instant>,
    /// By a node's number: its name, what it said last, and when.
    heard: BTreeMap<u64, (String, v1::NodeStatus, Instant)>,
    /// Orders that were given, until they show in what the nodes say.
    given: BTreeMap<ShardId, (Change, Instant)>,
    asking: JoinSet<(Order, Result<(), String>)>,
    /// When a refusal of a kind was told.
    told: BTreeMap<RefusalKind, Instant>,
}

impl Rebalancing {
    fn hear(&mut self, statuses: BTreeMap<String, v1::NodeStatus>) {
        let now = Instant::now();
        for (name, status) in statuses {
            self.heard.insert(status.node_id, (name, status, now));
        }
        // From now on they are waited for.
        for stranger in rebalance::strangers(&self.known()) {
            let status = v1::NodeStatus { node_id: stranger, ..v1::NodeStatus::default() };
            self.heard.insert(stranger, (format!("node {stranger}"), status, now));
        }
        let members: BTreeSet<u64> = self.members();
        self.heard.retain(|node, (_, _, at)| members.contains(node) || at.elapsed() < FORGOTTEN);
    }

    /// The nodes that have members of shards.
    fn members(&self) -> BTreeSet<u64> {
        let shards = self.heard.values().flat_map(|(_, status, _)| &status.shards).filter(|shard| shard.leads);
        shards.flat_map(|shard| &shard.members).map(|member| member.node).collect()
    }

    fn known(&self) -> Known {
        let known = self.heard.iter().map(|(node, (name, status, at))| {
            (*node, Heard { name: name.clone(), status: status.clone(), ago: at.elapsed() })
        });
        known.collect()
    }

    /// A text of the planner with the names of the nodes instead of their numbers.
    fn in_words(&self, text: &impl std::fmt::Display) -> String {
        let numbers = self.heard.iter().map(|(node, (name, ..))| (format!("node {node}"), name));
        numbers.fold(text.to_string(), |text, (number, name)| text.replace(&number, name))
    }
}

impl<H: Home> Controller<H> {
    pub(super) async fn rebalance(&mut self, desired: &Desired) {
        let statuses = self.watches.latest();
        let nodes: BTreeMap<String, v1::NodeStatus> = statuses
            .into_iter()
            .filter(|(name, _)| desired.nodes.get(name).is_some_and(|node| node.replication.is_some()))
            .collect();
        if nodes.is_empty() && self.rebalancing.heard.is_empty() {
            return;
        }
        self.rebalancing.hear(nodes);
        self.take_answers().await;
        if desired.paused || self.rebalancing.planned.is_some_and(|at| at.elapsed() < EVERY) {
            return;
        }
        self.rebalancing.planned = Some(Instant::now());
        self.rebalancing.given.retain(|_, (_, since)| since.elapsed() < SHOWS_AFTER);
        if let Some(plan) = self.plan(desired).await {
            self.give(&plan, desired).await;
        }
    }

    async fn take_answers(&mut self) {
        while let Some(answered) = self.rebalancing.asking.try_join_next() {
            let Ok((order, outcome)) = answered else { continue };
            let what = self.rebalancing.in_words(&order.change);
            let pool = order.pool.clone();
            match outcome {
                Ok(()) => self.note(Kind::StoragePool, &pool, "Moving", &what).await,
                Err(reason) => {
                    self.rebalancing.given.remove(&order.change.shard());
                    self.failed(Kind::StoragePool, &pool, "MoveRefused", &format!("{what}: {reason}")).await;
                }
            }
        }
    }

    async fn plan(&mut self, desired: &Desired) -> Option<Plan> {
        let now = Moment(u64::try_from((self.clock)().as_millisecond()).unwrap_or_default());
        let given: Vec<Change> = self.rebalancing.given.values().map(|(change, _)| change.clone()).collect();
        let parts = rebalance::fleet_parts(desired, &self.rebalancing.known(), &given, now);
        let state = match FleetState::new(parts) {
            Ok(state) => state,
            Err(error) => {
                // Nodes speak at different moments: what contradicts itself now agrees a moment later.
                let words = format!("nothing is planned, for what the nodes say does not agree: {}", chain(&error));
                self.failed(Kind::StorageCluster, "fleet", "FleetContradictsItself", &words).await;
                return None;
            }
        };
        let plan = thermocline_planner::plan(&state, &rebalance::policies(desired), now);
        self.tell_refusals(&plan, desired).await;
        Some(plan)
    }

    /// Tells what the planner would do and must not, of each kind once in a while.
    async fn tell_refusals(&mut self, plan: &Plan, desired: &Desired) {
        let pool = desired.nodes.values().find(|node| node.replication.is_some()).map(|node| node.pool.clone());
        let pool = pool.unwrap_or_default();
        for (kind, count, examples) in plan.refusals.iter() {
            let Some(example) = examples.first() else { continue };
            let due = self.rebalancing.told.get(&kind).is_none_or(|at| at.elapsed() >= SAME_REFUSAL);
            if due {
                self.rebalancing.told.insert(kind, Instant::now());
                let more = if count > 1 { format!(" (and {} more)", count - 1) } else { String::new() };
                let words = self.rebalancing.in_words(example);
                self.warn(Kind::StoragePool, &pool, &format!("{kind:?}"), &format!("{words}{more}")).await;
            }
        }
    }

    /// Gives what may be done to the leaders.
    async fn give(&mut self, plan: &Plan, desired: &Desired) {
        let auto = desired.nodes.values().any(|node| node.mode == Mode::Auto);
        for proposal in plan.proposals.iter().filter(|proposal| auto || rebalance::must_be_done(proposal)) {
            let shard = proposal.change.shard();
            if self.rebalancing.given.contains_key(&shard) {
                continue;
            }
            let job = u64::try_from((self.clock)().as_microsecond()).unwrap_or(1);
            let Some(order) = rebalance::order(proposal, job) else { continue };
            let Some(uri) = self.leader_of(shard) else { continue };
            self.rebalancing.given.insert(shard, (order.change.clone(), Instant::now()));
            self.rebalancing.asking.spawn(ask(uri, order));
        }
    }

    /// Where the node is that leads a shard.
    fn leader_of(&self, shard: ShardId) -> Option<String> {
        let leads = |status: &v1::NodeStatus| status.shards.iter().any(|told| told.shard == shard.0 && told.leads);
        let statuses = self.watches.latest();
        let (name, _) = statuses.iter().find(|(_, status)| leads(status))?;
        self.watches.heard_at(name)
    }
}

async fn ask(uri: String, order: Order) -> (Order, Result<(), String>) {
    let outcome = async {
        let mut client = watch::admin(&uri).map_err(|error| error.to_string())?;
        match tokio::time::timeout(PATIENCE, client.change_shard(order.request.clone())).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(status)) => Err(status.message().to_owned()),
            Err(_) => Err(format!("no answer within {PATIENCE:?}")),
        }
    };
    let outcome = outcome.await;
    (order, outcome)
}
