//! openraft's types as messages of `thermocline/replica/v1/log.proto`, which are on disks and between nodes of two versions.

use std::collections::BTreeSet;
use std::io;

use bytes::Bytes;
use prost::Message;
use thermocline_proto::replica::v1 as wire;

use super::types::{EncodedCommand, Entry, LeaderId, LogId, Member, Membership, Payload, StoredMembership, Vote};
use crate::{NodeId, ReplicaId, Role};

/// Bytes that no version wrote, as openraft wants to hear it.
pub(super) fn unreadable(what: &'static str, why: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("decode {what}: {why}"))
}

pub(super) fn encode_log_id(id: &LogId) -> Bytes {
    log_id(id).encode_to_vec().into()
}

pub(super) fn decode_log_id(bytes: Bytes) -> io::Result<LogId> {
    let message = wire::LogId::decode(bytes).map_err(|error| unreadable("the id of a log entry", error))?;
    Ok(known_log_id(&message))
}

pub(super) fn encode_vote(vote: &Vote) -> Bytes {
    vote_message(vote).encode_to_vec().into()
}

pub(super) fn vote_message(vote: &Vote) -> wire::Vote {
    wire::Vote { term: vote.leader_id.term, leader: vote.leader_id.node_id.0, committed: vote.committed }
}

pub(super) fn decode_vote(bytes: Bytes) -> io::Result<Vote> {
    let message = wire::Vote::decode(bytes).map_err(|error| unreadable("a vote", error))?;
    Ok(known_vote(&message))
}

pub(super) fn known_vote(message: &wire::Vote) -> Vote {
    let leader_id = LeaderId { term: message.term, node_id: ReplicaId(message.leader) };
    Vote { leader_id, committed: message.committed }
}

pub(super) fn encode_entry(entry: &Entry) -> Bytes {
    let payload = match &entry.payload {
        Payload::Blank => wire::entry::Payload::Blank(wire::Blank {}),
        Payload::Normal(command) => wire::entry::Payload::Command(command.0.clone()),
        Payload::Membership(membership) => wire::entry::Payload::Membership(message_of(membership)),
    };
    wire::Entry { id: Some(log_id(&entry.log_id)), payload: Some(payload) }.encode_to_vec().into()
}

/// The command of the entry shares the memory of `bytes`.
pub(super) fn decode_entry(bytes: Bytes) -> io::Result<Entry> {
    let message = wire::Entry::decode(bytes).map_err(|error| unreadable("a log entry", error))?;
    let id = message.id.ok_or_else(|| unreadable("a log entry", "it has no id"))?;
    let payload = match message.payload {
        Some(wire::entry::Payload::Blank(wire::Blank {})) => Payload::Blank,
        Some(wire::entry::Payload::Command(command)) => Payload::Normal(EncodedCommand(command)),
        Some(wire::entry::Payload::Membership(membership)) => Payload::Membership(known_membership(membership)?),
        None => return Err(unreadable("a log entry", "it has a payload that this version does not know")),
    };
    Ok(Entry { log_id: known_log_id(&id), payload })
}

pub(super) fn encode_membership(stored: &StoredMembership) -> Bytes {
    membership_message(stored).encode_to_vec().into()
}

pub(super) fn membership_message(stored: &StoredMembership) -> wire::StoredMembership {
    wire::StoredMembership {
        id: stored.log_id().as_ref().map(log_id),
        membership: Some(message_of(stored.membership())),
    }
}

pub(super) fn decode_membership(bytes: Bytes) -> io::Result<StoredMembership> {
    let message = wire::StoredMembership::decode(bytes).map_err(|error| unreadable("a membership", error))?;
    decode_membership_message(message)
}

pub(super) fn decode_membership_message(message: wire::StoredMembership) -> io::Result<StoredMembership> {
    let membership = known_membership(message.membership.unwrap_or_default())?;
    Ok(StoredMembership::new(message.id.as_ref().map(known_log_id), membership))
}

