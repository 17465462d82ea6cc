//! What replicas say to each other, as messages of `thermocline/replica/v1/replicas.proto`. Both ends are here, so that whoever
//! carries the messages knows nothing of consensus.

use std::io;

use bytes::Bytes;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, TransferLeaderError, TransferLeaderRequest, TransferLeaderResponse,
    VoteRequest, VoteResponse,
};
use thermocline_proto::replica::v1 as wire;

use super::encoding::{
    decode_entry, decode_membership_message, encode_entry, known_log_id, known_vote, log_id, membership_message,
    unreadable, vote_message,
};
use super::types::{SnapshotMeta, TypeConfig, Vote};
use crate::job::Jobs;
use crate::machine::{ExportedData, Snapshot};
use crate::{ReplicaId, Role};

fn required<T>(part: Option<T>, what: &'static str) -> io::Result<T> {
    part.ok_or_else(|| unreadable("a message between replicas", format!("it has no {what}")))
}

/// Entries of a leader's log.
#[must_use]
pub fn append_request(to: ReplicaId, request: &AppendEntriesRequest<TypeConfig>) -> wire::AppendRequest {
    wire::AppendRequest {
        to: to.0,
        vote: Some(vote_message(&request.vote)),
        previous: request.prev_log_id.as_ref().map(log_id),
        entries: request.entries.iter().map(encode_entry).collect(),
        committed: request.leader_commit.as_ref().map(log_id),
    }
}

/// As they were sent.
///
/// # Errors
/// When they are not what a version of ours sends.
pub fn known_append_request(message: wire::AppendRequest) -> io::Result<AppendEntriesRequest<TypeConfig>> {
    let wire::AppendRequest { to: _, vote, previous, entries, committed } = message;
    Ok(AppendEntriesRequest {
        vote: known_vote(&required(vote, "vote")?),
        prev_log_id: previous.as_ref().map(known_log_id),
        entries: entries.into_iter().map(decode_entry).collect::<io::Result<_>>()?,
        leader_commit: committed.as_ref().map(known_log_id),
    })
}

/// What a follower answers.
#[must_use]
pub fn append_response(response: &AppendEntriesResponse<TypeConfig>) -> wire::AppendResponse {
    use wire::append_response::Outcome;
    let outcome = match response {
        AppendEntriesResponse::Success => Outcome::Success(true),
        AppendEntriesResponse::PartialSuccess(upto) => {
            // Nothing at all is said as an entry that no log has.
            Outcome::Partial(upto.as_ref().map_or_else(nothing, log_id))
        }
        AppendEntriesResponse::Conflict => Outcome::Conflict(true),
        AppendEntriesResponse::HigherVote(vote) => Outcome::HigherVote(vote_message(vote)),
    };
    wire::AppendResponse { outcome: Some(outcome) }
}

const fn nothing() -> wire::LogId {
    wire::LogId { term: u64::MAX, leader: 0, index: u64::MAX }
}

/// As it was sent.
///
/// # Errors
/// When it is not what a version of ours sends.
pub fn known_append_response(message: wire::AppendResponse) -> io::Result<AppendEntriesResponse<TypeConfig>> {
    use wire::append_response::Outcome;
    Ok(match required(message.outcome, "outcome")? {
        Outcome::Success(_) => AppendEntriesResponse::Success,
        Outcome::Partial(upto) => {
            AppendEntriesResponse::PartialSuccess((upto != nothing()).then(|| known_log_id(&upto)))
        }
        Outcome::Conflict(_) => AppendEntriesResponse::Conflict,
        Outcome::HigherVote(vote) => AppendEntriesResponse::HigherVote(known_vote(&vote)),
    })
}

/// A candidate's question.
#[must_use]
pub fn vote_request(to: ReplicaId, request: &VoteRequest<TypeConfig>, pre: bool) -> wire::VoteRequest {
    wire::VoteRequest {
        to: to.0,
        vote: Some(vote_message(&request.vote)),
        last: request.last_log_id.as_ref().map(log_id),
        pre,
        transfer: request.leadership_transfer,
    }
}

/// As it was sent, and whether it only asks whether the vote would be given.
///
/// # Errors
/// When it is not what a version of ours sends.
pub fn known_vote_request(message: &wire::VoteRequest) -> io::Result<(VoteRequest<TypeConfig>, bool)> {
    let vote = known_vote(&required(message.vote, "vote")?);
    let mut request = VoteRequest::new(vote, message.last.as_ref().map(known_log_id));
    request.leadership_transfer = message.transfer;
    Ok((request, message.pre))
}

/// What a voter answers.
#[must_use]
pub fn vote_response(response: &VoteResponse<TypeConfig>) -> wire::VoteResponse {
    wire::VoteResponse {
        vote: Some(vote_message(&response.vote)),
        granted: response.vote_granted,
        last: response.last_log_id.as_ref().map(log_id),
    }
}

/// As it was sent.
///
/// # Errors
/// When it is not what a version of ours sends.
pub fn known_vote_response(message: &wire::VoteResponse) -> io::Result<VoteResponse<TypeConfig>> {
    let vote = known_vote(&required(message.vote, "vote")?);
    Ok(VoteResponse::new(vote, message.last.as_ref().map(known_log_id), message.granted))
}

/// The leader's wish that another one lead.
#[must_use]
pub fn transfer_request(to: ReplicaId, request: &TransferLeaderRequest<TypeConfig>) -> wire::TransferLeaderRequest {
    wire::TransferLeaderRequest {
        to: to.0,
        from: Some(vote_message(request.from_leader())),
        to_lead: request.to_node_id().0,
        last: request.last_log_id().map(log_id),
    }
}

