//! From where a move begins to its end: what its shard's leader is asked next, and what is told.
//!
//! A replica that comes or goes and a merge are jobs of the leader's, known by their numbers for as long as they run and a while after. A leader
//! that goes elsewhere and a split are calls, seen by what came of them.

use thermocline_crds::v1alpha1::{Desired, MigrationPhase};
use thermocline_planner::fleet::Role;
use thermocline_planner::{Change, NodeId, ShardId};
use thermocline_proto::v1;
use thermocline_proto::v1::change_shard_request::Change as Ask;

use crate::rebalance::{Known, is_lost, led};

/// A learner that lacks no more entries than this is being compared.
const NEAR: u64 = 128;
/// The kind of a job that merges.
const MERGE: &str = "MergeShards";
/// Ended jobs that a leader remembers.
const REMEMBERED: usize = 8;

/// How it went when the leader was last asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AskState {
    /// It may be asked.
    Free,
    /// It is being asked, or was so short a while ago that it does not show yet.
    UnderWay,
    /// It has refused for so long that it will not do it.
    Refused(String),
}

/// A move that has begun.
#[derive(Debug, Clone)]
pub struct Following<'a> {
    /// What it does, by what is known now.
    pub change: &'a Change,
    /// What a person wishes.
    pub desired: Desired,
    /// Bytes a second; 0: the node's own limit.
    pub bytes_per_second: u64,
    /// The number of its job.
    pub job: u64,
    /// The epoch of the shard that it was begun by.
    pub epoch: u64,
    /// When it began, in milliseconds since 1970.
    pub began_ms: u64,
    /// How it went with the leader.
    pub asking: AskState,
}

/// What is next for it.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// The phase it is in.
    pub phase: MigrationPhase,
    /// Of a hundred parts, how many are done.
    pub progress: i32,
    /// Why, or how it ended, in words.
    pub words: String,
    /// What the leader is asked now.
    pub ask: Option<v1::ChangeShardRequest>,
    /// What a person wishes and cannot have any more.
    pub refused: Option<String>,
    /// Bytes that have moved, where it is told.
    pub bytes: Option<u64>,
}

