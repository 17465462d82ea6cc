//! The cluster's side of the control plane: beginning it, changing shards, telling how they are.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use thermocline_engine::Engine;
use thermocline_proto::v1;
use thermocline_proto::v1::change_shard_request::Change;
use thermocline_shard::command::{Command, Split};
use thermocline_shard::host::{MergeRefusal, MergeSide, Resident, may_merge};
use thermocline_shard::job::{Job, JobChange, JobControl, JobEnd, JobKind, JobOutcome};
use thermocline_shard::machine::Applied;
use thermocline_shard::raft::{GroupView, ProposeError};
use thermocline_shard::{Epoch, NodeId, ReplicaId, Role, ShardDescriptor, ShardId};
use tonic::Status;

use crate::cluster::{Cluster, ClusterError, Copies, SplitKey};
use crate::service::limits;
use crate::telemetry::chain;

/// How long a new leader may take to lead.
const HAND_OVER: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(20);

/// The cluster, or why there is none.
pub(super) fn cluster(cluster: Option<&Arc<Cluster>>) -> Result<&Arc<Cluster>, Status> {
    cluster.ok_or_else(|| Status::unimplemented("this node stands alone: its configuration has no `shards`"))
}

/// Begins the cluster here.
pub(super) async fn initialize(
    cluster: &Arc<Cluster>,
    request: v1::InitializeRequest,
) -> Result<v1::InitializeResponse, Status> {
    if request.cluster_id != cluster.id {
        let (ours, theirs) = (&cluster.id, request.cluster_id);
        return Err(Status::failed_precondition(format!("this node is of cluster {ours}, not of {theirs}")));
    }
    let node = cluster.book.me().0;
    let has_joined = cluster.host.of_shard(ShardId::META).is_some() && !cluster.began_here();
    if has_joined || cluster.book.meta_nodes().iter().any(|meta| meta.0 != node) {
        return Err(Status::failed_precondition("the cluster has begun on another node"));
    }
    cluster.initialize().await.map_err(|error: ClusterError| Status::unavailable(chain(&error)))?;
    Ok(v1::InitializeResponse { node })
}

/// Changes a shard that is led here.
pub(super) async fn change(
    cluster: &Arc<Cluster>,
    engine: &Engine,
    request: v1::ChangeShardRequest,
) -> Result<v1::ChangeShardResponse, Status> {
    let shard = ShardId(request.shard);
    let changing = Changing::of(cluster, shard)?;
    if request.epoch != 0 && Epoch(request.epoch) != changing.descriptor.epoch {
        let now = changing.descriptor.epoch;
        return Err(Status::failed_precondition(format!(
            "{shard} is at {now}, not at epoch {}: look again",
            request.epoch
        )));
    }
    let change = request.change.ok_or_else(|| Status::invalid_argument("change is missing; it must say what to do"))?;
    match change {
        Change::Split(split) => {
            let new_shard = changing.split(engine, split.at).await?.0;
            return Ok(v1::ChangeShardResponse { new_shard });
        }
        Change::TransferLeader(transfer) => changing.transfer(NodeId(transfer.node)).await?,
        Change::AddReplica(add) => {
            let (node, role) = (NodeId(add.node), if add.witness { Role::Witness } else { Role::Data });
            changing.must_be_free(node)?;
            let replica = changing.new_replica().await?;
            changing.begin(add.job, JobKind::Add { replica, node, role }, add.bytes_per_second).await?;
        }
        Change::RemoveReplica(remove) => {
            let leaving_node = NodeId(remove.node);
            let (leaving, _) = changing.member_on(leaving_node)?;
            changing.begin(remove.job, JobKind::Remove { leaving, leaving_node }, 0).await?;
        }
        Change::MoveReplica(order) => {
            let (leaving_node, node) = (NodeId(order.from), NodeId(order.to));
            let (leaving, role) = changing.member_on(leaving_node)?;
            changing.must_be_free(node)?;
            let replica = changing.new_replica().await?;
            let kind = JobKind::Move { replica, node, role, leaving, leaving_node };
            changing.begin(order.job, kind, order.bytes_per_second).await?;
        }
        Change::ExchangeReplica(order) => {
            let kind = changing.exchange(NodeId(order.data), NodeId(order.witness)).await?;
            changing.begin(order.job, kind, order.bytes_per_second).await?;
        }
        Change::Merge(order) => {
            let v1::MergeShard { job, right, right_epoch } = order;
            let kind = changing.merge(ShardId(right), Epoch(right_epoch), job)?;
            changing.begin(job, kind, 0).await?;
        }
        Change::ControlJob(control) => {
            let v1::ControlJob { job, paused, bytes_per_second, cancel } = control;
            changing.say(JobChange::Control(JobControl { job, paused, bytes_per_second, cancel })).await?;
        }
    }
    Ok(v1::ChangeShardResponse { new_shard: 0 })
}

