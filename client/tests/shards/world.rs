//! A cluster with shards in this process, as far as a client can tell: who owns which keys, what was written, and which
//! writes are remembered.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;
use thermocline_proto::{
    FIRST_OWN_KEY, MISROUTED_METADATA,
    v1::{self, condition::Expected, mutation::Kind},
};
use tonic::{
    Code, Status,
    metadata::{MetadataMap, MetadataValue},
};

/// Writes of a client that a shard remembers.
const WINDOW: u64 = 64;

/// A shard with replicas on nodes, which are numbered from 1 on.
#[derive(Debug, Clone)]
pub struct Shard {
    pub id: u64,
    pub epoch: u64,
    pub start: Bytes,
    pub end: Bytes,
    pub leader: Option<u64>,
    pub data: Vec<u64>,
    pub witness: Option<u64>,
    /// By client and slot: the number of the write, and its answer.
    sessions: BTreeMap<(Bytes, u64), (u64, v1::WriteResponse)>,
}

/// Everything that is true.
#[derive(Debug, Default)]
pub struct World {
    pub shards: Vec<Shard>,
    pub records: BTreeMap<Bytes, (Bytes, u64)>,
    /// Writes that were applied.
    pub applied: u64,
    /// Addresses of the nodes' data planes.
    pub addresses: BTreeMap<u64, String>,
    /// Where nodes are.
    pub zones: BTreeMap<u64, String>,
    /// How old, in milliseconds, what is read with a stated staleness is said to be.
    pub staleness_ms: u64,
    /// Routes that are told at once, at most.
    pub page: usize,
}

impl Shard {
    pub fn new(id: u64, start: &str, end: &str, leader: u64) -> Self {
        Self {
            id,
            epoch: 1,
            start: Bytes::copy_from_slice(start.as_bytes()),
            end: if end.is_empty() { FIRST_OWN_KEY.into() } else { Bytes::copy_from_slice(end.as_bytes()) },
            leader: Some(leader),
            data: vec![1, 2],
            witness: Some(3),
            sessions: BTreeMap::new(),
        }
    }

    fn contains(&self, key: &[u8]) -> bool {
        *self.start <= *key && (self.end.is_empty() || *key < *self.end)
    }
}

impl World {
    pub fn shard(&mut self, id: u64) -> &mut Shard {
        self.shards.iter_mut().find(|shard| shard.id == id).unwrap()
    }

    /// Both halves remember what the whole did.
    pub fn split(&mut self, id: u64, at: &str, right: u64) {
        let whole = self.shard(id);
        whole.epoch += 1;
        let mut half = whole.clone();
        whole.end = Bytes::copy_from_slice(at.as_bytes());
        half.id = right;
        half.start = whole.end.clone();
        self.shards.push(half);
        self.shards.sort_by(|left, right| left.start.cmp(&right.start));
    }

    pub fn route(&self, shard: &Shard) -> v1::ShardRoute {
        let replica = |node: u64, witness| {
            let kv = self.addresses.get(&node).cloned().unwrap_or_default();
            let zone = self.zones.get(&node).cloned().unwrap_or_default();
            v1::ReplicaRoute { node, kv, witness, replica: node, zone }
        };
        // The witness comes first: who asks it finds no data.
        let witness = shard.witness.into_iter().map(|node| replica(node, true));
        v1::ShardRoute {
            shard: shard.id,
            epoch: shard.epoch,
            start: shard.start.clone(),
            end: shard.end.clone(),
            replicas: witness.chain(shard.data.iter().map(|node| replica(*node, false))).collect(),
            leader: shard.leader.unwrap_or(0),
        }
    }

    pub fn routes(&self, key: &[u8], limit: usize) -> Vec<v1::ShardRoute> {
        let from = self.shards.iter().skip_while(|shard| !shard.contains(key));
        from.take(limit.min(self.page)).map(|shard| self.route(shard)).collect()
    }

    /// The shard of the keys, if this node leads it and the request was routed to it.
    pub fn place(
        &mut self,
        node: u64,
        header: &v1::RequestHeader,
        low: &[u8],
        high: &[u8],
    ) -> Result<&mut Shard, Status> {
        let at = self.shards.iter().position(|shard| shard.contains(low)).unwrap();
        let shard = &self.shards[at];
        let told = || vec![self.route(shard)];
        if header.shard != 0 && (header.shard, header.epoch) != (shard.id, shard.epoch) {
            return Err(misrouted(Code::FailedPrecondition, told()));
        }
        if !shard.contains(high) {
            return Err(misrouted(Code::FailedPrecondition, told()));
        }
        if shard.leader != Some(node) {
            return Err(misrouted(Code::Unavailable, told()));
        }
        Ok(&mut self.shards[at])
    }

