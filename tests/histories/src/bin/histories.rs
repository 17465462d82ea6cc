//! Records a history against a running cluster, and judges histories.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Parser, Subcommand};
use thermocline_client::{Client, Durability, Endpoints, Options};
use thermocline_histories::{Checker, Counts, Keys, Minimums, Plan, Verdict, record};

/// Records and judges histories of concurrent clients.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Runs clients against a cluster and writes down what they saw; judges it too.
    Record {
        /// The cluster's routing file (`endpoints.yaml` in the state folder of a local fleet).
        #[arg(long)]
        endpoints: PathBuf,
        /// Where the history goes.
        #[arg(long, default_value = "history.jsonl")]
        out: PathBuf,
        /// Clients at once.
        #[arg(long, default_value_t = 8)]
        clients: u32,
        /// Seconds they call.
        #[arg(long, default_value_t = 20)]
        seconds: u64,
        /// Repeats the calls.
        #[arg(long, default_value_t = 42)]
        seed: u64,
        /// Prefixes of the keys; a new word for each run is put behind them.
        #[arg(long, value_delimiter = ',', default_value = "a,k,z")]
        prefixes: Vec<String>,
        /// What makes the keys those of this run alone.
        #[arg(long)]
        run: String,
        /// The fewest operations with an answer that make the run count.
        #[arg(long, default_value_t = 1000)]
        minimum: u64,
    },
    /// Judges a history.
    Check {
        /// The file.
        history: PathBuf,
        /// Seconds it may take.
        #[arg(long, default_value_t = 120)]
        timeout: u64,
    },
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    match Arguments::parse().what {
        What::Check { history, timeout } => judge(&history, Duration::from_secs(timeout)),
        What::Record { endpoints, out, clients, seconds, seed, prefixes, run, minimum } => {
            let endpoints = Endpoints::read(&endpoints)?;
            let mut stores = Vec::new();
            for _ in 0..clients {
                let options =
                    Options { timeout: Duration::from_secs(2), durability: Durability::Wal, ..Options::default() };
                stores.push(Client::connect(endpoints.clone(), options).await?);
            }
            let prefixes = prefixes.into_iter().map(|prefix| format!("{prefix}/history/{run}/")).collect();
            let plan = Plan {
                seed,
                length: Duration::from_secs(seconds),
                keys: Keys { prefixes, each: 3, lifetime: Duration::from_secs(5) },
                pause: Duration::from_millis(8),
                patience: Duration::from_secs(60),
            };
            let history = record(stores, &plan).await?;
            history.write(&out)?;
            println!("{} operations, {} without an answer, in {}", history.completed(), history.open(), out.display());
            let operations = |count| Counts::of([("operations", count)]);
            Minimums(operations(minimum)).check(&operations(history.completed() as u64))?;
            judge(&out, Duration::from_secs(120))
        }
    }
}

fn judge(history: &std::path::Path, timeout: Duration) -> anyhow::Result<()> {
    let folder = std::env::current_exe()?.parent().context("this program lies in no folder")?.to_owned();
    match Checker::build(&folder)?.within(timeout).judge(history)? {
        Verdict::Linearizable { said } => println!("{said}"),
        Verdict::Violation { said, .. } => bail!("{said}"),
    }
    Ok(())
}
