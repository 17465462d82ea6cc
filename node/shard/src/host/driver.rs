//! The leader's work beside answering: it carries out the jobs of its shards, and ends changes of members that a leader before
//! it left half done.

mod merge;

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use thermocline_engine::LogicalHash;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{AskError, Asks, Host, Progress, Resident, SendRate, SendRates, Step, next_step};
use crate::command::Command;
use crate::job::{Arrival, Job, JobChange, JobControl, JobEnd, JobOutcome};
use crate::machine::{Applied, ShardStore};
use crate::raft::{GroupView, HashError, Member, ProposeError, Transport};
use crate::{ReplicaId, Role};

/// How often the shards are looked at.
const EVERY: Duration = Duration::from_millis(50);
/// How long a step may take before it is begun anew.
const STEP: Duration = Duration::from_secs(120);
/// After a step that failed.
const PAUSE: Duration = Duration::from_millis(500);

/// Why a step was not done; it is tried again.
#[derive(Debug, thiserror::Error)]
enum StepError {
    #[error("ask another node")]
    Ask(#[from] AskError),
    #[error("ask the group")]
    Group(#[from] ProposeError),
    #[error("hash the shard")]
    Hash(#[from] HashError),
    #[error("{replica} holds something else than the leader's replica: {theirs:032x} instead of {ours:032x}")]
    Differs { replica: ReplicaId, ours: u128, theirs: u128 },
    #[error("the step took longer than {STEP:?}")]
    Slow,
}

/// Carries out the jobs of shards that are led here, until the host is gone.
pub(super) async fn drive<S: ShardStore, T: Transport, A: Asks>(
    host: Weak<Host<S, T>>,
    asks: Arc<A>,
    rates: Arc<SendRates>,
) {
    // What was done for the job of a replica's shard. Lost with the lead, and done again.
    let mut progress: BTreeMap<ReplicaId, (u64, Progress)> = BTreeMap::new();
    // Since when this one looks after a job; as long as it leads.
    let mut since: BTreeMap<ReplicaId, (u64, Instant)> = BTreeMap::new();
    let mut under_way: JoinSet<(ReplicaId, u64, Progress)> = JoinSet::new();
    let mut busy: std::collections::BTreeSet<ReplicaId> = std::collections::BTreeSet::new();
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            Some(Ok((replica, job, done))) = under_way.join_next(), if !under_way.is_empty() => {
                busy.remove(&replica);
                progress.insert(replica, (job, done));
            }
        }
        let Some(host) = host.upgrade() else { return };
        let all = host.all();
        progress.retain(|replica, _| all.iter().any(|resident| resident.replica().id() == *replica));
        since.retain(|replica, _| all.iter().any(|resident| resident.replica().id() == *replica));
        let mut sent = BTreeMap::new();
        for resident in all {
            let (replica, view) = (resident.replica().id(), resident.view());
            if !resident.replica().leads() || resident.replica().role() == Role::Witness {
                progress.remove(&replica);
                since.remove(&replica);
                continue;
            }
            if let Some(job) = view.jobs.running()
                && let Some((arriving, ..)) = job.kind.arriving()
            {
                sent.insert(arriving, SendRate { bytes_per_second: job.bytes_per_second, paused: job.paused });
            }
            if busy.contains(&replica) {
                continue;
            }
            let group = resident.replica().group();
            let Some(job) = view.jobs.running() else {
                if group.is_joint() {
                    busy.insert(replica);
                    under_way.spawn(finish_joint(resident, group));
                }
                continue;
            };
            let known = progress.get(&replica).filter(|(id, _)| *id == job.id);
            let mut done = known.map(|(_, done)| done.clone()).unwrap_or_default();
            let begun = since.entry(replica).or_insert_with(|| (job.id, Instant::now()));
            if begun.0 != job.id {
                *begun = (job.id, Instant::now());
            }
            done.merging.waited = begun.1.elapsed();
            let step = next_step(job, &group, &done);
            if matches!(step, Step::Wait(_)) {
                continue;
            }
            busy.insert(replica);
            let taking = Taking { now: host.now_millis(), asks: Arc::clone(&asks), resident, job: *job, done };
            under_way.spawn(taking.take(step));
        }
        rates.replace(sent);
    }
}

async fn finish_joint<S: ShardStore>(resident: Arc<Resident<S>>, group: GroupView) -> (ReplicaId, u64, Progress) {
    let replica = resident.replica().id();
    let voters = group.wanted_voters().into_iter().collect();
    if let Err(error) = resident.replica().change_voters(voters, false).await {
        tracing::debug!(replica = replica.0, %error, "the members are still changing");
        tokio::time::sleep(PAUSE).await;
    }
    (replica, 0, Progress::default())
}

/// A step that is being taken.
struct Taking<S: ShardStore, A> {
    resident: Arc<Resident<S>>,
    asks: Arc<A>,
    job: Job,
    done: Progress,
    now: u64,
}

impl<S: ShardStore, A: Asks> Taking<S, A> {
    async fn take(mut self, step: Step) -> (ReplicaId, u64, Progress) {
        let replica = self.resident.replica().id();
        let taken = tokio::time::timeout(STEP, self.try_step(&step)).await.unwrap_or(Err(StepError::Slow));
        if let Err(error) = taken {
            let error = super::chain(&error);
            tracing::warn!(
                replica = replica.0,
                job = self.job.id,
                ?step,
                error,
                "a step of a job failed; it is tried again"
            );
            tokio::time::sleep(PAUSE).await;
        }
        (replica, self.job.id, self.done)
    }

