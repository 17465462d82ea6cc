//! What a node does with a call: as the real node's services, without what surrounds them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use openraft::raft::AppendEntriesResponse;
use thermocline_engine::KeyRange;
use thermocline_proto::replica::v1 as wire;
use thermocline_shard::command::Write;
use thermocline_shard::host::{Consistency, Host, HostError, Indexed, MergingError, ReadError, Resident, WriteError};
use thermocline_shard::machine::ShardStore;
use thermocline_shard::raft::message;
use thermocline_shard::{NodeId, ReplicaId, ShardId};

use crate::flaw::Flaw;
use crate::message::{Answer, Call, Route};
use crate::observer::Observer;
use crate::store::Store;
use crate::wire::Wire;

/// The replicas of a simulated node.
pub type SimulatedHost = Host<Store, Wire>;

/// How long a hash is waited for.
const HASH: Duration = Duration::from_secs(4);

/// The services of one node.
pub struct Service {
    /// Its replicas.
    pub host: Arc<SimulatedHost>,
    /// Sees what it promises.
    pub observer: Arc<Observer>,
    /// A bug it has.
    pub flaw: Option<Flaw>,
}

impl Service {
    /// Does what is asked.
    pub async fn serve(&self, call: Call) -> Answer {
        let answered = match call {
            Call::Append(request) => self.append(request).await,
            Call::Vote(request) => self.vote(request).await,
            Call::Transfer(request) => self.transfer(request).await,
            Call::ReadIndex(to) => self.read_index(to).await,
            Call::Install { to, state, .. } => {
                let taken = state.lock().take();
                match (taken, self.resident(to)) {
                    (Some((vote, meta, snapshot)), Ok(resident)) => {
                        let installed = self.host.install(&resident, vote, meta, snapshot).await;
                        installed.map(|vote| Answer::Installed(message::install_response(&vote))).map_err(stopped)
                    }
                    (_, Err(absent)) => Err(absent),
                    (None, _) => Err(Answer::Unavailable("it has been here before".to_owned())),
                }
            }
            Call::Create(replica, shard, role, range) => {
                let created = self.host.create(replica, shard, role, Some(&range)).await;
                created.map(|()| Answer::Done).map_err(|error| refused(&error))
            }
            Call::Remove(replica) => {
                // Goes on where the caller does not wait.
                let host = Arc::clone(&self.host);
                match tokio::spawn(async move { host.remove(replica).await }).await {
                    Ok(removed) => removed.map(|()| Answer::Done).map_err(|error| refused(&error)),
                    Err(error) => Err(stopped(error)),
                }
            }
            Call::Hash(replica, index) => self.hash(replica, index).await,
            Call::Freeze(shard, freeze) => {
                let frozen = self.host.freeze(shard, &freeze).await;
                frozen.map(Answer::Frozen).map_err(|error| not_merged(&error))
            }
            Call::Thaw(shard, thaw) => {
                let thawed = self.host.thaw(shard, thaw).await;
                thawed.map(Answer::Thawed).map_err(|error| not_merged(&error))
            }
            Call::Indexed(key) => Ok(self.indexed(&key)),
            Call::Route(key) => Ok(self.route(&key)),
            Call::Write(shard, write) => Ok(self.write(shard, write).await),
            Call::Read(key, consistency) => Ok(self.read(&key, consistency).await),
        };
        answered.unwrap_or_else(|instead| instead)
    }

    fn resident(&self, replica: ReplicaId) -> Result<Arc<Resident<Store>>, Answer> {
        self.host.resident(replica).ok_or_else(|| Answer::Unavailable(format!("{replica} is not here")))
    }

    async fn append(&self, request: wire::AppendRequest) -> Result<Answer, Answer> {
        let resident = self.resident(ReplicaId(request.to))?;
        let (to, leader) = (ReplicaId(request.to), request.vote.unwrap_or_default());
        let before = self.observer.promise_of(to);
        let request = message::known_append_request(request).map_err(stopped)?;
        let answer = resident.replica().on_append_entries(request).await.map_err(stopped)?;
        if matches!(answer, AppendEntriesResponse::Success | AppendEntriesResponse::PartialSuccess(_)) {
            self.observer.promised(to, before, (leader.term, leader.leader));
        }
        Ok(Answer::Append(message::append_response(&answer)))
    }

    async fn vote(&self, request: wire::VoteRequest) -> Result<Answer, Answer> {
        let resident = self.resident(ReplicaId(request.to))?;
        let (known, pre) = message::known_vote_request(&request).map_err(stopped)?;
        let before = self.observer.promise_of(ReplicaId(request.to));
        let answer = resident.replica().on_vote(known, pre).await.map_err(stopped)?;
        let response = message::vote_response(&answer);
        if let Some(vote) = response.vote.filter(|_| response.granted && !pre) {
            self.observer.promised(ReplicaId(request.to), before, (vote.term, vote.leader));
        }
        Ok(Answer::Vote(response))
    }

