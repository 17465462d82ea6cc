//! What may be sent again: pure tables from (kind of call, what went wrong) to a decision.
//!
//! **Nodes that stand alone** remember no requests ([`decide`]):
//!
//! | went wrong | read | write | conditional write |
//! |---|---|---|---|
//! | not sent: no connection | retry | retry | retry |
//! | refused before it began: RESOURCE_EXHAUSTED | retry | retry | retry |
//! | wrong node: RangeMismatch | learn again | learn again | learn again |
//! | connection broke after sending | retry | outcome unknown | outcome unknown |
//! | UNAVAILABLE as an answer | retry | outcome unknown | outcome unknown |
//! | ABORTED, INTERNAL, UNKNOWN, CANCELLED, DEADLINE_EXCEEDED as an answer | refused | outcome unknown | outcome unknown |
//! | Misrouted, any other answer | refused | refused | refused |
//!
//! An unconditional put is not sent again after an unknown outcome either: another client's write may have come
//! between, and the second sending would undo it. The caller, who knows, may.
//!
//! Nor is a conditional write: its second sending would find its own first and answer that the condition failed. A caller who
//! sends one again after [`Error::OutcomeUnknown`](crate::Error::OutcomeUnknown) must expect just that, and read the key to
//! tell the two apart.
//!
//! **Shards** remember which writes they applied, and apply one that is sent again, under the same number, once
//! ([`decide_in_shards`]). *Unsure* is a write of which an earlier sending may have been applied; all its later sendings say so
//! (`retry`), and it stays unsure whatever they are answered:
//!
//! | went wrong | read | write | unsure write |
//! |---|---|---|---|
//! | wrong node: Misrouted | follow | follow | follow |
//! | not sent: no connection | elsewhere | elsewhere | elsewhere |
//! | refused before it began: RESOURCE_EXHAUSTED | wait | wait | wait |
//! | connection broke after sending; UNAVAILABLE, CANCELLED, DEADLINE_EXCEEDED (an attempt's time too) | elsewhere | elsewhere, unsure | elsewhere, unsure |
//! | ABORTED (the session has expired), INTERNAL, UNKNOWN | refused | outcome unknown | outcome unknown |
//! | any other answer | refused | refused | outcome unknown |
//!
//! This goes on until the call's deadline. Then an unsure write ends as outcome unknown, and anything else has done nothing.

use std::error::Error as StdError;

use thermocline_proto::{
    MISROUTED_METADATA, RANGE_MISMATCH_METADATA,
    v1::{Misrouted, RangeMismatch},
};
use tonic::{Code, ConnectError, Status};

/// What a call does to the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallKind {
    /// Changes nothing.
    Read,
    /// Puts, deletes and batches without conditions.
    Write,
    /// A batch with conditions: applied twice, the second would find its own first.
    ConditionalWrite,
}

/// What went wrong with one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// No connection: the node has not seen the request.
    NotSent,
    /// The node does not own the key; it did nothing.
    RangeMismatch,
    /// The shard has changed or is led elsewhere; nothing was done.
    Misrouted,
    /// The node answered with this code.
    Answered(Code),
    /// The connection broke after the request may have been sent.
    Broken,
}

/// What to do next, where nodes stand alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Pause, then send again; when attempts or time run out, nothing was changed by a write.
    Retry,
    /// Learn the ranges again, then send again.
    Relearn,
    /// A write that may or may not have been applied: tell the caller.
    OutcomeUnknown,
    /// Tell the caller; sending again would be answered the same.
    Refuse,
}

/// What to do next, where shards remember writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InShards {
    /// Take in the routes that came, and send at once to where they point.
    Follow,
    /// Pause, then send again to the same.
    Wait,
    /// Pause, then send again, to another replica if there is one.
    Elsewhere {
        /// Whether this sending may have been applied.
        unsure: bool,
    },
    /// A write that may or may not have been applied: tell the caller.
    OutcomeUnknown,
    /// Tell the caller; nothing was changed, and sending again would be answered the same.
    Refuse,
}

impl Failure {
    /// Classifies a status. One that the node sent has no source; one made from a transport error has.
    #[must_use]
    pub fn of(status: &Status) -> Self {
        if range_mismatch(status).is_some() {
            return Self::RangeMismatch;
        }
        if misrouted(status).is_some() {
            return Self::Misrouted;
        }
        let mut source = status.source();
        let broken = source.is_some();
        while let Some(error) = source {
            if error.is::<ConnectError>() {
                return Self::NotSent;
            }
            source = error.source();
        }
        // An answer that was cut by our own limits arrives with a source too, but names itself.
        if broken && status.code() != Code::OutOfRange { Self::Broken } else { Self::Answered(status.code()) }
    }
}

/// The range the node says it owns, where the status is a range mismatch.
#[must_use]
pub fn range_mismatch(status: &Status) -> Option<RangeMismatch> {
    if status.code() != Code::FailedPrecondition {
        return None;
    }
    let detail = status.metadata().get_bin(RANGE_MISMATCH_METADATA)?;
    let bytes = detail.to_bytes().ok()?;
    prost::Message::decode(bytes).ok()
}

/// Where the shards are that the request was meant for, where the status says that it was routed wrongly.
#[must_use]
pub fn misrouted(status: &Status) -> Option<Misrouted> {
    let detail = status.metadata().get_bin(MISROUTED_METADATA)?;
    prost::Message::decode(detail.to_bytes().ok()?).ok()
}

/// The first table above.
#[must_use]
pub const fn decide(kind: CallKind, failure: Failure) -> Decision {
    let read = matches!(kind, CallKind::Read);
    match failure {
        Failure::NotSent | Failure::Answered(Code::ResourceExhausted) => Decision::Retry,
        Failure::RangeMismatch => Decision::Relearn,
        Failure::Broken | Failure::Answered(Code::Unavailable) => {
            if read {
                Decision::Retry
            } else {
                Decision::OutcomeUnknown
            }
        }
        Failure::Answered(
            Code::Aborted | Code::Internal | Code::Unknown | Code::Cancelled | Code::DeadlineExceeded,
        ) => {
            if read {
                Decision::Refuse
            } else {
                Decision::OutcomeUnknown
            }
        }
        Failure::Misrouted | Failure::Answered(_) => Decision::Refuse,
    }
}

/// The second table above; `unsure`: an earlier sending may have been applied.
#[must_use]
pub const fn decide_in_shards(kind: CallKind, failure: Failure, unsure: bool) -> InShards {
    let read = matches!(kind, CallKind::Read);
    match failure {
        Failure::Misrouted => InShards::Follow,
        Failure::NotSent => InShards::Elsewhere { unsure: false },
        Failure::Answered(Code::ResourceExhausted) => InShards::Wait,
        Failure::Broken | Failure::Answered(Code::Unavailable | Code::Cancelled | Code::DeadlineExceeded) => {
            InShards::Elsewhere { unsure: !read }
        }
        Failure::Answered(Code::Aborted | Code::Internal | Code::Unknown) if !read => InShards::OutcomeUnknown,
        Failure::RangeMismatch | Failure::Answered(_) => {
            if unsure {
                InShards::OutcomeUnknown
            } else {
                InShards::Refuse
            }
        }
    }
}

#[cfg(test)]
#[path = "retry_test.rs"]
mod tests;
