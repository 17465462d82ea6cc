//! The life of the process: logs, configuration, node, signals, exit code.

use std::io::Write;
use std::process::ExitCode;

use thermocline_engine::OpenError;
use thiserror::Error;

use crate::args::Args;
use crate::cluster::{BookError, ClusterError};
use crate::config::{self, ConfigError, Settings};
use crate::identity::IdentityError;
use crate::node::{Node, NodeError, Stopped};
use crate::ready_file::{self, Ready, ReadyFileError};
use crate::shutdown::{StopSignal, StopSignals};
use crate::telemetry::{self, TelemetryError};

/// How the process ends; the numbers are part of its interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// It stopped as asked.
    Stopped = 0,
    /// It failed.
    Failed = 1,
    /// It was started wrongly: flags, configuration, a folder that is not this node's. Starting it again changes nothing.
    Misused = thermocline_node_config::MISUSED_EXIT,
    /// Another process uses the data folder.
    InUse = 3,
    /// A second SIGINT cut its stop short. As a shell has it: 128 and the signal's number.
    Interrupted = 130,
    /// A second SIGTERM cut its stop short.
    Terminated = 143,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a process failed.
#[derive(Debug, Error)]
enum ProcessError {
    #[error("cannot use the configuration")]
    Config(#[from] ConfigError),
    #[error("cannot set up logs")]
    Telemetry(#[from] TelemetryError),
    #[error("cannot start the runtime")]
    Runtime(#[source] std::io::Error),
    #[error("cannot listen for signals")]
    Signals(#[source] std::io::Error),
    #[error("the node failed")]
    Node(#[from] NodeError),
    #[error("the node serves, but cannot say so")]
    Ready(#[from] ReadyFileError),
    #[error(
        "a second {signal} cut the stop short: requests in flight were not answered and the store was not closed; what was \
         acknowledged as sync or wal is in the log and is there at the next start, the last buffered writes may be lost"
    )]
    CutShort { signal: StopSignal },
}

impl ProcessError {
    fn exit(&self) -> Exit {
        match self {
            Self::Config(_) | Self::Telemetry(_) => Exit::Misused,
            Self::Node(NodeError::Open(error)) => match **error {
                OpenError::InUse { .. } => Exit::InUse,
                OpenError::Engine(_) => Exit::Failed,
                _ => Exit::Misused,
            },
            Self::Node(NodeError::Identity(IdentityError::Foreign { .. })) => Exit::Misused,
            Self::Node(NodeError::Cluster(ClusterError::Book(BookError::Foreign { .. }))) => Exit::Misused,
            Self::CutShort { signal: StopSignal::Interrupt } => Exit::Interrupted,
            Self::CutShort { signal: StopSignal::Terminate } => Exit::Terminated,
            _ => Exit::Failed,
        }
    }
}

/// Runs until the process is asked to stop or fails; prints what went wrong, once.
pub fn run(args: &Args) -> Exit {
    match try_run(args) {
        Ok(()) => Exit::Stopped,
        Err(error) => {
            // The one place where an error is printed. Not as a log: it may be that there are none, and a person waits.
            // Where it cannot be written the exit status is what is left to tell.
            let _ = writeln!(std::io::stderr(), "thermocline-node: {}", telemetry::chain(&error));
            error.exit()
        }
    }
}

fn try_run(args: &Args) -> Result<(), ProcessError> {
    let settings = config::load(&args.config, &args.overrides()?)?;
    if args.check_config {
        return Ok(());
    }
    telemetry::init(args.log_format, &args.log)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        // Admission bounds what runs at once; the rest is for the control plane and for opening and closing.
        .max_blocking_threads(args.max_running + args.max_scans + 64)
        .build()
        .map_err(ProcessError::Runtime)?;
    let outcome = runtime.block_on(serve(settings, args));
    // A call that outlived the grace period must not keep the process.
    runtime.shutdown_background();
    outcome
}

async fn serve(settings: Settings, args: &Args) -> Result<(), ProcessError> {
    let mut signals = StopSignals::listen().map_err(ProcessError::Signals)?;
    let name = settings.node.clone();
    let starting = Node::start(settings, args.request_limits());
    let mut node = tokio::select! {
        node = starting => node?,
        signal = signals.next() => {
            tracing::info!(%signal, "stopped while starting");
            return Ok(());
        }
    };
    let addresses = node.addresses().clone();
    tracing::info!(
        node = name,
        kv = %addresses.kv,
        admin = %addresses.admin,
        http = %addresses.http,
        version = env!("CARGO_PKG_VERSION"),
        "ready"
    );
    if let Some(path) = &args.ready_file {
        let ready = Ready { node: name, pid: std::process::id(), addresses };
        ready_file::write(path, &ready)?;
    }
    let signal = tokio::select! {
        signal = signals.next() => signal,
        error = node.failed() => return Err(error.into()),
    };
    tracing::info!(%signal, grace = ?args.grace_period, "draining; a second signal stops at once");
    let stopped = tokio::select! {
        stopped = node.stop(args.grace_period) => stopped?,
        signal = signals.next() => return Err(ProcessError::CutShort { signal }),
    };
    match stopped {
        Stopped::Drained => tracing::info!("stopped"),
        Stopped::CutOff { in_flight } => {
            tracing::warn!(in_flight, "stopped; the grace period passed before all requests ended");
        }
    }
    Ok(())
}