pub(super) fn log_id(id: &LogId) -> wire::LogId {
    wire::LogId { term: id.leader_id.term, leader: id.leader_id.node_id.0, index: id.index }
}

pub(super) fn known_log_id(id: &wire::LogId) -> LogId {
    LogId::new(LeaderId { term: id.term, node_id: ReplicaId(id.leader) }, id.index)
}

fn message_of(membership: &Membership) -> wire::Membership {
    let voters = |config: &BTreeSet<ReplicaId>| wire::Voters { replicas: config.iter().map(|id| id.0).collect() };
    let member = |(id, member): (&ReplicaId, &Member)| wire::Member {
        replica: id.0,
        node: member.node.0,
        role: wire::Role::from(member.role).into(),
    };
    wire::Membership {
        configs: membership.get_joint_config().iter().map(voters).collect(),
        members: membership.nodes().map(member).collect(),
    }
}

fn known_membership(membership: wire::Membership) -> io::Result<Membership> {
    let configs: Vec<BTreeSet<ReplicaId>> =
        membership.configs.into_iter().map(|voters| voters.replicas.into_iter().map(ReplicaId).collect()).collect();
    let mut members = Vec::with_capacity(membership.members.len());
    for member in membership.members {
        let unknown = || unreadable("a membership", "a member has an unknown role");
        let role = Role::known(member.role()).ok_or_else(unknown)?;
        members.push((ReplicaId(member.replica), Member { node: NodeId(member.node), role }));
    }
    if configs.is_empty() {
        return Ok(Membership::default());
    }
    Membership::new(configs, members.into_iter().collect::<std::collections::BTreeMap<_, _>>())
        .map_err(|error| unreadable("a membership", error))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn id(index: u64) -> LogId {
        LogId::new(LeaderId { term: 3, node_id: ReplicaId(9) }, index)
    }

    fn joint() -> Membership {
        let sets = vec![BTreeSet::from([ReplicaId(1), ReplicaId(2)]), BTreeSet::from([ReplicaId(2), ReplicaId(3)])];
        let member = |number, role| (ReplicaId(number), Member { node: NodeId(number + 10), role });
        let members = [member(1, Role::Data), member(2, Role::Witness), member(3, Role::Data), member(4, Role::Data)];
        Membership::new(sets, std::collections::BTreeMap::from(members)).unwrap()
    }

    #[test]
    fn everything_comes_back_as_it_was() {
        let payloads =
            [Payload::Blank, Payload::Normal(EncodedCommand(Bytes::from_static(b"x"))), Payload::Membership(joint())];
        for payload in payloads {
            let entry = Entry { log_id: id(7), payload };
            assert_eq!(decode_entry(encode_entry(&entry)).unwrap(), entry);
        }
        let vote = Vote { leader_id: LeaderId { term: 4, node_id: ReplicaId(2) }, committed: true };
        assert_eq!(decode_vote(encode_vote(&vote)).unwrap(), vote);
        assert_eq!(decode_log_id(encode_log_id(&id(5))).unwrap(), id(5));
        for stored in [StoredMembership::new(Some(id(5)), joint()), StoredMembership::default()] {
            assert_eq!(decode_membership(encode_membership(&stored)).unwrap(), stored);
        }
    }

    #[test]
    fn an_entry_of_a_later_version_is_refused() {
        let message = wire::Entry { id: Some(log_id(&id(1))), payload: None };
        let error = decode_entry(message.encode_to_vec().into()).unwrap_err();
        assert!(error.to_string().contains("does not know"), "{error}");
    }

    #[test]
    fn the_encoding_of_an_entry_is_the_one_of_version_one() {
        let entry = Entry { log_id: id(7), payload: Payload::Normal(EncodedCommand(Bytes::from_static(b"xy"))) };
        let hex: String = encode_entry(&entry).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "0a060803100918071a027879");
    }
}
