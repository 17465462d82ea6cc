//! Reads of many keys, and scans over shards that split and move.

use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt;
use thermocline_client::{Client, Consistency, Error, Options, ScanOptions};
use tonic::Code;

use crate::{
    cluster::{Cluster, options},
    node::Fault,
    world::World,
};

const KEYS: [&str; 9] = ["a", "c", "e", "g", "l", "m", "n", "t", "z"];

async fn filled(cluster: &Cluster) -> Client {
    let client = cluster.client().await;
    for key in KEYS {
        client.put(key, key).await.unwrap();
    }
    client
}

async fn keys(client: &Client, options: ScanOptions) -> Vec<String> {
    let scanned = client.scan(options).into_stream().try_collect::<Vec<_>>();
    let records = tokio::time::timeout(Duration::from_secs(60), scanned).await.unwrap().unwrap();
    records.into_iter().map(|record| String::from_utf8(record.key.to_vec()).unwrap()).collect()
}

fn backwards(keys: &[&str]) -> Vec<String> {
    keys.iter().rev().map(|key| (*key).to_owned()).collect()
}

#[tokio::test]
async fn a_read_is_sent_again_until_its_deadline() {
    let cluster = Cluster::start().await;
    let client = filled(&cluster).await;
    // More often than a node that stands alone is asked.
    for fault in [Fault::Refuse(Code::Unavailable), Fault::Break, Fault::Refuse(Code::ResourceExhausted)] {
        for _ in 0..4 {
            cluster.node(1).fault(fault.clone());
        }
    }
    assert_eq!(&client.get("a").await.unwrap().unwrap().value[..], b"a");
    cluster.node(1).always(Fault::Refuse(Code::Unavailable));
    cluster.node(2).always(Fault::Refuse(Code::Unavailable));
    let error = client.with_timeout(Duration::from_millis(200)).get("a").await.unwrap_err();
    assert!(matches!(error, Error::Deadline { .. }), "{error}");
    cluster.node(1).always(Fault::Refuse(Code::DataLoss));
    cluster.node(2).always(Fault::Refuse(Code::DataLoss));
    assert!(matches!(client.get("a").await.unwrap_err(), Error::Refused { .. }), "it would be the same again");
}

#[tokio::test]
async fn keys_of_a_batch_get_are_asked_of_the_leaders_of_their_shards_and_answered_in_order() {
    let cluster = Cluster::halves().await;
    let client = filled(&cluster).await;
    let asked: Vec<Bytes> = ["z", "a", "none", "n", "zz", "c", "a"].into_iter().map(Bytes::from).collect();
    let values = |found: Vec<Option<thermocline_client::Record>>| -> Vec<Option<Bytes>> {
        found.into_iter().map(|record| record.map(|record| record.value)).collect()
    };
    let expected: Vec<Option<Bytes>> =
        [Some("z"), Some("a"), None, Some("n"), None, Some("c"), Some("a")].map(|value| value.map(Bytes::from)).into();
    assert_eq!(values(client.batch_get(&asked).await.unwrap()), expected);
    let batches = |node| cluster.node(node).arrived().iter().filter(|arrived| arrived.call == "batch_get").count();
    assert_eq!((batches(1), batches(2)), (1, 1));

    // Splits and moves that the client has not heard of.
    cluster.change(|world| {
        world.split(1, "b", 8);
        world.shard(8).leader = Some(2);
        world.split(2, "o", 9);
        world.shard(9).leader = Some(1);
    });
    assert_eq!(values(client.batch_get(&asked).await.unwrap()), expected);
}

#[tokio::test]
async fn a_scan_goes_from_shard_to_shard_at_their_leaders_both_ways_and_ends_before_the_clusters_own_keys() {
    let cluster = Cluster::halves().await;
    let client = filled(&cluster).await;
    let reverse = ScanOptions { reverse: true, ..ScanOptions::default() };
    assert_eq!(keys(&client, ScanOptions::default()).await, KEYS);
    assert_eq!(keys(&client, reverse.clone()).await, backwards(&KEYS));
    let limited = ScanOptions { start: "b".into(), end: "z".into(), limit: Some(6), ..ScanOptions::default() };
    assert_eq!(keys(&client, limited.clone()).await, KEYS[1..7]);
    assert_eq!(keys(&client, ScanOptions { reverse: true, ..limited }).await, backwards(&KEYS[2..8]));
    let within = ScanOptions { start: "m".into(), end: "n".into(), ..ScanOptions::default() };
    assert_eq!(keys(&client, within.clone()).await, ["m"]);
    assert_eq!(keys(&client, ScanOptions { reverse: true, ..within }).await, ["m"]);
}

