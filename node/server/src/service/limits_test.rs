#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use tonic::{Code, Status};

use super::*;

fn middle() -> OwnedRange {
    OwnedRange::new("b", "d").unwrap()
}

#[test]
fn a_key_at_its_limit_passes_and_one_byte_more_does_not() {
    assert!(key("key", &[0xff; MAX_KEY_BYTES]).is_ok());
    let status = Status::from(key("key", &[0; MAX_KEY_BYTES + 1]).unwrap_err());
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().contains("4097") && status.message().contains("4096"), "{status}");
    assert_eq!(Status::from(key("key", b"").unwrap_err()).code(), Code::InvalidArgument);
}

#[test]
fn keys_on_both_sides_of_a_bound_are_refused_with_the_split_point() {
    let keys: [(&[&[u8]], &[u8]); 3] = [(&[b"b", b"x"], b"d"), (&[b"x", b"y", b"c"], b"d"), (&[b"c", b"a"], b"b")];
    for (keys, expected) in keys {
        match owned_keys(keys.iter().copied(), &middle()) {
            Err(Rejection::SpansRange { split, .. }) => assert_eq!(split, expected),
            other => panic!("{other:?}"),
        }
    }
    assert!(owned_keys([b"b".as_slice(), b"c"].into_iter(), &middle()).is_ok());
    let outside = owned_keys([b"x".as_slice(), b"y"].into_iter(), &middle());
    assert!(matches!(outside, Err(Rejection::OutsideRange { .. })), "{outside:?}");
}

#[test]
fn only_shard_zero_of_epoch_zero_is_known() {
    let of = |shard, epoch, client: &'static [u8]| v1::RequestHeader {
        shard,
        epoch,
        request_id: Some(v1::RequestId { client: client.into(), sequence: 1 }),
        ..v1::RequestHeader::default()
    };
    assert!(header(None).is_ok());
    assert!(header(Some(&of(0, 0, &[7; 16]))).is_ok());
    for (bad, code) in [
        (of(3, 0, &[7; 16]), Code::FailedPrecondition),
        (of(0, 9, &[7; 16]), Code::FailedPrecondition),
        (of(0, 0, b"short"), Code::InvalidArgument),
    ] {
        assert_eq!(Status::from(header(Some(&bad)).unwrap_err()).code(), code);
    }
}
