//! Moves that have begun, up to their ends.

use std::collections::BTreeMap;
use std::time::Duration;

use thermocline_crds::Kind;
use thermocline_crds::v1alpha1::{MigrationPhase, MigrationStatus};
use thermocline_planner::{Epoch, Forecast, LogId, PoolName, Precondition, Proposal};
use thermocline_proto::v1;
use thermocline_proto::v1::change_shard_request::Change as Ask;

use super::{Controller, Scene};
use crate::home::Home;
use crate::migrations::{self, AskState, Following, Item, Step};
use crate::rebalance;

impl<H: Home> Controller<H> {
    pub(super) async fn follow(&mut self, scene: &Scene<'_>, told: &mut BTreeMap<String, MigrationStatus>) {
        let live = |uid: &str| scene.items.iter().any(|item| item.uid == uid && !item.is_over());
        let jobs = &self.memory.shard_jobs;
        self.migrations.asking.retain(|uid| live(uid) || jobs.contains_key(uid));
        for item in scene.items.iter().filter(|item| item.has_begun() && !item.is_over()) {
            let step = self.step_of_shard(item, scene);
            if let Some(refused) = &step.refused {
                self.failed(Kind::Migration, &item.name, "TooLate", refused).await;
            }
            let status = scene.told(item, &step);
            self.keep_told(item, status, told).await;
            if let Some(request) = step.ask {
                self.ask_leader(scene, &item.uid, request);
            }
        }
    }

    fn step_of_shard(&self, item: &Item, scene: &Scene<'_>) -> Step {
        let change = migrations::change(item, &scene.known);
        let planned = item.status.planned.as_ref();
        let began = item.status.started_at.as_ref().map_or(0, |time| time.0.as_millisecond());
        let following = Following {
            change: &change,
            desired: item.valid.desired,
            bytes_per_second: item.valid.bytes_per_second.map_or(0, |rate| rate.bytes()),
            job: item.job(),
            epoch: planned.map_or(0, |planned| planned.epoch.unsigned_abs()),
            began_ms: u64::try_from(began).unwrap_or_default(),
            asking: self.migrations.asking.state(&item.uid),
        };
        let mut step = following.next(&scene.known);
        step.words = scene.in_words(&step.words);
        step
    }

    /// Ends the jobs whose Migration was deleted, and forgets those that have ended.
    pub(super) fn end_left_jobs(&mut self, scene: &Scene<'_>) {
        let open = |uid: &str| scene.items.iter().any(|item| item.uid == uid && !item.is_over());
        let left: Vec<(String, u64)> =
            self.memory.shard_jobs.clone().into_iter().filter(|(uid, _)| !open(uid)).collect();
        for (uid, shard) in left {
            let Some(told) = rebalance::led(&scene.known, shard) else { continue };
            let id = migrations::job_of(&uid);
            let is_free = self.migrations.asking.state(&uid) == AskState::Free;
            match told.job.as_ref().filter(|job| job.job == id) {
                Some(job) if !job.cancelled && !job.cut_over && is_free => {
                    let control = v1::ControlJob { job: id, paused: None, bytes_per_second: None, cancel: true };
                    let change = Some(Ask::ControlJob(control));
                    self.ask_leader(scene, &uid, v1::ChangeShardRequest { shard, epoch: 0, change });
                }
                None if is_free => drop(self.memory.shard_jobs.remove(&uid)),
                _ => {}
            }
        }
    }
}

impl Scene<'_> {
    /// What is told of a move that has begun.
    fn told(&self, item: &Item, step: &Step) -> MigrationStatus {
        let mut status = migrations::tell(item, step.phase, &step.words, self.now);
        let undone = matches!(step.phase, MigrationPhase::Cancelled | MigrationPhase::Failed);
        let before = status.progress.unwrap_or(0);
        status.progress = Some(if undone { before } else { step.progress.max(before) });
        if let Some(bytes) = step.bytes {
            status.bytes_moved = i64::try_from(bytes).ok().max(status.bytes_moved);
        }
        if step.phase == MigrationPhase::Completed {
            let bytes = status.bytes_moved.unwrap_or(0).unsigned_abs();
            let began = item.status.started_at.as_ref().map_or(self.now, |time| time.0);
            let took = Duration::try_from(self.now.duration_since(began)).unwrap_or_default();
            let after = self.fleet().ok();
            let proposal = self.proposal(item);
            let forecast = item.status.forecast.as_deref();
            let result = migrations::result(&proposal, forecast, (bytes, took), after.as_ref(), &self.known);
            status.result = Some(Box::new(result));
        }
        status
    }

    /// A move as a proposal: on the shard as it was planned by, or as it is.
    pub(super) fn proposal(&self, item: &Item) -> Proposal {
        let told = rebalance::led(&self.known, item.shard.0);
        let planned = item.status.planned.as_ref();
        let now = |of: fn(&v1::ShardStatus) -> u64| told.map_or(0, of);
        let membership = LogId {
            // A new leader changes the term and no member.
            term: now(|told| told.term),
            index: planned
                .map_or_else(|| now(|told| told.members_changed_at), |one| one.members_changed_at.unsigned_abs()),
        };
        let epoch = planned.map_or_else(|| now(|told| told.epoch), |planned| planned.epoch.unsigned_abs());
        Proposal {
            pool: PoolName::from(""),
            change: migrations::change(item, &self.known),
            priority: item.priority(),
            reason: item.reason(),
            forecast: Forecast { bytes: 0, duration: Duration::ZERO, cost: 0, effects: Vec::new() },
            precondition: Precondition { epoch: Epoch(epoch), membership },
            needs_approval: false,
        }
    }
}
