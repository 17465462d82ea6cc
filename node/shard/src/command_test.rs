#![allow(clippy::unwrap_used)]
use super::*;

fn writes() -> Command {
    let (key, value) = (Bytes::from_static(b"key"), Bytes::from_static(b"value"));
    let request = RequestId { client: ClientId([7; 16]), sequence: 9, retry: true };
    Command::Writes(Writes {
        at_millis: 1_700_000_000_000,
        writes: vec![
            Write {
                request: Some(request),
                epoch: Epoch(3),
                conditions: vec![
                    Condition::Absent(key.clone()),
                    Condition::Exists(key.clone()),
                    Condition::VersionEquals(key.clone(), 5),
                ],
                mutations: vec![Mutation::Put { key: key.clone(), value }, Mutation::Delete { key }],
            },
            Write { request: None, epoch: Epoch(0), conditions: Vec::new(), mutations: Vec::new() },
        ],
    })
}

fn split() -> Command {
    let replicas = vec![(ReplicaId(1), ReplicaId(11)), (ReplicaId(2), ReplicaId(12))];
    Command::Split(Split { at: Bytes::from_static(b"m"), epoch: Epoch(4), right: ShardId(8), replicas })
}

#[test]
fn a_command_comes_back_as_it_was() {
    let range = thermocline_engine::KeyRange::new("b", "m").unwrap();
    let begin = ShardDescriptor { shard: ShardId(1), range, epoch: Epoch(3), version_base: 7 };
    let (into, job, epoch) = (ShardId(1), 5, Epoch(3));
    let members = vec![(NodeId(1), Role::Data), (NodeId(2), Role::Witness)];
    let replicas = vec![(ReplicaId(1), ReplicaId(11))];
    let merging = [
        Command::Freeze(Freeze { into, job, epoch, left_epoch: Epoch(8), members }),
        Command::Thaw(Thaw { into, job, epoch }),
        Command::Absorb(Absorb { job, at_millis: 9, right: begin.clone(), frozen_at: 70, replicas }),
    ];
    for command in [writes(), split(), Command::Begin(begin)].into_iter().chain(merging) {
        assert_eq!(Command::decode(command.encode()).unwrap(), command);
    }
}

#[test]
fn values_are_not_copied_out_of_a_command() {
    let bytes = writes().encode();
    let Command::Writes(decoded) = Command::decode(bytes.clone()).unwrap() else { unreachable!() };
    let value = decoded.writes[0].mutations[0].value().unwrap();
    assert!(bytes.as_ptr_range().contains(&value.as_ptr()));
}

#[test]
fn what_no_version_wrote_is_refused_instead_of_half_understood() {
    let refused = |command: wire::Command| Command::decode(command.encode_to_vec().into()).unwrap_err().to_string();
    assert!(refused(wire::Command { kind: None }).contains("does not know"));
    let of = |write: wire::Write| wire::Command {
        kind: Some(wire::command::Kind::Writes(wire::Writes { at_millis: 0, writes: vec![write] })),
    };
    let id = v1::RequestId { client: Bytes::from_static(b"short"), sequence: 1 };
    assert!(refused(of(wire::Write { request_id: Some(id), ..Default::default() })).contains("16 bytes"));
    let nothing = v1::Condition { key: Bytes::new(), expected: None };
    assert!(refused(of(wire::Write { conditions: vec![nothing], ..Default::default() })).contains("expects nothing"));
    assert!(
        refused(of(wire::Write { mutations: vec![v1::Mutation::default()], ..Default::default() }))
            .contains("changes nothing")
    );
    assert!(Command::decode(Bytes::from_static(b"\xff\xff")).is_err());
}

/// The bytes are on disks and between versions: they stay.
#[test]
fn the_encoding_of_a_split_is_the_one_of_version_one() {
    let hex: String = split().encode().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, "12130a016d1004180822040801100b22040802100c");
}
