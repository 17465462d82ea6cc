//! Clients of one node process while it is killed, stopped, cut off and its clock jumps: what they saw is linearizable.
//!
//! `HISTORY_SEED` repeats a schedule of faults and the calls, `HISTORY_SECONDS` lengthens the runs, and with
//! `HISTORY_FOLDER` the histories and the pictures of violations stay there.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::net::SocketAddr;

use support::run::{CLIENTS, Run, milliseconds, palette};
use support::{Around, Node, clients, host};
use thermocline_client::Client;
use thermocline_faults::{Link, Palette};
use thermocline_histories::Verdict;

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
    let run = Run { name: "kill-and-pause", seconds: 20, palette: Palette { kills: 2, pauses: 1, ..palette() } };
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
    let run = Run { name: "links", seconds: 15, palette: Palette { links: 1, network: 1, ..palette() } };
    run.must_be_linearizable(clients, around).await;
    drop(admin);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_clock_jumps_stays_linearizable_over_restarts() {
    let host = host(3);
    let around = Around::of(Node::start_with_a_clock(&host));
    let run = Run { name: "clock", seconds: 15, palette: Palette { clocks: 2, kills: 1, ..palette() } };
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
    let run = Run { name: "forgets", seconds: 10, palette: Palette { kills: 1, quiet, ..palette() } };
    let (verdict, _folder) = run.judged(eight(&host).await, around).await;
    assert!(matches!(verdict, Verdict::Violation { .. }), "{verdict:?}");
}