impl Following<'_> {
    /// What is next.
    #[must_use]
    pub fn next(&self, known: &Known) -> Step {
        let Some(told) = led(known, self.change.shard().0) else {
            return step(MigrationPhase::Running, 0, format!("nobody leads {} now", self.change.shard()));
        };
        match self.change {
            Change::TransferLeader { to, .. } => {
                self.call(told.leader == to.0, 0, Ask::TransferLeader(v1::TransferLeader { node: to.0 }))
            }
            Change::SplitShard { shard, at } => {
                let split = v1::SplitShard { at: at.clone().into() };
                self.call(self.is_split(known, told, *shard, at), self.epoch, Ask::Split(split))
            }
            _ => self.job(known, told),
        }
    }

    fn is_split(&self, known: &Known, told: &v1::ShardStatus, shard: ShardId, at: &[u8]) -> bool {
        let split_off = |status: &v1::ShardStatus| status.shard != shard.0 && status.start == at;
        let mut shards = known.values().flat_map(|heard| &heard.status.shards);
        if at.is_empty() { told.epoch > self.epoch } else { shards.any(split_off) }
    }

    /// What a leader does at once.
    fn call(&self, done: bool, epoch: u64, ask: Ask) -> Step {
        if done {
            return step(MigrationPhase::Completed, 100, format!("done: {}", self.change));
        }
        match (&self.asking, self.desired) {
            (AskState::UnderWay, _) => step(MigrationPhase::Running, 50, "the leader was asked".to_owned()),
            (AskState::Refused(why), _) => step(MigrationPhase::Failed, 0, format!("the leader refuses: {why}")),
            (_, Desired::Cancel) => step(MigrationPhase::Cancelled, 0, "cancelled before it was done".to_owned()),
            (_, Desired::Pause) => step(MigrationPhase::Paused, 0, "spec.desired is Pause".to_owned()),
            (AskState::Free, Desired::Run) => {
                step(MigrationPhase::Running, 10, "the leader is asked".to_owned()).asks(self, epoch, ask)
            }
        }
    }

    fn job(&self, known: &Known, told: &v1::ShardStatus) -> Step {
        if let Some(job) = told.job.as_ref().filter(|job| job.job == self.job) {
            return self.running(known, told, job);
        }
        if let Some(ended) = told.ended.iter().find(|ended| ended.job == self.job) {
            return self.ended(known, ended);
        }
        if self.is_forgotten(told) {
            return step(MigrationPhase::Failed, 0, "how it ended is not known any more".to_owned());
        }
        match (&self.asking, self.desired) {
            (AskState::UnderWay, _) => step(MigrationPhase::Running, 0, "the leader was asked".to_owned()),
            (AskState::Refused(why), _) => step(MigrationPhase::Failed, 0, format!("the leader refuses: {why}")),
            (_, Desired::Cancel) => step(MigrationPhase::Cancelled, 0, "cancelled before anything changed".to_owned()),
            (_, Desired::Pause) => step(MigrationPhase::Paused, 0, "spec.desired is Pause".to_owned()),
            (AskState::Free, Desired::Run) => match self.begin() {
                Some(begin) => {
                    step(MigrationPhase::Running, 0, "the leader is asked".to_owned()).asks(self, self.epoch, begin)
                }
                None => step(MigrationPhase::Failed, 0, "it is no move of a replica".to_owned()),
            },
        }
    }

    /// Whether so many jobs have ended since that the leader would not know it any more.
    fn is_forgotten(&self, told: &v1::ShardStatus) -> bool {
        told.ended.len() >= REMEMBERED && told.ended.iter().all(|ended| ended.began_at_ms > self.began_ms)
    }

    fn begin(&self) -> Option<Ask> {
        let (job, bytes_per_second) = (self.job, self.bytes_per_second);
        let (from, to) = (self.change.from().map(|node| node.0), self.change.to().map(|node| node.0));
        Some(match self.change {
            Change::AddReplica { role, .. } => {
                let witness = *role == Role::Witness;
                Ask::AddReplica(v1::AddReplica { job, node: to?, witness, bytes_per_second })
            }
            Change::RemoveReplica { .. } => Ask::RemoveReplica(v1::RemoveReplica { job, node: from? }),
            Change::MoveReplica { exchange: Some(_), .. } => {
                Ask::ExchangeReplica(v1::ExchangeReplica { job, data: from?, witness: to?, bytes_per_second })
            }
            // Whatever it is by now: the leader looks whether it may.
            Change::MergeShards { right, .. } => Ask::Merge(v1::MergeShard { job, right: right.0, right_epoch: 0 }),
            Change::MoveReplica { .. } => {
                Ask::MoveReplica(v1::MoveReplica { job, from: from?, to: to?, bytes_per_second })
            }
            _ => return None,
        })
    }

    fn running(&self, known: &Known, told: &v1::ShardStatus, job: &v1::ShardJob) -> Step {
        let (phase, progress, words) = stage(told, job);
        let mut step = step(phase, progress, words.to_owned());
        step.bytes = Some(job.copied_bytes);
        let mut control = v1::ControlJob { job: self.job, paused: None, bytes_per_second: None, cancel: false };
        match self.desired {
            _ if job.cancelled => step.words = "what was begun is undone".to_owned(),
            // It would wait for that node for ever, and nothing else could be done for the shard meanwhile.
            _ if !job.cut_over
                && let Some(lost) = lost_arrival(known, job) =>
            {
                step.words = format!("{lost} is lost: what was begun is undone");
                control.cancel = true;
            }
            Desired::Cancel | Desired::Pause if job.cut_over => {
                let what = if job.kind == MERGE { "shards are one" } else { "members of the shard have changed" };
                step.refused =
                    Some(format!("{:?} is too late: the {what}, and what is left of the move is done", self.desired));
            }
            Desired::Cancel => control.cancel = true,
            // It is a matter of seconds.
            Desired::Pause if job.kind == MERGE => {}
            Desired::Pause if !job.paused => control.paused = Some(true),
            Desired::Run if job.paused => control.paused = Some(false),
            _ => {}
        }
        if job.bytes_per_second != self.bytes_per_second && !job.cancelled && !job.cut_over {
            control.bytes_per_second = Some(self.bytes_per_second);
        }
        let asks = control.cancel || control.paused.is_some() || control.bytes_per_second.is_some();
        if asks && self.asking == AskState::Free {
            // Of a job it does not matter how the shard was when it began.
            return step.asks(self, 0, Ask::ControlJob(control));
        }
        step
    }

    fn ended(&self, known: &Known, ended: &v1::ShardJob) -> Step {
        let fresh = |node: u64| known.get(&node).filter(|heard| heard.is_fresh());
        match ended.outcome.as_str() {
            "Done" if ended.kind == MERGE => step(MigrationPhase::Completed, 100, "the shards are one".to_owned()),
            "Cancelled" if ended.kind == MERGE && self.desired == Desired::Cancel => {
                step(MigrationPhase::Cancelled, 0, "cancelled; both shards are as before".to_owned())
            }
            _ if ended.kind == MERGE => step(MigrationPhase::Failed, 0, ended.message.clone()),
            "Done" if ended.leaving == 0 => step(MigrationPhase::Completed, 100, "the new replica votes".to_owned()),
            "Done" => match fresh(ended.from) {
                Some(source) if source.status.shards.iter().any(|shard| shard.replica == ended.leaving) => {
                    step(MigrationPhase::Running, 98, format!("the copy on {} is removed", source.name))
                }
                Some(source) => step(
                    MigrationPhase::Completed,
                    100,
                    format!("the members changed, and {} has no copy", source.name),
                ),
                // Whoever was there is gone, and knows by itself that it is no member when it is back.
                None => {
                    step(MigrationPhase::Completed, 100, format!("the members changed; {} is away", NodeId(ended.from)))
                }
            },
            "Cancelled" if self.desired == Desired::Cancel => {
                step(MigrationPhase::Cancelled, 0, "cancelled; the members are as before".to_owned())
            }
            "Cancelled" => {
                let lost = lost_arrival(known, ended).map(|lost| format!("{lost} was lost; what was begun is undone"));
                let words = lost.unwrap_or_else(|| "the copy was not what it was copied from".to_owned());
                step(MigrationPhase::Failed, 0, words)
            }
            _ => step(MigrationPhase::Failed, 0, ended.message.clone()),
        }
    }
}