    /// As [`Self::place`], for a read that any data replica may answer if it says so; how old the answer is said to be.
    pub fn place_read(
        &mut self,
        node: u64,
        header: &v1::RequestHeader,
        read: Option<v1::ReadOptions>,
        low: &[u8],
        high: &[u8],
    ) -> Result<u64, Status> {
        let consistency = read.unwrap_or_default().consistency();
        let owner = self.shards.iter().find(|shard| shard.contains(low)).unwrap();
        let any = matches!(consistency, v1::Consistency::Follower | v1::Consistency::Stale);
        let by = owner.leader.filter(|_| any && owner.data.contains(&node)).unwrap_or(node);
        self.place(by, header, low, high)?;
        Ok(if consistency == v1::Consistency::Stale { self.staleness_ms } else { 0 })
    }

    /// Applies a write once, as a shard does.
    pub fn write(&mut self, node: u64, request: &v1::WriteRequest) -> Result<v1::WriteResponse, Status> {
        let header = request.header.clone().unwrap_or_default();
        let keys = || {
            let mutated = request.mutations.iter().map(|mutation| match mutation.kind.as_ref().unwrap() {
                Kind::Put(put) => &put.key,
                Kind::Delete(delete) => &delete.key,
            });
            mutated.chain(request.conditions.iter().map(|condition| &condition.key))
        };
        let (low, high) = (keys().min().unwrap(), keys().max().unwrap());
        let shard = self.place(node, &header, low, high)?;
        let id = header.request_id.clone().expect("a write has a number");
        let slot = (id.client.clone(), id.sequence % WINDOW);
        match shard.sessions.get(&slot) {
            Some((sequence, answer)) if *sequence == id.sequence => return Ok(*answer),
            Some((sequence, _)) if *sequence > id.sequence => return Err(Status::aborted("expired")),
            _ => {}
        }
        let is_known = shard.sessions.keys().any(|(client, _)| *client == id.client);
        if header.retry && !is_known {
            return Err(Status::aborted("expired"));
        }
        let shard = shard.id;
        let answer = self.apply(request);
        self.shard(shard).sessions.insert(slot, (id.sequence, answer));
        Ok(answer)
    }

    fn apply(&mut self, request: &v1::WriteRequest) -> v1::WriteResponse {
        for (index, condition) in request.conditions.iter().enumerate() {
            let actual = self.records.get(&condition.key).map(|(_, version)| *version);
            let holds = match condition.expected.unwrap() {
                Expected::Absent(_) => actual.is_none(),
                Expected::Exists(_) => actual.is_some(),
                Expected::VersionEquals(version) => actual == Some(version),
            };
            if !holds {
                let failed = v1::ConditionFailed { index: index as u32, actual_version: actual.unwrap_or(0) };
                return v1::WriteResponse { version: 0, condition_failed: Some(failed) };
            }
        }
        self.applied += 1;
        let version = self.applied;
        for mutation in &request.mutations {
            match mutation.kind.clone().unwrap() {
                Kind::Put(put) => {
                    self.records.insert(put.key, (put.value, version));
                }
                Kind::Delete(delete) => {
                    self.records.remove(&delete.key);
                }
            }
        }
        v1::WriteResponse { version, condition_failed: None }
    }

    pub fn read(&self, key: &Bytes) -> v1::GetResponse {
        let record = self.records.get(key).map(|(value, version)| v1::Record {
            key: key.clone(),
            value: value.clone(),
            version: *version,
        });
        v1::GetResponse { record, staleness_ms: 0 }
    }
}

/// A status that says that nothing was done, and where the keys are.
pub fn misrouted(code: Code, shards: Vec<v1::ShardRoute>) -> Status {
    let detail = v1::Misrouted { shards }.encode_to_vec();
    let mut metadata = MetadataMap::new();
    metadata.insert_bin(MISROUTED_METADATA, MetadataValue::from_bytes(&detail));
    Status::with_metadata(code, "routed wrongly", metadata)
}
