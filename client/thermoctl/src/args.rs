//! The command line: every command, option and default, as `--help` shows them.

mod fleet;
mod objects;

use std::{path::PathBuf, time::Duration};

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::{
    exit_code::EXIT_CODE_HELP,
    output::{ColorChoice, Format, parse_bytes, parse_some_time, parse_time},
    transfer::FileFormat,
    workload::Builtin,
};

pub use fleet::{DemoArguments, LocalArguments, LocalCommand};
pub use objects::{DeleteArguments, DrainArguments, ManifestArguments, ObjectArguments};

/// Reads, writes and watches a Thermocline cluster, and runs one on this machine.
#[derive(Debug, Parser)]
#[command(
    name = "thermoctl",
    version,
    after_help = EXIT_CODE_HELP,
    propagate_version = true,
    arg_required_else_help = true
)]
pub struct Arguments {
    /// Options of every command.
    #[command(flatten)]
    pub global: Global,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Options of every command")]
pub struct Global {
    /// State folder of a local fleet [default: the only one under $XDG_STATE_HOME/thermocline or ~/.local/state/thermocline]
    #[arg(long, global = true, env = "THERMOCLINE_HOME", value_name = "DIR")]
    pub home: Option<PathBuf>,
    /// Nodes of a cluster, several separated by commas; wins over --home
    #[arg(long, global = true, value_name = "HOST:KVPORT:ADMINPORT,...")]
    pub endpoints: Option<String>,
    /// Form of the answer
    #[arg(short, long, global = true, value_enum, default_value_t, value_name = "FORM")]
    pub output: Format,
    /// How long a call may take, its retries included, e.g. 500ms or 2m
    #[arg(long, global = true, default_value = "10s", value_parser = parse_some_time, value_name = "TIME")]
    pub timeout: Duration,
    /// Colours: auto leaves them out where there is no terminal or NO_COLOR is set
    #[arg(long, global = true, value_enum, default_value_t, value_name = "WHEN")]
    pub color: ColorChoice,
    /// Say more on standard error; twice for every retry
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,
}

/// A command.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write a record
    Put(PutArguments),
    /// Read a record, or list objects (get KEY; get KIND NAME)
    Get(GetArguments),
    /// Delete a record
    Del(DelArguments),
    /// List records in key order
    Scan(ScanArguments),
    /// Write the records of a file (JSONL or CSV)
    Import(ImportArguments),
    /// Write records to a file (JSONL or CSV)
    Export(ExportArguments),
    /// Show the hottest keys and ranges
    Heat(HeatArguments),
    /// Show where a key is and why
    Explain(KeyArguments),
    /// Show what each tier holds and serves
    Tiers,
    /// Show the shards: their keys, members and leaders, size, load and what changes
    Shards,
    /// Show or change the policy of moves between tiers
    Policy(PolicyArguments),
    /// Move a range of keys to a tier
    Move(MoveArguments),
    /// List the moves that were asked for, or cancel one
    Moves(MovesArguments),
    /// Measure a cluster under a built-in workload
    Bench(BenchArguments),
    /// Watch a cluster: throughput, latency, tiers, heat, moves
    Top(TopArguments),
    /// Plan for a fleet that exists in figures alone, over hours of load and failures
    Simulate(SimulateArguments),
    /// Run a cluster on this machine
    Local(LocalArguments),
    /// Show tiering on this machine: a fleet, real data, a skewed load, and what came of it
    Demo(DemoArguments),
    /// Create or change objects from manifests
    Apply(ManifestArguments),
    /// Show an object with its status and events
    Describe(ObjectArguments),
    /// Delete an object
    Delete(DeleteArguments),
    /// Have a node give away everything it holds and stop, or take that back
    Drain(DrainArguments),
    /// Check manifests against schemas and rules, without a cluster
    Validate(ManifestArguments),
    /// Print a completion script for a shell
    Completion {
        /// The shell
        #[arg(value_enum)]
        shell: Shell,
    },
}

/// How safe a write is when it is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DurabilityChoice {
    /// Survives power loss.
    Sync,
    /// Survives the node's process, not the power.
    Wal,
    /// Up to 5 ms of writes may be lost with the process.
    Buffered,
}

/// `put`
#[derive(Debug, Args)]
pub struct PutArguments {
    /// The key
    pub key: String,
    /// The value; - reads it from standard input
    #[arg(allow_hyphen_values = true)]
    pub value: String,
    /// Key and value are base64
    #[arg(long)]
    pub base64: bool,
    /// Only where the key has no record
    #[arg(long, group = "condition")]
    pub if_absent: bool,
    /// Only where the key has a record
    #[arg(long, group = "condition")]
    pub if_exists: bool,
    /// Only where the record has this version
    #[arg(long, group = "condition", value_name = "VERSION")]
    pub if_version: Option<u64>,
    /// How safe the write is when it is acknowledged [default: as the node is configured]
    #[arg(long, value_enum)]
    pub durability: Option<DurabilityChoice>,
}

