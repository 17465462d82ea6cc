//! What is told of policies and migrations.

use thermocline_crds::condition::ConditionType;
use thermocline_crds::reasons::Reason;
use thermocline_crds::v1alpha1::{Migration, MigrationPolicy};

use super::{View, count, said};
use crate::migrations;

impl View<'_> {
    pub(super) fn policy(&self, policy: &mut MigrationPolicy) {
        let name = policy.metadata.name.clone().unwrap_or_default();
        let generation = policy.metadata.generation;
        let pools: Vec<&String> =
            self.desired.policy_of_pool.iter().filter(|(_, by)| **by == name).map(|(pool, _)| pool).collect();
        let status = policy.status.get_or_insert_default();
        status.observed_generation = generation;
        status.pools = pools.iter().map(|pool| (*pool).clone()).collect();
        let governed = self.desired.nodes.iter().filter(|(_, node)| pools.contains(&&node.pool));
        let waiting: Vec<&str> = governed
            .filter(|(name, node)| {
                self.statuses.get(*name).is_none_or(|status| status.policy_generation != node.policy.generation)
            })
            .map(|(name, _)| name.as_str())
            .collect();
        let verdict = match (self.desired.conflicts.get(&name), pools.as_slice(), waiting.as_slice()) {
            (Some(winners), [], _) => {
                said(false, Reason::Conflict, format!("{} governs its pools", winners.join(", ")))
            }
            (None, [], _) => said(false, Reason::ReferenceNotFound, "there is no pool yet"),
            (_, _, []) => said(true, Reason::InForce, "every node follows it"),
            (_, _, _) if self.desired.paused => said(false, Reason::Paused, "spec.pause of the cluster holds it back"),
            (_, _, waiting) => {
                said(false, Reason::Reconciling, format!("{} have not confirmed it", waiting.join(", ")))
            }
        };
        self.set(&mut status.conditions, ConditionType::InForce, verdict, generation);
    }

    pub(super) fn migration(&self, migration: &mut Migration) {
        let name = migration.metadata.name.clone().unwrap_or_default();
        let generation = migration.metadata.generation;
        if let Some(told) = self.shard_moves.get(&name) {
            migration.status = Some(told.clone());
            return;
        }
        let Some(step) = self.migrations.get(&name) else {
            return;
        };
        let status = migration.status.get_or_insert_default();
        status.observed_generation = generation;
        status.phase = step.phase;
        status.progress = Some(step.progress.max(status.progress.unwrap_or(0)));
        status.bytes_moved = Some(count(step.bytes).max(status.bytes_moved.unwrap_or(0)));
        status.outcome = step.outcome.clone();
        let done = || format!("{} of 100 parts are done", step.progress);
        let held = || step.held.as_ref().map(|why| format!("{}; it is tried again: {why}", done()));
        let words = step.outcome.clone().or_else(held).unwrap_or_else(done);
        migrations::conditions(&mut status.conditions, step.phase, &words, generation, self.now);
    }
}
