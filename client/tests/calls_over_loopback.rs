//! The client against nodes on loopback that refuse, break and hang as a script says.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[allow(dead_code)] // Shared with the tests of thermoctl.
mod support;

use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt;
use support::{Fault, Node, endpoints, options};
use thermocline_client::{Batch, Client, Error, ErrorKind, ScanOptions};
use tonic::Code;

async fn two_nodes() -> (Node, Node, Client) {
    let (low, high) = (Node::start("low", "", "m").await, Node::start("high", "m", "").await);
    let client = Client::connect(endpoints([low.endpoint.clone(), high.endpoint.clone()]), options()).await.unwrap();
    (low, high, client)
}

#[tokio::test]
async fn keys_go_to_the_nodes_that_say_they_own_them() {
    let (low, high, client) = two_nodes().await;
    client.put("a", "1").await.unwrap();
    let version = client.put("z", "2").await.unwrap();
    assert_eq!((low.calls(), high.calls()), (vec!["put"], vec!["put"]));
    let record = client.get("z").await.unwrap().unwrap();
    assert_eq!((record.value, record.version), (Bytes::from("2"), version));
    client.delete("z").await.unwrap();
    assert_eq!(client.get("z").await.unwrap(), None);
}

#[tokio::test]
async fn answers_of_a_batch_get_come_in_the_order_asked() {
    let (_low, _high, client) = two_nodes().await;
    for key in ["a", "b", "y", "z"] {
        client.put(key, key).await.unwrap();
    }
    let keys: Vec<Bytes> = ["z", "a", "none", "y", "zz", "b", "a"].into_iter().map(Bytes::from).collect();
    let found = client.batch_get(&keys).await.unwrap();
    let values: Vec<Option<Bytes>> = found.into_iter().map(|record| record.map(|record| record.value)).collect();
    let expected = [Some("z"), Some("a"), None, Some("y"), None, Some("b"), Some("a")];
    assert_eq!(values, expected.map(|value| value.map(Bytes::from)));
}

#[tokio::test]
async fn a_batch_over_two_nodes_is_refused_with_the_split_point_before_anything_is_sent() {
    let (low, high, client) = two_nodes().await;
    let error = client.write(Batch::new().put("a", "1").put("z", "2")).await.unwrap_err();
    assert!(matches!(&error, Error::BatchSpansShards { split } if split == "m"), "{error}");
    let on_a_condition = client.write(Batch::new().put("a", "1").when_absent("z")).await.unwrap_err();
    assert!(matches!(on_a_condition, Error::BatchSpansShards { .. }));
    assert!(low.calls().is_empty() && high.calls().is_empty());
}

#[tokio::test]
async fn a_condition_that_does_not_hold_is_told_with_the_actual_version() {
    let (_low, _high, client) = two_nodes().await;
    let version = client.write(Batch::new().put("a", "1").when_absent("a")).await.unwrap();
    let error = client.write(Batch::new().put("a", "2").when_absent("a")).await.unwrap_err();
    assert!(matches!(error, Error::ConditionFailed { index: 0, actual_version: Some(actual) } if actual == version));
    let absent = client.write(Batch::new().put("b", "2").when_exists("b")).await.unwrap_err();
    assert!(matches!(absent, Error::ConditionFailed { actual_version: None, .. }));
}

#[tokio::test]
async fn ranges_that_changed_are_learned_again_and_the_call_goes_through() {
    let (low, high) = (Node::start("low", "", "m").await, Node::start("high", "m", "").await);
    // The file is out of date: "f" belongs to the second node by now.
    low.own("", "c");
    high.own("c", "");
    let stale = endpoints([low.with_range("", "m"), high.with_range("m", "")]);
    let client = Client::connect(stale, options()).await.unwrap();
    client.write(Batch::new().put("f", "1").when_absent("f")).await.unwrap();
    assert_eq!((low.calls(), high.calls()), (vec!["write"], vec!["write"]));
    assert_eq!(client.ranges().owner(b"f"), 1);
}

/// Within a small part of the 20 s that learning was once given.
const SOON: Duration = Duration::from_secs(10);

async fn three_nodes() -> ([Node; 3], Client) {
    let nodes =
        [Node::start("low", "", "g").await, Node::start("middle", "g", "p").await, Node::start("high", "p", "").await];
    let client =
        Client::connect(endpoints(nodes.each_ref().map(|node| node.endpoint.clone())), options()).await.unwrap();
    (nodes, client)
}

