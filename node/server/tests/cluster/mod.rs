//! A cluster of node processes.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::net::TcpListener;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use prost::Message;
use rustix::process::Signal;
use thermocline_proto::v1::admin_client::AdminClient;
use thermocline_proto::v1::change_shard_request::Change;
use thermocline_proto::v1::kv_client::KvClient;
use thermocline_proto::{MISROUTED_METADATA, v1};
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::support::{Folder, NodeProcess};

/// Far beyond what anything here takes: a bound for hangs, not for speed.
const PATIENCE: Duration = Duration::from_secs(90);

struct TestNode {
    folder: Folder,
    process: Option<NodeProcess>,
    id: u64,
}

pub struct TestCluster {
    nodes: Vec<TestNode>,
    sequence: AtomicU64,
    job: AtomicU64,
}

/// Where a request belongs, as the node that refused it says.
pub fn misrouted(status: &Status) -> Option<v1::Misrouted> {
    let detail = status.metadata().get_bin(MISROUTED_METADATA)?.to_bytes().ok()?;
    v1::Misrouted::decode(detail).ok()
}

/// A port that is free now. The nodes of a cluster must know each other's before they start.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl TestCluster {
    /// Nodes of one cluster; it has not begun.
    pub async fn start(names: &[&str]) -> Self {
        let ports: Vec<u16> = names.iter().map(|_| free_port()).collect();
        let seeds: Vec<String> = ports.iter().map(|port| format!("'127.0.0.1:{port}'")).collect();
        let mut nodes = Vec::new();
        for port in &ports {
            let folder = Folder::new();
            let text = std::fs::read_to_string(folder.config()).unwrap();
            let peer = format!("http: '127.0.0.1:0', peer: '127.0.0.1:{port}'}}");
            let text = text.replace("http: '127.0.0.1:0'}", &peer);
            let text = format!("{text}shards: {{clusterId: test-1, seeds: [{}]}}\n", seeds.join(", "));
            std::fs::write(folder.config(), text).unwrap();
            let process = Some(NodeProcess::start(&folder, &[]));
            nodes.push(TestNode { folder, process, id: 0 });
        }
        let mut cluster = Self { nodes, sequence: AtomicU64::new(1), job: AtomicU64::new(1) };
        for node in 0..names.len() {
            cluster.nodes[node].id = cluster.status(node).await.node_id;
        }
        cluster
    }

    /// Begun, with two data replicas on the first two nodes and a witness on the third.
    pub async fn grown(names: &[&str]) -> Self {
        let cluster = Self::start(names).await;
        let begin = v1::InitializeRequest { cluster_id: "test-1".to_owned() };
        for _ in 0..2 {
            // Asked again it does nothing.
            cluster.admin(0).await.initialize(begin.clone()).await.unwrap();
        }
        for shard in [0, 1] {
            for (node, witness) in [(1, false), (2, true)] {
                let id = cluster.nodes[node].id;
                let add = |job| Change::AddReplica(v1::AddReplica { job, node: id, witness, bytes_per_second: 0 });
                cluster.job(shard, add).await;
            }
        }
        cluster
    }

    fn process(&self, node: usize) -> &NodeProcess {
        self.nodes[node].process.as_ref().unwrap()
    }

    pub async fn kv(&self, node: usize) -> KvClient<Channel> {
        self.process(node).kv().await
    }

    pub async fn admin(&self, node: usize) -> AdminClient<Channel> {
        self.process(node).admin().await
    }

    pub async fn status(&self, node: usize) -> v1::NodeStatus {
        let request = v1::StatusRequest { interval_ms: 0, once: true };
        let mut stream = self.admin(node).await.status(request).await.unwrap().into_inner();
        stream.message().await.unwrap().unwrap()
    }

    fn alive(&self) -> Vec<usize> {
        (0..self.nodes.len()).filter(|node| self.nodes[*node].process.is_some()).collect()
    }

    /// What the leader of a shard says of it, and where it is.
    async fn led(&self, shard: u64) -> Option<(usize, v1::ShardStatus)> {
        let mut newest: Option<(usize, v1::ShardStatus)> = None;
        for node in self.alive() {
            let found = self.status(node).await.shards.into_iter().find(|found| found.shard == shard && found.leads);
            if let Some(found) = found
                && newest.as_ref().is_none_or(|(_, known)| known.term < found.term)
            {
                newest = Some((node, found));
            }
        }
        newest
    }

    pub async fn leader(&self, shard: u64) -> usize {
        until("somebody leads", async || self.led(shard).await).await.0
    }

    fn number(&self, id: u64) -> usize {
        self.nodes.iter().position(|node| node.id == id).unwrap()
    }

    pub async fn data_nodes(&self, shard: u64) -> Vec<usize> {
        let (_, status) = until("somebody leads", async || self.led(shard).await).await;
        status.members.iter().filter(|member| !member.witness).map(|member| self.number(member.node)).collect()
    }

    async fn change(&self, shard: u64, change: Change) -> v1::ChangeShardResponse {
        until("the leader changes the shard", async || {
            let leader = self.leader(shard).await;
            let request = v1::ChangeShardRequest { shard, epoch: 0, change: Some(change.clone()) };
            match self.admin(leader).await.change_shard(request).await {
                Ok(answer) => Some(answer.into_inner()),
                Err(status) if status.code() == Code::Unavailable => None,
                // A node that others have not heard of yet.
                Err(status) if status.message().contains("is not known") => None,
                Err(status) => panic!("{status:?}"),
            }
        })
        .await
    }

    async fn job(&self, shard: u64, change: impl FnOnce(u64) -> Change) {
        let job = self.job.fetch_add(1, Ordering::SeqCst);
        self.change(shard, change(job)).await;
        until("the job is done", async || {
            let (_, status) = self.led(shard).await?;
            let ended = status.ended.into_iter().find(|ended| ended.job == job)?;
            assert_eq!(ended.outcome, "Done", "{}", ended.message);
            Some(())
        })
        .await;
    }

    pub async fn move_replica(&self, shard: u64, from: usize, to: usize) {
        self.replace(shard, self.nodes[from].id, to).await;
    }

    /// As [`Self::move_replica`], from a node that may be no more.
    pub async fn replace(&self, shard: u64, from: u64, to: usize) {
        let to = self.nodes[to].id;
        self.job(shard, |job| Change::MoveReplica(v1::MoveReplica { job, from, to, bytes_per_second: 0 })).await;
    }

    pub async fn transfer(&self, shard: u64, to: usize) {
        let node = self.nodes[to].id;
        self.change(shard, Change::TransferLeader(v1::TransferLeader { node })).await;
        until("it leads", async || (self.leader(shard).await == to).then_some(())).await;
    }

    pub async fn split(&self, shard: u64, at: &str) -> u64 {
        let at = at.to_owned().into();
        self.change(shard, Change::Split(v1::SplitShard { at })).await.new_shard
    }

    pub async fn routes(&self, node: usize) -> Vec<v1::ShardRoute> {
        let request = v1::RouteRequest { key: Vec::new().into(), limit: 0 };
        until("the routes are known", async || {
            Some(self.kv(node).await.route(request.clone()).await.ok()?.into_inner().shards)
        })
        .await
    }

    pub async fn until_routes(&self, node: usize, count: usize) -> Vec<v1::ShardRoute> {
        until("the new shard is in the routes", async || {
            let routes = self.routes(node).await;
            (routes.len() == count).then_some(routes)
        })
        .await
    }

    /// Writes through one node, again until it is acknowledged.
    pub async fn put(&self, node: usize, key: &str, value: &str) {
        let sequence = self.sequence.fetch_add(1, Ordering::SeqCst);
        let mut retry = false;
        until("the write is acknowledged", async || {
            let sent = self.put_through(node, key, value, sequence, retry).await;
            match sent {
                Ok(_) => return Some(()),
                Err(status) if misrouted(&status).is_some() => {}
                Err(status) if matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded) => retry = true,
                Err(status) => panic!("{key}: {status:?}"),
            }
            None
        })
        .await;
    }

    async fn put_through(
        &self,
        node: usize,
        key: &str,
        value: &str,
        sequence: u64,
        retry: bool,
    ) -> Result<v1::WriteResponse, Status> {
        let id = v1::RequestId { client: vec![7; 16].into(), sequence };
        let header = v1::RequestHeader { request_id: Some(id), retry, ..v1::RequestHeader::default() };
        let (key, value) = (key.to_owned().into(), value.to_owned().into());
        let mut request = tonic::Request::new(v1::PutRequest { header: Some(header), key, value, durability: 0 });
        request.set_timeout(Duration::from_secs(3));
        Ok(self.kv(node).await.put(request).await?.into_inner())
    }

    pub async fn put_numbered(
        &self,
        key: &str,
        value: &str,
        sequence: u64,
        retry: bool,
    ) -> Result<v1::WriteResponse, Status> {
        until("it is answered", async || match self.put_through(0, key, value, sequence, retry).await {
            Err(status) if status.code() == Code::Unavailable => None,
            answer => Some(answer),
        })
        .await
    }

    pub async fn write_both(&self, first: &str, second: &str) -> Result<v1::WriteResponse, Status> {
        let put = |key: &str| v1::Mutation {
            kind: Some(v1::mutation::Kind::Put(v1::mutation::Put {
                key: key.to_owned().into(),
                value: "both".to_owned().into(),
            })),
        };
        let mutations = vec![put(first), put(second)];
        let leader = self.leader(1).await;
        let request = v1::WriteRequest { mutations, ..v1::WriteRequest::default() };
        Ok(self.kv(leader).await.write(request).await?.into_inner())
    }

    pub async fn get(&self, node: usize, key: &str) -> Option<String> {
        until("the read is answered", async || {
            let request = v1::GetRequest { key: key.to_owned().into(), ..v1::GetRequest::default() };
            match self.kv(node).await.get(request).await {
                Ok(answer) => {
                    let record = answer.into_inner().record;
                    Some(record.map(|record| String::from_utf8(record.value.to_vec()).unwrap()))
                }
                Err(status) if status.code() == Code::Unavailable => None,
                Err(status) => panic!("{key}: {status:?}"),
            }
        })
        .await
    }

    /// Reads of one node, which says itself how old what it answers is.
    pub async fn read(
        &self,
        node: usize,
        key: &str,
        consistency: v1::Consistency,
        max_staleness_ms: u64,
    ) -> Result<v1::GetResponse, Status> {
        read_of(&mut self.kv(node).await, key, consistency, max_staleness_ms).await
    }

    /// Waits until every replica has what the leader has.
    pub async fn settled(&self, shard: u64) {
        until("they have applied everything", async || {
            let (_, leader) = self.led(shard).await?;
            for node in self.alive() {
                let status = self.status(node).await;
                let here = status.shards.iter().find(|found| found.shard == shard);
                if here.is_some_and(|here| here.applied < leader.last) {
                    return None;
                }
            }
            Some(())
        })
        .await;
    }

    pub fn signal(&self, node: usize, signal: Signal) {
        self.process(node).signal(signal);
    }

    pub fn kill(&mut self, node: usize) {
        self.nodes[node].process.take().unwrap().kill();
    }

    /// Has a node stop in order, and returns what it logged.
    pub fn stop_one(&mut self, node: usize) -> String {
        self.nodes[node].process.take().unwrap().stop();
        std::fs::read_to_string(self.nodes[node].folder.path().join("node.log")).unwrap()
    }

    pub fn restart(&mut self, node: usize) {
        let process = NodeProcess::start(&self.nodes[node].folder, &[]);
        self.nodes[node].process = Some(process);
    }

    /// Restarts a node that is killed without what its disks held, at its old address. Returns which node it was.
    pub async fn restart_without_disks(&mut self, node: usize) -> u64 {
        for disk in ["root", "hot", "warm", "cold"] {
            std::fs::remove_dir_all(self.nodes[node].folder.path().join(disk)).unwrap();
        }
        self.restart(node);
        let id = self.status(node).await.node_id;
        std::mem::replace(&mut self.nodes[node].id, id)
    }

    pub fn stop(self) {
        for node in self.nodes {
            if let Some(process) = node.process {
                process.stop();
            }
        }
    }
}

pub async fn read_of(
    kv: &mut KvClient<Channel>,
    key: &str,
    consistency: v1::Consistency,
    max_staleness_ms: u64,
) -> Result<v1::GetResponse, Status> {
    let read = Some(v1::ReadOptions { consistency: consistency.into(), max_staleness_ms });
    let mut request = tonic::Request::new(v1::GetRequest { header: None, key: key.to_owned().into(), read });
    request.set_timeout(PATIENCE);
    Ok(kv.get(request).await?.into_inner())
}

pub fn value(answer: v1::GetResponse) -> Option<String> {
    answer.record.map(|record| String::from_utf8(record.value.to_vec()).unwrap())
}

pub async fn until<T>(what: &str, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = condition().await {
            return found;
        }
        assert!(started.elapsed() < PATIENCE, "waited too long until {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
