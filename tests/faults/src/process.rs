//! Signals to a process, by its id.

use rustix::process::{Pid, Signal, kill_process};

/// A signal that did not arrive.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// No process can have this id.
    #[error("{0} is no id of a process")]
    NoId(u32),
    /// The system refused.
    #[error("sending signal {signal} to process {id} failed")]
    Send {
        /// Its id.
        id: u32,
        /// The signal's number.
        signal: i32,
        /// Why.
        #[source]
        source: rustix::io::Errno,
    },
}

/// Sends a signal. The caller vouches for the id: that of a child it has not waited for, so that nobody else can have it.
///
/// # Errors
/// That it did not arrive.
pub fn signal(id: u32, signal: Signal) -> Result<(), ProcessError> {
    let pid = i32::try_from(id).ok().filter(|id| *id > 1).and_then(Pid::from_raw).ok_or(ProcessError::NoId(id))?;
    kill_process(pid, signal).map_err(|source| ProcessError::Send { id, signal: signal.as_raw(), source })
}
