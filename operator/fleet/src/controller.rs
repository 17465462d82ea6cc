//! The loop that brings a home to what its objects declare: read, decide, execute, tell.
//!
//! Decisions are made in the pure modules; here is the I/O between them. A step that fails is told as an event and tried again
//! in the next round; only the home itself failing ends a round.

mod begin;
mod migrate;
mod migrations;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use thermocline_crds::{Kind, Object};
use thermocline_proto::v1;
use tokio::time::Instant;

use crate::chain::chain;
use crate::desired::{self, Desired, DesiredNode};
use crate::event::Event;
use crate::held_tiers::held_tiers;
use crate::home::{Home, NodeRun, Observed, Presence};
use crate::moves::Moves;
use crate::reconcile::{self, Action, Facts, Plan};
use crate::revision::Memory;
use crate::status::{self, View};
use crate::watch::{self, CALL, Watches};

/// Figures alone are written at most so often for each object.
const FIGURES: Duration = Duration::from_secs(10);
/// The same failure is told at most so often.
const SAME_FAILURE: Duration = Duration::from_secs(30);

/// What a round found.
#[derive(Debug, Clone, Default)]
pub struct Round {
    /// Nodes that are wanted.
    pub wanted: usize,
    /// Nodes that serve.
    pub serving: usize,
    /// Whether nothing is left to do.
    pub settled: bool,
}

/// Brings one home to what its objects declare.
pub struct Controller<H> {
    home: Arc<H>,
    clock: fn() -> Timestamp,
    watches: Watches,
    moves: Moves,
    memory: Memory,
    /// The memory as the home has it.
    remembered: Memory,
    published: Vec<NodeRun>,
    prepared: BTreeMap<String, NodeRun>,
    seen: BTreeMap<String, Observed>,
    figures_written: BTreeMap<(Kind, String), Instant>,
    failures: BTreeMap<String, (String, Instant)>,
    /// Nodes that could not be started when it was last tried, and why.
    unstarted: BTreeMap<String, String>,
    migrations: migrations::Migrations,
}

impl<H: Home> Controller<H> {
    /// Takes up a home as it was left.
    ///
    /// # Errors
    /// That what was remembered cannot be read.
    pub async fn new(home: Arc<H>, clock: fn() -> Timestamp) -> Result<Self, H::Error> {
        let memory = home.memory().await?;
        Ok(Self {
            home,
            clock,
            watches: Watches::default(),
            moves: Moves::taken_up(&memory.moves),
            remembered: memory.clone(),
            memory,
            published: Vec::new(),
            prepared: BTreeMap::new(),
            seen: BTreeMap::new(),
            figures_written: BTreeMap::new(),
            failures: BTreeMap::new(),
            unstarted: BTreeMap::new(),
            migrations: migrations::Migrations::default(),
        })
    }

    /// Waits until a node says something new.
    pub async fn node_changed(&self) {
        self.watches.changed().await;
    }

    /// One round: reads, decides, executes, tells. It may be dropped before its end: the next one goes on from what it finds.
    ///
    /// # Errors
    /// That the home cannot be read or written.
    pub async fn round(&mut self) -> Result<Round, H::Error> {
        self.go(true).await
    }

    /// Tells how things are without changing them: the end of a fleet that is being stopped.
    ///
    /// # Errors
    /// That the home cannot be read or written.
    pub async fn tell(&mut self) -> Result<(), H::Error> {
        self.go(false).await.map(|_| ())
    }

    async fn go(&mut self, act: bool) -> Result<Round, H::Error> {
        let objects = self.home.list().await?;
        let observed = self.home.observe().await?;
        let statuses = self.watches.latest();
        self.keep_ahead(&statuses, &objects);
        let mut desired = desired::desired(&objects, self.home.placement(), &mut self.memory);
        desired.release(|node| self.migrations.is_empty(node));
        self.watch(&desired, &observed);
        self.tell_ends(&observed).await;
        let (silent, held) = (self.watches.silent(), held_tiers(&objects));
        let facts = Facts { observed: &observed, statuses: &statuses, silent: &silent, held: &held };
        let plan = reconcile::reconcile(&desired, facts);
        let (mut steps, mut shard_moves) = (BTreeMap::new(), BTreeMap::new());
        if act {
            self.publish(&desired, &observed, &plan, &objects).await?;
            for (node, reason) in &plan.held {
                self.failed(Kind::StorageNode, node, "HeldBack", reason).await;
            }
            for action in &plan.actions {
                self.execute(action, &desired, &plan).await?;
            }
            if self.begin(&objects, &desired).await? {
                // The object says something that this round has not read.
                return Ok(Round { wanted: desired.nodes.len(), ..Round::default() });
            }
            shard_moves = self.move_shards(&objects, &desired).await;
            steps = self.migrate(&objects, &desired, &observed).await;
        }
        self.memory.moves = self.moves.ids();
        if self.memory != self.remembered {
            self.home.remember(&self.memory).await?;
            self.remembered.clone_from(&self.memory);
        }
        let observed = self.home.observe().await?;
        let statuses = self.watches.latest();
        let unstarted = self.unstarted.clone();
        self.write_statuses(
            &objects,
            View {
                desired: &desired,
                observed: &observed,
                statuses: &statuses,
                unstarted: &unstarted,
                plan: &plan,
                migrations: &steps,
                shard_moves: &shard_moves,
                now: (self.clock)(),
            },
        )
        .await?;
        self.seen = observed;
        let serving = desired.nodes.keys().filter(|name| reconcile::serves(statuses.get(*name))).count();
        Ok(Round { wanted: desired.nodes.len(), serving, settled: settled(&plan, serving, &desired) })
    }