/// `get`
#[derive(Debug, Args)]
pub struct GetArguments {
    /// The key; or a kind of object such as storagetiers or tct, or KIND/NAME
    #[arg(value_name = "KEY|KIND")]
    pub key: String,
    /// Of a kind, the object
    pub name: Option<String>,
    /// It is a key, also where it reads like a kind
    #[arg(long, conflicts_with = "name")]
    pub key_only: bool,
    /// The key is base64
    #[arg(long, conflicts_with = "name")]
    pub base64: bool,
    /// Write the value alone, byte by byte, without a newline
    #[arg(long, conflicts_with = "name")]
    pub raw: bool,
    /// Let any near replica answer that is at most so much behind, as 5s; without it the leader of the shard answers
    #[arg(long, conflicts_with = "name", value_parser = parse_some_time, value_name = "TIME")]
    pub max_staleness: Option<Duration>,
}

/// `del`
#[derive(Debug, Args)]
pub struct DelArguments {
    /// The keys; each is deleted on its own, in turn
    #[arg(required = true)]
    pub keys: Vec<String>,
    /// The keys are base64
    #[arg(long)]
    pub base64: bool,
    /// Only where the record has this version (of one key)
    #[arg(long, value_name = "VERSION")]
    pub if_version: Option<u64>,
    /// How safe the write is when it is acknowledged [default: as the node is configured]
    #[arg(long, value_enum)]
    pub durability: Option<DurabilityChoice>,
}

/// A range of keys.
#[derive(Debug, Clone, Args)]
pub struct RangeArguments {
    /// Keys that begin so
    #[arg(long, conflicts_with_all = ["start", "end"])]
    pub prefix: Option<String>,
    /// The first key
    #[arg(long)]
    pub start: Option<String>,
    /// The end; that key itself is left out
    #[arg(long)]
    pub end: Option<String>,
}

/// `scan`
#[derive(Debug, Args)]
pub struct ScanArguments {
    /// Which keys
    #[command(flatten)]
    pub range: RangeArguments,
    /// At most so many records
    #[arg(long, short = 'n')]
    pub limit: Option<u64>,
    /// From the end to the start
    #[arg(long)]
    pub reverse: bool,
    /// Without values
    #[arg(long)]
    pub keys_only: bool,
    /// Let any near replica answer that is at most so much behind, as 5s; without it the leaders of the shards answer
    #[arg(long, value_parser = parse_some_time, value_name = "TIME")]
    pub max_staleness: Option<Duration>,
}

/// `import`
#[derive(Debug, Args)]
pub struct ImportArguments {
    /// The file; - reads standard input
    #[arg(default_value = "-")]
    pub file: PathBuf,
    /// The file's format [default: by its name, .csv or else JSONL]
    #[arg(long, value_enum)]
    pub format: Option<FileFormat>,
    /// Put before every key
    #[arg(long, default_value = "")]
    pub prefix: String,
    /// Records of a batch
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub batch: u32,
    /// Batches in flight
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub concurrency: u32,
    /// Go on where an earlier import of this file stopped; the batches that were under way are written again, over what
    /// others may have written to the same keys since
    #[arg(long, conflicts_with = "restart")]
    pub resume: bool,
    /// Begin anew, whatever an earlier import did
    #[arg(long)]
    pub restart: bool,
    /// Where the progress is kept [default: FILE.progress; none for standard input and pipes]
    #[arg(long, value_name = "FILE")]
    pub progress_file: Option<PathBuf>,
    /// How long a batch is tried while a node is unavailable; one that may have been written is not tried again: the
    /// import stops, and --resume goes on
    #[arg(long, default_value = "60s", value_parser = parse_time, value_name = "TIME")]
    pub patience: Duration,
    /// How safe the writes are when they are acknowledged [default: as the node is configured]
    #[arg(long, value_enum)]
    pub durability: Option<DurabilityChoice>,
}

/// `export`
#[derive(Debug, Args)]
pub struct ExportArguments {
    /// The file; - writes to standard output
    #[arg(default_value = "-")]
    pub file: PathBuf,
    /// Which keys
    #[command(flatten)]
    pub range: RangeArguments,
    /// The file's format [default: by its name, .csv or else JSONL]
    #[arg(long, value_enum)]
    pub format: Option<FileFormat>,
    /// Write CSV columns as base64, for bytes that are no text
    #[arg(long)]
    pub base64: bool,
    /// Go on after the last whole record of the file
    #[arg(long, conflicts_with = "overwrite")]
    pub resume: bool,
    /// Replace the file
    #[arg(long)]
    pub overwrite: bool,
}

/// `heat`
#[derive(Debug, Args)]
pub struct HeatArguments {
    /// How many of the hottest keys
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub keys: u32,
    /// How many of the hottest ranges
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub ranges: u32,
}

