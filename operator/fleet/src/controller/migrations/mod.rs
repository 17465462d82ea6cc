//! The part of a round that moves shards between nodes. Every move is a Migration: the planner's proposals become objects
//! (`plan`), one that waits is checked and begins (`begin`), and what has begun is followed to its end (`follow`). What is to be
//! done is decided in [`crate::migrations`]; the shards' leaders do it, and are asked in the background (`asking`).
//!
//! A move begins in two rounds: it is remembered and its object says so, and only then a leader is asked. So whoever takes over
//! knows of everything that a leader may have been asked.

mod asking;
mod begin;
mod follow;
mod plan;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use thermocline_crds::v1alpha1::{MigrationStatus, Mode};
use thermocline_crds::{Kind, Object};
use thermocline_planner::{FleetError, FleetParts, FleetState, Moment, RefusalKind, ShardId};
use thermocline_proto::v1;
use tokio::time::Instant;

use super::Controller;
use crate::chain::chain;
use crate::desired::{self, Desired};
use crate::home::Home;
use crate::migrations::{self, Item};
use crate::rebalance::{self, BusyShards, Heard, Known, LoadAverage, Moves};
use asking::Asking;

/// A silent node that has no members is forgotten after so long.
const FORGOTTEN: Duration = Duration::from_secs(60);

/// What is remembered of moves between nodes from round to round.
#[derive(Default)]
pub(super) struct Migrations {
    /// When it was last planned.
    planned: Option<Instant>,
    /// By a node's number: its name, what it said last with its load averaged, and when.
    heard: BTreeMap<u64, (String, v1::NodeStatus, Instant)>,
    averages: BTreeMap<u64, LoadAverage>,
    /// From when to when nodes were last silent.
    away: BTreeMap<u64, (Instant, Instant)>,
    busy: BusyShards,
    asking: Asking,
    /// When a refusal of a kind was told.
    told: BTreeMap<RefusalKind, Instant>,
}

/// What a round decides by.
struct Scene<'a> {
    desired: &'a Desired,
    known: Known,
    items: Vec<Item>,
    busy: BusyShards,
    now: Timestamp,
}

impl Migrations {
    fn hear(&mut self, heard: impl IntoIterator<Item = (String, (v1::NodeStatus, Instant))>) {
        for (name, (mut status, at)) in heard {
            self.average(&mut status, at);
            if let Some((_, _, before)) = self.heard.get(&status.node_id)
                && rebalance::was_away(at.saturating_duration_since(*before))
            {
                self.away.insert(status.node_id, (*before, at));
            }
            self.heard.insert(status.node_id, (name, status, at));
        }
        let now = Instant::now();
        // From now on they are waited for.
        for stranger in rebalance::strangers(&self.known()) {
            let status = v1::NodeStatus { node_id: stranger, ..v1::NodeStatus::default() };
            self.heard.insert(stranger, (format!("node {stranger}"), status, now));
        }
        let members: BTreeSet<u64> = self.members();
        self.heard.retain(|node, (_, _, at)| members.contains(node) || at.elapsed() < FORGOTTEN);
        self.averages.retain(|node, _| self.heard.contains_key(node));
        self.away.retain(|node, _| self.heard.contains_key(node));
    }

    fn average(&mut self, status: &mut v1::NodeStatus, at: Instant) {
        let Some(load) = status.load.as_mut() else { return };
        let before = self.heard.get(&status.node_id).map(|(_, _, before)| *before);
        let average = match (self.averages.get(&status.node_id), before) {
            (Some(average), Some(before)) => average.and(load, at.saturating_duration_since(before)),
            _ => LoadAverage::beginning(load),
        };
        average.tell(load);
        self.averages.insert(status.node_id, average);
    }

    /// Whether a node was emptied.
    pub(super) fn is_empty(&self, node: &str) -> bool {
        rebalance::is_empty(&self.known(), node)
    }

    /// The nodes that have members of shards.
    fn members(&self) -> BTreeSet<u64> {
        let shards = self.heard.values().flat_map(|(_, status, _)| &status.shards).filter(|shard| shard.leads);
        shards.flat_map(|shard| &shard.members).map(|member| member.node).collect()
    }