    /// A node that knows a newer generation (the memory was lost, or a person sent it one) is overtaken, or it would refuse ours.
    fn keep_ahead(&mut self, statuses: &BTreeMap<String, v1::NodeStatus>, objects: &[Object]) {
        for pool in objects.iter().filter(|object| object.kind() == Kind::StoragePool).map(Object::name) {
            for (node, status) in statuses {
                if desired::pool_of(node) != Some(pool) {
                    continue;
                }
                let counted = [
                    (self.memory.policies.get_mut(pool), status.policy_generation),
                    (self.memory.tiers.get_mut(pool), status.tiers_generation),
                ];
                for (revision, told) in counted {
                    if let Some(revision) = revision.filter(|revision| revision.generation < told) {
                        revision.generation = told + 1;
                    }
                }
            }
        }
    }

    fn watch(&mut self, desired: &Desired, observed: &BTreeMap<String, Observed>) {
        let running = desired.nodes.iter().filter_map(|(name, node)| {
            let seen = observed.get(name).filter(|seen| !matches!(seen.presence, Presence::Absent { .. }))?;
            Some((name.clone(), self.home.admin_uri(&node.run_as_seen(Some(seen)))))
        });
        self.watches.watch(&running.collect());
    }

    /// Keeps the routing and what nodes are started with as declared, as far as they may have it now.
    async fn publish(
        &mut self,
        desired: &Desired,
        observed: &BTreeMap<String, Observed>,
        plan: &Plan,
        objects: &[Object],
    ) -> Result<(), H::Error> {
        // Nodes go on as they are, and clients must go on finding them.
        if desired.paused {
            return Ok(());
        }
        for (name, node) in desired.nodes.iter().filter(|(name, _)| !plan.held.contains_key(*name)) {
            if self.prepared.get(name) != Some(&node.run) {
                self.home.prepare(&node.run).await?;
                self.prepared.insert(name.clone(), node.run.clone());
            }
        }
        self.prepared.retain(|name, _| desired.nodes.contains_key(name));
        // Of nodes whose pool cannot be followed it is not known what to write; the routing stays.
        let runs: Vec<NodeRun> =
            desired.nodes.iter().map(|(name, node)| node.run_as_seen(observed.get(name))).collect();
        if runs != self.published && desired.unfollowed.is_empty() {
            self.home.publish(&runs).await?;
            self.published = runs;
        }
        // Of a pool that was deleted, also while nobody supervised.
        let nodes = objects.iter().filter(|object| object.kind() == Kind::StorageNode).map(Object::name);
        for gone in nodes.filter(|name| desired.is_left_over(name) && !desired.offline.contains(*name)) {
            self.home.forget_node(gone).await?;
        }
        Ok(())
    }

    async fn tell_ends(&self, observed: &BTreeMap<String, Observed>) {
        for (name, node) in observed {
            let ran = self.seen.get(name).is_some_and(|before| matches!(before.presence, Presence::Running { .. }));
            if let (true, Presence::Absent { ended: Some(ended) }) = (ran, &node.presence)
                && !ended.asked
            {
                tracing::warn!(node = name, reason = ended.reason, "a node ended by itself and is started again");
                self.warn(Kind::StorageNode, name, "Ended", &ended.reason).await;
            }
        }
    }