/// A key.
#[derive(Debug, Args)]
pub struct KeyArguments {
    /// The key
    pub key: String,
    /// The key is base64
    #[arg(long)]
    pub base64: bool,
}

/// `policy`
#[derive(Debug, Args)]
pub struct PolicyArguments {
    /// What to do
    #[command(subcommand)]
    pub command: PolicyCommand,
}

/// What to do with the policy.
#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// Show the policies of the fleet and what is in force on each node
    Show,
    /// Put a MigrationPolicy manifest in force
    Set {
        /// The manifest
        #[arg(short, long, value_name = "FILE")]
        file: PathBuf,
    },
    /// Stop moves between tiers; no space is made either: the fastest tier fills, and once its device is under its reserve
    /// writes are refused
    Pause(PolicyTarget),
    /// Let moves between tiers go on
    Resume(PolicyTarget),
}

/// Which policy is paused or resumed.
#[derive(Debug, Args)]
pub struct PolicyTarget {
    /// The MigrationPolicy of the fleet [default: the only one]
    #[arg(conflicts_with = "file")]
    pub name: Option<String>,
    /// With --endpoints: the manifest that is in force, because nodes do not give theirs back
    #[arg(short, long, value_name = "FILE")]
    pub file: Option<PathBuf>,
}

/// `move`
#[derive(Debug, Args)]
pub struct MoveArguments {
    /// Which keys
    #[command(flatten)]
    pub range: RangeArguments,
    /// The tier they move to
    #[arg(long, value_name = "TIER")]
    pub to: String,
    /// At most so many bytes a second on each node, e.g. 20Mi [default: the policy's]
    #[arg(long, value_parser = parse_bytes, value_name = "SIZE")]
    pub rate: Option<u64>,
}

/// `moves`
#[derive(Debug, Args)]
pub struct MovesArguments {
    /// Cancel this one, as the list names it: NODE/ID
    #[arg(long, value_name = "NODE/ID")]
    pub cancel: Option<String>,
}

/// `bench`
#[derive(Debug, Args)]
pub struct BenchArguments {
    /// The workload
    #[arg(value_enum)]
    pub workload: Builtin,
    /// Records that are loaded first and then used
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub records: u64,
    /// Bytes of a value
    #[arg(long, default_value = "100", value_parser = parse_bytes, value_name = "SIZE")]
    pub value_size: u64,
    /// How long it runs
    #[arg(long, default_value = "30s", value_parser = parse_some_time, conflicts_with = "operations", value_name = "TIME")]
    pub duration: Duration,
    /// Run so many operations instead
    #[arg(long)]
    pub operations: Option<u64>,
    /// Concurrent workers
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u64).range(1..=4096))]
    pub workers: u64,
    /// Send so many operations a second, whether or not earlier ones are answered (open loop) [default: closed loop]
    #[arg(long, value_name = "OPS")]
    pub rate: Option<f64>,
    /// Replays a run [default: chosen, and printed]
    #[arg(long)]
    pub seed: Option<u64>,
    /// The records are there already; nothing is removed then, what the run inserts neither
    #[arg(long)]
    pub skip_load: bool,
    /// Leave the records where they are; else a run that loads removes what it wrote
    #[arg(long)]
    pub keep: bool,
    /// Put before every key; all nodes take part only without it
    #[arg(long)]
    pub prefix: Option<String>,
    /// The longest scan, in records
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub max_scan: u64,
}

/// `top`
#[derive(Debug, Args)]
pub struct TopArguments {
    /// How often figures change
    #[arg(long, default_value = "1s", value_parser = parse_some_time, value_name = "TIME")]
    pub interval: Duration,
}

/// `simulate`
#[derive(Debug, Args)]
pub struct SimulateArguments {
    /// The scenario, as examples/simulate has one; instead of one that is generated
    #[arg(short, long, value_name = "FILE", conflicts_with_all = ["nodes", "shards", "hours", "failures", "first_node"])]
    pub file: Option<PathBuf>,
    /// Nodes, in three zones
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub nodes: u64,
    /// Shards of 3 GiB, on two data replicas and a witness
    #[arg(long, default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub shards: u64,
    /// Replays a run [default: the file's, or 1]
    #[arg(long)]
    pub seed: Option<u64>,
    /// Hours that are simulated, in steps of a minute
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u64).range(1..=720))]
    pub hours: u64,
    /// Nodes that fail, one after the other
    #[arg(long, default_value_t = 0)]
    pub failures: u64,
    /// Begin with one replica of every shard on the first node
    #[arg(long)]
    pub first_node: bool,
    /// Moves of the cluster at a time [default: the file's, or an eighth of the nodes and at least 8]
    #[arg(long, value_name = "MOVES")]
    pub moves: Option<u32>,
    /// Draw imbalance, disk, processors and moves over time as SVG
    #[arg(long, value_name = "FILE")]
    pub plot: Option<PathBuf>,
}

#[cfg(test)]
#[path = "args_test.rs"]
mod tests;
