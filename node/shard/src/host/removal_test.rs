#![allow(clippy::unwrap_used)]
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest, TransferLeaderResponse,
    VoteRequest, VoteResponse,
};
use thermocline_engine::log::{LogOptions, LogStore};
use thermocline_engine::{ApplyEntry, Mutation};

use super::super::{HostPlace, LogBounds};
use super::*;
use crate::machine::{MemoryStore, Snapshot, encode_descriptor};
use crate::raft::{Member, Pace, SnapshotMeta, TransportError, TypeConfig, Vote};
use crate::{Epoch, NodeId, ShardDescriptor, ShardId};

/// A way to nobody.
#[derive(Clone)]
struct Nowhere;

fn nobody<T>(to: ReplicaId) -> Result<T, TransportError> {
    Err(TransportError::Unreachable { to, reason: "nobody is there".to_owned() })
}

impl Transport for Nowhere {
    async fn append_entries(
        &self,
        to: ReplicaId,
        _: Member,
        _: AppendEntriesRequest<TypeConfig>,
        _: Duration,
    ) -> Result<AppendEntriesResponse<TypeConfig>, TransportError> {
        nobody(to)
    }

    async fn vote(
        &self,
        to: ReplicaId,
        _: Member,
        _: VoteRequest<TypeConfig>,
        _: bool,
        _: Duration,
    ) -> Result<VoteResponse<TypeConfig>, TransportError> {
        nobody(to)
    }

    async fn read_index(&self, to: ReplicaId, _: Member, _: Duration) -> Result<u64, TransportError> {
        nobody(to)
    }

    async fn transfer_leader(
        &self,
        to: ReplicaId,
        _: Member,
        _: TransferLeaderRequest<TypeConfig>,
        _: Duration,
    ) -> Result<TransferLeaderResponse<TypeConfig>, TransportError> {
        nobody(to)
    }

    async fn snapshot(
        &self,
        to: ReplicaId,
        _: Member,
        _: Vote,
        _: SnapshotMeta,
        _: Snapshot,
    ) -> Result<SnapshotResponse<TypeConfig>, TransportError> {
        nobody(to)
    }
}

fn range(start: &str, end: &str) -> KeyRange {
    KeyRange::new(start, end).unwrap()
}

fn records(replica: u64, range: KeyRange, leaving: bool) -> [thermocline_engine::CallerRecord; 2] {
    let (replica, shard) = (ReplicaId(replica), ShardId(replica));
    let residence = Residence { leaving, ..Residence::of(shard, Role::Data) };
    let descriptor = ShardDescriptor { shard, range, epoch: Epoch(1), version_base: 0 };
    [
        (key(RESIDENT, replica), Some(encode_residence(residence))),
        (key(DESCRIPTOR, replica), Some(encode_descriptor(&descriptor))),
    ]
}

#[tokio::test]
async fn a_removal_that_was_interrupted_leaves_the_keys_of_replicas_that_the_node_has_not_started_yet() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(MemoryStore::default());
    let put = |key: &'static str| Mutation::Put { key: Bytes::from(key), value: Bytes::from_static(b"value") };
    let entry = ApplyEntry { version: 1, conditions: Vec::new(), mutations: vec![put("a"), put("z")] };
    // The one that goes has missed a split: it believes that all keys are its own.
    let known = [records(5, range("", ""), true), records(6, range("m", ""), false)].concat();
    store.apply(&[entry], &mut |_| known.clone()).unwrap();
    let place = HostPlace {
        node: NodeId(1),
        store: Arc::clone(&store),
        logs: Arc::new(LogStore::open(folder.path().join("log"), LogOptions::default()).unwrap()),
        staging: folder.path().join("staging"),
        pace: Pace::default(),
        log_bounds: LogBounds::default(),
        clock: Arc::new(|| 0),
        steady: Arc::new(Duration::default),
    };
    let host = Host::open(place, Nowhere).await.unwrap();
    assert!(host.resident(ReplicaId(5)).is_none() && host.resident(ReplicaId(6)).is_some());
    assert_eq!(store.get(b"a").unwrap(), None);
    assert!(store.get(b"z").unwrap().is_some(), "it is the other replica's");
    host.stop().await;
}

#[test]
fn only_keys_that_no_other_replica_has_are_wiped() {
    let range = |start, end| range(start, end);
    let all = || range("b", "m");
    assert_eq!(without(all(), vec![]), [all()]);
    assert_eq!(without(all(), vec![range("g", "")]), [range("b", "g")]);
    assert_eq!(
        without(all(), vec![range("a", "c"), range("e", "g"), range("f", "h")]),
        [range("c", "e"), range("h", "m")]
    );
    assert_eq!(without(all(), vec![range("", "")]), []);
    assert_eq!(without(all(), vec![range("m", "z")]), [all()]);
    assert_eq!(without(range("b", ""), vec![range("c", "d")]), [range("b", "c"), range("d", "")]);
}