    async fn execute(&mut self, action: &Action, desired: &Desired, plan: &Plan) -> Result<(), H::Error> {
        let (Action::Run(name)
        | Action::Replace(name)
        | Action::Stop(name)
        | Action::SetPolicy(name)
        | Action::SetTiers(name)) = action;
        if let Action::Stop(name) = action {
            self.home.stop(name).await?;
            let why = match desired.offline.contains(name) {
                true => "it has given away everything, as spec.offline asks",
                false => "nothing asks for it any more; what is on its disks stays",
            };
            self.note(Kind::StorageNode, name, "Stopping", why).await;
            return Ok(());
        }
        let Some(node) = desired.nodes.get(name) else {
            return Ok(());
        };
        let uri = self.watches.heard_at(name).unwrap_or_else(|| self.home.admin_uri(&node.run));
        match action {
            // Not fatal: an address, a program or space that is missing now may be there at the next attempt.
            Action::Run(_) => match self.run(node, plan.held.contains_key(name)).await {
                Ok(run) => {
                    self.unstarted.remove(name);
                    self.note(Kind::StorageNode, name, "Started", &format!("at {}", run.config.listen.kv)).await;
                }
                Err(error) => {
                    let reason = chain(&error);
                    self.failed(Kind::StorageNode, name, "CannotStart", &reason).await;
                    self.unstarted.insert(name.clone(), reason);
                }
            },
            Action::Replace(_) => {
                self.home.replace(&node.run).await?;
                let why = "its configuration changed in what only a start can change";
                self.note(Kind::StorageNode, name, "Restarting", why).await;
            }
            Action::SetPolicy(_) => match set_policy(&uri, &node.policy).await {
                Ok(generation) => {
                    self.watches.note(name, |status| status.policy_generation = generation);
                    let words = format!("generation {generation} is in force");
                    self.note(Kind::StorageNode, name, "PolicySet", &words).await;
                }
                Err(reason) => self.failed(Kind::StorageNode, name, "PolicyRefused", &reason).await,
            },
            Action::SetTiers(_) => match set_tiers(&uri, &node.tiers).await {
                Ok(generation) => {
                    self.watches.note(name, |status| status.tiers_generation = generation);
                    let words = format!("generation {generation} is in force");
                    self.note(Kind::StorageNode, name, "TiersSet", &words).await;
                }
                Err(reason) => self.failed(Kind::StorageNode, name, "TiersRefused", &reason).await,
            },
            Action::Stop(_) => {}
        }
        Ok(())
    }

    /// Runs a node with what is declared or, where that is held back, as it was run before.
    async fn run(&self, node: &DesiredNode, held: bool) -> Result<NodeRun, H::Error> {
        let kept = if held { self.home.kept(&node.run.name).await? } else { None };
        let run = kept.map_or_else(|| node.run.clone(), desired::run_of);
        self.home.run(&run).await?;
        Ok(run)
    }

    async fn write_statuses(&mut self, objects: &[Object], view: View<'_>) -> Result<(), H::Error> {
        let mut outcome = Ok(());
        for new in status::told(objects, view) {
            let place = (new.kind(), new.name().to_owned());
            let old = objects.iter().find(|old| old.kind() == place.0 && old.name() == place.1);
            let rested = self.figures_written.get(&place).is_none_or(|at| at.elapsed() >= FIGURES);
            let due = old.is_none_or(|old| status::is_urgent(old, &new) || (rested && status::is_material(old, &new)));
            if due {
                match self.home.write_status(new).await {
                    Ok(()) => drop(self.figures_written.insert(place, Instant::now())),
                    // The others may still find room.
                    Err(error) => outcome = Err(error),
                }
            }
        }
        outcome
    }

    async fn note(&self, kind: Kind, name: &str, reason: &str, message: &str) {
        tracing::info!(%kind, name, reason, message);
        self.keep(Event::normal((self.clock)(), kind, name, reason, message)).await;
    }

    async fn warn(&self, kind: Kind, name: &str, reason: &str, message: &str) {
        self.keep(Event::warning((self.clock)(), kind, name, reason, message)).await;
    }

    /// An event that cannot be kept, such as on a full device, keeps nothing from being done.
    async fn keep(&self, event: Event) {
        if let Err(error) = self.home.event(event).await {
            tracing::error!(error = %chain(&error), "an event is not kept");
        }
    }

    /// A failure that comes again in every round is told once in a while.
    async fn failed(&mut self, kind: Kind, name: &str, reason: &str, message: &str) {
        let place = format!("{kind}/{name}/{reason}");
        let known = self.failures.get(&place);
        if known.is_some_and(|(told, at)| told == message && at.elapsed() < SAME_FAILURE) {
            return;
        }
        self.failures.insert(place, (message.to_owned(), Instant::now()));
        tracing::warn!(%kind, name, reason, message);
        self.warn(kind, name, reason, message).await;
    }
}

fn settled(plan: &Plan, serving: usize, desired: &Desired) -> bool {
    plan.actions.is_empty() && serving == desired.nodes.len()
}

async fn set_policy(uri: &str, policy: &v1::Policy) -> Result<u64, String> {
    let mut client = watch::admin(uri).map_err(|error| error.to_string())?;
    let call = client.set_policy(v1::SetPolicyRequest { policy: Some(policy.clone()) });
    match tokio::time::timeout(CALL, call).await {
        Ok(Ok(answer)) => Ok(answer.into_inner().generation),
        Ok(Err(status)) => Err(status.message().to_owned()),
        Err(_) => Err(format!("no answer within {CALL:?}")),
    }
}

async fn set_tiers(uri: &str, request: &v1::SetTiersRequest) -> Result<u64, String> {
    let mut client = watch::admin(uri).map_err(|error| error.to_string())?;
    match tokio::time::timeout(CALL, client.set_tiers(request.clone())).await {
        Ok(Ok(answer)) => Ok(answer.into_inner().generation),
        Ok(Err(status)) => Err(status.message().to_owned()),
        Err(_) => Err(format!("no answer within {CALL:?}")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests;
