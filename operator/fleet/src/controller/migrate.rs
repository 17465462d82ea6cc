//! The part of a round that follows Migrations between media. Nodes are asked beside each other: one that is silent holds up no other.

use std::collections::BTreeMap;

use futures::future::join_all;
use thermocline_crds::v1alpha1::{MigrationPhase, Move, ValidatedKeyRange, ValidatedMigration};
use thermocline_crds::{Kind, Object};
use thermocline_proto::v1;

use super::Controller;
use crate::desired::Desired;
use crate::home::{Home, Observed, Presence};
use crate::migration::{self, Step};
use crate::moves;
use crate::reconcile;

impl<H: Home> Controller<H> {
    pub(super) async fn migrate(
        &mut self,
        objects: &[Object],
        desired: &Desired,
        observed: &BTreeMap<String, Observed>,
    ) -> BTreeMap<String, Step> {
        self.end_left_moves(observed).await;
        let mut steps = BTreeMap::new();
        let mut live = Vec::new();
        for object in objects {
            let Object::Migration(raw) = object else {
                continue;
            };
            // Those between nodes are followed elsewhere; one that cannot be parsed may be of either kind, and stays what it is.
            let parsed = ValidatedMigration::try_from(&raw.spec);
            let phase = raw.status.as_ref().map(|status| status.phase).unwrap_or_default();
            if phase.is_final() || parsed.as_ref().is_ok_and(|valid| valid.what.shard().is_some()) {
                continue;
            }
            let uid = raw.metadata.uid.clone().unwrap_or_else(|| object.name().to_owned());
            live.push(uid.clone());
            // While the cluster is paused nothing new is begun; what runs goes on.
            let Ok(valid) = parsed else {
                continue;
            };
            let Move::ChangeTier { range, to_tier } = &valid.what else {
                continue;
            };
            let step = self.step(&uid, object.name(), &valid, (range, to_tier.as_str()), desired).await;
            if step.phase != phase {
                let message = step.outcome.clone().unwrap_or_else(|| format!("to {to_tier}"));
                self.note(Kind::Migration, object.name(), &format!("{:?}", step.phase), &message).await;
            }
            if step.phase.is_final() {
                self.moves.forget(&uid);
            }
            steps.insert(object.name().to_owned(), step);
        }
        self.end_gone(&live).await;
        steps
    }

    /// Deleting a migration that runs cancels it.
    async fn end_gone(&self, live: &[String]) {
        let gone: Vec<String> = self.moves.known().into_iter().filter(|uid| !live.contains(uid)).collect();
        let running = gone.iter().flat_map(|uid| self.moves.running(uid).into_iter().map(move |node| (uid, node)));
        join_all(running.map(async |(uid, node)| {
            if let Some(uri) = self.watches.heard_at(&node)
                && let Err(status) = self.moves.cancel(uid, &node, &uri).await
            {
                tracing::warn!(node, reason = status.message(), "a move that nothing asks for is not ended yet");
            }
        }))
        .await;
        for uid in gone.iter().filter(|uid| self.moves.running(uid).is_empty()) {
            self.moves.forget(uid);
        }
    }

    /// Ends the moves that nobody follows: nothing asks for them any more, or they are begun anew.
    async fn end_left_moves(&self, observed: &BTreeMap<String, Observed>) {
        join_all(self.moves.left().into_iter().map(async |(place, id)| {
            let node = &place.1;
            let runs = observed.get(node).is_some_and(|seen| !matches!(seen.presence, Presence::Absent { .. }));
            // One that does not run has ended its moves with itself, one that is silent is asked when it is heard.
            let ended = match self.watches.heard_at(node) {
                _ if !runs => true,
                Some(uri) => moves::cancel(&uri, id).await.is_ok(),
                None => false,
            };
            if ended {
                self.moves.ended(&place);
            }
        }))
        .await;
    }

    async fn step(
        &mut self,
        uid: &str,
        name: &str,
        valid: &ValidatedMigration,
        (range, to_tier): (&ValidatedKeyRange, &str),
        desired: &Desired,
    ) -> Step {
        let owners = desired.nodes.iter().filter(|(_, node)| migration::overlaps(&node.run.config.range, range));
        let owners: Vec<String> = owners.map(|(name, _)| name.clone()).collect();
        if desired.nodes.is_empty() {
            return Step {
                begin: Vec::new(),
                cancel: Vec::new(),
                phase: MigrationPhase::Pending,
                progress: 0,
                bytes: 0,
                outcome: None,
                held: None,
            };
        }
        let step = migration::step(valid.desired, &self.moves.parts(uid, &owners));
        let statuses = self.watches.latest();
        for node in step.begin.iter().filter(|_| !desired.paused) {
            let Some(uri) = self.watches.heard_at(node).filter(|_| reconcile::serves(statuses.get(node))) else {
                continue;
            };
            let request = v1::MoveRangeRequest {
                start: range.start.clone().into(),
                end: range.end.clone().unwrap_or_default().into(),
                to_tier: to_tier.to_owned(),
                bytes_per_second: valid.bytes_per_second.map_or(0, |rate| rate.bytes()),
            };
            self.moves.begin(uid, node, uri, request);
        }
        let cancelled = join_all(step.cancel.iter().map(async |node| match self.watches.heard_at(node) {
            Some(uri) => self.moves.cancel(uid, node, &uri).await,
            None => Ok(()),
        }))
        .await;
        for status in cancelled.into_iter().filter_map(Result::err) {
            self.failed(Kind::Migration, name, "CancelRefused", status.message()).await;
        }
        step
    }
}
