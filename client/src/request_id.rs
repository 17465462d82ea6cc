//! Request ids for nodes that stand alone: who asks, and the how-manieth request of theirs this is.
//!
//! Invariant: two different requests of one client never carry the same sequence. Such nodes do not remember requests: that is
//! why [`crate::retry`] never sends a write to them again that may have been applied. For shards, which do, see
//! [`crate::lanes`].

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use thermocline_proto::v1::{RequestHeader, RequestId};

use crate::options::ClientId;

/// Hands out the ids of one client.
#[derive(Debug)]
pub(crate) struct RequestIds {
    client: Bytes,
    sequence: AtomicU64,
}

impl RequestIds {
    /// Ids of `client`, from sequence 1 on.
    pub(crate) fn new(client: ClientId) -> Self {
        Self { client: Bytes::copy_from_slice(client.as_bytes()), sequence: AtomicU64::new(1) }
    }

    /// The header of a new request.
    pub(crate) fn next_header(&self) -> RequestHeader {
        RequestHeader {
            request_id: Some(RequestId {
                client: self.client.clone(),
                sequence: self.sequence.fetch_add(1, Ordering::Relaxed),
            }),
            ..RequestHeader::default()
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_one_client_differ_by_sequence_and_name_the_client() {
        let ids = RequestIds::new(ClientId::from([7; 16]));
        let first = ids.next_header().request_id.unwrap();
        let second = ids.next_header().request_id.unwrap();
        assert_eq!(first.client, [7_u8; 16].as_slice());
        assert_eq!((first.sequence, second.sequence), (1, 2));
    }
}
