//! The life of a supervisor: lock, take up, keep, and at the end drain.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::MissedTickBehavior;

use super::home::{LocalHome, LocalHomeError};
use super::layout::Layout;
use super::lock::{LockError, SupervisorLock};
use crate::chain::chain;
use crate::controller::Controller;

/// Between two rounds where nothing is heard.
const ROUND: Duration = Duration::from_millis(250);
/// Between two looks at nodes that drain.
const LOOK: Duration = Duration::from_millis(50);
/// Rounds that fail in a row before the supervisor asks whether its state folder is still there.
const MANY_FAILURES: u32 = 120;
/// Between two looks at the size of the logs.
const LOGS: Duration = Duration::from_secs(30);

/// Why a supervisor does not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum SupervisorError {
    /// Another one runs.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The state folder cannot be used any more; nodes go on serving.
    #[error("the state folder cannot be used")]
    Home(#[from] LocalHomeError),
}

/// How a supervisor ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// As asked, and every node has ended.
    Drained,
}

/// Keeps the fleet of a state folder until `stop` completes, then drains the nodes; their data stays.
///
/// # Errors
/// That another supervisor runs, or that the folder cannot be used.
pub async fn supervise(
    layout: Layout,
    program: PathBuf,
    clock: fn() -> Timestamp,
    stop: impl Future<Output = ()>,
) -> Result<Stopped, SupervisorError> {
    let lock = SupervisorLock::take(&layout)?;
    let home = Arc::new(LocalHome::open(layout.clone(), program, clock)?);
    let mut controller = Controller::new(Arc::clone(&home), clock).await?;
    tokio::pin!(stop);
    let mut logs = tokio::time::interval(LOGS);
    logs.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut told, mut failures) = (false, 0_u32);
    loop {
        // A round asks nodes, and may wait for one: whoever wants the end does not.
        let round = tokio::select! {
            () = &mut stop => break,
            round = controller.round() => round,
        };
        match round {
            Ok(round) => {
                failures = 0;
                if !told {
                    lock.record(true)?;
                    told = true;
                    tracing::info!(nodes = round.wanted, "the fleet is supervised");
                }
            }
            // A disk that is full now may not be later; nodes go on meanwhile. A folder that is gone does not come back.
            Err(error) => {
                failures += 1;
                tracing::error!(error = %chain(&error), "a round failed and is tried again");
                if failures >= MANY_FAILURES && !matches!(layout.settings(), Ok(Some(_))) {
                    return Err(error.into());
                }
            }
        }
        tokio::select! {
            () = &mut stop => break,
            () = tokio::time::sleep(ROUND) => {}
            _ = logs.tick() => {
                if let Err(error) = home.bound_logs() {
                    tracing::warn!(error = %chain(&error), "a log is not bounded");
                }
            }
            () = async {
                controller.node_changed().await;
                // Several nodes often change at once.
                tokio::time::sleep(LOOK).await;
            } => {}
        }
    }
    tracing::info!("the nodes are drained");
    drain(&home).await?;
    controller.tell().await?;
    tracing::info!("the fleet has stopped");
    drop(lock);
    Ok(Stopped::Drained)
}

async fn drain(home: &LocalHome) -> Result<(), LocalHomeError> {
    home.stop_all()?;
    while !home.is_still() {
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

/// Stops the nodes that a supervisor left which is gone.
///
/// # Errors
/// That a supervisor runs, or that the folder cannot be used.
pub async fn stop_leftovers(layout: Layout, program: PathBuf, clock: fn() -> Timestamp) -> Result<(), SupervisorError> {
    let lock = SupervisorLock::take(&layout)?;
    let home = Arc::new(LocalHome::open(layout, program, clock)?);
    drain(&home).await?;
    let mut controller = Controller::new(Arc::clone(&home), clock).await?;
    controller.tell().await?;
    drop(lock);
    Ok(())
}