    async fn try_step(&mut self, step: &Step) -> Result<(), StepError> {
        let raft = Arc::clone(self.resident.replica());
        match step {
            Step::Wait(_) => Ok(()),
            Step::Create(new) => self.create(*new).await,
            Step::Learn(Arrival { replica, node, role }) => {
                raft.lose_beginning().await?;
                Ok(raft.add_learner(*replica, Member { node: *node, role: *role }).await?)
            }
            Step::Verify(new) => self.verify(*new).await,
            Step::CutOver => self.say(JobChange::CutOver(self.job.id)).await,
            Step::Voters(voters) => Ok(raft.change_voters(voters.iter().copied().collect(), false).await?),
            Step::Forget(learner) => Ok(raft.forget_learner(*learner).await?),
            Step::HandOver(to) => {
                raft.transfer_to(*to).await?;
                // Its election takes a moment; asked again at once, it would begin anew.
                tokio::time::sleep(PAUSE).await;
                Ok(())
            }
            Step::Clear(replica, node) => {
                match self.asks.remove(*node, *replica).await {
                    // A node that is gone removes it by itself when it is back: nobody speaks to the replica any more.
                    Ok(()) | Err(AskError::Unreachable { .. }) => {
                        self.done.cleared.insert(*replica);
                        Ok(())
                    }
                    Err(refused) => Err(refused.into()),
                }
            }
            Step::Freeze(nodes) => self.freeze(nodes).await,
            Step::Absorb(right, replicas) => self.absorb(right, replicas).await,
            Step::Thaw(nodes) => self.thaw(nodes).await,
            Step::Cancel(reason) => {
                self.done.merging.refused.get_or_insert_with(|| (*reason).to_owned());
                let cancel = JobControl { job: self.job.id, cancel: true, ..JobControl::default() };
                self.say(JobChange::Control(cancel)).await
            }
            Step::End(outcome, message) => {
                let refused = self.done.merging.refused.clone().filter(|_| *outcome == JobOutcome::Failed);
                self.end(*outcome, refused.unwrap_or_else(|| (*message).to_owned())).await
            }
        }
    }

    async fn create(&mut self, new: Arrival) -> Result<(), StepError> {
        let Arrival { replica, node, role } = new;
        let Some(descriptor) = self.resident.descriptor() else { return Ok(()) };
        match self.asks.create(node, replica, self.resident.shard(), role, descriptor.range).await {
            Ok(()) => {
                self.done.created.insert(replica);
                Ok(())
            }
            // It would be refused again. What was begun for the job before is taken back; where that is nothing, it ends.
            Err(AskError::Refused { reason, .. }) => self.give_up(new, reason).await,
            Err(unreachable) => Err(unreachable.into()),
        }
    }

    /// Ends a job that cannot go on.
    async fn give_up(&self, at: Arrival, reason: String) -> Result<(), StepError> {
        let is_first = self.job.kind.arrivals().first() == Some(&at);
        if is_first {
            return self.end(JobOutcome::Failed, reason).await;
        }
        tracing::warn!(job = self.job.id, replica = at.replica.0, reason, "a job cannot go on and is taken back");
        let cancel = JobControl { job: self.job.id, cancel: true, ..JobControl::default() };
        self.say(JobChange::Control(cancel)).await
    }

    /// Has both hash what the shard holds at the same entry. Where that takes longer than the step, the next one waits for the same.
    async fn verify(&mut self, new: Arrival) -> Result<(), StepError> {
        let index = match self.done.comparing {
            Some(index) => index,
            None => self.resident.replica().propose_at(&Command::Verify).await?,
        };
        self.done.comparing = Some(index);
        let hashed = self.hashes(new, index).await;
        if !matches!(hashed, Ok(_) | Err(StepError::Ask(AskError::Unreachable { .. }))) {
            // One of them was opened anew, or cannot be read: this one comes to no end.
            self.done.comparing = None;
        }
        let (ours, theirs) = hashed?;
        if ours != theirs {
            let differs = StepError::Differs { replica: new.replica, ours: ours.hash, theirs: theirs.hash };
            tracing::error!(job = self.job.id, error = %differs, "a copy is not what it was copied from; it is given up");
            let cancel = JobControl { job: self.job.id, cancel: true, ..JobControl::default() };
            return self.say(JobChange::Control(cancel)).await;
        }
        self.done.verified = true;
        Ok(())
    }

    /// What the leader's replica held at an entry, and what the new one did.
    async fn hashes(&self, new: Arrival, index: u64) -> Result<(LogicalHash, LogicalHash), StepError> {
        let ours = self.resident.replica().hash_at(index).await?;
        Ok((ours, self.asks.hash(new.node, new.replica, index).await?))
    }

    async fn end(&self, outcome: JobOutcome, message: String) -> Result<(), StepError> {
        self.say(JobChange::End(JobEnd { job: self.job.id, outcome, message, at_millis: self.now })).await
    }

    async fn say(&self, change: JobChange) -> Result<(), StepError> {
        match self.resident.replica().propose(&Command::Job(change)).await? {
            Applied::Refused(reason) => {
                // What another entry did meanwhile shows in the next look.
                tracing::debug!(job = self.job.id, reason, "the log did not take a change of a job");
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