/// A shard that is led here and is to be changed.
struct Changing<'a> {
    cluster: &'a Arc<Cluster>,
    resident: Arc<Resident<Engine>>,
    descriptor: ShardDescriptor,
    group: GroupView,
}

impl<'a> Changing<'a> {
    fn of(cluster: &'a Arc<Cluster>, shard: ShardId) -> Result<Self, Status> {
        let resident = cluster.host.of_shard(shard);
        let resident = resident.ok_or_else(|| Status::not_found(format!("{shard} has no replica on this node")))?;
        let group = resident.replica().group();
        let elsewhere = |message: String| {
            let routes = cluster.router.of_resident(&resident).into_iter().collect();
            crate::service::kv::with_routes(Status::unavailable(message), routes)
        };
        if !group.leads() || resident.replica().role() == Role::Witness {
            return Err(elsewhere(format!("another node leads {shard}: ask that one")));
        }
        let descriptor = resident.descriptor();
        let descriptor = descriptor.ok_or_else(|| elsewhere(format!("{shard} has not begun yet; try again")))?;
        Ok(Self { cluster, resident, descriptor, group })
    }

    fn member_on(&self, node: NodeId) -> Result<(ReplicaId, Role), Status> {
        let found = self.group.members.iter().find(|(_, member)| member.node == node);
        let absent = || Status::failed_precondition(format!("{} has no replica on {node}", self.descriptor.shard));
        found.map(|(id, member)| (*id, member.role)).ok_or_else(absent)
    }

    /// Two voters of a shard on one node would fall together.
    fn must_be_free(&self, node: NodeId) -> Result<(), Status> {
        if self.cluster.book.node(node).is_none() {
            return Err(Status::failed_precondition(format!("{node} is not known")));
        }
        match self.member_on(node) {
            Ok((replica, _)) => Err(Status::failed_precondition(format!(
                "{node} has {replica} of {} already: never two on one node",
                self.descriptor.shard
            ))),
            Err(_) => Ok(()),
        }
    }

    /// What lets a data replica and the witness trade places.
    async fn exchange(&self, leaving_node: NodeId, node: NodeId) -> Result<JobKind, Status> {
        let ((leaving, data), (leaving_witness, witness)) = (self.member_on(leaving_node)?, self.member_on(node)?);
        if (data, witness) != (Role::Data, Role::Witness) {
            let shard = self.descriptor.shard;
            return Err(Status::failed_precondition(format!(
                "a data replica is exchanged with the witness: of {shard} {leaving_node} must have the one and {node} the other"
            )));
        }
        let (replica, witness) = (self.new_replica().await?, self.new_replica().await?);
        Ok(JobKind::Exchange { replica, node, witness, leaving, leaving_node, leaving_witness })
    }

    /// What makes the right neighbour a part of the shard. It has the same members, so a replica of it is here.
    fn merge(&self, right: ShardId, epoch: Epoch, job: u64) -> Result<JobKind, Status> {
        let refused = |error: MergeRefusal| Status::failed_precondition(error.to_string());
        let not_here = || {
            let shard = self.descriptor.shard;
            Status::failed_precondition(format!(
                "{right} has no replica beside that of {shard}: shards that are merged have the same members"
            ))
        };
        let left = MergeSide::of(&self.resident).ok_or_else(not_here)?;
        let left_epoch = left.descriptor.epoch;
        // Asked for again, when the neighbour may be gone.
        if self.resident.view().jobs.knows(job) {
            return Ok(JobKind::Merge { right, left_epoch, right_epoch: epoch });
        }
        let other = self.cluster.host.of_shard(right).and_then(|resident| MergeSide::of(&resident));
        let other = other.ok_or_else(not_here)?;
        let right_epoch = other.descriptor.epoch;
        if epoch != Epoch(0) && epoch != right_epoch {
            return Err(Status::failed_precondition(format!(
                "{right} is at {right_epoch}, not at {epoch}: look again"
            )));
        }
        may_merge(&left, &other).map_err(refused)?;
        Ok(JobKind::Merge { right, left_epoch, right_epoch })
    }