    fn known(&self) -> Known {
        let known = self.heard.iter().map(|(node, (name, status, at))| {
            let away = self.away.get(node).map(|(gone, back)| (gone.elapsed(), back.elapsed()));
            (*node, Heard { name: name.clone(), status: status.clone(), ago: at.elapsed(), away })
        });
        known.collect()
    }
}

impl Scene<'_> {
    /// The mode of a shard's pool.
    fn mode(&self, shard: ShardId) -> Mode {
        let leader = rebalance::led(&self.known, shard.0).map(|told| told.leader);
        let name = leader.and_then(|leader| self.known.get(&leader)).map(|heard| heard.name.as_str());
        let pool = name.and_then(desired::pool_of);
        let of_pool = |node: &&desired::DesiredNode| pool.is_none_or(|pool| node.pool == pool);
        let node = self.desired.nodes.values().filter(|node| node.replication.is_some()).find(of_pool);
        node.map(|node| node.mode).unwrap_or_default()
    }

    fn moves(&self) -> Moves {
        migrations::moves(&self.items, &self.known, |shard| self.mode(shard))
    }

    fn moment(&self) -> Moment {
        Moment(u64::try_from(self.now.as_millisecond()).unwrap_or_default())
    }

    fn parts(&self) -> FleetParts {
        let mut parts = rebalance::fleet_parts(self.desired, &self.known, &self.moves(), self.moment());
        self.busy.tell(&mut parts.shards);
        parts
    }

    fn fleet(&self) -> Result<FleetState, FleetError> {
        FleetState::new(self.parts())
    }

    /// A text of the planner with the names of the nodes instead of their numbers.
    fn in_words(&self, text: &impl std::fmt::Display) -> String {
        // The longest numbers first: one may begin another.
        let numbers = self.known.iter().rev().map(|(node, heard)| (format!("node {node}"), &heard.name));
        numbers.fold(text.to_string(), |text, (number, name)| text.replace(&number, name))
    }
}

impl<H: Home> Controller<H> {
    /// What is to be told of the moves between nodes.
    pub(super) async fn move_shards(
        &mut self,
        objects: &[Object],
        desired: &Desired,
    ) -> BTreeMap<String, MigrationStatus> {
        let replicates = |name: &str| desired.nodes.get(name).is_some_and(|node| node.replication.is_some());
        self.migrations.hear(self.watches.heard().into_iter().filter(|(name, _)| replicates(name)));
        let (known, items) = (self.migrations.known(), migrations::items(objects));
        let mut scene = Scene { desired, known, items, busy: BusyShards::default(), now: (self.clock)() };
        self.migrations.busy.observe(&scene.parts().shards, &rebalance::policies(desired), scene.moment());
        scene.busy = self.migrations.busy.clone();
        self.take_answers(&scene).await;
        self.end_left_jobs(&scene);
        let mut told = BTreeMap::new();
        self.follow(&scene, &mut told).await;
        // What runs goes on while the cluster is paused; nothing new is begun.
        if !desired.paused {
            self.begin_moves(&mut scene, &mut told).await;
            self.plan(&scene, objects, &mut told).await;
        }
        for name in migrations::superfluous(&scene.items, scene.now) {
            if let Err(error) = self.home.delete(Kind::Migration, &name).await {
                self.failed(Kind::Migration, &name, "CannotRemove", &chain(&error)).await;
            }
        }
        told
    }

    /// Keeps what is to be told of a move, and tells an event where its phase is another one.
    pub(super) async fn keep_told(
        &self,
        item: &Item,
        status: MigrationStatus,
        told: &mut BTreeMap<String, MigrationStatus>,
    ) {
        if status.phase != item.status.phase {
            let words = status.conditions.first().map(|condition| condition.message.clone()).unwrap_or_default();
            let reason = format!("{:?}", status.phase);
            self.note(Kind::Migration, &item.name, &reason, &words).await;
        }
        told.insert(item.name.clone(), status);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_node_that_hangs_on_an_open_stream_is_silent_since_it_last_spoke() {
        let (mut migrations, spoke) = (Migrations::default(), Instant::now());
        tokio::time::sleep(Duration::from_secs(12)).await;
        let status = v1::NodeStatus { node_id: 1, ..v1::NodeStatus::default() };
        migrations.hear([("main-0".to_owned(), (status, spoke))]);
        assert_eq!(migrations.known()[&1].ago, Duration::from_secs(12));
    }
}
