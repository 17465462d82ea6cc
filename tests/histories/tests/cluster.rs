//! Clients of a cluster with shards while its nodes are killed, stopped and their clocks jump, and while its shard splits, moves and
//! is handed over: what they saw is linearizable.
//!
//! `HISTORY_SEED` repeats a schedule of faults and the calls, `HISTORY_SECONDS` lengthens the runs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use support::run::{CLIENTS, Run, milliseconds, palette};
use support::{AroundError, Node, host};
use thermocline_client::{Client, Endpoints, NodeEndpoint, Options};
use thermocline_faults::{Fault, Palette, Signal, Surroundings, signal};
use thermocline_proto::v1;
use thermocline_proto::v1::change_shard_request::Change;

/// The shard of all of the users' keys, at first.
const FIRST: u64 = 1;
const NODES: usize = 4;
/// Far beyond what anything here takes.
const PATIENCE: Duration = Duration::from_secs(120);

/// The nodes, with what is around them.
struct Members(Vec<Node>);

impl Surroundings for Members {
    type Error = AroundError;

    fn begin(&mut self, fault: &Fault) -> Result<(), AroundError> {
        match fault {
            Fault::Kill { process } => self.0[*process].kill(),
            Fault::Pause { process } => signal(self.0[*process].child.id(), Signal::STOP)?,
            Fault::Clock { process, seconds } => self.0[*process].clock().jump(*seconds)?,
            Fault::Link { .. } => {}
        }
        Ok(())
    }

    fn end(&mut self, fault: &Fault) -> Result<(), AroundError> {
        match fault {
            Fault::Kill { process } => self.0[*process].restart(),
            Fault::Pause { process } => signal(self.0[*process].child.id(), Signal::CONT)?,
            Fault::Clock { process, .. } => self.0[*process].clock().jump(0)?,
            Fault::Link { .. } => {}
        }
        Ok(())
    }
}

/// A person at the control plane.
#[derive(Clone)]
struct Hand {
    client: Client,
    job: Arc<AtomicU64>,
}

impl Hand {
    async fn statuses(&self) -> Vec<(usize, v1::NodeStatus)> {
        let asked = (0..self.client.nodes().len()).map(async |node| {
            let mut admin = self.client.admin(node)?;
            let request = v1::StatusRequest { interval_ms: 0, once: true };
            let asked = async { admin.status(request).await.ok()?.into_inner().message().await.ok()? };
            let answer = tokio::time::timeout(milliseconds(1000), asked).await.ok()??;
            Some((node, answer))
        });
        let mut found = Vec::new();
        for one in asked {
            found.extend(one.await);
        }
        found
    }

    /// What the leader of a shard says, and where it is.
    async fn led(&self, shard: u64) -> Option<(usize, v1::ShardStatus)> {
        let told = self.statuses().await.into_iter();
        let led = told.flat_map(|(node, status)| status.shards.into_iter().map(move |shard| (node, shard)));
        led.filter(|(_, of)| of.shard == shard && of.leads).max_by_key(|(_, of)| of.term)
    }

    /// Whether the leader took it.
    async fn change(&self, shard: u64, change: Change) -> bool {
        let Some((leader, _)) = self.led(shard).await else { return false };
        let Some(mut admin) = self.client.admin(leader) else { return false };
        let request = v1::ChangeShardRequest { shard, epoch: 0, change: Some(change) };
        matches!(tokio::time::timeout(Duration::from_secs(5), admin.change_shard(request)).await, Ok(Ok(_)))
    }

    async fn must(&self, shard: u64, change: impl Fn(u64) -> Change) {
        let job = self.job.fetch_add(1, Ordering::SeqCst);
        let begun = tokio::time::Instant::now();
        while !self.has_ended(shard, job).await {
            assert!(begun.elapsed() < PATIENCE, "job {job} of shard {shard} did not end");
            self.change(shard, change(job)).await;
            tokio::time::sleep(milliseconds(200)).await;
        }
    }

    async fn has_ended(&self, shard: u64, job: u64) -> bool {
        let led = self.led(shard).await;
        led.is_some_and(|(_, status)| status.ended.iter().any(|ended| ended.job == job && ended.outcome == "Done"))
    }

