//! Three members of etcd as processes, and calls to them.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use bytes::Bytes;
use tonic::transport::{Channel, Endpoint};

use super::api::kv_client::KvClient;
use super::api::maintenance_client::MaintenanceClient;
use super::api::{PutRequest, RequestOp, StatusRequest, TxnRequest, request_op};
use super::load::{Pair, Target};

/// Not etcd's own ports, which somebody may use.
const CLIENT_PORT: u16 = 23_790;
const PEER_PORT: u16 = 23_800;
const MEMBERS: u8 = 3;
/// For an election; far longer than one takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// The processes; killed when they go.
pub struct Members {
    children: Vec<Child>,
    leader: String,
    version: String,
}

/// A client of the leader, so that no call is forwarded.
pub struct Etcd {
    connections: Vec<KvClient<Channel>>,
    turn: AtomicUsize,
    prefixes: [Bytes; 1],
}

fn address(member: u8, port: u16) -> String {
    format!("http://127.0.0.{member}:{port}")
}

impl Members {
    /// Starts three members on 127.0.0.1 to 3 with empty data folders, and waits until one of them leads.
    pub async fn start(program: &Path, folder: &Path) -> anyhow::Result<Self> {
        let cluster: Vec<String> =
            (1..=MEMBERS).map(|member| format!("member-{member}={}", address(member, PEER_PORT))).collect();
        let mut members = Self { children: Vec::new(), leader: String::new(), version: String::new() };
        for member in 1..=MEMBERS {
            let data = folder.join(format!("etcd-{member}"));
            let log = File::create(folder.join(format!("etcd-{member}.log"))).context("make a member's log")?;
            let (client, peer) = (address(member, CLIENT_PORT), address(member, PEER_PORT));
            let child = Command::new(program)
                .args(["--name", &format!("member-{member}"), "--initial-cluster", &cluster.join(",")])
                .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
                .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
                .args(["--initial-cluster-state", "new", "--logger", "zap", "--log-level", "warn", "--data-dir"])
                .arg(data)
                .stdout(Stdio::null())
                .stderr(log)
                .spawn()
                .with_context(|| format!("start {}: `scripts/bootstrap --etcd` installs it", program.display()))?;
            members.children.push(child);
        }
        members.wait_for_leader(folder).await?;
        Ok(members)
    }

    /// etcd's version.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// A client, over as many connections as ours has to all nodes.
    pub async fn client(&self) -> anyhow::Result<Etcd> {
        let leader = Endpoint::from_shared(self.leader.clone())?.tcp_nodelay(true).http2_adaptive_window(true);
        let mut connections = Vec::new();
        for _ in 0..MEMBERS {
            connections.push(KvClient::new(leader.connect().await.context("connect to etcd's leader")?));
        }
        Ok(Etcd { connections, turn: AtomicUsize::new(0), prefixes: [Bytes::from_static(b"bench/")] })
    }

    async fn wait_for_leader(&mut self, folder: &Path) -> anyhow::Result<()> {
        let begun = Instant::now();
        loop {
            for member in 1..=MEMBERS {
                let ended = self.children[usize::from(member) - 1].try_wait().context("look after a member of etcd")?;
                if let Some(status) = ended {
                    let log = std::fs::read_to_string(folder.join(format!("etcd-{member}.log"))).unwrap_or_default();
                    bail!("member {member} of etcd ended with {status}: {log}");
                }
                if self.leads(member).await.unwrap_or(false) {
                    return Ok(());
                }
            }
            if begun.elapsed() > PATIENCE {
                bail!("no member of etcd leads after {PATIENCE:?}");
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn leads(&mut self, member: u8) -> anyhow::Result<bool> {
        let address = address(member, CLIENT_PORT);
        let channel = Endpoint::from_shared(address.clone())?.timeout(Duration::from_secs(2)).connect().await?;
        let status = MaintenanceClient::new(channel).status(StatusRequest {}).await?.into_inner();
        let itself = status.header.map_or(0, |header| header.member_id);
        (self.leader, self.version) = (address, status.version);
        Ok(status.leader != 0 && status.leader == itself)
    }
}

impl Drop for Members {
    fn drop(&mut self) {
        for child in &mut self.children {
            // Errors mean that it has ended already; its data goes with the folder.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Target for Etcd {
    const NAME: &'static str = "etcd";

    fn prefixes(&self) -> &[Bytes] {
        &self.prefixes
    }

    async fn write(&self, mut pairs: Vec<Pair>) -> anyhow::Result<()> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % self.connections.len();
        let mut kv = self.connections[turn].clone();
        if pairs.len() == 1
            && let Some((key, value)) = pairs.pop()
        {
            kv.put(PutRequest { key, value }).await?;
            return Ok(());
        }
        let put =
            |(key, value)| RequestOp { request: Some(request_op::Request::RequestPut(PutRequest { key, value })) };
        kv.txn(TxnRequest { success: pairs.into_iter().map(put).collect() }).await?;
        Ok(())
    }
}
