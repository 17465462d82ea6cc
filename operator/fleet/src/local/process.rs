//! Processes of this machine, told apart from others that got the same id later.
//!
//! A process is known by its id, the moment it started and the boot in which it did. Signals go through a descriptor of the
//! process that is opened before those are compared, so that none ever reaches a stranger.

use std::fs;
use std::io;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

/// A process that was started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Started {
    /// Its id.
    pub pid: u32,
    /// When it started, in clock ticks since the boot.
    pub start_ticks: u64,
    /// The boot.
    pub boot: String,
}

/// What is seen of a process id now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// When the process started.
    pub start_ticks: u64,
    /// Whether it has ended and only waits to be noticed.
    pub ended: bool,
}

/// What became of a process that was once started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Adoption {
    /// It is the one, and it runs.
    Ours,
    /// It has ended; whatever has its id now is another.
    Gone,
}

/// Whether what is seen under a process id is what was started. Pure.
#[must_use]
pub fn adoption(record: &Started, boot: &str, seen: Option<&Seen>) -> Adoption {
    match seen {
        Some(seen) if record.boot == boot && seen.start_ticks == record.start_ticks && !seen.ended => Adoption::Ours,
        _ => Adoption::Gone,
    }
}

/// Notes a process that runs, before anybody could wait for its end.
///
/// # Errors
/// That the system does not tell.
pub fn started(pid: u32) -> io::Result<Started> {
    let seen =
        see(pid).ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("process {pid} is not there")))?;
    Ok(Started { pid, start_ticks: seen.start_ticks, boot: boot()? })
}

/// Whether it still runs.
#[must_use]
pub fn is_alive(process: &Started) -> bool {
    boot().is_ok_and(|boot| adoption(process, &boot, see(process.pid).as_ref()) == Adoption::Ours)
}

/// Sends a signal; whether the process was still there.
///
/// # Errors
/// That it may not be sent.
pub fn signal(process: &Started, signal: Signal) -> io::Result<bool> {
    let Some(pid) = i32::try_from(process.pid).ok().and_then(Pid::from_raw) else {
        return Ok(false);
    };
    let descriptor = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(descriptor) => descriptor,
        Err(rustix::io::Errno::SRCH) => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    if !is_alive(process) {
        return Ok(false);
    }
    match pidfd_send_signal(&descriptor, signal) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::SRCH) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn boot() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

fn see(pid: u32) -> Option<Seen> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The fields after the command's name, which may hold blanks and brackets itself: state first, the count of threads
/// eighteenth, start time twentieth.
///
/// A process has ended when its last thread has: until then its files stay open and its locks held, whatever is said of the
/// first one.
fn parse_stat(text: &str) -> Option<Seen> {
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?;
    let threads: u64 = fields.nth(16)?.parse().ok()?;
    let start_ticks = fields.nth(1)?.parse().ok()?;
    Some(Seen { start_ticks, ended: matches!(state, "Z" | "X" | "x") && threads <= 1 })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn record() -> Started {
        Started { pid: 7, start_ticks: 100, boot: "b".to_owned() }
    }

    #[test]
    fn only_the_same_process_of_the_same_boot_is_taken_up() {
        let seen = |start_ticks, ended| Some(Seen { start_ticks, ended });
        let cases = [
            (seen(100, false), "b", Adoption::Ours),
            (seen(101, false), "b", Adoption::Gone),
            (seen(100, true), "b", Adoption::Gone),
            (seen(100, false), "another boot", Adoption::Gone),
            (None, "b", Adoption::Gone),
        ];
        for (seen, boot, expected) in cases {
            assert_eq!(adoption(&record(), boot, seen.as_ref()), expected, "{seen:?} {boot}");
        }
    }

    #[test]
    fn a_command_with_brackets_and_blanks_in_its_name_is_read() {
        let line = "12 (a) b (c)) S 1 12 12 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 1 0 4242 1 1 1";
        assert_eq!(parse_stat(line), Some(Seen { start_ticks: 4242, ended: false }));
    }

    #[test]
    fn a_process_has_ended_with_its_last_thread_and_not_with_its_first() {
        let line = |threads: u32| format!("12 (a) Z 1 12 12 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 {threads} 0 4242 1 1 1");
        assert_eq!(parse_stat(&line(3)), Some(Seen { start_ticks: 4242, ended: false }));
        assert_eq!(parse_stat(&line(1)), Some(Seen { start_ticks: 4242, ended: true }));
    }

    #[test]
    fn a_process_is_alive_until_it_ends_and_its_end_is_seen_before_it_is_waited_for() {
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let process = started(child.id()).unwrap();
        assert!(is_alive(&process));
        let stranger = Started { start_ticks: process.start_ticks + 1, ..process.clone() };
        assert!(!signal(&stranger, Signal::KILL).unwrap(), "a process of another start is never signalled");
        assert!(is_alive(&process));
        assert!(signal(&process, Signal::KILL).unwrap());
        for _ in 0..1000 {
            if !is_alive(&process) {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        assert!(!is_alive(&process));
        child.wait().unwrap();
    }
}
