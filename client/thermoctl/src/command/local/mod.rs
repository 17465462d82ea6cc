//! `local`: a cluster of node processes on this machine.
//!
//! `up` judges the manifests, makes the state folder and starts a supervisor in the background, which is this program again
//! (`local supervise`). Everything after that goes through the state folder.

mod down;
mod ready;
mod status;
mod up;

use std::{env, io, path::PathBuf, time::Duration};

use jiff::Timestamp;
use thermocline_fleet::{
    chain,
    local::{Layout, SupervisorError, supervise},
};

pub(super) use down::stop;
pub(super) use ready::wait_until_ready;
pub(super) use up::{prepare, read_manifests};

use super::{Ended, fleet};
use crate::{CommandError, ExitCode, args::LocalCommand, context::Context};

/// Between two looks at a state folder.
const LOOK: Duration = Duration::from_millis(100);

pub(super) async fn run(context: &Context, command: &LocalCommand) -> Ended {
    match command {
        LocalCommand::Up { file, foreground, address, wait } => {
            up::up(context, file, *foreground, *address, *wait).await
        }
        LocalCommand::Down { destroy, yes } => down::down(context, *destroy, *yes).await,
        LocalCommand::Status => status::status(context).await,
        LocalCommand::Supervise => run_supervisor(context).await,
    }
}

/// How a failure of the fleet is told.
pub(super) fn failed(attempted: &str) -> impl FnOnce(&dyn std::error::Error) -> CommandError {
    let attempted = attempted.to_owned();
    move |error| CommandError::Fleet { attempted, detail: chain(error), code: ExitCode::Failed }
}

fn refused(attempted: &str, detail: String) -> CommandError {
    CommandError::Fleet { attempted: attempted.to_owned(), detail, code: ExitCode::Usage }
}

/// The program of the nodes: named by THERMOCLINE_NODE_BINARY, else beside this program, else on the path.
pub(super) fn node_program() -> PathBuf {
    const NAME: &str = "thermocline-node";
    if let Some(named) = env::var_os("THERMOCLINE_NODE_BINARY") {
        return named.into();
    }
    let beside = env::current_exe().ok().map(|program| program.with_file_name(NAME)).filter(|path| path.is_file());
    beside.unwrap_or_else(|| PathBuf::from(NAME))
}

/// The supervisor itself, in a session of its own so that it outlives the terminal.
async fn run_supervisor(context: &Context) -> Ended {
    let Some(home) = &context.global.home else {
        return Err(CommandError::Usage("name the state folder with --home DIR".to_owned()));
    };
    // Fails for who leads a process group already, and is then not needed.
    let _ = rustix::process::setsid();
    supervise_here(&Layout::new(fleet::absolute(home)?)).await
}

/// Supervises until SIGTERM or Ctrl-C.
pub(super) async fn supervise_here(layout: &Layout) -> Ended {
    let stop = stop_signal().map_err(|source| CommandError::Read { path: "the process's signals".into(), source })?;
    match supervise(layout.clone(), node_program(), Timestamp::now, stop).await {
        Ok(_) => Ok(ExitCode::Success),
        Err(SupervisorError::Lock(error)) => Err(refused("starting the supervisor", chain(&error))),
        Err(error) => Err(failed("supervising the fleet")(&error)),
    }
}

/// Completes at SIGTERM or SIGINT.
pub(super) fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// How the same fleet is named in the next command.
pub(super) fn home_flag(context: &Context, layout: &Layout) -> String {
    if context.global.home.is_some() { format!(" --home {}", layout.root().display()) } else { String::new() }
}
