//! What replication promises (design, section 8), measured on four processes on this machine, under writes: how long
//! nobody is answered when a leader is killed, when the lead is handed over, when a replica moves, when every node restarts in
//! turn; what a move at full rate costs those who write meanwhile; how long lost copies take to come back.

mod writers;

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use clap::Args;
use thermocline_client::{Batch, Client, Options};
use thermocline_proto::v1;
use thermocline_proto::v1::change_shard_request::Change;

use self::writers::{Met, Writers};
use crate::cluster::{Cluster, FIRST_SHARD};
use crate::fleet::Fleet;
use crate::load::{Bench, key, value};
use crate::report::Report;

/// The users' shard and the cluster's own.
const SHARDS: usize = 2;
/// Writes before and after what is measured.
const CALM: Duration = Duration::from_secs(1);
const RECORD_BYTES: usize = 4096;

/// What is started and how much is measured.
#[derive(Debug, Clone, Args)]
pub struct Settings {
    /// The command line of Thermocline, with the node's program beside it; by default the one beside this program.
    #[arg(long)]
    thermoctl: Option<PathBuf>,
    /// The manifests of the four nodes.
    #[arg(long, default_value = "benches/manifests/replicated.yaml")]
    manifests: PathBuf,
    /// Leaders that are killed.
    #[arg(long, default_value_t = 30)]
    kills: usize,
    /// MiB that are loaded before copies are moved and lost.
    #[arg(long, default_value_t = 1024)]
    mebibytes: u64,
}

/// Starts the nodes, measures and adds the figures.
pub fn run(bench: &Bench, report: &mut Report, settings: &Settings) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Runtime::new().context("start the runtime of the clients")?;
    runtime.block_on(async {
        let folder = tempfile::tempdir_in(&bench.folder).context("make a folder for the nodes")?;
        let fleet = Fleet::start(settings.thermoctl.as_deref(), &settings.manifests, folder.path())?;
        let client = fleet.client(Options { timeout: Duration::from_secs(30), ..Options::default() }).await?;
        let measured = Measured { bench, fleet, cluster: Cluster::new(client.clone()), client };
        measured.cluster.whole(SHARDS).await?;
        measured.hand_overs(report).await?;
        measured.restarts(report).await?;
        measured.leaders_killed(report, settings.kills).await?;
        measured.load(settings.mebibytes).await?;
        measured.moves(report).await?;
        measured.disks_lost(report, settings.mebibytes).await
    })
}

struct Measured<'a> {
    bench: &'a Bench,
    fleet: Fleet,
    cluster: Cluster,
    client: Client,
}

