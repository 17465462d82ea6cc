//! What a shard's state machine is told to do, and its encoding (`thermocline/replica/v1/log.proto`).
//!
//! Encoded once, by the leader; logs and connections carry the bytes as they are, and only the state machine reads them.

use bytes::Bytes;
use prost::Message;
use thermocline_engine::{Condition, Mutation};
use thermocline_proto::replica::v1 as wire;
use thermocline_proto::v1;

use crate::job::JobChange;
use crate::session::{ClientId, RequestId};
use crate::{Epoch, MAX_WRITES_PER_ENTRY, NodeId, ReplicaId, Role, ShardDescriptor, ShardId};

mod merging;

/// A command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Writes of clients.
    Writes(Writes),
    /// The shard becomes two.
    Split(Split),
    /// The shard begins. In the log, so that a replica that joins needs nothing but the log.
    Begin(ShardDescriptor),
    /// A change of the members begins, is controlled or ends.
    Job(JobChange),
    /// Every data replica hashes what the shard holds here.
    Verify,
    /// A part of the log is no longer needed.
    Release(Release),
    /// The shard takes nothing more, so that its left neighbour can absorb it.
    Freeze(Freeze),
    /// It is not absorbed after all.
    Thaw(Thaw),
    /// The keys of the frozen right neighbour become the shard's own.
    Absorb(Absorb),
}

/// That a shard is to take nothing more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Freeze {
    /// The left neighbour.
    pub into: ShardId,
    /// The neighbour's job.
    pub job: u64,
    /// The shard's epoch that it was decided by: with another one nothing happens.
    pub epoch: Epoch,
    /// The neighbour's epoch when the job was decided: with a newer one it has absorbed the shard, or given it up.
    pub left_epoch: Epoch,
    /// Where the shard must have its replicas, and what they store, in order.
    pub members: Vec<(NodeId, Role)>,
}

/// That a shard is not absorbed after all. Where it was not frozen yet it cannot be by that job any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thaw {
    /// The left neighbour.
    pub into: ShardId,
    /// The neighbour's job.
    pub job: u64,
    /// The shard's epoch that the job was decided by.
    pub epoch: Epoch,
}

/// That a shard absorbs its right neighbour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Absorb {
    /// The job that it is for.
    pub job: u64,
    /// The leader's clock, in milliseconds since 1970.
    pub at_millis: u64,
    /// The neighbour, as it was frozen.
    pub right: ShardDescriptor,
    /// The entry of the neighbour's log that froze it.
    pub frozen_at: u64,
    /// For each replica of the shard the neighbour's beside it.
    pub replicas: Vec<(ReplicaId, ReplicaId)>,
}

/// That a part of the log may go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Release {
    /// Its last entry.
    pub upto: u64,
    /// The replicas that lack some of it: they need a snapshot when they are back.
    pub lacking: Vec<ReplicaId>,
}

/// Writes of clients that came at the same time, in the order in which they take effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Writes {
    /// The leader's clock, in milliseconds since 1970.
    pub at_millis: u64,
    /// At most [`MAX_WRITES_PER_ENTRY`].
    pub writes: Vec<Write>,
}

/// An atomic write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// Its name; without one a retry is applied again.
    pub request: Option<RequestId>,
    /// The epoch that it was routed by.
    pub epoch: Epoch,
    /// What must hold.
    pub conditions: Vec<Condition>,
    /// What it changes.
    pub mutations: Vec<Mutation>,
}

/// A split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    /// The first key of the new shard.
    pub at: Bytes,
    /// The epoch that it was decided by.
    pub epoch: Epoch,
    /// The new shard.
    pub right: ShardId,
    /// For each replica of the shard its neighbour of the new one.
    pub replicas: Vec<(ReplicaId, ReplicaId)>,
}

/// Why bytes are no command.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// They are no message of this kind.
    #[error("decode a command of the log")]
    Message(#[from] prost::DecodeError),
    /// The message lacks something, or has what nobody writes.
    #[error("a command of the log has {0}")]
    Content(&'static str),
}

impl Command {
    /// The bytes of the command.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let kind = match self {
            Self::Writes(writes) => wire::command::Kind::Writes(writes.into()),
            Self::Split(split) => wire::command::Kind::Split(split.into()),
            Self::Begin(descriptor) => wire::command::Kind::Begin(descriptor.into()),
            Self::Job(change) => wire::command::Kind::Job(change.into()),
            Self::Verify => wire::command::Kind::Verify(wire::Verify {}),
            Self::Release(release) => wire::command::Kind::Release(wire::Release {
                upto: release.upto,
                lacking: release.lacking.iter().map(|replica| replica.0).collect(),
            }),
            Self::Freeze(freeze) => wire::command::Kind::Freeze(freeze.into()),
            Self::Thaw(thaw) => wire::command::Kind::Thaw(thaw.into()),
            Self::Absorb(absorb) => wire::command::Kind::Absorb(absorb.into()),
        };
        wire::Command { kind: Some(kind) }.encode_to_vec().into()
    }

    /// Reads what [`encode`](Self::encode) wrote. Keys and values share the memory of `bytes`.
    ///
    /// # Errors
    /// When it did not: a command of a later version too, which this one cannot carry out.
    pub fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        match wire::Command::decode(bytes)?.kind {
            Some(wire::command::Kind::Writes(writes)) => Ok(Self::Writes(writes.try_into()?)),
            Some(wire::command::Kind::Split(split)) => Ok(Self::Split(split.into())),
            Some(wire::command::Kind::Begin(descriptor)) => {
                let known = ShardDescriptor::try_from(descriptor);
                Ok(Self::Begin(known.map_err(|_| DecodeError::Content("a range that ends before it starts"))?))
            }
            Some(wire::command::Kind::Job(change)) => {
                let known = JobChange::of(change);
                Ok(Self::Job(known.ok_or(DecodeError::Content("a job that this version does not know"))?))
            }
            Some(wire::command::Kind::Verify(wire::Verify {})) => Ok(Self::Verify),
            Some(wire::command::Kind::Release(wire::Release { upto, lacking })) => {
                Ok(Self::Release(Release { upto, lacking: lacking.into_iter().map(ReplicaId).collect() }))
            }
            Some(wire::command::Kind::Freeze(freeze)) => Ok(Self::Freeze(freeze.try_into()?)),
            Some(wire::command::Kind::Thaw(thaw)) => Ok(Self::Thaw(thaw.into())),
            Some(wire::command::Kind::Absorb(absorb)) => Ok(Self::Absorb(absorb.try_into()?)),
            None => Err(DecodeError::Content("a kind that this version does not know")),
        }
    }
}

