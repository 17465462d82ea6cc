//! Moves that have not begun: proposed, held up, or on their way.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use thermocline_crds::Kind;
use thermocline_crds::v1alpha1::{MigrationPhase, MigrationStatus, Move, Planned};
use thermocline_planner::fleet::OpenPhase;
use thermocline_planner::{Change, FleetState, Forecast, RefusalKind, forecast_again};

use super::{Controller, Scene};
use crate::chain::chain;
use crate::home::Home;
use crate::migrations::{self, Held, Item, Verdict, Waiting};
use crate::rebalance;

/// Moves that begin in a round: the fleet is judged anew after each of them.
const AT_ONCE: usize = 8;

impl<H: Home> Controller<H> {
    pub(super) async fn begin_moves(&mut self, scene: &mut Scene<'_>, told: &mut BTreeMap<String, MigrationStatus>) {
        let mut waiting: Vec<usize> = (0..scene.items.len()).collect();
        waiting.retain(|place| !scene.items[*place].has_begun() && !scene.items[*place].is_over());
        waiting.sort_by_key(|place| {
            let item = &scene.items[*place];
            (item.priority(), item.created, item.name.clone())
        });
        let mut begun = 0;
        for place in waiting {
            let item = scene.items[place].clone();
            let mut forecast = None;
            let verdict = scene.waiting(&item).next(|| {
                if begun >= AT_ONCE {
                    return Err(Held::ForNow("others begin first".to_owned()));
                }
                forecast = Some(scene.check(&item)?);
                Ok(())
            });
            let status = scene.told_of_waiting(&item, &verdict, forecast);
            if verdict == Verdict::Begin {
                begun += 1;
                self.remember_begun(&item);
                let words = scene.in_words(&migrations::change(&item, &scene.known));
                let pool = scene.pool(&item);
                self.note(Kind::StoragePool, &pool, "Moving", &format!("{words} ({})", item.name)).await;
                // Those that are judged after it see that it runs.
                scene.items[place].status = status.clone();
            }
            self.keep_told(&item, status, told).await;
        }
    }

    fn remember_begun(&mut self, item: &Item) {
        let is_job =
            !matches!(item.valid.what, Move::TransferLeader { .. } | Move::SplitShard { .. } | Move::ChangeTier { .. });
        if is_job {
            self.memory.shard_jobs.insert(item.uid.clone(), item.shard.0);
        }
    }
}

impl Scene<'_> {
    fn waiting(&self, item: &Item) -> Waiting {
        let mode = self.mode(item.shard);
        Waiting {
            planner_made: item.planner_made,
            approved: item.valid.approved,
            needs_approval: item.needs_approval(mode),
            unwanted: item.is_unwanted(mode),
            desired: item.valid.desired,
            age: Duration::try_from(self.now.duration_since(item.created)).unwrap_or_default(),
        }
    }

    fn pool(&self, item: &Item) -> String {
        let leader = rebalance::led(&self.known, item.shard.0).and_then(|told| self.known.get(&told.leader));
        let pool = leader.and_then(|leader| crate::desired::pool_of(&leader.name));
        pool.unwrap_or_default().to_owned()
    }

    /// Whether a move may begin now, and what it will take and do.
    fn check(&self, item: &Item) -> Result<Forecast, Held> {
        let proposal = self.proposal(item);
        if let Some(missing) = self.missing(item, &proposal.change) {
            return Err(Held::ForNow(missing));
        }
        let mut parts = self.parts();
        // Of two that wait for one shard only one is in there; this one is judged.
        parts.open.retain(|open| open.phase == OpenPhase::Running || open.change.shard() != item.shard);
        let fleet = FleetState::new(parts).map_err(|error| {
            // Nodes speak at different moments: what contradicts itself now agrees a moment later.
            Held::ForNow(format!("what the nodes say does not agree: {}", chain(&error)))
        })?;
        let (policies, now) = (rebalance::policies(self.desired), self.moment());
        forecast_again(&proposal, &fleet, &policies, now).map_err(|refusal| {
            let why = self.in_words(&refusal);
            match refusal.kind() {
                RefusalKind::Changed | RefusalKind::Gone | RefusalKind::NotNeeded | RefusalKind::NotPossible => {
                    Held::ForGood(why)
                }
                _ => Held::ForNow(why),
            }
        })
    }

    /// What a move names that nobody knows.
    fn missing(&self, item: &Item, change: &Change) -> Option<String> {
        if rebalance::led(&self.known, item.shard.0).is_none() {
            return Some(format!("nobody leads {}, or there is no such shard", item.shard));
        }
        if let Change::MergeShards { left, right } = change {
            return migrations::apart(&self.known, *left, *right);
        }
        let is_unknown =
            |node: Option<thermocline_planner::NodeId>| node.is_some_and(|node| !self.known.contains_key(&node.0));
        let named = |which: &str| format!("the node that spec.{which} names is not known");
        let (from, to) = (is_unknown(change.from()), is_unknown(change.to()));
        from.then(|| named("from")).or_else(|| to.then(|| named("to")))
    }

    fn told_of_waiting(&self, item: &Item, verdict: &Verdict, forecast: Option<Forecast>) -> MigrationStatus {
        let waits = if item.planner_made { MigrationPhase::Approved } else { MigrationPhase::Pending };
        let (phase, words) = match verdict {
            Verdict::Begin => (MigrationPhase::Running, "it has begun"),
            Verdict::Propose(words) => (MigrationPhase::Proposed, words.as_str()),
            Verdict::Wait(why) => (waits, why.as_str()),
            Verdict::Pause => (MigrationPhase::Paused, "spec.desired is Pause; nothing has begun"),
            Verdict::Cancel => (MigrationPhase::Cancelled, "cancelled before it began"),
            Verdict::Expire(why) => (MigrationPhase::Expired, why.as_str()),
        };
        let mut status = migrations::tell(item, phase, words, self.now);
        if *verdict == Verdict::Begin {
            let told = rebalance::led(&self.known, item.shard.0);
            let number = |of: u64| i64::try_from(of).unwrap_or(i64::MAX);
            let replica = match migrations::change(item, &self.known) {
                Change::MoveReplica { replica, .. } | Change::RemoveReplica { replica, .. } => Some(number(replica.0)),
                _ => None,
            };
            status.planned = told.map(|told| Planned {
                epoch: number(told.epoch),
                members_changed_at: number(told.members_changed_at),
                replica,
            });
            status.started_at = Some(Time(self.now));
            status.progress = Some(0);
            if status.forecast.is_none() {
                let told = |forecast| Box::new(migrations::forecast_told(&forecast, &self.known));
                status.forecast = forecast.map(told);
            }
        }
        status
    }
}
