//! Who is asked: routes that are learned, that are outdated, and that nobody knows.

use std::time::Duration;

use bytes::Bytes;
use thermocline_client::{Batch, Client, Endpoints, Error, ErrorKind};
use tonic::Code;

use crate::{
    cluster::{Cluster, endpoint, nobody, options, without_pauses},
    node::Fault,
    world::Shard,
};

#[tokio::test]
async fn nodes_that_the_endpoints_do_not_name_are_reached_with_shard_and_epoch() {
    let cluster = Cluster::halves().await;
    cluster.change(|world| world.shard(2).epoch = 7);
    let client = cluster.client().await;
    client.put("a", "1").await.unwrap();
    client.put("z", "2").await.unwrap();
    assert_eq!(&client.get("z").await.unwrap().unwrap().value[..], b"2");
    let headers = |node: u64| {
        let arrived = cluster.node(node).arrived().into_iter();
        arrived.map(|arrived| (arrived.call, arrived.header.shard, arrived.header.epoch)).collect::<Vec<_>>()
    };
    assert_eq!(headers(1), [("put", 1, 1)]);
    assert_eq!(headers(2), [("put", 2, 7), ("get", 2, 7)]);
    assert!(headers(3).is_empty(), "a witness has no data");
}

#[tokio::test]
async fn routes_are_learned_when_a_call_needs_them_with_their_neighbours() {
    let bounds = ["", "c", "f", "j", "m", "q", ""];
    let shards = bounds.windows(2).enumerate().map(|(at, pair)| Shard::new(at as u64 + 1, pair[0], pair[1], 1));
    let cluster = Cluster::of(shards).await;
    cluster.change(|world| world.page = 2);
    let client = cluster.client().await;
    let learned = |client: &Client| client.routes().iter().map(|route| route.shard).collect::<Vec<_>>();
    assert_eq!(learned(&client), [1, 2]);
    assert_eq!(client.get("n").await.unwrap(), None);
    assert_eq!(learned(&client), [1, 2, 5, 6], "a gap is left where nobody asked");
    assert_eq!(client.get("z").await.unwrap(), None);
    assert_eq!(cluster.node(1).state.lock().unwrap().asked, ["", "n"], "the neighbour was not asked for again");
    assert_eq!(client.route(b"g").await.unwrap().unwrap().shard, 3);
    assert_eq!(learned(&client), [1, 2, 3, 4, 5, 6]);
}

#[tokio::test]
async fn endpoints_without_an_answer_do_not_matter_where_another_one_answers() {
    let cluster = Cluster::start().await;
    cluster.node(3).state.lock().unwrap().silent = true;
    let nodes = [endpoint("gone", &nobody().await), endpoint("mute", &cluster.node(3).address)];
    let nodes = nodes.into_iter().chain(cluster.endpoints([2]).nodes().to_vec());
    let client = Client::connect(Endpoints::new(None, nodes.collect()).unwrap(), options()).await.unwrap();
    client.put("a", "1").await.unwrap();
    assert_eq!(client.ranges().owner(b"a"), 2, "the one of them that has a replica");
}

#[tokio::test]
async fn nodes_that_cannot_say_yet_where_shards_are_make_a_call_wait() {
    let cluster = Cluster::start().await;
    cluster.node(1).state.lock().unwrap().knows_no_routes = Some(Code::Unavailable);
    let client = cluster.client().await;
    assert!(client.routes().is_empty());
    let hasty = client.with_timeout(Duration::from_millis(100)).put("a", "1").await.unwrap_err();
    assert!(matches!(hasty, Error::Unrouted { .. }) && hasty.kind() == ErrorKind::Unavailable, "{hasty}");
    let begins = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        cluster.node(1).state.lock().unwrap().knows_no_routes = None;
    };
    let (put, ()) = tokio::join!(client.put("a", "1"), begins);
    put.unwrap();
}

#[tokio::test]
async fn a_request_that_was_routed_wrongly_is_sent_at_once_to_the_leader_that_is_named_and_not_as_a_retry() {
    let cluster = Cluster::start().await;
    let client = cluster.client_with(without_pauses()).await;
    cluster.change(|world| world.shard(1).leader = Some(2));
    client.put("a", "1").await.unwrap();
    let (first, second) = (cluster.node(1).arrived(), cluster.node(2).arrived());
    assert_eq!((first.len(), second.len()), (1, 1));
    assert_eq!(first[0].header.request_id, second[0].header.request_id);
    assert!(!second[0].header.retry, "nothing was done by the first sending");
    client.put("b", "1").await.unwrap();
    assert_eq!(cluster.node(1).arrived().len(), 1, "the leader is remembered");
}

