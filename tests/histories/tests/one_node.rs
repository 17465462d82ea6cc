//! Clients of one node process while it is killed, stopped, cut off and its clock jumps: what they saw is linearizable.
//!
//! `HISTORY_SEED` repeats a schedule of faults and the calls, `HISTORY_SECONDS` lengthens the runs, and with
//! `HISTORY_FOLDER` the histories and the pictures of violations stay there.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use support::{Around, Node, clients, host, setting};
use thermocline_client::Client;
use thermocline_faults::{Link, Palette, play, schedule};
use thermocline_histories::{Checker, Counts, Keys, Minimums, Plan, Verdict, record};

const CLIENTS: usize = 8;
/// Without a fault before the first and after the last.
const CALM: Duration = Duration::from_secs(2);
/// The longest a client waits between two calls.
const PAUSE: Duration = milliseconds(8);
/// What a run does in a second at the very least, on a machine that is busy with much else.
const LEAST_OPERATIONS_PER_SECOND: u64 = 50;

const fn milliseconds(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// Clients, and the faults around their node.
struct Run {
    name: &'static str,
    seconds: u64,
    palette: Palette,
}

impl Run {
    /// Runs clients and faults beside each other and judges what the clients saw. The folder holds what shows it, but for
    /// `HISTORY_FOLDER`.
    async fn judged(self, clients: Vec<Client>, mut around: Around) -> (Verdict, tempfile::TempDir) {
        let Self { name, seconds, palette } = self;
        let seed = setting("HISTORY_SEED", 20_260_101);
        let seconds = setting("HISTORY_SECONDS", seconds);
        println!("{name}: HISTORY_SEED={seed} HISTORY_SECONDS={seconds}");
        let length = Duration::from_secs(seconds);
        let steps = schedule(seed, length.saturating_sub(CALM), &palette);
        assert!(!steps.is_empty(), "{seconds} seconds are too short for a fault");
        let least = Minimums(Counts {
            operations: LEAST_OPERATIONS_PER_SECOND * seconds,
            faults: steps.len() as u64,
            ..Counts::default()
        });
        let faults = tokio::task::spawn_blocking(move || {
            let played = play(&steps, &mut around, |line| println!("{name}: {line}"));
            (around, played)
        });
        let keys = Keys { prefixes: vec!["history/".to_owned()], each: 4, lifetime: Duration::from_secs(5) };
        let plan = Plan { seed, length, keys, pause: PAUSE, patience: Duration::from_secs(60) };
        let recorded = record(clients, &plan).await;
        let (around, played) = faults.await.unwrap();
        let (history, faults) = (recorded.unwrap(), played.unwrap());
        drop(around);
        least.check(&Counts { operations: history.completed() as u64, faults, ..Counts::default() }).unwrap();

        let temporary = tempfile::tempdir().unwrap();
        let folder = std::env::var("HISTORY_FOLDER").map_or_else(|_| temporary.path().to_owned(), PathBuf::from);
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join(format!("{name}.jsonl"));
        history.write(&file).unwrap();
        let checker = Checker::build(Path::new(env!("CARGO_BIN_EXE_histories")).parent().unwrap()).unwrap();
        let verdict = checker.judge(&file).unwrap();
        println!("{name}: {verdict:?}; {faults} faults");
        (verdict, temporary)
    }

    /// As [`Self::judged`], for what must be linearizable.
    async fn must_be_linearizable(self, clients: Vec<Client>, around: Around) {
        let (verdict, folder) = self.judged(clients, around).await;
        if !matches!(verdict, Verdict::Linearizable { .. }) {
            // It outlives the test.
            panic!("{verdict:?}; the folder {} is kept", folder.keep().display());
        }
    }
}

fn palette() -> Palette {
    Palette {
        processes: 1,
        links: 0,
        kills: 0,
        pauses: 0,
        network: 0,
        clocks: 0,
        lasting: (milliseconds(200), milliseconds(2500)),
        quiet: (milliseconds(500), milliseconds(2000)),
    }
}

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
