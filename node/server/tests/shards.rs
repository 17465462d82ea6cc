//! Nodes of a cluster with shards, as processes: replicas over real connections.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods, missing_docs)]

mod cluster;
mod reading;
mod support;

use std::time::Duration;

use cluster::TestCluster;
use thermocline_proto::v1;
use tonic::Code;

/// The shard of all of the users' keys.
const FIRST: u64 = 1;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_grows_from_one_node_and_any_node_answers() {
    let cluster = TestCluster::grown(&["a", "b", "c"]).await;
    for number in 0..60 {
        cluster.put(number % 3, &format!("key{number:02}"), "value").await;
    }
    for node in 0..3 {
        for number in (0..60).step_by(7) {
            assert_eq!(cluster.get(node, &format!("key{number:02}")).await.as_deref(), Some("value"));
        }
        assert_eq!(cluster.get(node, "absent").await, None);
    }
    let status = cluster.status(0).await;
    assert_eq!((status.cluster_id.as_str(), status.shards.len()), ("test-1", 2));
    let routes = cluster.routes(2).await;
    assert_eq!(routes.iter().map(|route| route.shard).collect::<Vec<_>>(), [FIRST, 0]);
    assert!(routes.iter().flat_map(|route| &route.replicas).all(|replica| !replica.kv.is_empty()));
    cluster.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_killed_is_replaced_and_nothing_acknowledged_is_lost() {
    let mut cluster = TestCluster::grown(&["a", "b", "c"]).await;
    for number in 0..40 {
        cluster.put(number % 3, &format!("before{number:02}"), "value").await;
    }
    let leader = cluster.leader(FIRST).await;
    cluster.kill(leader);
    let others: Vec<usize> = (0..3).filter(|node| *node != leader).collect();
    for number in 0..20 {
        cluster.put(others[number % 2], &format!("after{number:02}"), "value").await;
    }
    cluster.restart(leader);
    for number in 0..40 {
        assert!(cluster.get(leader, &format!("before{number:02}")).await.is_some());
    }
    cluster.settled(FIRST).await;
    cluster.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_is_sent_twice_is_applied_once_also_by_another_leader() {
    let cluster = TestCluster::grown(&["a", "b", "c"]).await;
    let first = cluster.put_numbered("once", "value", 7, false).await.unwrap();
    let second = cluster.put_numbered("once", "value", 7, true).await.unwrap();
    assert_eq!(first.version, second.version);
    let leader = cluster.leader(FIRST).await;
    let other = cluster.data_nodes(FIRST).await.into_iter().find(|node| *node != leader).unwrap();
    cluster.transfer(FIRST, other).await;
    let third = cluster.put_numbered("once", "value", 7, true).await.unwrap();
    assert_eq!(first.version, third.version);
    cluster.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_splits_and_requests_by_the_old_route_are_told_the_new_one() {
    let cluster = TestCluster::grown(&["a", "b", "c"]).await;
    for number in 0..40 {
        cluster.put(0, &format!("key{number:02}"), "value").await;
    }
    let old = cluster.routes(0).await[0].clone();
    let right = cluster.split(FIRST, "key20").await;
    cluster.put(1, "key30", "again").await;
    let routes = cluster.until_routes(0, 3).await;
    assert_eq!(routes.iter().map(|route| route.shard).collect::<Vec<_>>(), [FIRST, right, 0]);
    assert_eq!((routes[0].end.as_ref(), routes[1].start.as_ref()), (&b"key20"[..], &b"key20"[..]));
    let leader = cluster.leader(FIRST).await;
    let header = v1::RequestHeader { shard: FIRST, epoch: old.epoch, ..v1::RequestHeader::default() };
    let request = v1::GetRequest { header: Some(header), key: "key05".into(), read: None };
    let refused = cluster.kv(leader).await.get(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert_eq!(cluster::misrouted(&refused).unwrap().shards[0].epoch, old.epoch + 1);
    // Over both halves: refused with where to cut, since it is atomic in one shard alone.
    let refused = cluster.write_both("key10", "key30").await.unwrap_err();
    assert!(refused.message().contains("key20"), "{refused:?}");
    assert_eq!(cluster.get(0, "key10").await.as_deref(), Some("value"));
    cluster.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_moves_to_a_fourth_node_with_its_data_and_the_old_copy_goes() {
    let cluster = TestCluster::grown(&["a", "b", "c", "d"]).await;
    for number in 0..200 {
        cluster.put(number % 3, &format!("key{number:03}"), &"x".repeat(1000)).await;
    }
    let from = cluster.leader(FIRST).await;
    cluster.move_replica(FIRST, from, 3).await;
    assert!(cluster.data_nodes(FIRST).await.contains(&3));
    assert!(!cluster.data_nodes(FIRST).await.contains(&from));
    for number in 0..200 {
        assert!(cluster.get(number % 4, &format!("key{number:03}")).await.is_some());
    }
    let left = cluster.status(from).await;
    assert!(left.shards.iter().all(|shard| shard.shard != FIRST), "{:?}", left.shards);
    cluster.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_was_let_go_while_its_node_was_away_goes_when_it_is_back() {
    let mut cluster = TestCluster::grown(&["a", "b", "c", "d"]).await;
    cluster.put(0, "key", "value").await;
    let leader = cluster.leader(FIRST).await;
    let data = cluster.data_nodes(FIRST).await.into_iter().find(|node| *node != leader).unwrap();
    // The witness is on the third node. It asks for votes where it hears nobody.
    for away in [data, 2] {
        cluster.kill(away);
        cluster.move_replica(FIRST, away, 3).await;
        cluster.restart(away);
        cluster::until("the old copy is gone", async || {
            let status = cluster.status(away).await;
            status.shards.iter().all(|shard| shard.shard != FIRST).then_some(())
        })
        .await;
        // Its keys are free again: a replica can come back.
        cluster.move_replica(FIRST, 3, away).await;
        assert_eq!(cluster.get(away, "key").await.as_deref(), Some("value"));
    }
    cluster.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_lost_its_disks_never_gets_the_replicas_that_went_with_them_but_new_ones() {
    let mut cluster = TestCluster::grown(&["a", "b", "c"]).await;
    cluster.put(0, "key", "value").await;
    let leader = cluster.leader(FIRST).await;
    let lost = cluster.data_nodes(FIRST).await.into_iter().find(|node| *node != leader).unwrap();
    cluster.kill(lost);
    // The next leader has never heard of the lost replica, and asks its node for it every 5 s.
    cluster.kill(leader);
    cluster.restart(leader);
    let gone = cluster.restart_without_disks(lost).await;
    tokio::time::sleep(Duration::from_secs(15)).await;
    let replicas: Vec<u64> = cluster.status(lost).await.shards.iter().map(|shard| shard.replica).collect();
    assert!(replicas.is_empty(), "replicas {replicas:?} are back, and what they promised is forgotten");
    cluster.replace(FIRST, gone, lost).await;
    assert_eq!(cluster.get(lost, "key").await.as_deref(), Some("value"));
    cluster.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_stops_without_waiting_for_whoever_watches_it() {
    let mut cluster = TestCluster::grown(&["a", "b", "c"]).await;
    let request = v1::StatusRequest { interval_ms: 100, once: false };
    let mut stream = cluster.admin(1).await.status(request).await.unwrap().into_inner();
    let watching = tokio::spawn(async move { while let Ok(Some(_)) = stream.message().await {} });
    let log = cluster.stop_one(1);
    assert!(!log.contains("the grace period passed"), "{log}");
    watching.await.unwrap();
    cluster.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_clusters_own_keys_are_refused_to_users_and_a_foreign_cluster_is_not_joined() {
    let cluster = TestCluster::grown(&["a", "b", "c"]).await;
    let put = v1::PutRequest { key: vec![0xff, 0xff, 1].into(), ..v1::PutRequest::default() };
    let refused = cluster.kv(0).await.put(put).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("the cluster's own"), "{refused:?}");
    let refused = cluster.admin(1).await.initialize(v1::InitializeRequest { cluster_id: "other".to_owned() }).await;
    assert_eq!(refused.unwrap_err().code(), Code::FailedPrecondition);
    // Begun on another node already.
    let refused = cluster.admin(1).await.initialize(v1::InitializeRequest { cluster_id: "test-1".to_owned() }).await;
    assert_eq!(refused.unwrap_err().code(), Code::FailedPrecondition);
    cluster.stop();
}