#[tokio::test]
async fn a_shard_that_has_split_and_moved_is_found_by_what_its_old_place_says() {
    let cluster = Cluster::start().await;
    let client = cluster.client_with(without_pauses()).await;
    client.put("z", "1").await.unwrap();
    cluster.change(|world| {
        world.split(1, "m", 9);
        world.shard(9).leader = Some(2);
        world.shard(9).data = vec![2, 3];
        world.shard(9).witness = None;
    });
    client.put("z", "2").await.unwrap();
    assert_eq!(cluster.node(2).arrived()[0].header.shard, 9);
    client.put("a", "2").await.unwrap();
    let routes: Vec<_> = client.routes().iter().map(|route| (route.shard, route.epoch)).collect();
    assert_eq!(routes, [(1, 2), (9, 2)]);
}

#[tokio::test]
async fn where_no_leader_is_known_the_data_replicas_are_tried_in_turn() {
    let cluster = Cluster::start().await;
    cluster.change(|world| world.shard(1).leader = None);
    let client = cluster.client().await;
    // The first one knows of no leader either.
    cluster.node(1).fault(Fault::PointTo(0));
    cluster.node(2).fault(Fault::Meanwhile(|world| world.shard(1).leader = Some(2)));
    client.put("a", "1").await.unwrap();
    assert_eq!((cluster.node(1).arrived().len(), cluster.node(2).arrived().len()), (1, 1));
    assert!(cluster.node(3).arrived().is_empty());
}

#[tokio::test]
async fn nodes_that_point_to_each_other_are_not_asked_in_a_tight_loop() {
    let cluster = Cluster::start().await;
    let client = cluster
        .client_with(thermocline_client::Options {
            min_backoff: Duration::from_millis(20),
            max_backoff: Duration::from_millis(200),
            ..options()
        })
        .await;
    cluster.node(1).always(Fault::PointTo(2));
    cluster.node(2).always(Fault::PointTo(1));
    let error = client.with_timeout(Duration::from_millis(400)).put("a", "1").await.unwrap_err();
    assert!(matches!(error, Error::Deadline { .. }), "nothing was done: {error}");
    let asked = cluster.node(1).arrived().len() + cluster.node(2).arrived().len();
    assert!((2..=60).contains(&asked), "{asked}");
}

#[tokio::test]
async fn a_leader_that_cannot_be_reached_is_looked_for_elsewhere_and_a_write_is_not_sent_as_a_retry() {
    let cluster = Cluster::start().await;
    let (address, gone) = (cluster.node(1).address.clone(), nobody().await);
    cluster.change(|world| {
        world.addresses.insert(1, gone);
    });
    let client = cluster.client().await;
    cluster.change(|world| {
        world.addresses.insert(1, address);
        world.shard(1).leader = Some(2);
    });
    client.put("a", "1").await.unwrap();
    let arrived = cluster.node(2).arrived();
    assert_eq!(arrived.len(), 1);
    assert!(!arrived[0].header.retry, "no node had seen it");
}

#[tokio::test]
async fn a_batch_over_two_shards_is_refused_with_the_point_where_they_part() {
    let cluster = Cluster::halves().await;
    let client = cluster.client().await;
    let batch = || Batch::new().put("a", "1").put("z", "2");
    let error = client.write(batch()).await.unwrap_err();
    assert!(matches!(&error, Error::BatchSpansShards { split } if split == "m"), "{error}");
    assert!(cluster.node(1).arrived().is_empty() && cluster.node(2).arrived().is_empty());
    assert_eq!(client.owned_with(b"z").await.unwrap().start(), &Bytes::from("m"));

    // A split that the client has not heard of.
    cluster.change(|world| world.split(1, "c", 9));
    let error = client.write(Batch::new().put("b", "1").put("d", "2")).await.unwrap_err();
    assert!(matches!(&error, Error::BatchSpansShards { split } if split == "c"), "{error}");
    assert_eq!(cluster.applied(), 0);
}
