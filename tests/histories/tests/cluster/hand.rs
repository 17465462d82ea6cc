//! A person at the control plane: looks at the nodes, asks leaders for changes, and waits for their ends.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use thermocline_client::{Client, Endpoints, NodeEndpoint, Options};
use thermocline_proto::v1;
use thermocline_proto::v1::change_shard_request::Change;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::members::NODES;
use crate::support::run::milliseconds;

/// The shard of all of the users' keys, at first.
pub const FIRST: u64 = 1;
/// Far beyond what anything here takes.
pub const PATIENCE: Duration = Duration::from_secs(120);
/// A change that no leader has taken by then is given up.
const TAKEN: Duration = Duration::from_secs(40);
/// Between two looks.
const LOOK: Duration = milliseconds(200);
/// An entry or two that a replica has not applied yet.
const AT_REST: u64 = 100;

/// Where the nodes are, and where others find them.
pub struct Hosts {
    pub own: Vec<String>,
    pub advertised: Vec<String>,
}

/// Clients with connections of their own.
pub async fn clients(hosts: &Hosts, count: usize) -> Vec<Client> {
    let mut clients = Vec::new();
    for _ in 0..count {
        clients.push(client(hosts).await);
    }
    clients
}

async fn client(hosts: &Hosts) -> Client {
    let places = hosts.own.iter().zip(&hosts.advertised).enumerate();
    let nodes = places.map(|(number, (own, advertised))| NodeEndpoint {
        name: format!("node-{number}"),
        kv: format!("{advertised}:7400"),
        admin: format!("{own}:7401"),
        http: None,
        range: None,
    });
    let endpoints = Endpoints::new(None, nodes.collect()).unwrap();
    let options = Options { timeout: Duration::from_secs(5), ..Options::default() };
    let begun = Instant::now();
    loop {
        match Client::connect(endpoints.clone(), options.clone()).await {
            Ok(client) => return client,
            Err(error) => assert!(begun.elapsed() < PATIENCE, "{error}"),
        }
        sleep(LOOK).await;
    }
}

#[derive(Clone)]
pub struct Hand {
    pub client: Client,
    job: Arc<AtomicU64>,
    /// Shard, term and node of everybody who was seen leading.
    leaders: Arc<Mutex<BTreeSet<(u64, u64, u64)>>>,
}

impl Hand {
    pub async fn of(hosts: &Hosts) -> Self {
        Self { client: client(hosts).await, job: Arc::new(AtomicU64::new(1)), leaders: Arc::default() }
    }

    /// Begins the cluster on the first node, and lets each shard have two data replicas and a witness.
    pub async fn begin(&self, hosts: &Hosts) {
        let begin = v1::InitializeRequest { cluster_id: "histories-1".to_owned() };
        let begun = Instant::now();
        while let Err(status) = self.client.admin(0).unwrap().initialize(begin.clone()).await {
            assert!(begun.elapsed() < PATIENCE, "{status}");
            sleep(LOOK).await;
        }
        let ids = loop {
            let told = self.statuses().await;
            // Every node has heard of every other.
            if told.len() == hosts.own.len() && told.iter().all(|(_, status)| status.round_trips.len() == NODES - 1) {
                break told.into_iter().map(|(_, status)| status.node_id).collect::<Vec<_>>();
            }
            assert!(begun.elapsed() < PATIENCE, "the nodes do not find each other");
            sleep(LOOK).await;
        };
        for shard in [0, FIRST] {
            for (node, witness) in [(ids[1], false), (ids[2], true)] {
                let add = |job| Change::AddReplica(v1::AddReplica { job, node, witness, bytes_per_second: 0 });
                assert_eq!(self.job(shard, add).await.as_deref(), Some("Done"));
            }
        }
    }

    /// What each node says that answers soon, in the order of the endpoints.
    pub async fn statuses(&self) -> Vec<(usize, v1::NodeStatus)> {
        let mut asked = JoinSet::new();
        for node in 0..self.client.nodes().len() {
            let client = self.client.clone();
            asked.spawn(async move {
                let mut admin = client.admin(node)?;
                let request = v1::StatusRequest { interval_ms: 0, once: true };
                let asked = async { admin.status(request).await.ok()?.into_inner().message().await.ok()? };
                let answer = timeout(milliseconds(1000), asked).await.ok()??;
                Some((node, answer))
            });
        }
        let mut told: Vec<_> = asked.join_all().await.into_iter().flatten().collect();
        told.sort_by_key(|(node, _)| *node);
        let mut leaders = self.leaders.lock().unwrap();
        for (_, status) in &told {
            let leads = status.shards.iter().filter(|shard| shard.leads);
            leaders.extend(leads.map(|shard| (shard.shard, shard.term, status.node_id)));
        }
        told
    }

