//! The mover: the only writer of slower tiers (I4).
//!
//! Every downward move is the same protocol: under the lease of its range, *copy* to the target (a sorted file that is
//! ingested, or a logged batch when it is little), then clear the tiers in between, then *drop* above: by version under
//! the stripes out of the fastest tier, by range under the lease between slower ones. A crash in between leaves copies
//! that the faster tier shadows. Upward moves copy and leave the source.

mod chunk;
mod copy;
mod deletes;
mod demote;
mod empty;
pub(crate) mod journal;
#[cfg(test)]
mod order_test;
mod progress;
mod promote;
#[cfg(test)]
mod race_test;
#[cfg(test)]
mod round_test;
mod survey;
mod sweep;
mod throttle;
mod worker;

pub(crate) use demote::Demotion;
pub use progress::MoveStep;
pub(crate) use progress::{Course, Part};
pub(crate) use promote::Promotion;
pub(crate) use sweep::{forget_swept, run_sweep};
pub(crate) use throttle::{Bucket, Pace};
pub(crate) use worker::{MoverControl, run_mover};

use std::sync::atomic::{AtomicBool, Ordering};

use crate::engine::Inner;
use crate::error::{EngineError, Result};
use crate::lease::RangeLease;

/// Why data moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MoveReason {
    /// Hot keys, by the policy.
    Promote,
    /// Ranges that cooled, by the policy.
    Demote,
    /// A tier over its high watermark.
    Watermark,
    /// Fetched ahead of a run of reads.
    Prefetch,
    /// Asked for.
    Manual,
    /// A tier that is being emptied.
    Drain,
}

impl std::fmt::Display for MoveReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Promote => "promote",
            Self::Demote => "demote",
            Self::Watermark => "watermark",
            Self::Prefetch => "prefetch",
            Self::Manual => "manual",
            Self::Drain => "drain",
        })
    }
}

/// What a move did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Moved {
    /// Records that left their tier or got a copy above.
    pub records: u64,
    /// Bytes of keys and values written to the target. Demoting clean copies writes none.
    pub bytes: u64,
}

impl std::ops::AddAssign for Moved {
    fn add_assign(&mut self, other: Self) {
        self.records += other.records;
        self.bytes += other.bytes;
    }
}

/// What ends a move early, also while it waits.
#[derive(Clone, Copy)]
pub(crate) struct Interrupts<'a> {
    /// Whoever asked for the move.
    pub(crate) cancel: &'a Cancel,
    /// Its lease, where it has one: a range operation may take it.
    pub(crate) lease: Option<&'a RangeLease>,
}

impl Inner {
    /// Ends a move that was cancelled, whose lease was taken, or whose store closes or has failed.
    pub(crate) fn check_interrupts(&self, interrupts: &Interrupts<'_>) -> Result<()> {
        interrupts.cancel.check()?;
        self.check_open()?;
        interrupts.lease.map_or(Ok(()), |lease| lease.effect("moving the next part").map(drop))
    }
}

/// Asks a move or a scan to end.
#[derive(Debug, Default)]
pub struct Cancel(AtomicBool);

impl Cancel {
    /// Asks; it ends at its next step. A move undoes nothing: what was moved stays moved.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    pub(crate) fn check(&self) -> Result<()> {
        if self.0.load(Ordering::SeqCst) {
            return Err(EngineError::Cancelled);
        }
        Ok(())
    }
}