/// As it was sent.
///
/// # Errors
/// When it is not what a version of ours sends.
pub fn known_transfer_request(message: &wire::TransferLeaderRequest) -> io::Result<TransferLeaderRequest<TypeConfig>> {
    let from = known_vote(&required(message.from, "vote")?);
    Ok(TransferLeaderRequest::new(from, ReplicaId(message.to_lead), message.last.as_ref().map(known_log_id)))
}

/// What the one that is to lead answers.
#[must_use]
pub fn transfer_response(response: &TransferLeaderResponse<TypeConfig>) -> wire::TransferLeaderResponse {
    use wire::transfer_leader_response::Outcome;
    let outcome = match response {
        Ok(()) => Outcome::Accepted(true),
        Err(TransferLeaderError::VoteChanged { expected, actual }) => Outcome::VoteChanged(wire::VoteChanged {
            expected: Some(vote_message(expected)),
            actual: Some(vote_message(actual)),
        }),
        Err(TransferLeaderError::LogNotFlushed { expected, actual }) => {
            let (expected, actual) = (expected.as_ref().map(log_id), actual.as_ref().map(log_id));
            Outcome::LogNotFlushed(wire::LogNotFlushed { expected, actual })
        }
    };
    wire::TransferLeaderResponse { outcome: Some(outcome) }
}

/// As it was sent.
///
/// # Errors
/// When it is not what a version of ours sends.
pub fn known_transfer_response(
    message: wire::TransferLeaderResponse,
) -> io::Result<TransferLeaderResponse<TypeConfig>> {
    use wire::transfer_leader_response::Outcome;
    Ok(match required(message.outcome, "outcome")? {
        Outcome::Accepted(_) => Ok(()),
        Outcome::VoteChanged(changed) => Err(TransferLeaderError::VoteChanged {
            expected: known_vote(&required(changed.expected, "vote")?),
            actual: known_vote(&required(changed.actual, "vote")?),
        }),
        Outcome::LogNotFlushed(lacks) => Err(TransferLeaderError::LogNotFlushed {
            expected: lacks.expected.as_ref().map(known_log_id),
            actual: lacks.actual.as_ref().map(known_log_id),
        }),
    })
}

/// What a snapshot says beside its files.
#[must_use]
pub fn install_request(
    offer: wire::SnapshotOffer,
    vote: &Vote,
    meta: &SnapshotMeta,
    snapshot: &Snapshot,
) -> wire::InstallSnapshotRequest {
    let Snapshot { role, applied, membership, descriptor, sessions, jobs, of, data } = snapshot;
    let sessions = sessions.iter().map(|(key, value)| wire::RecordPair { key: key.clone(), value: value.clone() });
    let state = wire::SnapshotState {
        of: of.0,
        role: wire::Role::from(*role).into(),
        applied: applied.clone(),
        membership: membership.clone(),
        descriptor: descriptor.as_ref().map(Into::into),
        sessions: sessions.collect(),
        jobs: Some(jobs.into()),
        data: !matches!(data, ExportedData::Nothing),
    };
    wire::InstallSnapshotRequest {
        offer: Some(offer),
        vote: Some(vote_message(vote)),
        last: meta.last_log_id.as_ref().map(log_id),
        membership: Some(membership_message(&meta.last_membership)),
        state: Some(state),
    }
}

/// What was sent, with its files in `folder`.
///
/// # Errors
/// When it is not what a version of ours sends.
pub fn known_install_request(
    message: wire::InstallSnapshotRequest,
    folder: std::path::PathBuf,
) -> io::Result<(Vote, SnapshotMeta, Snapshot)> {
    let wire::InstallSnapshotRequest { offer: _, vote, last, membership, state } = message;
    let vote = known_vote(&required(vote, "vote")?);
    let last_membership = decode_membership_message(required(membership, "membership")?)?;
    let meta = SnapshotMeta { last_log_id: last.as_ref().map(known_log_id), last_membership };
    let state = required(state, "state")?;
    let role = required(Role::known(state.role()), "role that this version knows")?;
    let wire::SnapshotState { of, role: _, applied, membership, descriptor, sessions, jobs, data } = state;
    let descriptor = descriptor.map(TryInto::try_into).transpose();
    let snapshot = Snapshot {
        role,
        applied,
        membership,
        descriptor: descriptor.map_err(|error: crate::descriptor::RangeError| unreadable("a snapshot", error))?,
        sessions: sessions.into_iter().map(|pair| (pair.key, pair.value)).collect::<Vec<(Bytes, Bytes)>>(),
        jobs: required(Jobs::of(jobs.unwrap_or_default()), "jobs that this version knows")?,
        of: ReplicaId(of),
        data: if data { ExportedData::Folder(folder) } else { ExportedData::Nothing },
    };
    Ok((vote, meta, snapshot))
}

/// What the receiver of a snapshot answers.
#[must_use]
pub fn install_response(vote: &Vote) -> wire::InstallSnapshotResponse {
    wire::InstallSnapshotResponse { vote: Some(vote_message(vote)) }
}

/// As it was sent.
///
/// # Errors
/// When it is not what a version of ours sends.
pub fn known_install_response(message: &wire::InstallSnapshotResponse) -> io::Result<Vote> {
    Ok(known_vote(&required(message.vote, "vote")?))
}
