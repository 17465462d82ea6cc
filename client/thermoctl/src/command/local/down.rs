//! `local down`: stops the supervisor and its nodes.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use rustix::process::Signal;
use thermocline_fleet::local::{Layout, NodeProcess, SupervisorLock, SupervisorRecord, process, stop_leftovers};

use super::{LOOK, failed, node_program};
use crate::{
    CommandError, ExitCode,
    command::{Ended, fleet},
    context::Context,
};

/// Nodes drain within 25 s; two rounds of that for a fleet that is stopped while a node is replaced.
const DOWN: Duration = Duration::from_secs(60);

pub(super) async fn down(context: &Context, destroy: bool, yes: bool) -> Ended {
    if destroy && !yes {
        return Err(CommandError::Usage(
            "--destroy removes the state folder with all data of the fleet for ever: say --yes as well if that is meant"
                .to_owned(),
        ));
    }
    let layout = match fleet::layout(context) {
        Ok(layout) => layout,
        // A folder that never got as far as its endpoints can still be removed.
        Err(error) => match &context.global.home {
            Some(home) => {
                let layout = Layout::new(fleet::absolute(home)?);
                let known = layout.settings().map_err(|error| failed("stopping the fleet")(&error))?;
                known.map(|_| layout).ok_or(error)?
            }
            None => return Err(error),
        },
    };
    stop(&layout).await?;
    if destroy {
        layout.destroy().map_err(|error| failed("removing the fleet")(&error))?;
    }
    let text = if destroy { "stopped and removed" } else { "stopped; its data stays" };
    let answer = serde_json::json!({ "home": layout.root(), "change": text });
    context.printer.print(&answer, |_| format!("the fleet of {} is {text}\n", layout.root().display()))?;
    Ok(ExitCode::Success)
}

/// Stops the supervisor and its nodes, or the nodes alone where there is no supervisor.
pub(in crate::command) async fn stop(layout: &Layout) -> Result<(), CommandError> {
    const ATTEMPTED: &str = "stopping the fleet";
    let Some(record) = SupervisorRecord::alive(layout) else {
        return stop_leftovers(layout.clone(), node_program(), Timestamp::now)
            .await
            .map_err(|error| failed(ATTEMPTED)(&error));
    };
    process::signal(&record.process, Signal::TERM).map_err(|error| failed(ATTEMPTED)(&error))?;
    let begun = Instant::now();
    while process::is_alive(&record.process) {
        if begun.elapsed() > DOWN {
            return Err(CommandError::Fleet {
                attempted: ATTEMPTED.to_owned(),
                detail: format!(
                    "the supervisor (process {}) has not ended after {DOWN:?}; see {}",
                    record.process.pid,
                    layout.supervisor_log().display()
                ),
                code: ExitCode::Unavailable,
            });
        }
        tokio::time::sleep(LOOK).await;
    }
    // It may have been ended by something else before its nodes were.
    if NodeProcess::alive(layout).is_empty() {
        return Ok(());
    }
    let lock = SupervisorLock::take(layout).map_err(|error| failed(ATTEMPTED)(&error))?;
    drop(lock);
    stop_leftovers(layout.clone(), node_program(), Timestamp::now).await.map_err(|error| failed(ATTEMPTED)(&error))
}
