//! What the planner proposes becomes objects.

use std::collections::BTreeMap;
use std::time::Duration;

use thermocline_crds::v1alpha1::{Migration, MigrationStatus};
use thermocline_crds::{Kind, Object};
use thermocline_planner::{Plan, RefusalKind};
use tokio::time::Instant;

use super::{Controller, Scene};
use crate::chain::chain;
use crate::home::Home;
use crate::migrations;
use crate::rebalance;

/// Between two rounds of planning.
const EVERY: Duration = Duration::from_secs(1);
/// The same refusal is told once in so long.
const SAME_REFUSAL: Duration = Duration::from_secs(60);

impl<H: Home> Controller<H> {
    pub(super) async fn plan(
        &mut self,
        scene: &Scene<'_>,
        objects: &[Object],
        told: &mut BTreeMap<String, MigrationStatus>,
    ) {
        let rests = self.migrations.planned.is_some_and(|at| at.elapsed() < EVERY);
        if rests || scene.known.is_empty() {
            return;
        }
        self.migrations.planned = Some(Instant::now());
        let fleet = match scene.fleet() {
            Ok(fleet) => fleet,
            Err(error) => {
                // Nodes speak at different moments: what contradicts itself now agrees a moment later.
                let words = format!("nothing is planned, for what the nodes say does not agree: {}", chain(&error));
                self.failed(Kind::StorageCluster, "fleet", "FleetContradictsItself", &words).await;
                return;
            }
        };
        let plan = thermocline_planner::plan(&fleet, &rebalance::policies(scene.desired), scene.moment());
        self.tell_refusals(&plan, scene).await;
        let cluster = objects.iter().find(|object| object.kind() == Kind::StorageCluster).map(Object::name);
        let Some(cluster) = cluster else { return };
        let proposed = migrations::proposed(&plan.proposals, &scene.items, &scene.known, cluster, scene.now);
        for (name, by) in &proposed.overtaken {
            if let Some(item) = scene.items.iter().find(|item| item.name == *name) {
                let status = migrations::overtaken(item, by, scene.now);
                self.keep_told(item, status, told).await;
            }
        }
        for migration in proposed.new {
            self.make(migration).await;
        }
    }

    async fn make(&mut self, migration: Migration) {
        let name = migration.metadata.name.clone().unwrap_or_default();
        let why = format!("{:?}, {:?}", migration.spec.reason, migration.spec.priority);
        let object = Object::Migration(migration);
        let made = match self.home.apply(vec![object.clone()]).await {
            // Killed before this, it has no forecast and begins by what is so then.
            Ok(_) => self.home.write_status(object).await,
            Err(error) => Err(error),
        };
        if let Err(error) = made {
            self.failed(Kind::Migration, &name, "CannotMake", &chain(&error)).await;
            return;
        }
        self.note(Kind::Migration, &name, "Planned", &why).await;
    }

    /// Tells what the planner would do and must not, of each kind once in a while; what nobody could do, once.
    async fn tell_refusals(&mut self, plan: &Plan, scene: &Scene<'_>) {
        let pool = scene.desired.nodes.values().find(|node| node.replication.is_some()).map(|node| node.pool.clone());
        let pool = pool.unwrap_or_default();
        for (kind, count, examples) in plan.refusals.iter().filter(|(kind, ..)| *kind != RefusalKind::Paused) {
            let Some(example) = examples.first() else { continue };
            let words = scene.in_words(example);
            let again = kind != RefusalKind::NotPossible;
            let due = self.migrations.told.get(&kind).is_none_or(|at| again && at.elapsed() >= SAME_REFUSAL);
            if due {
                self.migrations.told.insert(kind, Instant::now());
                let more = if count > 1 { format!(" (and {} more)", count - 1) } else { String::new() };
                self.warn(Kind::StoragePool, &pool, &format!("{kind:?}"), &format!("{words}{more}")).await;
            }
        }
    }
}