impl Measured<'_> {
    async fn leaders_killed(&self, report: &mut Report, kills: usize) -> anyhow::Result<()> {
        let mut gaps = Vec::new();
        for round in 0..kills {
            let led = self.cluster.led(FIRST_SHARD).await?;
            let writers = Writers::begin(&self.client, self.bench.seed.wrapping_add(round as u64));
            tokio::time::sleep(CALM).await;
            signal(&self.fleet, &led.node, "KILL")?;
            self.cluster.whole(SHARDS).await?;
            let met = writers.end().await?;
            eprintln!("leader killed, round {round}: {met:?}");
            gaps.push(seconds(met.gap));
        }
        let worst = gaps.iter().copied().fold(0.0, f64::max);
        report.single("longest time without an answered write, leader killed: median", "s", &gaps, "-", |_| true);
        let name = format!("the same, worst of {kills}");
        report.single(&name, "s", &[worst], "<= 3 s", |worst| worst <= 3.0);
        Ok(())
    }

    async fn hand_overs(&self, report: &mut Report) -> anyhow::Result<()> {
        let (mut beyond, mut failed) = (Vec::new(), 0);
        for round in 0..self.bench.rounds.max(5) {
            let calm = self.during(round, async { Ok(()) }).await?;
            let handed = self.during(round, self.hand_over()).await?;
            beyond.push(seconds(handed.gap.saturating_sub(calm.gap)) * 1e3);
            failed += handed.failed + handed.long;
        }
        let name = "longest time without an answered write when the lead is handed over, beyond that of a calm run";
        report.single(name, "ms", &beyond, "<= 50 ms", |beyond| beyond <= 50.0);
        report
            .single("requests then that failed or took over 500 ms", "", &[failed as f64], "0", |failed| failed == 0.0);
        Ok(())
    }

    async fn hand_over(&self) -> anyhow::Result<()> {
        let led = self.cluster.led(FIRST_SHARD).await?;
        let other = led.shard.members.iter().find(|member| !member.witness && member.replica != led.shard.replica);
        let node = other.context("there is no other data replica")?.node;
        self.cluster.change(FIRST_SHARD, Change::TransferLeader(v1::TransferLeader { node })).await.map(drop)
    }

    /// What writers meet within some seconds in the middle of which something is done.
    async fn during(&self, round: usize, work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<Met> {
        let writers = Writers::begin(&self.client, self.bench.seed.wrapping_add(round as u64));
        tokio::time::sleep(CALM).await;
        work.await?;
        tokio::time::sleep(CALM).await;
        writers.end().await
    }

    async fn restarts(&self, report: &mut Report) -> anyhow::Result<()> {
        let writers = Writers::begin(&self.client, self.bench.seed);
        for name in self.fleet.processes()?.into_keys() {
            let before = self.fleet.processes()?.get(&name).copied();
            signal(&self.fleet, &name, "TERM")?;
            until("a node is back", || Ok(self.fleet.processes()?.get(&name).is_some_and(|now| Some(*now) != before)))
                .await?;
            self.cluster.whole(SHARDS).await?;
        }
        let met = writers.end().await?;
        eprintln!("every node restarted in turn: {met:?}");
        let noticed = [(met.failed + met.long) as f64];
        let name =
            format!("requests that failed or took over 500 ms of {} while every node restarts in turn", met.answered);
        report.single(&name, "", &noticed, "0", |noticed| noticed == 0.0);
        Ok(())
    }

    async fn load(&self, mebibytes: u64) -> anyhow::Result<()> {
        let mut random = self.bench.random();
        let records = (mebibytes << 20) / RECORD_BYTES as u64;
        for first in (0..records).step_by(128) {
            let mut batch = Batch::with_capacity(128);
            for number in first..(first + 128).min(records) {
                batch.push_put([b"z", key(number).as_slice()].concat(), value(&mut random, RECORD_BYTES));
            }
            self.client.write(batch).await.context("load")?;
        }
        Ok(())
    }

    /// A replica goes to a node without one, at full rate, and writers go on: the leader's, so that the lead moves too.
    async fn moves(&self, report: &mut Report) -> anyhow::Result<()> {
        let (mut beyond, mut p99, mut noticed) = (Vec::new(), Vec::new(), 0);
        for round in 0..self.bench.rounds {
            let begun = Instant::now();
            let moved = self.during(round, self.move_leader(round as u64 + 1)).await?;
            // As long, undisturbed.
            let calm = self
                .during(round, async {
                    tokio::time::sleep(begun.elapsed()).await;
                    Ok(())
                })
                .await?;
            eprintln!("moved: {moved:?}; calm: {calm:?}");
            beyond.push(seconds(moved.gap.saturating_sub(calm.gap)) * 1e3);
            p99.push((seconds(moved.p99) * 1e3, seconds(calm.p99) * 1e3));
            noticed += moved.failed + moved.long;
        }
        let name = "longest time without an answered write while the leader's replica moves, beyond that of a calm run";
        report.single(name, "ms", &beyond, "<= 50 ms", |beyond| beyond <= 50.0);
        report.single("requests then that failed or took over 500 ms", "", &[noticed as f64], "0", |noticed| {
            noticed == 0.0
        });
        report.pair("p99 of writes during the move, against a calm run", "ms", &p99, "<= 1.1 x", |ratio| ratio <= 1.1);
        Ok(())
    }

    async fn move_leader(&self, job: u64) -> anyhow::Result<()> {
        let led = self.cluster.led(FIRST_SHARD).await?;
        let from = self.node_of(&led.shard).context("the leader is no member")?;
        let told = self.cluster.statuses().await;
        let free = |node: &u64| led.shard.members.iter().all(|member| member.node != *node);
        let to = told.iter().map(|(_, status)| status.node_id).find(free).context("there is no spare node")?;
        let order = v1::MoveReplica { job, from, to, bytes_per_second: 0 };
        self.cluster.change(FIRST_SHARD, Change::MoveReplica(order)).await?;
        let outcome = self.cluster.ended(FIRST_SHARD).await?;
        ensure!(outcome == "Done", "the move ended as {outcome}");
        Ok(())
    }

    fn node_of(&self, led: &v1::ShardStatus) -> Option<u64> {
        led.members.iter().find(|member| member.replica == led.replica).map(|member| member.node)
    }

    async fn disks_lost(&self, report: &mut Report, mebibytes: u64) -> anyhow::Result<()> {
        let led = self.cluster.led(FIRST_SHARD).await?;
        let other = led.shard.members.iter().find(|member| !member.witness && member.replica != led.shard.replica);
        let node = other.context("there is no other data replica")?.node;
        let told = self.cluster.statuses().await;
        let (_, status) = told.iter().find(|(_, status)| status.node_id == node).context("the node does not answer")?;
        let (writers, begun) = (Writers::begin(&self.client, self.bench.seed), Instant::now());
        // Away before it ends, so that it cannot be started from them again.
        let folder = self.fleet.node_folder(&status.node);
        let gone = folder.with_extension("gone");
        std::fs::rename(&folder, &gone).context("take the disks away")?;
        signal(&self.fleet, &status.node, "KILL")?;
        std::fs::remove_dir_all(gone).context("destroy the disks")?;
        self.cluster.whole(SHARDS).await?;
        let took = seconds(begun.elapsed());
        let met = writers.end().await?;
        eprintln!("disks lost: {met:?}");
        let name = format!(
            "from the loss of a node with its disks to all copies again, {mebibytes} MiB (30 s of it until it counts as lost)"
        );
        report.single(&name, "s", &[took], "<= 300 s for 10 GiB", |took| took <= 300.0);
        Ok(())
    }
}

fn seconds(span: Duration) -> f64 {
    span.as_secs_f64()
}

async fn until(what: &str, mut holds: impl FnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(120) {
        if holds()? {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    bail!("waited too long until {what}")
}

fn signal(fleet: &Fleet, node: &str, signal: &str) -> anyhow::Result<()> {
    let process = fleet.processes()?.get(node).copied().with_context(|| format!("{node} does not run"))?;
    let done = Command::new("kill").args([&format!("-{signal}"), &process.to_string()]).status().context("run kill")?;
    ensure!(done.success(), "kill -{signal} {process}: {done}");
    Ok(())
}
