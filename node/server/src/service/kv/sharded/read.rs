//! Get, BatchGet and Scan of a shard.

use std::sync::Arc;

use bytes::Bytes;
use thermocline_engine::{Engine, KeyRange, Record};
use thermocline_proto::v1;
use thermocline_shard::host::{Consistency, ReadError, Reading, Resident};
use thermocline_shard::raft::ReadIndexError;
use thermocline_shard::{NodeId, ReplicaId};
use tokio::time::Instant;
use tonic::{Request, Status};

use super::elsewhere::within;
use super::{Place, Routed, ShardPlane};
use crate::byte_bound::HeldBytes;
use crate::metrics::RequestTimer;
use crate::service::kv::scan::{self, ScanStream};
use crate::service::{Rejection, consistency, deadline, limits, status};
use crate::telemetry::chain;

/// A read that was not made here.
enum Unread {
    /// Another replica leads; on this node, if that is known.
    NotLeader(Option<NodeId>),
    Refused(Status),
}

impl From<Status> for Unread {
    fn from(status: Status) -> Self {
        Self::Refused(status)
    }
}

impl ShardPlane {
    pub(in crate::service::kv) async fn get(
        &self,
        request: Request<v1::GetRequest>,
    ) -> Result<v1::GetResponse, Status> {
        let deadline = deadline::of(request.metadata());
        let v1::GetRequest { header, key, read } = request.into_inner();
        let routed = Routed::parse(header)?;
        let consistency = consistency::of(read)?;
        routed.key("key", &key)?;
        let keys = KeyRange::single(&key);
        let leader = match self.place(&routed, &keys)? {
            Place::Elsewhere => None,
            Place::Here(resident, _) => match self.get_here(&resident, &keys, &key, consistency, deadline).await {
                Ok((record, staleness_ms)) => {
                    return Ok(v1::GetResponse { staleness_ms, ..super::super::read::answer(key, record) });
                }
                Err(Unread::NotLeader(leader)) => leader,
                Err(Unread::Refused(status)) => return Err(status),
            },
        };
        let send = |mut kv: thermocline_proto::v1::kv_client::KvClient<_>, header, left| {
            let request = v1::GetRequest { header: Some(header), key: key.clone(), read };
            async move { kv.get(within(request, left)).await }
        };
        self.send_on(&routed, &key, leader, deadline, send).await
    }

    async fn get_here(
        &self,
        resident: &Arc<Resident<Engine>>,
        keys: &KeyRange,
        key: &Bytes,
        consistency: Consistency,
        deadline: Option<Instant>,
    ) -> Result<(Option<Record>, u64), Unread> {
        let reading = self.begin(resident, keys, consistency, deadline).await?;
        let record = match self.local.engine.get_cached(key) {
            Some(record) => Some(record),
            None => {
                let (engine, asked) = (self.local.engine.clone(), key.clone());
                let read = self.local.requests.run(key.len(), deadline, move || engine.get(&asked)).await;
                let read = read.map_err(|error| status::of_admission(&error))?;
                read.map_err(|error| status::of_engine(&error))?
            }
        };
        let staleness_ms = self.confirm(&reading, keys)?;
        self.cluster.figures.used(resident.shard(), false, std::iter::once(key.as_ref()));
        Ok((record, staleness_ms))
    }

    pub(in crate::service::kv) async fn batch_get(
        &self,
        request: Request<v1::BatchGetRequest>,
    ) -> Result<(v1::BatchGetResponse, HeldBytes), Status> {
        let deadline = deadline::of(request.metadata());
        let v1::BatchGetRequest { header, keys: asked, read } = request.into_inner();
        let routed = Routed::parse(header)?;
        let consistency = consistency::of(read)?;
        limits::at_most("keys", "keys", asked.len(), limits::MAX_BATCH_GET_KEYS)?;
        for (index, key) in asked.iter().enumerate() {
            routed.key(&format!("keys[{index}]"), key)?;
        }
        let mut held = self.local.requests.answer_bytes();
        let Some(keys) = hull(asked.iter()) else {
            return Ok((v1::BatchGetResponse::default(), held));
        };
        let leader = match self.place(&routed, &keys)? {
            Place::Elsewhere => None,
            Place::Here(resident, _) => match self.begin(&resident, &keys, consistency, deadline).await {
                Ok(reading) => {
                    let named = asked.clone();
                    let results = self.local.read_groups(asked, deadline, &mut held).await?;
                    let staleness_ms = self.confirm(&reading, &keys)?;
                    self.cluster.figures.used(resident.shard(), false, named.iter().map(Bytes::as_ref));
                    return Ok((v1::BatchGetResponse { results, staleness_ms }, held));
                }
                Err(Unread::NotLeader(leader)) => leader,
                Err(Unread::Refused(status)) => return Err(status),
            },
        };
        let send = |mut kv: thermocline_proto::v1::kv_client::KvClient<_>, header, left| async move {
            kv.batch_get(within(v1::BatchGetRequest { header: Some(header), keys: asked, read }, left)).await
        };
        let answer: v1::BatchGetResponse = self.send_on(&routed, keys.start(), leader, deadline, send).await?;
        let bytes = answer.results.iter().filter_map(|result| result.record.as_ref());
        let bytes = bytes.map(|record| record.key.len() + record.value.len()).sum();
        self.local.requests.grow(&mut held, bytes).map_err(|error| status::of_admission(&error))?;
        Ok((answer, held))
    }

