//! Runs of the simulation, each in a process of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods, missing_docs)]

use std::collections::BTreeMap;
use std::process::Command;

use thermocline_simulation_tests::Flaw;

/// Simulated seconds during which things go wrong.
const SECONDS: u64 = 25;
/// Seeds that are run each time.
const FIXED: [u64; 10] = [1, 2, 3, 4, 5, 6, 7, 9, 10, 26];

/// What a run printed.
struct Run {
    status: i32,
    said: String,
    figures: BTreeMap<String, String>,
}

impl Run {
    fn of(seed: u64, seconds: u64, flaw: Option<Flaw>, environment: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_simulate-replicas"));
        command.args(["--seed", &seed.to_string(), "--seconds", &seconds.to_string()]);
        if let Some(flaw) = flaw {
            command.args(["--flaw", flaw.name()]);
        }
        let output = command.env_remove("RUST_LOG").envs(environment.iter().copied()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        let figures = said.split_whitespace().filter_map(|word| word.split_once('='));
        let figures = figures.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Self { status: output.status.code().unwrap_or(-1), said, figures }
    }

    fn figure(&self, name: &str) -> u64 {
        self.figures
            .get(name)
            .and_then(|value| value.parse().ok())
            .unwrap_or_else(|| panic!("no {name}: {}", self.said))
    }

    fn hash(&self) -> &str {
        self.figures.get("hash").unwrap_or_else(|| panic!("no hash: {}", self.said))
    }
}

/// Runs a seed, which must hold, and have done enough to mean something.
fn holds(seed: u64, seconds: u64) -> Run {
    let run = Run::of(seed, seconds, None, &[]);
    println!("{}", run.said);
    assert_eq!(run.status, 0, "seed {seed}: {}", run.said);
    for (figure, least) in [("answered", 8 * seconds), ("elections", 3), ("messages", 1000), ("done", 2)] {
        assert!(run.figure(figure) >= least, "seed {seed} has too few of {figure}: {}", run.said);
    }
    run
}

#[test]
fn a_seed_replays_to_the_same_trace_in_every_process() {
    let seconds = 10;
    let (first, again) = (Run::of(7, seconds, None, &[]), Run::of(7, seconds, None, &[]));
    assert!(first.figure("events") > 1000, "{}", first.said);
    assert_eq!(first.hash(), again.hash(), "{}\n{}", first.said, again.said);
    // Whatever surrounds a process is not part of a run.
    let elsewhere =
        Run::of(7, seconds, None, &[("A_LONG_NAME", &"x".repeat(5000)), ("TMPDIR", env!("CARGO_TARGET_TMPDIR"))]);
    assert_eq!(first.hash(), elsewhere.hash());
    assert_ne!(first.hash(), Run::of(8, seconds, None, &[]).hash(), "another seed is another run");
}

#[test]
fn invariants_hold_while_nodes_fail_and_shards_split_move_and_merge() {
    let runs: Vec<Run> = FIXED.iter().map(|seed| holds(*seed, SECONDS)).collect();
    let all = |figure: &str| runs.iter().map(|run| run.figure(figure)).sum::<u64>();
    // How much of a run its faults leave is up to the seed; together they must have left more.
    assert!(all("answered") >= 30 * SECONDS * FIXED.len() as u64, "the fixed seeds have too few of answered");
    for figure in
        ["splits", "merges", "done", "snapshots", "transfers", "kills", "power-losses", "pauses", "cuts", "purges"]
    {
        assert!(all(figure) >= 2, "the fixed seeds have too few of {figure}");
    }
}

/// `SIMULATION_SEED` replays one, `SIMULATION_SEEDS` tries so many new ones. None without either.
#[test]
fn invariants_hold_for_seeds_that_nobody_has_tried() {
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let asked = number("SIMULATION_SEED");
    let first = asked.unwrap_or(since.as_millis() as u64 % 1_000_000_000);
    let seconds = number("SIMULATION_SECONDS").unwrap_or(SECONDS);
    let seeds = number("SIMULATION_SEEDS").unwrap_or_else(|| u64::from(asked.is_some()));
    for seed in first..first + seeds {
        println!("SIMULATION_SEED={seed} replays this one");
        holds(seed, seconds);
    }
}

#[test]
fn bugs_are_found_by_some_seed() {
    for flaw in Flaw::ALL {
        let found = (1..=12).map(|seed| Run::of(seed, SECONDS, Some(flaw), &[])).find(|run| run.status == 1);
        let found = found.unwrap_or_else(|| panic!("nobody found {}", flaw.name()));
        let violation = found.said.lines().find(|line| line.starts_with("violation")).unwrap_or_default();
        println!("{}: seed {}: {violation}", flaw.name(), found.figures["seed"]);
    }
}
