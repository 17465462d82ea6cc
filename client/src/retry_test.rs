//! Tests of the retry tables, and of what a status is taken for.
#![allow(clippy::unwrap_used, clippy::expect_used)]

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

const POSSIBLY_APPLIED: [Failure; 4] = [
    Failure::Broken,
    Failure::Answered(Code::Unavailable),
    Failure::Answered(Code::Cancelled),
    Failure::Answered(Code::DeadlineExceeded),
];

#[test]
fn in_shards_what_may_have_been_applied_is_sent_again_and_stays_unsure() {
    for unsure in [false, true] {
        for failure in POSSIBLY_APPLIED {
            for kind in [CallKind::Write, CallKind::ConditionalWrite] {
                assert_eq!(decide_in_shards(kind, failure, unsure), InShards::Elsewhere { unsure: true });
            }
            assert_eq!(decide_in_shards(CallKind::Read, failure, false), InShards::Elsewhere { unsure: false });
        }
    }
}

#[test]
fn in_shards_what_no_node_began_is_sent_again_without_being_unsure() {
    for kind in KINDS {
        assert_eq!(decide_in_shards(kind, Failure::NotSent, false), InShards::Elsewhere { unsure: false });
        assert_eq!(decide_in_shards(kind, Failure::Misrouted, false), InShards::Follow);
        assert_eq!(decide_in_shards(kind, Failure::Answered(Code::ResourceExhausted), false), InShards::Wait);
    }
}

#[test]
fn in_shards_a_session_that_has_expired_leaves_the_outcome_unknown() {
    for code in [Code::Aborted, Code::Internal, Code::Unknown] {
        for unsure in [false, true] {
            assert_eq!(
                decide_in_shards(CallKind::Write, Failure::Answered(code), unsure),
                InShards::OutcomeUnknown,
                "{code:?}"
            );
        }
        assert_eq!(decide_in_shards(CallKind::Read, Failure::Answered(code), false), InShards::Refuse);
    }
}

#[test]
fn in_shards_a_refusal_says_that_nothing_was_changed_only_if_no_earlier_sending_may_have_been_applied() {
    for code in [Code::InvalidArgument, Code::FailedPrecondition, Code::DataLoss, Code::OutOfRange, Code::Unimplemented]
    {
        for kind in KINDS {
            assert_eq!(decide_in_shards(kind, Failure::Answered(code), false), InShards::Refuse);
        }
        assert_eq!(decide_in_shards(CallKind::Write, Failure::Answered(code), true), InShards::OutcomeUnknown);
    }
}

#[test]
fn an_answer_is_misrouted_by_its_trailer_whatever_its_code() {
    let detail = Misrouted { shards: vec![thermocline_proto::v1::ShardRoute { shard: 7, ..Default::default() }] };
    for code in [Code::FailedPrecondition, Code::Unavailable] {
        let mut metadata = MetadataMap::new();
        metadata.insert_bin(MISROUTED_METADATA, MetadataValue::from_bytes(&detail.encode_to_vec()));
        let status = Status::with_metadata(code, "no", metadata);
        assert_eq!(Failure::of(&status), Failure::Misrouted);
        assert_eq!(misrouted(&status).unwrap(), detail);
        assert_eq!(Failure::of(&Status::new(code, "no")), Failure::Answered(code));
    }
}
