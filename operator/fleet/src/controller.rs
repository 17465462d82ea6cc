//! The loop that brings a home to what its objects declare: read, decide, execute, tell.
//!
//! Decisions are made in the pure modules; here is the I/O between them. A step that fails is told as an event and tried again
//! in the next round; only the home itself failing ends a round.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use thermocline_crds::v1alpha1::{MigrationPhase, ValidatedMigration};
use thermocline_crds::{Kind, Object};
use thermocline_proto::v1;
use tokio::time::Instant;

use crate::chain::chain;
use crate::desired::{self, Desired};
use crate::event::Event;
use crate::home::{Home, NodeRun, Observed, Presence};
use crate::migration::{self, Step};
use crate::moves::{self, Moves};
use crate::reconcile::{self, Action, Plan};
use crate::revision::Memory;
use crate::status::{self, View};
use crate::watch::{self, Watches};

/// Figures alone are written at most so often for each object.
const FIGURES: Duration = Duration::from_secs(10);
/// A call of a node's control plane takes no longer.
const CALL: Duration = Duration::from_secs(5);
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
    /// Moves that an earlier controller began: they are ended before they are begun again.
    orphans: BTreeMap<String, BTreeMap<String, u64>>,
    published: Vec<NodeRun>,
    prepared: BTreeMap<String, NodeRun>,
    seen: BTreeMap<String, Observed>,
    figures_written: BTreeMap<(Kind, String), Instant>,
    failures: BTreeMap<String, (String, Instant)>,
    /// Nodes that could not be started when it was last tried, and why.
    unstarted: BTreeMap<String, String>,
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
            moves: Moves::default(),
            orphans: memory.moves.clone(),
            memory,
            published: Vec::new(),
            prepared: BTreeMap::new(),
            seen: BTreeMap::new(),
            figures_written: BTreeMap::new(),
            failures: BTreeMap::new(),
            unstarted: BTreeMap::new(),
        })
    }

    /// Waits until a node says something new.
    pub async fn node_changed(&self) {
        self.watches.changed().await;
    }

    /// One round: reads, decides, executes, tells.
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
        let memory = self.memory.clone();
        self.keep_ahead(&statuses, &objects);
        let desired = desired::desired(&objects, self.home.placement(), &mut self.memory);
        self.watch(&desired, &observed);
        self.tell_ends(&observed).await;
        let plan = reconcile::reconcile(&desired, &observed, &statuses);
        let mut steps = BTreeMap::new();
        if act {
            self.publish(&desired, &objects).await?;
            for (node, reason) in &plan.held {
                self.failed(Kind::StorageNode, node, "HeldBack", reason).await;
            }
            for action in &plan.actions {
                self.execute(action, &desired).await?;
            }
            steps = self.migrate(&objects, &desired).await?;
        }
        self.memory.moves = self.moves.ids();
        if self.memory != memory {
            self.home.remember(&self.memory).await?;
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
                if node.rsplit_once('-').is_none_or(|(of, _)| of != pool) {
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
        let runs =
            |name: &String| observed.get(name).is_some_and(|node| !matches!(node.presence, Presence::Absent { .. }));
        let wanted = desired.nodes.iter().filter(|(name, _)| runs(name));
        let uris = wanted.map(|(name, node)| (name.clone(), self.home.admin_uri(&node.run))).collect();
        self.watches.watch(&uris);
    }

    /// Keeps the routing and what nodes are started with as declared.
    async fn publish(&mut self, desired: &Desired, objects: &[Object]) -> Result<(), H::Error> {
        let runs: Vec<NodeRun> = desired.nodes.values().map(|node| node.run.clone()).collect();
        if !desired.paused {
            for run in &runs {
                if self.prepared.get(&run.name) != Some(run) {
                    self.home.prepare(run).await?;
                    self.prepared.insert(run.name.clone(), run.clone());
                }
            }
        }
        if runs != self.published {
            self.home.publish(&runs).await?;
            self.published = runs;
        }
        self.prepared.retain(|name, _| desired.nodes.contains_key(name));
        // Of a pool that was deleted, also while nobody supervised.
        let nodes = objects.iter().filter(|object| object.kind() == Kind::StorageNode).map(Object::name);
        for gone in nodes.filter(|name| !desired.nodes.contains_key(*name)) {
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

    async fn execute(&mut self, action: &Action, desired: &Desired) -> Result<(), H::Error> {
        let (Action::Run(name)
        | Action::Replace(name)
        | Action::Stop(name)
        | Action::SetPolicy(name)
        | Action::SetTiers(name)) = action;
        if let Action::Stop(name) = action {
            self.home.stop(name).await?;
            self.note(Kind::StorageNode, name, "Stopping", "nothing asks for it any more; its data stays").await;
            return Ok(());
        }
        let Some(node) = desired.nodes.get(name) else {
            return Ok(());
        };
        let uri = self.home.admin_uri(&node.run);
        match action {
            // Not fatal: an address, a program or space that is missing now may be there at the next attempt.
            Action::Run(_) => match self.home.run(&node.run).await {
                Ok(()) => {
                    self.unstarted.remove(name);
                    self.note(Kind::StorageNode, name, "Started", &format!("at {}", node.run.config.listen.kv)).await;
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

    async fn migrate(&mut self, objects: &[Object], desired: &Desired) -> Result<BTreeMap<String, Step>, H::Error> {
        let mut steps = BTreeMap::new();
        let mut live = Vec::new();
        for object in objects {
            let Object::Migration(raw) = object else {
                continue;
            };
            let phase = raw.status.as_ref().map(|status| status.phase).unwrap_or_default();
            if migration::is_final(phase) {
                continue;
            }
            live.push(object.name().to_owned());
            // While the cluster is paused nothing new is begun; what runs goes on.
            let Ok(valid) = ValidatedMigration::try_from(&raw.spec) else {
                continue;
            };
            let step = self.step(object.name(), &valid, desired).await?;
            if step.phase != phase {
                let message = step.outcome.clone().unwrap_or_else(|| format!("to {}", valid.to_tier));
                self.note(Kind::Migration, object.name(), &format!("{:?}", step.phase), &message).await;
            }
            if migration::is_final(step.phase) {
                self.moves.forget(object.name());
            }
            steps.insert(object.name().to_owned(), step);
        }
        // Deleting a migration that runs cancels it.
        for gone in self.moves.known().into_iter().filter(|name| !live.contains(name)) {
            for node in self.moves.running(&gone) {
                if let Some(to) = desired.nodes.get(&node) {
                    let _ = self.moves.cancel(&gone, &node, &self.home.admin_uri(&to.run)).await;
                }
            }
            if self.moves.running(&gone).is_empty() {
                self.moves.forget(&gone);
            }
        }
        Ok(steps)
    }

    async fn step(&mut self, name: &str, valid: &ValidatedMigration, desired: &Desired) -> Result<Step, H::Error> {
        if let Some(orphans) = self.orphans.remove(name) {
            for (node, id) in orphans {
                if let Some(to) = desired.nodes.get(&node) {
                    // A node that is gone has ended its moves with it.
                    let _ = moves::cancel(&self.home.admin_uri(&to.run), id).await;
                }
            }
        }
        let owners = desired.nodes.iter().filter(|(_, node)| migration::overlaps(&node.run.config.range, &valid.range));
        let owners: Vec<String> = owners.map(|(name, _)| name.clone()).collect();
        if desired.nodes.is_empty() {
            return Ok(Step {
                begin: Vec::new(),
                cancel: Vec::new(),
                phase: MigrationPhase::Pending,
                progress: 0,
                bytes: 0,
                outcome: None,
            });
        }
        let step = migration::step(valid.desired, &self.moves.parts(name, &owners));
        let serving = self.watches.latest();
        for node in &step.begin {
            let Some(to) = desired.nodes.get(node).filter(|_| !desired.paused) else {
                continue;
            };
            if !reconcile::serves(serving.get(node)) {
                continue;
            }
            let request = v1::MoveRangeRequest {
                start: valid.range.start.clone().into(),
                end: valid.range.end.clone().unwrap_or_default().into(),
                to_tier: valid.to_tier.to_string(),
                bytes_per_second: valid.bytes_per_second.map_or(0, |rate| rate.bytes()),
            };
            self.moves.begin(name, node, self.home.admin_uri(&to.run), request);
        }
        for node in &step.cancel {
            if let Some(to) = desired.nodes.get(node)
                && let Err(status) = self.moves.cancel(name, node, &self.home.admin_uri(&to.run)).await
            {
                self.failed(Kind::Migration, name, "CancelRefused", status.message()).await;
            }
        }
        Ok(step)
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
