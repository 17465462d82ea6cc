//! Runs one seed of the simulation: `simulate-replicas --seed 7`. A process runs one seed, since all chance of the process is
//! drawn from it: that of libraries too (openraft's election timeouts, tokio's order of wakers, the order of hash maps).

mod chance;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use thermocline_simulation_tests::{Flaw, Plan, World};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::prelude::*;

/// Runs replicas on simulated nodes, and watches their invariants.
#[derive(Debug, Parser)]
struct Arguments {
    /// What everything is drawn from.
    #[arg(long)]
    seed: u64,
    /// Simulated seconds during which things go wrong.
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// A bug that the run is to find.
    #[arg(long, value_enum)]
    flaw: Option<Flaw>,
    /// Writes what happened, line by line, to see where two runs part.
    #[arg(long)]
    trace: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(wanted) = std::env::var("RUST_LOG").ok().and_then(|wanted| wanted.parse::<Targets>().ok()) {
        // Not by `EnvFilter`: it makes hash maps on the way, and those of the run would come in another order.
        let lines = tracing_subscriber::fmt::layer().with_ansi(false);
        tracing_subscriber::registry().with(lines.with_filter(wanted)).init();
    }
    // Last, so that what was drawn before does not matter.
    chance::begin(arguments.seed);
    let Arguments { seed, seconds, flaw, trace } = arguments;
    let mut plan = Plan::drawn(seed, seconds);
    plan.flaw = flaw;
    let report = match World::new(plan, trace.as_deref()).map(World::run) {
        Ok(report) => report,
        Err(error) => {
            eprintln!("seed {seed}: {error:#}");
            return ExitCode::from(2);
        }
    };
    println!("{report}");
    if report.violation.is_none() {
        return ExitCode::SUCCESS;
    }
    let flaw = flaw.map(|flaw| format!(" --flaw {}", flaw.name())).unwrap_or_default();
    println!("again: cargo run -p thermocline-simulation-tests -- --seed {seed} --seconds {seconds}{flaw}");
    ExitCode::from(1)
}
