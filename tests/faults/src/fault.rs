//! What goes wrong, in values and in words.

use std::fmt;

use crate::rule::{Flow, Rule};

/// Something that goes wrong, and is put right later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A process is killed, and started again in the end.
    Kill {
        /// Which.
        process: usize,
    },
    /// A process is stopped, and continued in the end.
    Pause {
        /// Which.
        process: usize,
    },
    /// A link follows another rule, and passes everything in the end.
    Link {
        /// Which.
        link: usize,
        /// How.
        rule: Rule,
    },
    /// What passes between two processes follows another rule, whoever of them connected.
    Between {
        /// Forward is from this one.
        one: usize,
        /// Forward is to this one.
        other: usize,
        /// How.
        rule: Rule,
    },
    /// The same between a process and every other one.
    Around {
        /// Forward is from this one.
        process: usize,
        /// How.
        rule: Rule,
    },
    /// A process's wall clock is off, and right in the end.
    Clock {
        /// Which.
        process: usize,
        /// By how much.
        seconds: i64,
    },
    /// A device of a process takes nothing more, until it has space in the end.
    Full {
        /// Which process.
        process: usize,
        /// Which of its devices.
        device: usize,
    },
    /// A device of a process is slow, at its syncs too.
    Slow {
        /// Which process.
        process: usize,
        /// Which of its devices.
        device: usize,
        /// What it reads and writes in a second.
        bytes: u64,
    },
}

impl Fault {
    /// What faults of its kind are counted as.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Kill { .. } => "kills",
            Self::Pause { .. } => "pauses",
            Self::Link { .. } => "links",
            Self::Between { .. } => "pairs parted or slowed",
            Self::Around { .. } => "processes cut off or slowed",
            Self::Clock { .. } => "clocks",
            Self::Full { .. } => "full devices",
            Self::Slow { .. } => "slow devices",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill { process } => write!(f, "kill of process {process}"),
            Self::Pause { process } => write!(f, "pause of process {process}"),
            Self::Link { link, rule } => write!(f, "{rule} on link {link}"),
            Self::Between { one, other, rule } => write!(f, "{rule} from process {one} to process {other}"),
            Self::Around { process, rule } => write!(f, "{rule} from process {process} to all others"),
            Self::Clock { process, seconds } => write!(f, "clock of process {process} off by {seconds} s"),
            Self::Full { process, device } => write!(f, "device {device} of process {process} full"),
            Self::Slow { process, device, bytes } => {
                write!(f, "{bytes} bytes a second on device {device} of process {process}")
            }
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refuse => write!(f, "refusal"),
            Self::Carry { forward, back } if forward == back => write!(f, "{forward} both ways"),
            Self::Carry { forward, back } => write!(f, "{forward} forward and {back} back"),
        }
    }
}

impl fmt::Display for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pass => write!(f, "passing"),
            Self::Delay(delay) => write!(f, "delay of {} ms", delay.as_millis()),
            Self::Slow { bytes } => write!(f, "{bytes} bytes a second"),
            Self::Hold => write!(f, "holding"),
        }
    }
}