    /// Looks at who leads until it is told to stop.
    pub async fn watch(self, stop: Arc<AtomicBool>) {
        while !stop.load(Ordering::SeqCst) {
            self.statuses().await;
            sleep(LOOK).await;
        }
    }

    /// How often somebody was seen to have become a leader.
    pub fn elections(&self) -> u64 {
        self.leaders.lock().unwrap().len() as u64
    }

    /// What the leader of each shard says, in the order of their keys.
    pub async fn shards(&self) -> Vec<v1::ShardStatus> {
        let told = self.statuses().await.into_iter().flat_map(|(_, status)| status.shards);
        let mut led: Vec<v1::ShardStatus> = told.filter(|shard| shard.leads).collect();
        led.sort_by_key(|shard| (shard.shard, shard.term));
        // Of two who think so, the one of the later term does.
        let mut newest: Vec<v1::ShardStatus> = Vec::new();
        for shard in led {
            match newest.last_mut() {
                Some(last) if last.shard == shard.shard => *last = shard,
                _ => newest.push(shard),
            }
        }
        newest
    }

    async fn led(&self, shard: u64) -> Option<(usize, v1::ShardStatus)> {
        let told = self.statuses().await.into_iter();
        let led = told.flat_map(|(node, status)| status.shards.into_iter().map(move |shard| (node, shard)));
        led.filter(|(_, of)| of.shard == shard && of.leads).max_by_key(|(_, of)| of.term)
    }

    /// Asks the leader once; whether it took it.
    pub async fn change(&self, shard: u64, change: Change) -> bool {
        let Some((leader, _)) = self.led(shard).await else { return false };
        let Some(mut admin) = self.client.admin(leader) else { return false };
        let request = v1::ChangeShardRequest { shard, epoch: 0, change: Some(change) };
        matches!(timeout(Duration::from_secs(5), admin.change_shard(request)).await, Ok(Ok(_)))
    }

    /// Has a job carried out, whoever leads meanwhile. How it ended; `None` where no leader took it. One that was taken must end.
    pub async fn job(&self, shard: u64, change: impl Fn(u64) -> Change) -> Option<String> {
        let job = self.job.fetch_add(1, Ordering::SeqCst);
        let begun = Instant::now();
        let (mut taken, mut last) = (false, None);
        println!("shard {shard}: {:?}", change(job));
        loop {
            if let Some((_, status)) = self.led(shard).await {
                if let Some(ended) = status.ended.iter().find(|ended| ended.job == job) {
                    return Some(ended.outcome.clone());
                }
                taken |= status.job.as_ref().is_some_and(|running| running.job == job);
                last = Some(status);
            }
            if !taken {
                if begun.elapsed() > TAKEN {
                    return None;
                }
                taken = self.change(shard, change(job)).await;
            }
            if begun.elapsed() > PATIENCE {
                let told = self.statuses().await;
                let here =
                    |status: &v1::NodeStatus| status.shards.iter().filter(|of| of.shard == shard).cloned().collect();
                let all: Vec<(usize, Vec<_>)> = told.iter().map(|(node, status)| (*node, here(status))).collect();
                panic!("job {job} of shard {shard} did not end: {last:#?}; {all:#?}");
            }
            sleep(LOOK).await;
        }
    }

    /// Once nothing goes wrong any more: every shard is led, every replica runs, votes and has what the leader has.
    pub async fn must_come_to_rest(&self) {
        let begun = Instant::now();
        loop {
            let told = self.statuses().await;
            let shards = self.shards().await;
            let replicas = || told.iter().flat_map(|(_, status)| &status.shards);
            let all_run = told.len() == NODES && replicas().all(|replica| replica.failure.is_empty());
            let all_led = replicas().all(|replica| shards.iter().any(|led| led.shard == replica.shard));
            let caught_up = |led: &v1::ShardStatus| {
                let voting =
                    led.members.iter().all(|member| member.votes && member.lag.is_none_or(|lag| lag < AT_REST));
                voting && led.job.is_none() && !led.changing_members
            };
            let complete = shards.len() > 1 && shards.iter().all(caught_up);
            if all_run && all_led && complete {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "not everything came back: {told:#?}");
            sleep(LOOK).await;
        }
    }
}
