//! Three nodes of Thermocline against three members of etcd: the same writes, from as many clients, over as many
//! connections, each acknowledged after an fsync, on one file system, in turn.
//!
//! What is compared is said in [`COMPARED`].

mod api;
mod load;
mod members;
mod nodes;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use thermocline_client::Options;
use thermocline_proto::v1;
use thermocline_proto::v1::change_shard_request::Change;

use crate::cluster::{Cluster, FIRST_SHARD};
use crate::fleet::Fleet;
use crate::load::Bench;
use crate::report::Report;
use load::{Load, Rate, Target};
use members::Members;
use nodes::Thermocline;

/// What a reader must know before the figures.
const COMPARED: &str = "Both answer a write when two of three have it synced: etcd in one group of three members, Thermocline in \
shards of two data replicas and a witness, whose leaders are on the nodes that have data.";
/// Bytes of a value.
const VALUE_BYTES: usize = 256;
/// Mutations of a transaction; etcd's own limit is 128.
const BATCH: usize = 100;

/// How the two are started and driven.
#[derive(Debug, Clone, Args)]
pub struct Settings {
    /// etcd's program.
    #[arg(long, default_value = "etcd")]
    etcd: PathBuf,
    /// The command line of Thermocline, with the node's program beside it; by default the one beside this program.
    #[arg(long)]
    thermoctl: Option<PathBuf>,
    /// The manifests of Thermocline's three nodes.
    #[arg(long, default_value = "benches/manifests/three.yaml")]
    manifests: PathBuf,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// How many clients call at once; each number is measured.
    #[arg(long, value_delimiter = ',', default_values_t = [64, 256])]
    clients: Vec<usize>,
    /// Shards that the users' keys are cut into: each has a log of its own, over one writer to disk a node.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u8).range(1..=64))]
    shards: u8,
}

/// Starts both, measures them in turn and adds the figures.
pub fn run(bench: &Bench, report: &mut Report, settings: &Settings) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Runtime::new().context("start the runtime of the clients")?;
    runtime.block_on(measure(bench, report, settings))
}

async fn measure(bench: &Bench, report: &mut Report, settings: &Settings) -> anyhow::Result<()> {
    let folder = tempfile::tempdir_in(&bench.folder).context("make a folder for the data of both")?;
    let members = Members::start(&settings.etcd, folder.path()).await?;
    let fleet = Fleet::start(settings.thermoctl.as_deref(), &settings.manifests, folder.path())?;
    cut_into_shards(&fleet, settings.shards).await?;
    let etcd = Arc::new(members.client().await?);
    let ours = Arc::new(Thermocline::of(&fleet).await?);
    eprintln!("{COMPARED} etcd {}.", members.version());
    let length = Duration::from_secs(settings.seconds.max(1));
    for &clients in &settings.clients {
        for batch in [1, BATCH] {
            let mut pairs = Vec::new();
            for round in 0..bench.rounds {
                let load =
                    Load { clients, batch, length, seed: bench.seed.wrapping_add(round as u64), bytes: VALUE_BYTES };
                // Who begins alternates: the one that comes second finds the device as the first one left it.
                pairs.push(if round % 2 == 0 {
                    let ours = rate(&ours, &load).await?;
                    (ours, rate(&etcd, &load).await?)
                } else {
                    let etcd = rate(&etcd, &load).await?;
                    (rate(&ours, &load).await?, etcd)
                });
            }
            let (what, goal, least) = if batch == 1 {
                ("single puts".to_owned(), ">= 3 x etcd", 3.0)
            } else {
                (format!("transactions of {batch}"), ">= 10 x etcd", 10.0)
            };
            let name = format!("{what}, {VALUE_BYTES} B, {clients} clients, synced, by two of three");
            report.pair(&name, "keys/s", &pairs, goal, |ratio| ratio >= least);
        }
    }
    Ok(())
}

/// Cuts the users' keys into shards and gives every second one to the other node with data.
async fn cut_into_shards(fleet: &Fleet, shards: u8) -> anyhow::Result<()> {
    let cluster = Cluster::new(fleet.client(Options::default()).await?);
    cluster.whole(2).await?;
    // From the last one down: what is left of the first shard is cut again.
    for number in (1..shards).rev() {
        let at = vec![number * (u8::MAX / shards)];
        let right = cluster.change(FIRST_SHARD, Change::Split(v1::SplitShard { at: at.into() })).await?.new_shard;
        let led = cluster.led(right).await?;
        let other = led.shard.members.iter().find(|member| !member.witness && member.replica != led.shard.replica);
        if let Some(other) = other.filter(|_| number.is_multiple_of(2)) {
            cluster.change(right, Change::TransferLeader(v1::TransferLeader { node: other.node })).await?;
        }
    }
    cluster.whole(usize::from(shards) + 1).await
}

async fn rate<T: Target>(target: &Arc<T>, load: &Load) -> anyhow::Result<f64> {
    let Rate { keys_per_second, failed, failure } = load.run(target).await?;
    if let Some(failure) = failure {
        eprintln!("{}: {failed} calls failed and are not counted, the last of them: {failure:#}", T::NAME);
    }
    Ok(keys_per_second)
}
