#![allow(clippy::unwrap_used)]
use super::*;

fn batch(expected: Option<u64>) -> Request {
    let mutation = |key: &str, value: Option<&str>| Mutation { key: key.to_owned(), value: value.map(str::to_owned) };
    Request::Write { expected, mutations: vec![mutation("a", Some("1")), mutation("b", None)] }
}

#[test]
fn a_batch_is_a_line_for_each_key_with_the_condition_on_its_first() {
    let lines = operations(3, 9, &batch(Some(4)), &Answer::Written { version: 7 }, 10, 20);
    let text: Vec<String> = lines.iter().map(|line| serde_json::to_string(line).unwrap()).collect();
    assert_eq!(
        text,
        [
            r#"{"client":3,"key":"a","op":"put_if","args":{"expected":4,"value":"1"},"result":{"kind":"written","version":7},"call_ns":10,"ret_ns":20,"batch":9}"#,
            r#"{"client":3,"key":"b","op":"delete","args":{},"result":{"kind":"written","version":7},"call_ns":10,"ret_ns":20,"batch":9}"#,
        ]
    );
    assert_eq!(serde_json::from_str::<Operation>(&text[0]).unwrap(), lines[0]);
}

#[test]
fn a_failed_condition_tells_of_its_own_key_alone() {
    let lines = operations(0, 0, &batch(Some(4)), &Answer::ConditionFailed { actual: 5 }, 10, 20);
    assert_eq!(lines.len(), 1);
    assert_eq!((lines[0].key.as_str(), lines[0].ret_ns), ("a", Some(20)));
}

#[test]
fn a_write_of_unknown_outcome_stays_open_in_all_its_parts() {
    let lines = operations(0, 0, &batch(None), &Answer::Unknown, 10, 20);
    assert_eq!(lines.len(), 2);
    assert!(lines.iter().all(|line| line.result.is_none() && line.ret_ns.is_none()), "{lines:?}");
}

#[test]
fn what_did_nothing_is_left_out() {
    let get = Request::Get { key: "a".to_owned() };
    assert_eq!(operations(0, 0, &batch(None), &Answer::NotDone, 1, 2), []);
    assert_eq!(operations(0, 0, &get, &Answer::NotDone, 1, 2), []);
    assert_eq!(operations(0, 0, &get, &Answer::Unknown, 1, 2), []);
}
