//! A replica's own records beside the data, in the batch that changed them: how far it is, who belongs to the group, its
//! range, its sessions. The first byte of a key names the kind; the replica's id follows, big-endian.

use bytes::Bytes;
use prost::Message;
use thermocline_engine::WriteOutcome;
use thermocline_proto::replica::v1 as wire;

use crate::job::Jobs;
use crate::session::{ClientId, StoredWrite, slot};
use crate::{ReplicaId, Role, ShardDescriptor, ShardId};

/// The id of the last entry applied; written by the consensus that applies.
pub(crate) const APPLIED: u8 = 1;
/// Who belongs to the group; written by the same.
pub(crate) const MEMBERSHIP: u8 = 2;
/// The shard's descriptor.
pub(crate) const DESCRIPTOR: u8 = 3;
/// A write of a session; the client's id and the slot follow.
pub(crate) const SESSION: u8 = 4;

/// There while a snapshot is installed: the other records do not say what there is.
pub(crate) const INSTALLING: u8 = 5;
/// The shard's jobs.
pub(crate) const JOBS: u8 = 6;
/// That the replica is on this node.
pub(crate) const RESIDENT: u8 = 7;
/// That the replica was on this node and was removed.
pub(crate) const REMOVED: u8 = 8;

/// A record that is not what was written.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// It is no message of its kind.
    #[error("decode the {record} of {replica}")]
    Message {
        /// Which record.
        record: &'static str,
        /// Whose.
        replica: ReplicaId,
        /// What is wrong.
        source: prost::DecodeError,
    },
    /// It lacks something, or is absent.
    #[error("the {record} of {replica} is {problem}")]
    Content {
        /// Which record.
        record: &'static str,
        /// Whose.
        replica: ReplicaId,
        /// What is wrong.
        problem: &'static str,
    },
}

/// The key of a record of a replica; the prefix of its records of a kind.
pub(crate) fn key(kind: u8, replica: ReplicaId) -> Bytes {
    let mut key = Vec::with_capacity(9);
    key.push(kind);
    key.extend_from_slice(&replica.0.to_be_bytes());
    key.into()
}

pub(crate) fn session_key(replica: ReplicaId, client: ClientId, slot: u64) -> Bytes {
    let mut key = key(SESSION, replica).to_vec();
    key.extend_from_slice(&client.0);
    // A window is far smaller.
    key.push(slot as u8);
    key.into()
}

pub(crate) fn encode_descriptor(descriptor: &ShardDescriptor) -> Bytes {
    wire::Descriptor::from(descriptor).encode_to_vec().into()
}

pub(crate) fn decode_descriptor(replica: ReplicaId, bytes: Bytes) -> Result<ShardDescriptor, RecordError> {
    let record = "descriptor";
    let message = wire::Descriptor::decode(bytes).map_err(|source| RecordError::Message { record, replica, source })?;
    let problem = "of a range that ends before it starts";
    message.try_into().map_err(|_| RecordError::Content { record, replica, problem })
}

/// What a node has of a replica, apart from what its log says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Residence {
    pub shard: ShardId,
    pub role: Role,
    /// It no longer takes part, and its data goes.
    pub leaving: bool,
    /// Its data stays: it is another shard's on this node now.
    pub absorbed: bool,
}

impl Residence {
    /// Of a replica that takes part.
    pub(crate) const fn of(shard: ShardId, role: Role) -> Self {
        Self { shard, role, leaving: false, absorbed: false }
    }
}

/// The replica whose record has a key.
pub(crate) fn replica_of(key: &[u8]) -> Option<ReplicaId> {
    Some(ReplicaId(u64::from_be_bytes(key.get(1..9)?.try_into().ok()?)))
}

pub(crate) fn encode_residence(residence: Residence) -> Bytes {
    let Residence { shard, role, leaving, absorbed } = residence;
    wire::Resident { shard: shard.0, role: wire::Role::from(role).into(), leaving, absorbed }.encode_to_vec().into()
}

pub(crate) fn decode_residence(replica: ReplicaId, bytes: Bytes) -> Result<Residence, RecordError> {
    let record = "residence";
    let message = wire::Resident::decode(bytes).map_err(|source| RecordError::Message { record, replica, source })?;
    let problem = "of a role that this version does not know";
    let role = Role::known(message.role()).ok_or(RecordError::Content { record, replica, problem })?;
    let wire::Resident { shard, role: _, leaving, absorbed } = message;
    Ok(Residence { shard: ShardId(shard), role, leaving, absorbed })
}

pub(crate) fn decode_jobs(replica: ReplicaId, bytes: &[u8]) -> Result<Jobs, RecordError> {
    let problem = "not one that this version knows";
    Jobs::decode(bytes).ok_or(RecordError::Content { record: "list of jobs", replica, problem })
}

pub(crate) fn encode_session(replica: ReplicaId, write: &StoredWrite) -> (Bytes, Bytes) {
    use wire::remembered::Outcome;
    let outcome = match write.outcome {
        WriteOutcome::Written(version) => Outcome::Written(version),
        WriteOutcome::ConditionFailed { index, actual } => {
            // A batch has fewer conditions.
            let index = u32::try_from(index).unwrap_or(u32::MAX);
            Outcome::ConditionFailed(wire::ConditionFailed { index, actual })
        }
    };
    let message = wire::Remembered { sequence: write.sequence, at_millis: write.at_millis, outcome: Some(outcome) };
    (session_key(replica, write.client, slot(write.sequence)), message.encode_to_vec().into())
}

pub(crate) fn decode_session(replica: ReplicaId, key: &[u8], value: Bytes) -> Result<StoredWrite, RecordError> {
    use wire::remembered::Outcome;
    let record = "session";
    let content = |problem| RecordError::Content { record, replica, problem };
    let client = key.get(9..25).and_then(|bytes| bytes.try_into().ok()).ok_or_else(|| content("without a client"))?;
    let message = wire::Remembered::decode(value).map_err(|source| RecordError::Message { record, replica, source })?;
    let outcome = match message.outcome.ok_or_else(|| content("without an outcome"))? {
        Outcome::Written(version) => WriteOutcome::Written(version),
        Outcome::ConditionFailed(failed) => {
            WriteOutcome::ConditionFailed { index: failed.index as usize, actual: failed.actual }
        }
    };
    Ok(StoredWrite { client: ClientId(client), sequence: message.sequence, at_millis: message.at_millis, outcome })
}