    /// A scan is made by a replica here alone, and within one shard: whoever scans more goes from shard to shard.
    pub(in crate::service::kv) async fn scan(
        self: Arc<Self>,
        request: Request<v1::ScanRequest>,
        timer: RequestTimer,
    ) -> Result<ScanStream, Status> {
        let deadline = deadline::of(request.metadata());
        match self.begin_scan(request.into_inner(), deadline).await {
            Ok((keys, options, reading)) => {
                let holds: scan::Holds = Box::new(move || match reading.confirm() {
                    Ok(()) => Ok(consistency::staleness_ms(reading.staleness())),
                    Err(error) => Err(Status::unavailable(error.to_string())),
                });
                scan::run(Arc::clone(&self.local), keys, options, deadline, timer, Some(holds)).await
            }
            Err(status) => {
                timer.finish(Some(status.code()));
                Err(status)
            }
        }
    }

    async fn begin_scan(
        &self,
        request: v1::ScanRequest,
        deadline: Option<Instant>,
    ) -> Result<(KeyRange, thermocline_engine::ScanOptions, Reading<Engine>), Status> {
        let routed = Routed::parse(request.header.clone())?;
        let consistency = consistency::of(request.read)?;
        let (keys, options) = scan::parse(&request)?;
        if !routed.header.own_keys && keys.end().is_none_or(|end| end > thermocline_proto::FIRST_OWN_KEY) {
            // To the last key there is means to the last one of the users.
            let users = KeyRange::new(keys.start(), thermocline_proto::FIRST_OWN_KEY);
            let users = users.ok_or_else(|| Rejection::OwnKey { field: "start".to_owned() })?;
            return self.begin_scan_of(&routed, users, options, consistency, deadline).await;
        }
        self.begin_scan_of(&routed, keys, options, consistency, deadline).await
    }

    async fn begin_scan_of(
        &self,
        routed: &Routed,
        keys: KeyRange,
        options: thermocline_engine::ScanOptions,
        consistency: Consistency,
        deadline: Option<Instant>,
    ) -> Result<(KeyRange, thermocline_engine::ScanOptions, Reading<Engine>), Status> {
        let not_here = || {
            let status = Status::unavailable("another node leads the shard: scan there");
            self.misrouted(status, keys.start())
        };
        match self.place(routed, &keys)? {
            Place::Elsewhere => Err(match self.cluster.router.owner(keys.start()).await {
                Ok(route) => super::elsewhere::with_routes(not_here(), vec![route]),
                Err(_) => not_here(),
            }),
            Place::Here(resident, _) => match self.begin(&resident, &keys, consistency, deadline).await {
                Ok(reading) => {
                    self.cluster.figures.used(resident.shard(), false, std::iter::once(keys.start()));
                    Ok((keys, options, reading))
                }
                Err(Unread::NotLeader(_)) => Err(not_here()),
                Err(Unread::Refused(status)) => Err(status),
            },
        }
    }

    /// Waits until a read here shows what was asked for.
    async fn begin(
        &self,
        resident: &Arc<Resident<Engine>>,
        keys: &KeyRange,
        consistency: Consistency,
        deadline: Option<Instant>,
    ) -> Result<Reading<Engine>, Unread> {
        let begun = match deadline {
            None => resident.begin_read(keys, consistency).await,
            Some(deadline) => tokio::time::timeout_at(deadline, resident.begin_read(keys, consistency))
                .await
                .map_err(|_| Status::deadline_exceeded("no quorum said in time who leads the shard"))?,
        };
        let on = |leader: Option<ReplicaId>| {
            let group = resident.replica().group();
            Unread::NotLeader(leader.and_then(|leader| group.members.get(&leader)).map(|member| member.node))
        };
        begun.map_err(|error| match error {
            ReadError::NotLeader { leader, .. } => on(leader),
            ReadError::Unproven { source: ReadIndexError::NoData { .. }, .. } => on(resident.replica().group().leader),
            ReadError::OutOfRange { .. } => Unread::Refused(self.changed(keys.start())),
            ReadError::Frozen { .. } => Unread::Refused(self.frozen(keys.start())),
            ReadError::Replaced { .. } | ReadError::Unproven { .. } | ReadError::Stopped { .. } => {
                Unread::Refused(self.misrouted(Status::unavailable(chain(&error)), keys.start()))
            }
        })
    }

    /// Whether what was read holds; how old it is at most, as the answer says it.
    fn confirm(&self, reading: &Reading<Engine>, keys: &KeyRange) -> Result<u64, Status> {
        let held = reading.confirm();
        held.map_err(|error| self.misrouted(Status::unavailable(error.to_string()), keys.start()))?;
        Ok(consistency::staleness_ms(reading.staleness()))
    }
}

/// The smallest range that has all keys; `None` without keys.
pub(super) fn hull<'a>(keys: impl Iterator<Item = &'a Bytes> + Clone) -> Option<KeyRange> {
    let (first, last) = (keys.clone().min()?, keys.max()?);
    KeyRange::new(first.as_ref(), [last.as_ref(), &[0]].concat())
}
