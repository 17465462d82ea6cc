#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use super::*;

fn put(key: &[u8], value: &[u8]) -> v1::Mutation {
    let put = v1::mutation::Put { key: Bytes::copy_from_slice(key), value: Bytes::copy_from_slice(value) };
    v1::Mutation { kind: Some(Kind::Put(put)) }
}

fn condition(expected: Option<Expected>) -> v1::Condition {
    v1::Condition { key: "k".into(), expected }
}

#[test]
fn every_malformed_part_is_named_by_its_place() {
    let good = || put(b"k", b"v");
    let corpus = [
        (vec![], vec![], "mutations is missing"),
        (vec![], vec![good(), v1::Mutation { kind: None }], "mutations[1].kind is missing"),
        (vec![], vec![good(), put(b"", b"v")], "mutations[1].key is empty"),
        (vec![], vec![put(b"k", &[0; (8 << 20) + 1])], "mutations[0].value has 8388609"),
        (vec![condition(None)], vec![good()], "conditions[0].expected is missing"),
        (vec![condition(Some(Expected::Absent(false)))], vec![good()], "conditions[0].expected is false"),
        (vec![condition(Some(Expected::Exists(false)))], vec![good()], "conditions[0].expected is false"),
        (vec![], vec![good(); limits::MAX_MUTATIONS + 1], "mutations has 250001"),
        (vec![condition(None); limits::MAX_CONDITIONS + 1], vec![], "conditions has 10001"),
    ];
    for (conditions, mutations, expected) in corpus {
        let message = parse(conditions, mutations).unwrap_err().to_string();
        assert!(message.contains(expected), "{expected}: {message}");
    }
}

#[test]
fn a_batch_may_hold_64_mebibytes_and_no_byte_more() {
    let value = vec![0; 8 << 20];
    let mut mutations: Vec<_> = (0..7).map(|_| put(b"k", &value)).collect();
    mutations.push(put(b"k", &value[..value.len() - 8]));
    let parts = parse(vec![], mutations.clone()).unwrap();
    assert_eq!(parts.held, 64 << 20);
    mutations.push(put(b"k", b""));
    let message = parse(vec![], mutations).unwrap_err().to_string();
    assert!(message.contains("67108865") && message.contains("67108864"), "{message}");
}

#[test]
fn conditions_alone_are_a_batch() {
    let parts = parse(vec![condition(Some(Expected::Absent(true)))], vec![]).unwrap();
    assert_eq!(parts.conditions, [Condition::Absent("k".into())]);
}
