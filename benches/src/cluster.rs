//! A replicated cluster as its nodes tell of it, and orders to the leaders of its shards.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use thermocline_client::Client;
use thermocline_proto::v1;
use thermocline_proto::v1::change_shard_request::Change;

/// The shard of all of the users' keys, before it is split.
pub const FIRST_SHARD: u64 = 1;
/// Two data replicas and a witness.
const VOTERS: usize = 3;
const PATIENCE: Duration = Duration::from_secs(600);
const LOOK: Duration = Duration::from_millis(100);

/// What is asked of the nodes.
pub struct Cluster {
    client: Client,
}

/// A shard as its leader tells of it.
pub struct Led {
    /// The name of the leader's node.
    pub node: String,
    /// Its place among the client's nodes.
    pub place: usize,
    pub shard: v1::ShardStatus,
}

impl Cluster {
    pub const fn new(client: Client) -> Self {
        Self { client }
    }

    /// What the nodes say; those that do not answer are left out.
    pub async fn statuses(&self) -> Vec<(usize, v1::NodeStatus)> {
        let mut told = Vec::new();
        for place in 0..self.client.nodes().len() {
            let Some(mut admin) = self.client.admin(place) else { continue };
            let request = v1::StatusRequest { interval_ms: 0, once: true };
            let answer = tokio::time::timeout(Duration::from_secs(2), admin.status(request)).await;
            let Ok(Ok(answer)) = answer else { continue };
            told.extend(answer.into_inner().message().await.ok().flatten().map(|status| (place, status)));
        }
        told
    }

    /// The leader of a shard, once there is one.
    pub async fn led(&self, shard: u64) -> anyhow::Result<Led> {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            for (place, status) in self.statuses().await {
                if let Some(found) = status.shards.iter().find(|found| found.shard == shard && found.leads) {
                    return Ok(Led { node: status.node.clone(), place, shard: found.clone() });
                }
            }
            tokio::time::sleep(LOOK).await;
        }
        bail!("nobody leads shard {shard} after {PATIENCE:?}")
    }

    /// Waits until so many shards, with that of the cluster itself, have all members, sound, on nodes that are there.
    pub async fn whole(&self, shards: usize) -> anyhow::Result<()> {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            let told = self.statuses().await;
            let there: BTreeSet<u64> = told.iter().map(|(_, status)| status.node_id).collect();
            let sound = |member: &v1::MemberStatus| {
                member.votes && there.contains(&member.node) && member.lag.is_none_or(|lag| lag < 1000)
            };
            let whole = told.iter().flat_map(|(_, status)| &status.shards).filter(|shard| {
                shard.leads && shard.job.is_none() && shard.members.len() == VOTERS && shard.members.iter().all(sound)
            });
            let whole: BTreeSet<u64> = whole.map(|shard| shard.shard).collect();
            if whole.len() == shards {
                return Ok(());
            }
            tokio::time::sleep(LOOK).await;
        }
        bail!("not all shards are whole after {PATIENCE:?}")
    }

    /// Gives an order to the leader of a shard.
    pub async fn change(&self, shard: u64, change: Change) -> anyhow::Result<v1::ChangeShardResponse> {
        let led = self.led(shard).await?;
        let mut admin = self.client.admin(led.place).context("the leader has no control plane")?;
        let request = v1::ChangeShardRequest { shard, epoch: 0, change: Some(change.clone()) };
        Ok(admin.change_shard(request).await.with_context(|| format!("ask {} for {change:?}", led.node))?.into_inner())
    }

    /// Waits until a shard has no job under way, and says how the last one ended.
    pub async fn ended(&self, shard: u64) -> anyhow::Result<String> {
        loop {
            let led = self.led(shard).await?;
            if led.shard.job.is_none() {
                return Ok(led.shard.ended.last().map(|job| job.outcome.clone()).unwrap_or_default());
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}