impl From<&Writes> for wire::Writes {
    fn from(writes: &Writes) -> Self {
        Self { at_millis: writes.at_millis, writes: writes.writes.iter().map(Into::into).collect() }
    }
}

impl TryFrom<wire::Writes> for Writes {
    type Error = DecodeError;

    fn try_from(writes: wire::Writes) -> Result<Self, DecodeError> {
        if writes.writes.len() > MAX_WRITES_PER_ENTRY {
            return Err(DecodeError::Content("more writes than an entry may"));
        }
        let decoded = writes.writes.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?;
        Ok(Self { at_millis: writes.at_millis, writes: decoded })
    }
}

impl From<&Write> for wire::Write {
    fn from(write: &Write) -> Self {
        Self {
            request_id: write.request.map(|request| v1::RequestId {
                client: Bytes::copy_from_slice(&request.client.0),
                sequence: request.sequence,
            }),
            retry: write.request.is_some_and(|request| request.retry),
            epoch: write.epoch.0,
            conditions: write.conditions.iter().map(condition).collect(),
            mutations: write.mutations.iter().map(mutation).collect(),
        }
    }
}

impl TryFrom<wire::Write> for Write {
    type Error = DecodeError;

    fn try_from(write: wire::Write) -> Result<Self, DecodeError> {
        let request = match write.request_id {
            None => None,
            Some(id) => {
                let client: [u8; 16] =
                    id.client.as_ref().try_into().map_err(|_| DecodeError::Content("a client that is not 16 bytes"))?;
                Some(RequestId { client: ClientId(client), sequence: id.sequence, retry: write.retry })
            }
        };
        Ok(Self {
            request,
            epoch: Epoch(write.epoch),
            conditions: write.conditions.into_iter().map(known_condition).collect::<Result<_, _>>()?,
            mutations: write.mutations.into_iter().map(known_mutation).collect::<Result<_, _>>()?,
        })
    }
}

fn condition(condition: &Condition) -> v1::Condition {
    use v1::condition::Expected;
    let expected = match condition {
        Condition::Absent(_) => Expected::Absent(true),
        Condition::Exists(_) => Expected::Exists(true),
        Condition::VersionEquals(_, version) => Expected::VersionEquals(*version),
    };
    v1::Condition { key: condition.key().clone(), expected: Some(expected) }
}

fn known_condition(condition: v1::Condition) -> Result<Condition, DecodeError> {
    use v1::condition::Expected;
    match condition.expected {
        Some(Expected::Absent(true)) => Ok(Condition::Absent(condition.key)),
        Some(Expected::Exists(true)) => Ok(Condition::Exists(condition.key)),
        Some(Expected::VersionEquals(version)) => Ok(Condition::VersionEquals(condition.key, version)),
        Some(Expected::Absent(false) | Expected::Exists(false)) | None => {
            Err(DecodeError::Content("a condition that expects nothing"))
        }
    }
}

fn mutation(mutation: &Mutation) -> v1::Mutation {
    use v1::mutation::{Delete, Kind, Put};
    let kind = match mutation {
        Mutation::Put { key, value } => Kind::Put(Put { key: key.clone(), value: value.clone() }),
        Mutation::Delete { key } => Kind::Delete(Delete { key: key.clone() }),
    };
    v1::Mutation { kind: Some(kind) }
}

fn known_mutation(mutation: v1::Mutation) -> Result<Mutation, DecodeError> {
    use v1::mutation::Kind;
    match mutation.kind {
        Some(Kind::Put(put)) => Ok(Mutation::Put { key: put.key, value: put.value }),
        Some(Kind::Delete(delete)) => Ok(Mutation::Delete { key: delete.key }),
        None => Err(DecodeError::Content("a mutation that changes nothing")),
    }
}

impl From<&Split> for wire::Split {
    fn from(split: &Split) -> Self {
        Self { at: split.at.clone(), epoch: split.epoch.0, right: split.right.0, replicas: pairs(&split.replicas) }
    }
}

impl From<wire::Split> for Split {
    fn from(split: wire::Split) -> Self {
        Self {
            at: split.at,
            epoch: Epoch(split.epoch),
            right: ShardId(split.right),
            replicas: known_pairs(&split.replicas),
        }
    }
}

/// Replicas of a shard, each with one of its right neighbour.
fn pairs(replicas: &[(ReplicaId, ReplicaId)]) -> Vec<wire::SplitReplica> {
    replicas.iter().map(|(of, right)| wire::SplitReplica { of: of.0, right: right.0 }).collect()
}

fn known_pairs(replicas: &[wire::SplitReplica]) -> Vec<(ReplicaId, ReplicaId)> {
    replicas.iter().map(|pair| (ReplicaId(pair.of), ReplicaId(pair.right))).collect()
}

#[cfg(test)]
#[path = "command_test.rs"]
mod tests;
