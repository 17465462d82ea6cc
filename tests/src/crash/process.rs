//! The writing process as its parent sees it: its task, its start, its end, and what it left.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::history::{self, Step};
use super::zone::{self, Phase};

/// Writers in the process.
pub const WRITERS: usize = 3;
/// The line with which the process says that its store is open and the load runs.
pub const RUNNING: &str = "running";

/// What the process does before it is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scenario {
    /// Writers, moves of every kind, wipes and installs.
    Everything,
    /// Writers alone.
    WritersOnly,
    /// Records written as `Sync`, overwritten as `Wal`, and moved down as one file.
    UnsyncedMove,
}

/// The task of a process, handed over as its one argument.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Task {
    /// Where the store is.
    pub store: PathBuf,
    /// Where histories and exports go: not on the store's devices.
    pub notes: PathBuf,
    /// What is done.
    pub scenario: Scenario,
    /// The seed of everything random.
    pub seed: u64,
    /// The first sequence of steps.
    pub first_sequence: u64,
    /// The first generation of the zone.
    pub first_generation: u64,
    /// The name of a crash point and at which pass the process aborts there.
    pub crash_at: Option<(String, u32)>,
    /// Breaks the engine's promise on purpose: `Sync` is asked for and `Wal` is done. A check must notice.
    pub skip_syncs: bool,
}

/// What a process left besides the store.
#[derive(Debug)]
pub struct Left {
    /// One history per writer.
    pub histories: Vec<Vec<Step>>,
    /// The zone's phases.
    pub phases: Vec<Phase>,
}

/// The history of a writer.
#[must_use]
pub fn history_path(notes: &Path, writer: usize) -> PathBuf {
    notes.join(format!("writer-{writer}"))
}

/// The phases of the zone.
#[must_use]
pub fn phases_path(notes: &Path) -> PathBuf {
    notes.join("zone")
}

impl Task {
    /// Starts the process and waits until the load runs; `arrange` may change the command, as the power-loss shim does.
    ///
    /// # Errors
    /// When it does not start, or ends before the load runs other than by its crash point.
    pub fn start(&self, program: &str, arrange: impl FnOnce(&mut Command) -> Result<()>) -> Result<Running> {
        let mut command = Command::new(program);
        command.arg(serde_json::to_string(self)?).stdout(Stdio::piped()).stderr(Stdio::piped());
        arrange(&mut command)?;
        let mut child = command.spawn().with_context(|| format!("start {program}"))?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("the process has no output")?).read_line(&mut line)?;
        let mut running = Running { child };
        if line.trim_end() != RUNNING {
            let (status, message) = running.ended()?;
            bail!("the process ended before its load ran: {status}: {message}");
        }
        Ok(running)
    }

    /// Reads what the process left.
    ///
    /// # Errors
    /// When histories are not readable.
    pub fn left(&self) -> Result<Left> {
        let histories =
            (0..WRITERS).map(|writer| history::read(&history_path(&self.notes, writer))).collect::<Result<_>>()?;
        Ok(Left { histories, phases: zone::read(&phases_path(&self.notes))? })
    }
}

/// A process under load; killed when dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
}

impl Running {
    /// Kills it after `moment`.
    ///
    /// # Errors
    /// When it ended by itself: a process under load says why.
    pub fn kill_after(mut self, moment: Duration) -> Result<()> {
        std::thread::sleep(moment);
        self.child.kill().context("kill the process")?;
        let (status, message) = self.ended()?;
        if status.signal() != Some(9) {
            bail!("the process ended by itself: {status}: {message}");
        }
        Ok(())
    }

    /// Waits until it aborts at its crash point.
    ///
    /// # Errors
    /// When it does not get there within `limit`, or ends otherwise.
    pub fn crash_within(mut self, limit: Duration) -> Result<()> {
        let start = Instant::now();
        while self.child.try_wait()?.is_none() {
            if start.elapsed() > limit {
                bail!("the process did not reach its crash point within {limit:?}");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let (status, message) = self.ended()?;
        if status.signal() != Some(6) {
            bail!("the process ended, but not at its crash point: {status}: {message}");
        }
        Ok(())
    }

    fn ended(&mut self) -> Result<(ExitStatus, String)> {
        let status = self.child.wait()?;
        let mut message = String::new();
        if let Some(mut stderr) = self.child.stderr.take() {
            stderr.read_to_string(&mut message)?;
        }
        Ok((status, message))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Errors mean that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
