//! Histories of concurrent clients, and whether they are linearizable.
//!
//! [`record()`] runs clients against anything that is a [`Store`] (a cluster through the client library, or a store in memory
//! that lies) and returns the [`History`]: what each client asked, what it was told, and when. [`Checker`] judges it with
//! porcupine, a program in Go beside this crate, key by key: a register with versions, deletions and conditional writes.
//! [`linearizable`] is a second judge, for short histories, that the first is held against.
//! [`Minimums`] say what a run must have done for its verdict to mean anything.
//!
//! A write whose outcome nobody was told stays open to the end of the history: it may take effect at any time after it was
//! called, or never. A call that is known to have changed nothing is left out. What the library sent again is one call.

mod checker;
mod exhaustive;
mod history;
mod minimums;
mod operation;
mod record;
mod store;
mod workload;

pub use checker::{Checker, CheckerError, Verdict};
pub use exhaustive::{MOST_OPERATIONS, linearizable};
pub use history::{History, HistoryError};
pub use minimums::{Counts, Minimums, TooFew};
pub use operation::{Action, Operation, Outcome, operations};
pub use record::{Plan, RecordError, record};
pub use store::{Answer, Mutation, Request, Store};
pub use workload::{Keys, Workload};
