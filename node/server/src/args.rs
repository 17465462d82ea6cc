//! The command line. Every flag may also be given as an environment variable; a flag wins over its variable, both win
//! over the file.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};

use crate::admission::Limits;
use crate::config::{ConfigError, LENGTHS_OF_TIME, Override};
use crate::service::limits::MAX_MESSAGE_BYTES;

/// The Thermocline storage node.
#[derive(Debug, Clone, Parser)]
#[command(name = "thermocline-node", version, about, long_about = None)]
#[command(after_help = "Exit codes: 0 stopped as asked, 1 failure, 2 wrong usage or configuration, \
3 the data folder is in use by another process, 130 and 143 a second SIGINT or SIGTERM cut the stop short (what was \
acknowledged as sync or wal is kept by the log).")]
pub struct Args {
    /// The configuration file (YAML).
    #[arg(long, env = "THERMOCLINE_CONFIG", value_name = "FILE")]
    pub config: PathBuf,

    /// Check the configuration, print what is wrong with it and exit; nothing is opened.
    #[arg(long)]
    pub check_config: bool,

    /// Once serving, write the bound addresses to this file as JSON, in one step.
    #[arg(long, env = "THERMOCLINE_READY_FILE", value_name = "FILE")]
    pub ready_file: Option<PathBuf>,

    /// How long a stop waits for requests in flight.
    #[arg(long, env = "THERMOCLINE_GRACE_PERIOD", value_name = "TIME", default_value = "20s", value_parser = length_of_time)]
    pub grace_period: Duration,

    /// How logs are written.
    #[arg(long, env = "THERMOCLINE_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,

    /// Which logs are written: a level, or levels by module (`info,thermocline_node=debug`).
    #[arg(long, env = "THERMOCLINE_LOG", value_name = "FILTER", default_value = "info,openraft=error")]
    pub log: String,

    /// Requests that run in the engine at once.
    #[arg(long, env = "THERMOCLINE_MAX_RUNNING", value_name = "N", default_value_t = 64, value_parser = at_least_one)]
    pub max_running: usize,

    /// Requests that wait for their turn; more are refused with RESOURCE_EXHAUSTED.
    #[arg(long, env = "THERMOCLINE_MAX_WAITING", value_name = "N", default_value_t = 4096)]
    pub max_waiting: usize,

    /// Mebibytes that requests hold together from their first byte on, and as much again answers of BatchGet until they
    /// have left; more is refused with RESOURCE_EXHAUSTED.
    #[arg(long, env = "THERMOCLINE_MAX_REQUEST_MEBIBYTES", value_name = "N", default_value_t = 256, value_parser = at_least_batch)]
    pub max_request_mebibytes: usize,

    /// Scans that run at once; each holds a snapshot and a thread.
    #[arg(long, env = "THERMOCLINE_MAX_SCANS", value_name = "N", default_value_t = 32, value_parser = at_least_one)]
    pub max_scans: usize,

    /// Overrides any field of the file, e.g. `--set tiers[0].size=2Gi`; may be given more than once.
    #[arg(long, env = "THERMOCLINE_SET", value_name = "FIELD=VALUE", value_delimiter = ';')]
    pub set: Vec<String>,

    /// Overrides `node`.
    #[arg(long, env = "THERMOCLINE_NODE", value_name = "NAME")]
    pub node: Option<String>,
    /// Overrides `cluster`.
    #[arg(long, env = "THERMOCLINE_CLUSTER", value_name = "NAME")]
    pub cluster: Option<String>,
    /// Overrides `listen.kv`.
    #[arg(long, env = "THERMOCLINE_LISTEN_KV", value_name = "ADDRESS")]
    pub listen_kv: Option<String>,
    /// Overrides `listen.admin`.
    #[arg(long, env = "THERMOCLINE_LISTEN_ADMIN", value_name = "ADDRESS")]
    pub listen_admin: Option<String>,
    /// Overrides `listen.http`.
    #[arg(long, env = "THERMOCLINE_LISTEN_HTTP", value_name = "ADDRESS")]
    pub listen_http: Option<String>,
    /// Overrides `range.start`.
    #[arg(long, env = "THERMOCLINE_RANGE_START", value_name = "KEY")]
    pub range_start: Option<String>,
    /// Overrides `range.end`.
    #[arg(long, env = "THERMOCLINE_RANGE_END", value_name = "KEY")]
    pub range_end: Option<String>,
    /// Overrides `root`.
    #[arg(long, env = "THERMOCLINE_ROOT", value_name = "FOLDER")]
    pub root: Option<String>,
    /// Overrides `durability`.
    #[arg(long, env = "THERMOCLINE_DURABILITY", value_name = "sync|wal|buffered")]
    pub durability: Option<String>,
    /// Overrides `memoryLimit`.
    #[arg(long, env = "THERMOCLINE_MEMORY_LIMIT", value_name = "SIZE")]
    pub memory_limit: Option<String>,
}

