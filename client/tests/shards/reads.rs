//! Reads of many keys, and scans over shards that split and move.

use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt;
use thermocline_client::{Client, Error, ScanOptions};
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