#[tokio::test]
async fn a_scan_learns_routes_that_nobody_asked_for_yet_from_either_end() {
    let cluster = Cluster::halves().await;
    filled(&cluster).await;
    for reverse in [false, true] {
        let client = cluster.client().await;
        cluster.change(|world| world.page = 1);
        let mut expected = KEYS.map(str::to_owned).to_vec();
        if reverse {
            expected.reverse();
        }
        assert_eq!(keys(&client, ScanOptions { reverse, ..ScanOptions::default() }).await, expected);
    }
}

fn split_and_move(world: &mut World) {
    world.split(1, "f", 9);
    world.shard(1).leader = Some(2);
    world.shard(9).leader = Some(1);
}

#[tokio::test]
async fn a_scan_neither_skips_nor_repeats_a_key_where_shards_split_and_move_meanwhile() {
    for reverse in [false, true] {
        for after in 0..5 {
            let cluster = Cluster::halves().await;
            let client = filled(&cluster).await;
            cluster.node(1).fault(Fault::BreakScan(after, split_and_move));
            let mut expected = KEYS.map(str::to_owned).to_vec();
            if reverse {
                expected.reverse();
            }
            let options = ScanOptions { reverse, ..ScanOptions::default() };
            assert_eq!(keys(&client, options).await, expected, "after {after}, reverse: {reverse}");
        }
    }
}

#[tokio::test]
async fn a_scan_that_a_node_does_not_answer_goes_on_elsewhere() {
    let cluster = Cluster::start().await;
    filled(&cluster).await;
    let attempt_timeout = Duration::from_millis(100);
    let client = cluster.client_with(thermocline_client::Options { attempt_timeout, ..options() }).await;
    cluster.node(1).fault(Fault::Hang);
    cluster.change(|world| world.shard(1).leader = Some(2));
    cluster.node(1).state.lock().unwrap().silent = true;
    assert_eq!(keys(&client, ScanOptions::default()).await, KEYS);
}

fn arrived(cluster: &Cluster, node: u64, call: &str) -> usize {
    cluster.node(node).arrived().iter().filter(|arrived| arrived.call == call).count()
}

#[tokio::test]
async fn reads_that_any_replica_may_answer_take_turns_and_the_others_are_the_leaders() {
    let cluster = Cluster::start().await;
    let client = filled(&cluster).await;
    for _ in 0..6 {
        client.get("a").await.unwrap().unwrap();
    }
    assert_eq!((arrived(&cluster, 1, "get"), arrived(&cluster, 2, "get")), (6, 0));
    let near = client.with_consistency(Consistency::Follower);
    for _ in 0..20 {
        assert_eq!(&near.get("a").await.unwrap().unwrap().value[..], b"a");
    }
    assert!(arrived(&cluster, 2, "get") > 0, "the one that does not lead is as near");
    assert_eq!(arrived(&cluster, 3, "get"), 0, "it has no data");
    near.put("a", "still the leader's").await.unwrap();
}

#[tokio::test]
async fn a_replica_of_the_clients_zone_is_asked_and_another_one_where_it_refuses() {
    let cluster = Cluster::start().await;
    cluster.change(|world| world.zones = [(1, "far".to_owned()), (2, "here".to_owned())].into());
    filled(&cluster).await;
    let here = Options { consistency: Consistency::Follower, zone: Some("here".to_owned()), ..options() };
    let client = cluster.client_with(here).await;
    for _ in 0..5 {
        client.get("a").await.unwrap().unwrap();
    }
    client.batch_get(&["a".into(), "z".into()]).await.unwrap();
    assert_eq!(keys(&client, ScanOptions::default()).await, KEYS);
    assert_eq!(["get", "batch_get", "scan"].map(|call| arrived(&cluster, 1, call)), [0; 3]);
    // It does not know how new its state is.
    cluster.node(2).always(Fault::PointTo(0));
    client.get("a").await.unwrap().unwrap();
    assert_eq!(keys(&client, ScanOptions::default()).await, KEYS);
    assert_eq!(["get", "scan"].map(|call| arrived(&cluster, 1, call)), [1; 2]);
}

#[tokio::test]
async fn how_old_an_answer_is_counts_the_time_since_it_was_asked_for_too() {
    let cluster = Cluster::halves().await;
    let client = filled(&cluster).await;
    cluster.change(|world| world.staleness_ms = 5_000);
    let said = Duration::from_secs(5);
    let exact = client.get_aged("a").await.unwrap();
    assert!(exact.found.is_some() && exact.at_most > Duration::ZERO && exact.at_most < said);
    let client = client.with_consistency(Consistency::Stale(Duration::from_secs(7)));
    assert!(client.get_aged("a").await.unwrap().at_most > said);
    assert!(client.batch_get_aged(&["a".into(), "z".into()]).await.unwrap().at_most > said);
    let mut scan = client.scan(ScanOptions::default());
    assert_eq!(scan.at_most(), None);
    while scan.next().await.unwrap().is_some() {}
    assert!(scan.at_most().unwrap() > said);
}