    async fn new_replica(&self) -> Result<ReplicaId, Status> {
        let given = self.cluster.directory.allocate(1).await;
        given.map(ReplicaId).map_err(|error| Status::unavailable(chain(&error)))
    }

    async fn begin(&self, id: u64, kind: JobKind, bytes_per_second: u64) -> Result<(), Status> {
        if id == 0 {
            return Err(Status::invalid_argument("job is 0; it must be a number that no other job of the shard had"));
        }
        let begun_at_millis = self.cluster.host.now_millis();
        let job = Job { id, kind, bytes_per_second, paused: false, cancelled: false, cut_over: false, begun_at_millis };
        self.say(JobChange::Begin(job)).await
    }

    async fn say(&self, change: JobChange) -> Result<(), Status> {
        self.propose(&Command::Job(change)).await.map(drop)
    }

    async fn propose(&self, command: &Command) -> Result<Applied, Status> {
        match self.resident.replica().propose(command).await {
            Ok(Applied::Refused(reason)) => Err(Status::failed_precondition(reason)),
            Ok(applied) => Ok(applied),
            Err(error @ ProposeError::NotLeader { .. }) => {
                let routes = self.cluster.router.of_resident(&self.resident).into_iter().collect();
                Err(crate::service::kv::with_routes(Status::unavailable(error.to_string()), routes))
            }
            Err(error) => Err(Status::unavailable(chain(&error))),
        }
    }