#[tokio::test]
async fn ranges_are_learned_again_although_a_node_that_has_no_part_in_it_is_silent() {
    let ([low, middle, high], client) = three_nodes().await;
    low.own("", "c");
    middle.own("c", "p");
    high.state.lock().unwrap().silent = true;
    let hasty = client.with_timeout(Duration::from_secs(2));
    tokio::time::timeout(SOON, hasty.put("d", "1")).await.unwrap().unwrap();
    assert_eq!((low.calls(), middle.calls()), (vec!["put"], vec!["put"]));
    assert_eq!(client.ranges().owner(b"z"), 2, "the silent one keeps what it had");
}

#[tokio::test]
async fn learning_ranges_ends_with_the_deadline_of_the_call_that_needs_them() {
    let (nodes, client) = three_nodes().await;
    for node in &nodes {
        node.own("x", "y");
        node.state.lock().unwrap().silent = true;
    }
    let hasty = client.with_timeout(Duration::from_millis(200));
    let calls = futures::future::join_all((0..8).map(|_| hasty.put("d", "1")));
    for ended in tokio::time::timeout(SOON, calls).await.unwrap() {
        // A slow machine may end a call just after it was sent again.
        let kind = ended.unwrap_err().kind();
        assert!(matches!(kind, ErrorKind::Unavailable | ErrorKind::OutcomeUnknown), "{kind:?}");
    }
}

#[tokio::test]
async fn nodes_that_disagree_for_a_moment_make_a_call_wait_and_not_wrong() {
    let ([low, _middle, _high], client) = three_nodes().await;
    // Its neighbour does not know yet: nobody owns "c" to "g".
    low.own("", "c");
    let error = client.put("d", "1").await.unwrap_err();
    assert!(matches!(error, Error::Misrouted { .. }), "{error}");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    client.put("a", "1").await.unwrap();
}

#[tokio::test]
async fn nodes_that_leave_a_gap_are_refused() {
    let (low, high) = (Node::start("low", "", "m").await, Node::start("high", "n", "").await);
    let error = Client::connect(endpoints([low.endpoint.clone(), high.endpoint.clone()]), options()).await.unwrap_err();
    assert!(matches!(error, Error::Ranges(_)), "{error}");
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

#[tokio::test]
async fn a_refusal_before_work_began_is_sent_again_with_the_same_request_id() {
    let (low, _high, client) = two_nodes().await;
    low.fault(Fault::Refuse(Code::ResourceExhausted));
    low.fault(Fault::Refuse(Code::ResourceExhausted));
    client.write(Batch::new().put("a", "1").when_absent("a")).await.unwrap();
    client.put("b", "1").await.unwrap();
    assert_eq!(low.calls(), ["write", "write", "write", "put"]);
    let state = low.state.lock().unwrap();
    let sequences: Vec<u64> = state.write_ids.iter().map(|id| id.sequence).collect();
    let [first, second, third, other] = sequences[..] else { panic!("four writes arrived: {sequences:?}") };
    assert_eq!((first, second), (second, third), "a retry is recognisable");
    assert_ne!(first, other);
    assert!(state.write_ids.iter().all(|id| id.client == state.write_ids[0].client && id.client.len() == 16));
}

#[tokio::test]
async fn a_node_that_stays_overloaded_is_reported_as_unavailable() {
    let (low, _high, client) = two_nodes().await;
    for _ in 0..6 {
        low.fault(Fault::Refuse(Code::ResourceExhausted));
    }
    let error = client.put("a", "1").await.unwrap_err();
    assert!(matches!(error, Error::Overloaded { attempts: 6, .. }), "{error}");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn a_write_that_may_have_been_applied_is_sent_once() {
    let (low, _high, client) = two_nodes().await;
    low.fault(Fault::DoAndFail(Code::Unavailable));
    let error = client.put("a", "1").await.unwrap_err();
    assert!(matches!(error, Error::OutcomeUnknown { .. }), "{error}");
    low.fault(Fault::DoAndFail(Code::Unavailable));
    let conditional = client.write(Batch::new().put("b", "1").when_absent("b")).await.unwrap_err();
    assert_eq!(conditional.kind(), ErrorKind::OutcomeUnknown);
    assert_eq!(low.calls(), ["put", "write"]);
    assert!(client.get("b").await.unwrap().is_some(), "it was applied, once");
    // Who writes it again is told of the first: no node remembers request ids yet.
    let again = client.write(Batch::new().put("b", "1").when_absent("b")).await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::ConditionFailed);
}

#[tokio::test]
async fn a_read_is_sent_again_where_a_write_is_not() {
    let (low, _high, client) = two_nodes().await;
    client.put("a", "1").await.unwrap();
    low.fault(Fault::Refuse(Code::Unavailable));
    assert!(client.get("a").await.unwrap().is_some());
    assert_eq!(low.calls(), ["put", "get", "get"]);
}

#[tokio::test]
async fn a_deadline_ends_a_read_and_leaves_a_write_unknown() {
    let (low, _high, client) = two_nodes().await;
    let hasty = client.with_timeout(Duration::from_millis(200));
    low.fault(Fault::DoAndHang);
    let read = hasty.get("a").await.unwrap_err();
    assert!(matches!(read, Error::Deadline { .. }), "{read}");
    low.fault(Fault::DoAndHang);
    let write = hasty.put("a", "1").await.unwrap_err();
    assert!(matches!(write, Error::OutcomeUnknown { .. }), "{write}");
}

#[tokio::test]
async fn a_node_that_is_not_there_costs_a_write_nothing_but_attempts() {
    let gone = Node::start("gone", "", "").await;
    let endpoint = gone.with_range("", "");
    drop(gone);
    let client = Client::connect(endpoints([endpoint]), options()).await.unwrap();
    let error = client.put("a", "1").await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { attempts: 6, .. }), "{error}");
}