    /// Splits, moves and hands over until it is told to stop; how many moves and splits were done.
    async fn stir(self, stop: Arc<AtomicBool>) -> (u64, u64) {
        let (mut moves, mut splits, mut turn) = (0, 0, 0_u64);
        while !stop.load(Ordering::SeqCst) {
            tokio::time::sleep(milliseconds(700)).await;
            turn += 1;
            let Some((_, status)) = self.led(FIRST).await else { continue };
            let members: Vec<u64> = status.members.iter().map(|member| member.node).collect();
            let data = status.members.iter().filter(|member| !member.witness && member.replica != status.replica);
            match turn % 4 {
                0 if splits < 3 => {
                    splits += u64::from(self.change(FIRST, Change::Split(v1::SplitShard::default())).await)
                }
                1 | 3 => {
                    let Some(other) = data.map(|member| member.node).next() else { continue };
                    self.change(FIRST, Change::TransferLeader(v1::TransferLeader { node: other })).await;
                }
                _ => {
                    let told = self.statuses().await;
                    let free = told.iter().map(|(_, status)| status.node_id).find(|node| !members.contains(node));
                    let (Some(to), Some(from)) = (free, data.map(|member| member.node).next()) else { continue };
                    let job = self.job.fetch_add(1, Ordering::SeqCst);
                    let order = v1::MoveReplica { job, from, to, bytes_per_second: 0 };
                    if self.change(FIRST, Change::MoveReplica(order)).await {
                        let begun = tokio::time::Instant::now();
                        while begun.elapsed() < Duration::from_secs(10) && !stop.load(Ordering::SeqCst) {
                            if self.has_ended(FIRST, job).await {
                                moves += 1;
                                break;
                            }
                            tokio::time::sleep(milliseconds(200)).await;
                        }
                    }
                }
            }
        }
        (moves, splits)
    }
}

async fn client(hosts: &[String]) -> Client {
    let node = |(number, host): (usize, &String)| NodeEndpoint {
        name: format!("node-{number}"),
        kv: format!("{host}:7400"),
        admin: format!("{host}:7401"),
        http: None,
        range: None,
    };
    let endpoints = Endpoints::new(None, hosts.iter().enumerate().map(node).collect()).unwrap();
    let options = Options { timeout: Duration::from_secs(5), ..Options::default() };
    let begun = tokio::time::Instant::now();
    loop {
        match Client::connect(endpoints.clone(), options.clone()).await {
            Ok(client) => return client,
            Err(error) => assert!(begun.elapsed() < PATIENCE, "{error}"),
        }
        tokio::time::sleep(milliseconds(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_stays_linearizable_while_nodes_fail_and_its_shard_splits_and_moves() {
    let hosts: Vec<String> = (0..NODES).map(|number| host(10 + u8::try_from(number).unwrap())).collect();
    let nodes: Vec<Node> = (0..NODES).map(|number| Node::start_one_of(&hosts, number)).collect();
    let first = client(&hosts[..1]).await;
    let begin = v1::InitializeRequest { cluster_id: "histories-1".to_owned() };
    first.admin(0).unwrap().initialize(begin).await.unwrap();
    let hand = Hand { client: client(&hosts).await, job: Arc::new(AtomicU64::new(1)) };
    let begun = tokio::time::Instant::now();
    let ids = loop {
        let told = hand.statuses().await;
        // Every node has heard of every other.
        if told.len() == NODES && told.iter().all(|(_, status)| status.round_trips.len() == NODES - 1) {
            break told.into_iter().map(|(_, status)| status.node_id).collect::<Vec<_>>();
        }
        assert!(begun.elapsed() < PATIENCE, "the nodes do not find each other");
        tokio::time::sleep(milliseconds(200)).await;
    };
    for shard in [0, FIRST] {
        for (node, witness) in [(ids[1], false), (ids[2], true)] {
            hand.must(shard, |job| Change::AddReplica(v1::AddReplica { job, node, witness, bytes_per_second: 0 }))
                .await;
        }
    }
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(client(&hosts).await);
    }
    let stop = Arc::new(AtomicBool::new(false));
    let stirring = tokio::spawn(hand.clone().stir(Arc::clone(&stop)));
    let before = hand.led(FIRST).await.map_or(0, |(_, status)| status.term);
    let palette = Palette {
        processes: NODES,
        kills: 3,
        pauses: 2,
        clocks: 1,
        lasting: (milliseconds(500), milliseconds(4000)),
        quiet: (milliseconds(2000), milliseconds(4000)),
        ..palette()
    };
    let run = Run { name: "cluster", seconds: 60, palette };
    run.must_be_linearizable(clients, Members(nodes)).await;
    stop.store(true, Ordering::SeqCst);
    let (moves, splits) = stirring.await.unwrap();
    println!("cluster: {moves} moves, {splits} splits; the first shard was at term {before}");
    assert!(moves > 0 && splits > 0, "{moves} moves and {splits} splits");
}
