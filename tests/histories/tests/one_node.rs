//! Clients of one node process while it is killed, stopped, cut off and its clock jumps: what they saw is linearizable.
//!
//! `HISTORY_SEED` repeats a schedule of faults and the calls, `HISTORY_SECONDS` lengthens the runs, and with
//! `HISTORY_FOLDER` the histories and the pictures of violations stay there.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use support::run::{CLIENTS, Run, milliseconds, palette};
use support::{Around, Node, Place, clients, host};
use thermocline_client::Client;
use thermocline_faults::{Link, Palette};
use thermocline_histories::Verdict;
use thermocline_proto::v1;

fn address(host: &str, port: u16) -> SocketAddr {
    format!("{host}:{port}").parse().unwrap()
}

/// Eight clients of a node at this address.
async fn eight(host: &str) -> Vec<Client> {
    clients(CLIENTS, address(host, 7400), address(host, 7401)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_killed_and_stopped_under_load_stays_linearizable() {
    let host = host(1);
    let around = Around::of(Node::start(&host));
    let run = Run::new("kill-and-pause", 20, Palette { kills: 2, pauses: 1, ..palette() });
    run.must_be_linearizable(eight(&host).await, around).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_behind_links_that_misbehave_stays_linearizable() {
    let host = host(2);
    let node = Node::start(&host);
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let kv = Link::open(any, address(&host, 7400)).await.unwrap();
    let admin = Link::open(any, address(&host, 7401)).await.unwrap();
    let clients = clients(CLIENTS, kv.address(), admin.address()).await;
    let around = Around { links: vec![kv], ..Around::of(node) };
    let run = Run::new("links", 15, Palette { links: 1, network: 1, ..palette() });
    run.must_be_linearizable(clients, around).await;
    drop(admin);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_clock_jumps_stays_linearizable_over_restarts() {
    let host = host(3);
    let around = Around::of(Node::start_with_a_clock(&host));
    let run = Run::new("clock", 15, Palette { clocks: 2, kills: 1, ..palette() });
    run.must_be_linearizable(eight(&host).await, around).await;
}

#[test]
fn a_node_takes_a_clock_that_jumped_for_the_time() {
    let mut node = Node::start_with_a_clock(&host(4));
    let day = |node: &Node| {
        let log = node.log();
        log.get(..10).unwrap_or_else(|| panic!("no time in the log: {log}")).to_owned()
    };
    let today = day(&node);
    node.clock().jump(-3 * 24 * 60 * 60).unwrap();
    node.kill();
    node.restart();
    assert!(day(&node) < today, "{} is before {today}", day(&node));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_comes_back_without_its_data_is_a_violation() {
    let host = host(5);
    let around = Around { forgets: true, ..Around::of(Node::start(&host)) };
    let quiet = (milliseconds(3000), milliseconds(3000));
    let run = Run::new("forgets", 10, Palette { kills: 1, quiet, ..palette() });
    let ran = run.judged(eight(&host).await, around).await;
    assert!(matches!(ran.verdict, Verdict::Violation { .. }), "{:?}", ran.verdict);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_logs_failed_says_that_it_does_not_serve_and_has_all_after_a_restart() {
    const PATIENCE: Duration = Duration::from_secs(120);
    let host = host(6);
    let place = Place { name: "node-0".to_owned(), host: &host, advertise: &host, seeds: &[] };
    let mut node = Node::start_one_of(&place);
    let client = clients(1, address(&host, 7400), address(&host, 7401)).await.remove(0);
    let begin = v1::InitializeRequest { cluster_id: "histories-1".to_owned() };
    client.admin(0).unwrap().initialize(begin).await.unwrap();
    let begun = Instant::now();
    while client.put("a", "1").await.is_err() {
        assert!(begun.elapsed() < PATIENCE, "the shard is not led");
    }
    node.fill_up(0, true).unwrap();
    client.put("b", "1").await.unwrap_err();
    let reason = loop {
        if let Some(reason) = node.is_out() {
            break reason;
        }
        assert!(begun.elapsed() < PATIENCE, "it does not say that its logs have failed");
        std::thread::sleep(milliseconds(100));
    };
    assert!(reason.contains("the logs of the replicas stopped"), "{reason}");
    node.fill_up(0, false).unwrap();
    node.kill();
    node.restart();
    let read = loop {
        match client.get("a").await {
            Ok(record) => break record,
            Err(error) => assert!(begun.elapsed() < PATIENCE, "{error}"),
        }
    };
    assert_eq!(read.unwrap().value, "1");
}