/// How logs are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For a person.
    Text,
    /// One JSON object a line.
    Json,
}

impl Args {
    /// What replaces the file's values: the named flags over `--set`, in this order.
    pub fn overrides(&self) -> Result<Vec<Override>, ConfigError> {
        let mut overrides = self.set.iter().map(|text| Override::parse(text)).collect::<Result<Vec<_>, _>>()?;
        let named = [
            ("node", &self.node),
            ("cluster", &self.cluster),
            ("listen.kv", &self.listen_kv),
            ("listen.admin", &self.listen_admin),
            ("listen.http", &self.listen_http),
            ("range.start", &self.range_start),
            ("range.end", &self.range_end),
            ("root", &self.root),
            ("durability", &self.durability),
            ("memoryLimit", &self.memory_limit),
        ];
        for (field, value) in named {
            if let Some(value) = value {
                overrides.push(Override::text(field, value));
            }
        }
        Ok(overrides)
    }

    /// The bounds of what requests may use.
    pub fn request_limits(&self) -> RequestLimits {
        let bytes = self.max_request_mebibytes << 20;
        RequestLimits {
            requests: Limits { running: self.max_running, waiting: self.max_waiting, bytes },
            scans: Limits { running: self.max_scans, waiting: self.max_scans, bytes },
        }
    }
}

/// The bounds of what requests may use: one pool for short calls, one for scans, so that slow readers of scans never
/// take the place of a point read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestLimits {
    /// Gets and writes.
    pub requests: Limits,
    /// Scans.
    pub scans: Limits,
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("must be at least 1".to_owned()),
        Ok(count) => Ok(count),
        Err(_) => Err("is not a whole number".to_owned()),
    }
}

fn length_of_time(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|_| format!("is not a length of time; write {LENGTHS_OF_TIME}"))
}

const LEAST_MEBIBYTES: usize = MAX_MESSAGE_BYTES >> 20;

/// One message of the largest size must fit, or it could never arrive.
fn at_least_batch(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count) if (LEAST_MEBIBYTES..=1 << 20).contains(&count) => Ok(count),
        Ok(_) => Err(format!("must be {LEAST_MEBIBYTES} (one batch of the largest size, as it arrives) to 1048576")),
        Err(_) => Err("is not a whole number".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent_and_every_option_has_a_variable() {
        let command = Args::command();
        command.clone().debug_assert();
        for argument in command.get_arguments() {
            let name = argument.get_id().as_str();
            let expected = format!("THERMOCLINE_{}", name.to_uppercase());
            if !["check_config"].contains(&name) {
                let variable = argument.get_env().map(|name| name.to_string_lossy().into_owned());
                assert_eq!(variable, Some(expected));
            }
        }
    }

    #[test]
    fn a_grace_period_that_is_none_is_told_what_one_looks_like() {
        for (text, good) in [("300ms", true), ("1m 30s", true), ("abc", false), ("20", false)] {
            let parsed = Args::try_parse_from(["thermocline-node", "--config", "x", "--grace-period", text]);
            assert_eq!(parsed.is_ok(), good, "{text}");
            assert!(parsed.err().is_none_or(|error| error.to_string().contains("500ms")), "{text}");
        }
    }

    #[test]
    fn named_flags_win_over_set() {
        let args = Args::parse_from([
            "thermocline-node",
            "--config",
            "x",
            "--node",
            "b",
            "--set",
            "node=a",
            "--set",
            "policy.paused=true",
        ]);
        let overrides = args.overrides().unwrap();
        let fields: Vec<&str> = overrides.iter().map(|entry| entry.field.as_str()).collect();
        assert_eq!(fields, ["node", "policy.paused", "node"]);
        assert_eq!(overrides.last(), Some(&Override::text("node", "b")));
    }
}