    async fn transfer(&self, request: wire::TransferLeaderRequest) -> Result<Answer, Answer> {
        let resident = self.resident(ReplicaId(request.to))?;
        let request = message::known_transfer_request(&request).map_err(stopped)?;
        let answer = resident.replica().on_transfer_leader(request).await.map_err(stopped)?;
        Ok(Answer::Transfer(message::transfer_response(&answer)))
    }

    async fn read_index(&self, to: ReplicaId) -> Result<Answer, Answer> {
        let resident = self.resident(to)?;
        resident.replica().on_read_index().await.map(Answer::ReadIndex).map_err(stopped)
    }

    async fn hash(&self, replica: ReplicaId, index: u64) -> Result<Answer, Answer> {
        let resident = self.resident(replica)?;
        match tokio::time::timeout(HASH, resident.replica().hash_at(index)).await {
            Ok(hash) => hash.map(Answer::Hash).map_err(|error| Answer::Refused(error.to_string())),
            Err(_) => Err(stopped("the entry is not hashed yet")),
        }
    }

    /// What a leader would have written down.
    fn indexed(&self, key: &[u8]) -> Answer {
        let Some(owner) = self.host.owner(key) else { return Answer::Elsewhere };
        let (group, view) = (owner.replica().group(), owner.view());
        let Some(descriptor) = view.descriptor.as_ref().filter(|_| view.jobs.frozen().is_none()) else {
            return Answer::Elsewhere;
        };
        if !group.leads() || !group.is_agreed() {
            return Answer::Elsewhere;
        }
        let (shard, epoch, members) = (owner.shard(), descriptor.epoch, group.members.keys().copied().collect());
        Answer::Indexed(Indexed { shard, epoch, members, members_changed_at: group.members_changed_at })
    }

    fn route(&self, key: &[u8]) -> Answer {
        let owner = self.host.owner(key);
        let route = owner.and_then(|owner| {
            let (epoch, group) = (owner.descriptor()?.epoch, owner.replica().group());
            let leader = group.leader.and_then(|leader| group.members.get(&leader)).map(|member| member.node);
            Some(Route { shard: owner.shard(), epoch, leader })
        });
        route.map_or(Answer::Elsewhere, Answer::Route)
    }

    async fn write(&self, shard: ShardId, mut write: Write) -> Answer {
        if self.flaw == Some(Flaw::RetriesForgotten) {
            write.request = None;
        }
        let Some(resident) = self.host.of_shard(shard) else { return Answer::Elsewhere };
        match resident.write(write).await {
            Ok(answer) => Answer::Written(answer),
            Err(WriteError::NotLeader { leader, .. }) => Answer::NotLeader(node_of(&resident, leader)),
            Err(WriteError::Busy { .. }) => Answer::NotLeader(None),
            Err(error @ WriteError::Stopped { .. }) => stopped(error),
        }
    }

    async fn read(&self, key: &Bytes, consistency: Consistency) -> Answer {
        let Some(resident) = self.host.owner(key) else { return Answer::Elsewhere };
        if self.flaw == Some(Flaw::ReadsWithoutQuorum) && resident.replica().group().leads() {
            return self.host.store().get(key).map_or_else(stopped, Answer::Found);
        }
        let reading = match resident.begin_read(&KeyRange::single(key), consistency).await {
            Ok(reading) => reading,
            Err(ReadError::NotLeader { leader, .. }) => return Answer::NotLeader(node_of(&resident, leader)),
            Err(ReadError::OutOfRange { .. } | ReadError::Frozen { .. }) => return Answer::Elsewhere,
            Err(error) => return stopped(error),
        };
        let found = self.host.store().get(key);
        match (found, reading.confirm()) {
            (Ok(found), Ok(())) => Answer::Found(found),
            (Err(error), _) => stopped(error),
            (_, Err(error)) => stopped(error),
        }
    }
}

fn node_of(resident: &Resident<Store>, replica: Option<ReplicaId>) -> Option<NodeId> {
    resident.replica().group().members.get(&replica?).map(|member| member.node)
}

fn stopped(error: impl std::fmt::Display) -> Answer {
    Answer::Unavailable(error.to_string())
}

fn not_merged(error: &MergingError) -> Answer {
    match error {
        MergingError::Refused { reason } => Answer::Refused(reason.clone()),
        _ => stopped(error),
    }
}

fn refused(error: &HostError) -> Answer {
    match error {
        HostError::Overlap { .. } | HostError::Removed { .. } | HostError::Failed { .. } => {
            Answer::Refused(error.to_string())
        }
        _ => stopped(error),
    }
}
