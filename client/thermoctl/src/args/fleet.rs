//! Arguments of the commands that run a fleet on this machine.

use std::{net::Ipv4Addr, path::PathBuf, time::Duration};

use clap::{Args, Subcommand};

use crate::output::parse_time;

/// `local`
#[derive(Debug, Args)]
pub struct LocalArguments {
    /// What to do
    #[command(subcommand)]
    pub command: LocalCommand,
}

/// What to do with the local fleet.
#[derive(Debug, Subcommand)]
pub enum LocalCommand {
    /// Start the nodes that manifests describe and keep them running
    Up {
        /// A folder of manifests, or one manifest
        #[arg(short, long, value_name = "DIR")]
        file: PathBuf,
        /// Stay in the foreground; Ctrl-C stops the fleet
        #[arg(long)]
        foreground: bool,
        /// Of a new fleet, the address of the first node; the others follow [default: 127.0.0.1]
        #[arg(long, value_name = "IPV4")]
        address: Option<Ipv4Addr>,
        /// How long to wait until every node serves
        #[arg(long, default_value = "120s", value_parser = parse_time, value_name = "TIME")]
        wait: Duration,
    },
    /// Stop the nodes; their data stays
    Down {
        /// Remove the state folder too, with all data
        #[arg(long)]
        destroy: bool,
        /// Confirms --destroy
        #[arg(long, requires = "destroy")]
        yes: bool,
    },
    /// Show the processes of the fleet
    Status,
    /// Keep the fleet of --home; `up` starts this in the background
    #[command(hide = true)]
    Supervise,
}

/// `demo`
#[derive(Debug, Args)]
pub struct DemoArguments {
    /// The manifests of the fleet
    #[arg(short, long, default_value = "examples/make-run", value_name = "DIR")]
    pub file: PathBuf,
    /// The data: each line a record, or each paragraph where blank lines part them [default: Debian's package index]
    #[arg(long, value_name = "FILE")]
    pub data: Option<PathBuf>,
    /// How long the load runs
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub seconds: u64,
    /// Replays the load [default: chosen, and printed]
    #[arg(long)]
    pub seed: Option<u64>,
    /// The address of the first node; the others follow
    #[arg(long, default_value = "127.0.0.1", value_name = "IPV4")]
    pub address: Ipv4Addr,
    /// Stop the fleet at the end, on a terminal too
    #[arg(long)]
    pub exit: bool,
}
