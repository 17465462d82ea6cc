//! The tier benchmark: every figure of the README comes from `make bench`, which runs this.
//!
//! Thermocline and raw RocksDB run in turn in one process on one file system, so a machine whose speed drifts drifts for
//! both; medians and the ratio pair by pair are printed, with the machine named. `etcd` and `promises` measure whole processes.
#![allow(clippy::disallowed_methods)] // a benchmark reads the machine's clock

mod baseline;
mod cluster;
mod cold_device;
mod etcd;
mod figures;
mod fleet;
mod load;
mod machine;
mod promises;
mod report;
mod stall;
mod stores;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// Measures Thermocline's engine against raw RocksDB.
#[derive(Debug, Parser)]
struct Arguments {
    /// Where the stores are made; on the device to be measured.
    #[arg(long, global = true, default_value = "target/bench-data")]
    folder: PathBuf,
    /// How often each pair is measured; medians are printed.
    #[arg(long, global = true, default_value_t = 5)]
    rounds: usize,
    /// The seed of keys, values and draws.
    #[arg(long, global = true, default_value_t = 42)]
    seed: u64,
    /// Also writes the results as JSON.
    #[arg(long, global = true)]
    json: Option<PathBuf>,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// The figures of the README.
    Figures {
        /// Only these, for finding what a change does to one of them.
        #[arg(long, value_delimiter = ',')]
        only: Vec<figures::Figure>,
    },
    /// Puts while data moves to a cold device of 1 MB/s, against puts while it moves to a fast one.
    ColdDevice,
    /// A stalled cold tier as a column family of the same database, and as a database of its own.
    StallCoupling,
    /// Writes to three nodes against three members of etcd, as processes.
    Etcd(etcd::Settings),
    /// What replication promises, on processes: gaps when leaders are killed, handed over and moved, restarts, lost disks.
    Promises(promises::Settings),
    /// Everything that runs in this process: not etcd, not the promises.
    All,
}

fn main() -> anyhow::Result<()> {
    let Arguments { folder, rounds, seed, json, what } = Arguments::parse();
    std::fs::create_dir_all(&folder)?;
    let bench = load::Bench { folder, rounds: rounds.max(1), seed };
    let mut report = report::Report::new(machine::Machine::read(&bench.folder), seed);
    if let What::Figures { only } = &what {
        figures::run(&bench, &mut report, only)?;
    }
    if matches!(what, What::All) {
        figures::run(&bench, &mut report, &[])?;
    }
    if matches!(what, What::ColdDevice | What::All) {
        cold_device::run(&bench, &mut report)?;
    }
    if matches!(what, What::StallCoupling | What::All) {
        stall::run(&bench, &mut report)?;
    }
    if let What::Etcd(settings) = &what {
        etcd::run(&bench, &mut report, settings)?;
    }
    if let What::Promises(settings) = &what {
        promises::run(&bench, &mut report, settings)?;
    }
    print!("{report}");
    if let Some(path) = json {
        std::fs::write(path, serde_json::to_vec_pretty(&report)?)?;
    }
    Ok(())
}
