//! What may be sent again: a pure table from (kind of call, what went wrong) to a decision.
//!
//! | went wrong | read | write | conditional write |
//! |---|---|---|---|
//! | not sent: no connection | retry | retry | retry |
//! | refused before it began: RESOURCE_EXHAUSTED | retry | retry | retry |
//! | wrong node: RangeMismatch | learn again | learn again | learn again |
//! | connection broke after sending | retry | outcome unknown | outcome unknown |
//! | UNAVAILABLE as an answer | retry | outcome unknown | outcome unknown |
//! | ABORTED, INTERNAL, UNKNOWN, CANCELLED, DEADLINE_EXCEEDED as an answer | refused | outcome unknown | outcome unknown |
//! | any other answer | refused | refused | refused |
//!
//! An unconditional put is not sent again after an unknown outcome either: another client's write may have come
//! between, and the second sending would undo it. The caller, who knows, may.
//!
//! Nor is a conditional write: its second sending would find its own first and answer that the condition failed. A caller who
//! sends one again after [`Error::OutcomeUnknown`](crate::Error::OutcomeUnknown) must expect just that, and read the key to
//! tell the two apart. Nodes do not remember request ids yet.

use std::error::Error as StdError;

use thermocline_proto::{RANGE_MISMATCH_METADATA, v1::RangeMismatch};
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
    /// The node answered with this code.
    Answered(Code),
    /// The connection broke after the request may have been sent.
    Broken,
}

/// What to do next.
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

impl Failure {
    /// Classifies a status. One that the node sent has no source; one made from a transport error has.
    #[must_use]
    pub fn of(status: &Status) -> Self {
        if range_mismatch(status).is_some() {
            return Self::RangeMismatch;
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

/// The table above.
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
        Failure::Answered(_) => Decision::Refuse,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use bytes::Bytes;
    use prost::Message;
    use tonic::metadata::{MetadataMap, MetadataValue};

    use super::*;

    const KINDS: [CallKind; 3] = [CallKind::Read, CallKind::Write, CallKind::ConditionalWrite];

    #[test]
    fn what_no_node_has_seen_or_begun_is_sent_again_whatever_it_is() {
        for kind in KINDS {
            for failure in [Failure::NotSent, Failure::Answered(Code::ResourceExhausted)] {
                assert_eq!(decide(kind, failure), Decision::Retry, "{kind:?} {failure:?}");
            }
            assert_eq!(decide(kind, Failure::RangeMismatch), Decision::Relearn);
        }
    }

    #[test]
    fn a_write_that_may_have_been_applied_is_never_sent_again() {
        for kind in [CallKind::Write, CallKind::ConditionalWrite] {
            for failure in [
                Failure::Broken,
                Failure::Answered(Code::Unavailable),
                Failure::Answered(Code::DeadlineExceeded),
                Failure::Answered(Code::Internal),
                Failure::Answered(Code::Unknown),
                Failure::Answered(Code::Cancelled),
                Failure::Answered(Code::Aborted),
            ] {
                assert_eq!(decide(kind, failure), Decision::OutcomeUnknown, "{kind:?} {failure:?}");
            }
        }
    }

    #[test]
    fn a_read_is_sent_again_after_a_broken_connection_and_an_unavailable_node() {
        assert_eq!(decide(CallKind::Read, Failure::Broken), Decision::Retry);
        assert_eq!(decide(CallKind::Read, Failure::Answered(Code::Unavailable)), Decision::Retry);
    }

    #[test]
    fn an_answer_that_would_be_the_same_again_is_given_to_the_caller() {
        for kind in KINDS {
            for code in [
                Code::InvalidArgument,
                Code::FailedPrecondition,
                Code::DataLoss,
                Code::OutOfRange,
                Code::Unimplemented,
                Code::PermissionDenied,
            ] {
                assert_eq!(decide(kind, Failure::Answered(code)), Decision::Refuse);
            }
        }
    }

    #[test]
    fn a_failed_precondition_is_a_range_mismatch_only_with_its_detail() {
        let plain = Status::failed_precondition("no");
        assert_eq!(Failure::of(&plain), Failure::Answered(Code::FailedPrecondition));

        let detail = RangeMismatch { start: Bytes::from_static(b"a"), end: Bytes::from_static(b"m") };
        let mut metadata = MetadataMap::new();
        metadata.insert_bin(RANGE_MISMATCH_METADATA, MetadataValue::from_bytes(&detail.encode_to_vec()));
        let mismatch = Status::with_metadata(Code::FailedPrecondition, "no", metadata);
        assert_eq!(Failure::of(&mismatch), Failure::RangeMismatch);
        assert_eq!(range_mismatch(&mismatch).unwrap(), detail);
    }

    #[test]
    fn a_connection_error_counts_as_not_sent_and_another_transport_error_as_broken() {
        let refused = Status::from_error(Box::new(ConnectError("refused".into())));
        assert_eq!(Failure::of(&refused), Failure::NotSent);
        let reset = Status::from_error(Box::new(std::io::Error::other("reset")));
        assert_eq!(Failure::of(&reset), Failure::Broken);
    }
}