    async fn transfer(&self, node: NodeId) -> Result<(), Status> {
        let (replica, role) = self.member_on(node)?;
        if role == Role::Witness || !self.group.votes(replica) {
            return Err(Status::failed_precondition(format!(
                "{replica} on {node} has no data or does not vote: it cannot lead"
            )));
        }
        let raft = self.resident.replica();
        let until = tokio::time::Instant::now() + HAND_OVER;
        while raft.group().leader != Some(replica) {
            if tokio::time::Instant::now() >= until {
                return Err(Status::unavailable(format!("{node} did not take the lead within {HAND_OVER:?}")));
            }
            if raft.group().leads() {
                raft.transfer_to(replica).await.map_err(|error| Status::unavailable(chain(&error)))?;
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    async fn split(&self, engine: &Engine, at: Bytes) -> Result<ShardId, Status> {
        limits::at_most("split.at", "bytes of a key", at.len(), thermocline_proto::MAX_KEY_BYTES)?;
        if self.descriptor.shard == ShardId::META {
            // Who looks for a shard asks one group, by key.
            return Err(Status::failed_precondition("shard 0 holds the index of all shards and stays whole"));
        }
        let at = if at.is_empty() { self.middle(engine).await? } else { at };
        let count = self.group.members.len() as u64;
        let first = self.cluster.directory.allocate(count + 1).await;
        let first = first.map_err(|error| Status::unavailable(chain(&error)))?;
        let beside = self.group.members.keys().copied().zip((first + 1..).map(ReplicaId));
        let (epoch, right) = (self.descriptor.epoch, ShardId(first));
        let split = Split { at, epoch, right, replicas: beside.collect() };
        self.propose(&Command::Split(split)).await.map(|_| right)
    }

    /// A key with about as many of the shard's bytes before it as from it on.
    async fn middle(&self, engine: &Engine) -> Result<Bytes, Status> {
        let (engine, range) = (engine.clone(), self.descriptor.range.clone());
        let found = tokio::task::spawn_blocking(move || engine.middle_key(&range)).await;
        let found = found.map_err(|error| Status::internal(error.to_string()))?;
        let found = found.map_err(|error| crate::service::status::of_engine(&error))?;
        found.ok_or_else(|| Status::failed_precondition("the shard has fewer than two keys: there is nothing to split"))
    }
}

/// How the replicas of a node are; `tiers` are the names of the node's.
pub fn statuses(cluster: &Cluster, tiers: &[&str]) -> Vec<v1::ShardStatus> {
    let running = cluster.host.all().into_iter().map(|resident| status(&resident, cluster, tiers));
    let failed = cluster.host.failed().into_iter().map(|(replica, shard, failure)| v1::ShardStatus {
        shard: shard.0,
        replica: replica.0,
        failure,
        ..v1::ShardStatus::default()
    });
    running.chain(failed).collect()
}

fn status(resident: &Resident<Engine>, cluster: &Cluster, tiers: &[&str]) -> v1::ShardStatus {
    let (group, view) = (resident.replica().group(), resident.view());
    let descriptor = view.descriptor.as_ref();
    let node_of = |replica: ReplicaId| group.members.get(&replica).map_or(0, |member| member.node.0);
    let members = group.members.iter().map(|(id, member)| v1::MemberStatus {
        replica: id.0,
        node: member.node.0,
        witness: member.role == Role::Witness,
        votes: group.votes(*id),
        lag: group.lag(*id),
    });
    let figures = &cluster.figures;
    let (reads, writes) = figures.rates(resident.shard());
    let size = descriptor.map(|known| figures.size(resident.replica().id(), &known.range)).unwrap_or_default();
    let bytes = tiers.iter().zip(&size.size.tier_bytes);
    v1::ShardStatus {
        shard: resident.shard().0,
        epoch: descriptor.map_or(0, |known| known.epoch.0),
        start: descriptor.map(|known| known.range.start().to_vec().into()).unwrap_or_default(),
        end: descriptor.and_then(|known| known.range.end()).unwrap_or_default().to_vec().into(),
        replica: resident.replica().id().0,
        witness: resident.replica().role() == Role::Witness,
        leads: group.leads(),
        leader: group.leader.map_or(0, node_of),
        term: group.term,
        applied: group.applied,
        last: group.last,
        members: members.collect(),
        changing_members: group.is_joint(),
        job: view.jobs.running().map(|running| job_under_way(running, &cluster.copies)),
        ended: view.jobs.ended().map(|(ended, end)| job(ended, Some(end))).collect(),
        failure: if group.failed { "its consensus has stopped; see the log".to_owned() } else { String::new() },
        members_changed_at: group.members_changed_at,
        bytes: bytes.map(|(tier, bytes)| v1::TierBytes { tier: (*tier).to_owned(), bytes: *bytes }).collect(),
        records: size.size.records,
        reads_per_second: tenths(reads),
        writes_per_second: tenths(writes),
        split_keys: size.split_keys.into_iter().map(split_key).collect(),
        frozen: view.jobs.frozen().is_some(),
    }
}

fn job_under_way(running: &Job, copies: &Copies) -> v1::ShardJob {
    let copied = running.kind.arriving().map(|(replica, ..)| copies.of(replica)).unwrap_or_default();
    v1::ShardJob { copied_bytes: copied.bytes, copy_bytes: copied.of, ..job(running, None) }
}

/// A rate that nobody needs to know better: what fades away ends, and an idle node has nothing new to say.
fn tenths(rate: f64) -> f64 {
    (rate * 10.0).round() / 10.0
}

fn split_key(of: SplitKey) -> v1::SplitKey {
    let SplitKey { key, load_left, bytes_left } = of;
    v1::SplitKey { key, load_left, bytes_left }
}

fn job(job: &Job, end: Option<&JobEnd>) -> v1::ShardJob {
    let kind = match job.kind {
        JobKind::Add { .. } => "AddReplica",
        JobKind::Remove { .. } => "RemoveReplica",
        JobKind::Move { .. } => "MoveReplica",
        JobKind::Exchange { .. } => "ExchangeReplica",
        JobKind::Merge { .. } => "MergeShards",
    };
    let (leaving_witness, right) = match job.kind {
        JobKind::Exchange { leaving_witness, .. } => (leaving_witness.0, 0),
        JobKind::Merge { right, .. } => (0, right.0),
        _ => (0, 0),
    };
    let outcome = match end.map(|end| end.outcome) {
        None => "",
        Some(JobOutcome::Done) => "Done",
        Some(JobOutcome::Cancelled) => "Cancelled",
        Some(JobOutcome::Failed) => "Failed",
    };
    v1::ShardJob {
        job: job.id,
        kind: kind.to_owned(),
        from: job.kind.leaving().map_or(0, |(_, node)| node.0),
        to: job.kind.arriving().map_or(0, |(_, node, _)| node.0),
        paused: job.paused,
        cancelled: job.cancelled,
        cut_over: job.cut_over,
        outcome: outcome.to_owned(),
        message: end.map(|end| end.message.clone()).unwrap_or_default(),
        began_at_ms: job.begun_at_millis,
        ended_at_ms: end.map_or(0, |end| end.at_millis),
        witness: job.kind.arriving().is_some_and(|(_, _, role)| role == Role::Witness),
        leaving: job.kind.leaving().map_or(0, |(replica, _)| replica.0),
        bytes_per_second: job.bytes_per_second,
        leaving_witness,
        right,
        ..v1::ShardJob::default()
    }
}