#[tokio::test]
async fn a_node_without_a_known_range_that_does_not_answer_is_named() {
    let gone = Node::start("gone", "", "").await;
    let endpoint = gone.endpoint.clone();
    drop(gone);
    let error = Client::connect(endpoints([endpoint]), options()).await.unwrap_err();
    assert!(matches!(&error, Error::Silent { node, .. } if node == "gone"), "{error}");
}

async fn keys(client: &Client, options: ScanOptions) -> Vec<String> {
    let records: Vec<_> = client.scan(options).into_stream().try_collect().await.unwrap();
    records.into_iter().map(|record| String::from_utf8(record.key.to_vec()).unwrap()).collect()
}

#[tokio::test]
async fn a_scan_crosses_nodes_in_key_order_both_ways() {
    let (_low, _high, client) = two_nodes().await;
    for key in ["a", "c", "l", "m", "n", "z"] {
        client.put(key, "").await.unwrap();
    }
    assert_eq!(keys(&client, ScanOptions::default()).await, ["a", "c", "l", "m", "n", "z"]);
    let reverse = ScanOptions { reverse: true, ..ScanOptions::default() };
    assert_eq!(keys(&client, reverse.clone()).await, ["z", "n", "m", "l", "c", "a"]);
    let limited = ScanOptions { start: "b".into(), end: "z".into(), limit: Some(3), ..ScanOptions::default() };
    assert_eq!(keys(&client, limited.clone()).await, ["c", "l", "m"]);
    assert_eq!(keys(&client, ScanOptions { reverse: true, ..limited }).await, ["n", "m", "l"]);
    assert!(keys(&client, ScanOptions { limit: Some(0), ..ScanOptions::default() }).await.is_empty());
}

#[tokio::test]
async fn a_scan_that_breaks_goes_on_after_the_last_record() {
    let (low, _high, client) = two_nodes().await;
    for key in ["a", "b", "c", "d", "x"] {
        client.put(key, "").await.unwrap();
    }
    for reverse in [false, true] {
        low.state.lock().unwrap().scan_breaks_after = Some(2);
        let mut expected = ["a", "b", "c", "d", "x"];
        if reverse {
            expected.reverse();
        }
        assert_eq!(keys(&client, ScanOptions { reverse, ..ScanOptions::default() }).await, expected);
    }
}

#[tokio::test]
async fn limits_are_refused_before_anything_is_sent() {
    let (low, _high, client) = two_nodes().await;
    assert!(matches!(client.get("").await, Err(Error::KeyLength { bytes: 0 })));
    let long = "a".repeat(4097);
    assert!(matches!(client.put(long, "1").await, Err(Error::KeyLength { bytes: 4097 })));
    let large = vec![0; 8 * 1024 * 1024 + 1];
    assert!(matches!(client.put("a", large).await, Err(Error::ValueLength { .. })));
    assert!(matches!(client.write(Batch::new()).await, Err(Error::EmptyBatch)));
    assert!(low.calls().is_empty());
}