impl Step {
    fn asks(mut self, of: &Following<'_>, epoch: u64, change: Ask) -> Self {
        self.ask = Some(v1::ChangeShardRequest { shard: of.change.shard().0, epoch, change: Some(change) });
        self
    }
}

const fn step(phase: MigrationPhase, progress: i32, words: String) -> Step {
    Step { phase, progress, words, ask: None, refused: None, bytes: None }
}

/// A node that a new replica of a job should come to, and that is lost.
fn lost_arrival(known: &Known, job: &v1::ShardJob) -> Option<NodeId> {
    // Of an exchange the new witness comes to where the data replica was.
    let witness_to = if job.leaving_witness == 0 { 0 } else { job.from };
    [job.to, witness_to].into_iter().find(|node| is_lost(known, *node)).map(NodeId)
}

/// How far a job is, by the members of its shard.
fn stage(told: &v1::ShardStatus, job: &v1::ShardJob) -> (MigrationPhase, i32, &'static str) {
    use MigrationPhase::{Paused, Running, Verifying};
    // Beside one that it trades places with there are two on the node.
    let is_new = |member: &&v1::MemberStatus| member.node == job.to && member.witness == job.witness;
    let leaves = told.members.iter().any(|member| member.replica == job.leaving);
    let arriving = told.members.iter().find(is_new).filter(|_| job.to != 0);
    let arrived = job.to == 0 || arriving.is_some_and(|member| member.votes);
    match arriving {
        _ if job.kind == MERGE && job.cut_over => (Running, 95, "the shards are one"),
        _ if job.kind == MERGE => (Running, 50, "the shard behind it is about to become a part of it"),
        _ if arrived && job.leaving != 0 && !leaves => (Running, 97, "the copy that was replaced is removed"),
        _ if arrived && job.to != 0 => (Running, 95, "the new replica votes, and the old one goes"),
        _ if job.cut_over => (Running, 90, "the members change"),
        _ if job.paused => (Paused, copied(job), "spec.desired is Pause"),
        _ if job.to == 0 => (Running, 10, "the replica goes"),
        None => (Running, 1, "the new replica is made"),
        Some(member) if member.lag.is_some_and(|lag| lag <= NEAR) => (Verifying, 85, "the copy is compared"),
        Some(_) => (Running, copied(job), "the new replica is filled"),
    }
}

/// The part of the way up to the comparison.
fn copied(job: &v1::ShardJob) -> i32 {
    let share = (job.copied_bytes.min(job.copy_bytes) as f64) / (job.copy_bytes.max(1) as f64);
    5 + (share * 75.0) as i32
}
