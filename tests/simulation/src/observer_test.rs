#![allow(clippy::unwrap_used)]
use super::*;

const NODE: NodeId = NodeId(1);
const SHARD: u64 = 1;

fn record(kind: u8, replica: u64, value: &impl Message) -> CallerRecord {
    let key = [&[kind][..], &replica.to_be_bytes()].concat();
    (key.into(), Some(value.encode_to_vec().into()))
}

fn resident(replica: u64, role: wire::Role) -> CallerRecord {
    record(RESIDENT, replica, &wire::Resident { shard: SHARD, role: role.into(), leaving: false, absorbed: false })
}

const fn id(term: u64, index: u64) -> wire::LogId {
    wire::LogId { term, leader: 1, index }
}

fn entry(term: u64, index: u64) -> (u64, Bytes) {
    let payload = Some(wire::entry::Payload::Blank(wire::Blank {}));
    (index, wire::Entry { id: Some(id(term, index)), payload }.encode_to_vec().into())
}

fn members(term: u64, index: u64, data: &[u64], witness: u64) -> (u64, Bytes) {
    let voters = data.iter().copied().chain([witness]).collect();
    let member = |replica: u64, role: wire::Role| wire::Member { replica, node: replica, role: role.into() };
    let stores = data.iter().map(|replica| member(*replica, wire::Role::Data));
    let membership = wire::Membership {
        configs: vec![wire::Voters { replicas: voters }],
        members: stores.chain([member(witness, wire::Role::Witness)]).collect(),
    };
    let payload = Some(wire::entry::Payload::Membership(membership));
    (index, wire::Entry { id: Some(id(term, index)), payload }.encode_to_vec().into())
}

/// Two data replicas, 1 and 2, and the witness 3, that have entry 1 synced.
fn group() -> Observer {
    let observer = Observer::new();
    let roles = [(1, wire::Role::Data), (2, wire::Role::Data), (3, wire::Role::Witness)];
    for (replica, role) in roles {
        observer.applied(NODE, &[resident(replica, role)]);
        append(&observer, replica, members(1, 1, &[1, 2], 3), true);
    }
    observer
}

fn append(observer: &Observer, replica: u64, entry: (u64, Bytes), synced: bool) {
    let change = Change::Append(vec![entry]);
    observer.log_changed(ReplicaId(replica), &change);
    if synced {
        observer.log_synced(ReplicaId(replica), &change);
    }
}

fn apply(observer: &Observer, replica: u64, id: wire::LogId) {
    observer.applied(NODE, &[record(APPLIED, replica, &id)]);
}

fn found(observer: &Observer) -> Option<&'static str> {
    observer.violation().map(|(_, violation)| violation.invariant)
}

#[test]
fn a_group_that_does_everything_right_passes() {
    let observer = group();
    for replica in [1, 2] {
        append(&observer, replica, entry(1, 2), true);
    }
    for replica in [1, 2] {
        apply(&observer, replica, id(1, 2));
        observer.synced(&[record(APPLIED, replica, &id(1, 2))]);
    }
    observer.log_changed(ReplicaId(1), &Change::Purge(2, id(1, 2).encode_to_vec().into()));
    observer.leads(ShardId(SHARD), 2, ReplicaId(2), 1);
    assert_eq!(found(&observer), None);
}

#[test]
fn an_entry_that_is_applied_before_a_quorum_synced_it_is_found() {
    let observer = group();
    append(&observer, 1, entry(1, 2), true);
    append(&observer, 2, entry(1, 2), false);
    apply(&observer, 1, id(1, 2));
    assert_eq!(found(&observer), Some("committed on a quorum"));
}

#[test]
fn logs_that_differ_under_one_name_are_found() {
    let observer = group();
    append(&observer, 1, entry(1, 2), false);
    append(&observer, 2, members(1, 2, &[1], 3), false);
    assert_eq!(found(&observer), Some("log matching"));
}

#[test]
fn a_committed_entry_that_is_given_up_is_found() {
    let observer = group();
    for replica in [1, 2] {
        append(&observer, replica, entry(1, 2), true);
    }
    apply(&observer, 1, id(1, 2));
    observer.log_changed(ReplicaId(2), &Change::Truncate(2));
    assert_eq!(found(&observer), Some("what is committed stays"));
}

#[test]
fn a_leader_that_lacks_a_committed_entry_is_found() {
    let observer = group();
    for replica in [1, 3] {
        append(&observer, replica, entry(1, 2), true);
    }
    apply(&observer, 1, id(1, 2));
    observer.leads(ShardId(SHARD), 2, ReplicaId(2), 1);
    assert_eq!(found(&observer), Some("a leader has all that is committed"));
}

#[test]
fn a_log_that_is_let_go_before_its_state_was_synced_is_found() {
    let observer = group();
    apply(&observer, 1, id(1, 1));
    observer.log_changed(ReplicaId(1), &Change::Purge(1, id(1, 1).encode_to_vec().into()));
    assert_eq!(found(&observer), Some("a log is let go up to what was synced"));
}

#[test]
fn a_state_that_is_behind_its_log_after_a_power_loss_is_found() {
    let observer = group();
    observer.log_synced(ReplicaId(1), &Change::Purge(1, id(1, 1).encode_to_vec().into()));
    let (key, value) = record(APPLIED, 1, &id(1, 0));
    observer.went_back(NODE, &[(key, value.unwrap())]);
    assert_eq!(found(&observer), Some("a log is let go up to what was synced"));
}

#[test]
fn a_witness_that_lets_go_of_what_a_data_replica_lacks_is_found() {
    let observer = group();
    for replica in [1, 3] {
        append(&observer, replica, entry(1, 2), true);
    }
    for replica in [1, 3] {
        apply(&observer, replica, id(1, 2));
    }
    observer.synced(&[record(APPLIED, 3, &id(1, 2))]);
    observer.log_changed(ReplicaId(3), &Change::Purge(2, id(1, 2).encode_to_vec().into()));
    assert_eq!(found(&observer), Some("a witness keeps what a data replica lacks"));
}

#[test]
fn a_witnesss_state_in_a_data_replica_is_found() {
    let observer = group();
    let descriptor = wire::Descriptor { shard: SHARD, epoch: 1, ..Default::default() };
    let records = [record(APPLIED, 2, &id(1, 1)), record(DESCRIPTOR, 2, &descriptor)];
    observer.installed(NODE, true, &records);
    assert_eq!(found(&observer), Some("no witness's snapshot is installed as data"));
}

#[test]
fn a_replica_that_goes_back_is_found() {
    let observer = group();
    append(&observer, 1, entry(1, 2), true);
    append(&observer, 2, entry(1, 2), true);
    apply(&observer, 1, id(1, 2));
    apply(&observer, 1, id(1, 1));
    assert_eq!(found(&observer), Some("applied only grows"));
}
