//! Put, Delete and Write to a shard.

use bytes::Bytes;
use thermocline_engine::{Health, Mutation};
use thermocline_proto::v1::kv_client::KvClient;
use thermocline_proto::{UNDER_RESERVE, v1};
use thermocline_shard::command::Write;
use thermocline_shard::host::WriteError;
use thermocline_shard::machine::Answer;
use tokio::time::Instant;
use tonic::{Request, Response, Status};

use super::elsewhere::within;
use super::read::hull;
use super::{Place, Routed, ShardPlane};
use crate::service::kv::write::{Parts, parse};
use crate::service::{deadline, limits, status};

impl ShardPlane {
    pub(in crate::service::kv) async fn put(
        &self,
        request: Request<v1::PutRequest>,
    ) -> Result<v1::WriteResponse, Status> {
        let deadline = deadline::of(request.metadata());
        let v1::PutRequest { header, key, value, durability } = request.into_inner();
        let routed = Routed::parse(header)?;
        routed.key("key", &key)?;
        limits::value("value", &value)?;
        let held = key.len() + value.len();
        let parts = Parts { mutations: vec![(key.clone(), Some(value.clone()))], conditions: Vec::new(), held };
        let send = |mut kv: KvClient<_>, header, left| async move {
            kv.put(within(v1::PutRequest { header: Some(header), key, value, durability }, left)).await
        };
        self.write_to_shard(routed, parts, deadline, send).await
    }

    pub(in crate::service::kv) async fn delete(
        &self,
        request: Request<v1::DeleteRequest>,
    ) -> Result<v1::WriteResponse, Status> {
        let deadline = deadline::of(request.metadata());
        let v1::DeleteRequest { header, key, durability } = request.into_inner();
        let routed = Routed::parse(header)?;
        routed.key("key", &key)?;
        let parts = Parts { mutations: vec![(key.clone(), None)], conditions: Vec::new(), held: key.len() };
        let send = |mut kv: KvClient<_>, header, left| async move {
            kv.delete(within(v1::DeleteRequest { header: Some(header), key, durability }, left)).await
        };
        self.write_to_shard(routed, parts, deadline, send).await
    }

    pub(in crate::service::kv) async fn write(
        &self,
        request: Request<v1::WriteRequest>,
    ) -> Result<v1::WriteResponse, Status> {
        let deadline = deadline::of(request.metadata());
        let request = request.into_inner();
        let routed = Routed::parse(request.header.clone())?;
        let parts = parse(request.conditions.clone(), request.mutations.clone())?;
        for (number, (key, _)) in parts.mutations.iter().enumerate() {
            routed.key(&format!("mutations[{number}].key"), key)?;
        }
        let send = |mut kv: KvClient<_>, header, left| async move {
            kv.write(within(v1::WriteRequest { header: Some(header), ..request }, left)).await
        };
        self.write_to_shard(routed, parts, deadline, send).await
    }

    async fn write_to_shard<Sent>(
        &self,
        routed: Routed,
        parts: Parts,
        deadline: Option<Instant>,
        send: impl FnOnce(KvClient<tonic::transport::Channel>, v1::RequestHeader, std::time::Duration) -> Sent,
    ) -> Result<v1::WriteResponse, Status>
    where
        Sent: Future<Output = Result<Response<v1::WriteResponse>, Status>>,
    {
        let Parts { mutations, conditions, held } = parts;
        let named = mutations.iter().map(|(key, _)| key).chain(conditions.iter().map(|condition| condition.key()));
        // A batch without keys changes nothing, wherever it is.
        let Some(keys) = hull(named) else { return Ok(v1::WriteResponse::default()) };
        let leader = match self.place(&routed, &keys)? {
            Place::Elsewhere => None,
            Place::Here(resident, epoch) => {
                self.has_room()?;
                let mut holding = self.local.requests.request_bytes();
                self.local.requests.grow(&mut holding, held).map_err(|error| status::of_admission(&error))?;
                let written: Vec<Bytes> = mutations.iter().map(|(key, _)| key.clone()).collect();
                let mutations = mutations.into_iter().map(mutation).collect();
                let write = Write { request: routed.request, epoch, conditions, mutations };
                let answered = match deadline {
                    None => resident.write(write).await,
                    Some(deadline) => {
                        let late =
                            |_| Status::deadline_exceeded("no quorum had the write in time; it may still take effect");
                        tokio::time::timeout_at(deadline, resident.write(write)).await.map_err(late)?
                    }
                };
                match answered {
                    Ok(answer) => {
                        self.cluster.figures.used(resident.shard(), true, written.iter().map(Bytes::as_ref));
                        return self.answered(answer, keys.start());
                    }
                    Err(WriteError::NotLeader { leader, .. }) => {
                        let group = resident.replica().group();
                        leader.and_then(|leader| group.members.get(&leader)).map(|member| member.node)
                    }
                    Err(error @ WriteError::Busy { .. }) => return Err(Status::resource_exhausted(error.to_string())),
                    Err(error @ WriteError::Stopped { .. }) => return Err(Status::unavailable(error.to_string())),
                }
            }
        };
        self.send_on(&routed, keys.start(), leader, deadline, send).await
    }

    /// A write that is in the log has to be applied; so room for it is looked for before.
    fn has_room(&self) -> Result<(), Status> {
        match self.local.engine.health() {
            Health::Serving => Ok(()),
            Health::ReadOnly { device } => Err(Status::resource_exhausted(format!(
                "{device} {UNDER_RESERVE}; free space, or wait until data moved"
            ))),
            Health::Damaged { tier, reason } => {
                Err(Status::failed_precondition(format!("tier {tier} is damaged and takes no more: {reason}")))
            }
            Health::Failed { reason } => Err(Status::failed_precondition(format!(
                "storage failed before, and the node must be restarted: {reason}"
            ))),
        }
    }

    fn answered(&self, answer: Answer, key: &[u8]) -> Result<v1::WriteResponse, Status> {
        match answer {
            Answer::Written { version } => Ok(v1::WriteResponse { version, condition_failed: None }),
            Answer::ConditionFailed { index, actual } => Ok(v1::WriteResponse {
                version: 0,
                condition_failed: Some(v1::ConditionFailed {
                    index: u32::try_from(index).unwrap_or(u32::MAX),
                    actual_version: actual.unwrap_or(0),
                }),
            }),
            Answer::WrongEpoch { .. } | Answer::OutOfRange => Err(self.changed(key)),
            Answer::Frozen => Err(self.frozen(key)),
            Answer::Expired => Err(Status::aborted(
                "whether an earlier sending of this request was applied is no longer known; nothing was written now",
            )),
            Answer::TooManyClients => Err(Status::resource_exhausted(
                "more clients write to the shard than it can remember; nothing was written: use fewer client ids",
            )),
            Answer::VersionsExhausted => Err(Status::internal("the shard has given out all versions there are")),
        }
    }
}

fn mutation((key, value): (Bytes, Option<Bytes>)) -> Mutation {
    match value {
        Some(value) => Mutation::Put { key, value },
        None => Mutation::Delete { key },
    }
}
