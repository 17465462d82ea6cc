//! The steps of a merge.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::future::join_all;

use super::{StepError, Taking};
use crate::command::{Absorb, Command, Freeze, Thaw};
use crate::host::merging::{FrozenShard, places};
use crate::host::{AskError, Asks};
use crate::job::JobKind;
use crate::machine::{Applied, ShardStore};
use crate::{Epoch, NodeId, ReplicaId, ShardId};

/// What a node may take to answer: it is asked again.
const ANSWER: Duration = Duration::from_secs(2);

impl<S: ShardStore, A: Asks> Taking<S, A> {
    /// The neighbour, and the epochs of both that the merge was decided by, the shard's own first.
    const fn right(&self) -> Option<(ShardId, Epoch, Epoch)> {
        match self.job.kind {
            JobKind::Merge { right, left_epoch, right_epoch } => Some((right, left_epoch, right_epoch)),
            _ => None,
        }
    }

    pub(super) async fn freeze(&mut self, nodes: &BTreeSet<NodeId>) -> Result<(), StepError> {
        let Some((right, left_epoch, epoch)) = self.right() else { return Ok(()) };
        let members = places(&self.resident.replica().group());
        let freeze = Freeze { into: self.resident.shard(), job: self.job.id, epoch, left_epoch, members };
        let asked = nodes.iter().map(|node| {
            let asked = self.asks.freeze(*node, right, freeze.clone());
            async move { (*node, tokio::time::timeout(ANSWER, asked).await) }
        });
        for (node, answer) in join_all(asked).await {
            match answer {
                Ok(Ok(Some(frozen))) => drop(self.done.merging.frozen.insert(node, frozen)),
                Ok(Err(AskError::Refused { reason, .. })) => self.done.merging.refused = Some(reason),
                other => tracing::debug!(node = node.0, ?other, "a shard is not frozen there yet"),
            }
        }
        Ok(())
    }

    pub(super) async fn absorb(
        &mut self,
        right: &FrozenShard,
        replicas: &[(ReplicaId, ReplicaId)],
    ) -> Result<(), StepError> {
        let absorb = Absorb {
            job: self.job.id,
            at_millis: self.now,
            right: right.descriptor.clone(),
            frozen_at: right.index,
            replicas: replicas.to_vec(),
        };
        if let Applied::Refused(reason) = self.resident.replica().propose(&Command::Absorb(absorb)).await? {
            tracing::debug!(job = self.job.id, reason, "a neighbour is not absorbed");
            let (view, id) = (self.resident.view(), self.job.id);
            // A cancellation was faster, or it is done: the next look shows which.
            let goes_on = view.jobs.running().is_some_and(|job| job.id == id && !job.cancelled && !job.cut_over);
            self.done.merging.refused = goes_on.then_some(reason);
        }
        Ok(())
    }

    pub(super) async fn thaw(&mut self, nodes: &BTreeSet<NodeId>) -> Result<(), StepError> {
        let Some((right, _, epoch)) = self.right() else { return Ok(()) };
        let thaw = Thaw { into: self.resident.shard(), job: self.job.id, epoch };
        let asked = nodes.iter().map(|node| tokio::time::timeout(ANSWER, self.asks.thaw(*node, right, thaw)));
        let answers = join_all(asked).await;
        self.done.merging.thawed = answers.iter().any(|answer| matches!(answer, Ok(Ok(true))));
        if !self.done.merging.thawed {
            tracing::debug!(job = self.job.id, ?answers, "a neighbour is not thawed yet");
        }
        Ok(())
    }
}
