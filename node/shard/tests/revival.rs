//! A replica whose storage fails for a while, alone on its node.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods, missing_docs)]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest, TransferLeaderResponse,
    VoteRequest, VoteResponse,
};
use thermocline_engine::log::{LogOptions, LogStore};
use thermocline_engine::{ApplyEntry, CallerRecord, EngineError, KeyRange, LogicalHash, Mutation, WriteOutcome};
use thermocline_shard::command::Write;
use thermocline_shard::host::{Host, HostPlace, LogBounds};
use thermocline_shard::machine::{
    Answer, Exported, ExportedData, HashDone, MemoryStore, RangeOf, ShardStore, Snapshot, StoredRecord,
};
use thermocline_shard::raft::{Member, Pace, SnapshotMeta, Transport, TransportError, TypeConfig, Vote};
use thermocline_shard::{Epoch, NodeId, ReplicaId, ShardDescriptor, ShardId};
use tokio::time::Instant;

const PATIENCE: Duration = Duration::from_secs(60);
const REPLICA: ReplicaId = ReplicaId(7);

/// A store that applies nothing while it fails.
#[derive(Default)]
struct Failing {
    inner: MemoryStore,
    fails: AtomicBool,
}

impl ShardStore for Failing {
    const WAITS: bool = false;

    fn apply(
        &self,
        entries: &[ApplyEntry],
        records: &mut dyn FnMut(&[WriteOutcome]) -> Vec<CallerRecord>,
    ) -> Result<Vec<WriteOutcome>, EngineError> {
        if self.fails.load(Ordering::SeqCst) {
            return Err(EngineError::Invalid("the device is full".to_owned()));
        }
        self.inner.apply(entries, records)
    }

    fn records(&self, prefix: &[u8]) -> Result<Vec<(Bytes, Bytes)>, EngineError> {
        self.inner.records(prefix)
    }

    fn get(&self, key: &[u8]) -> Result<Option<StoredRecord>, EngineError> {
        self.inner.get(key)
    }

    fn logical_hash(&self, range: &KeyRange) -> Result<LogicalHash, EngineError> {
        self.inner.logical_hash(range)
    }

    fn hash_later(&self, range: KeyRange, done: HashDone) {
        self.inner.hash_later(range, done);
    }

    fn export(&self, prefixes: &[Bytes], range: RangeOf<'_>, folder: &Path) -> Result<Exported, EngineError> {
        self.inner.export(prefixes, range, folder)
    }

    fn install(&self, range: &KeyRange, data: &ExportedData, records: &[CallerRecord]) -> Result<(), EngineError> {
        self.inner.install(range, data, records)
    }

    fn sync(&self) -> Result<(), EngineError> {
        self.inner.sync()
    }
}

/// There is nobody else.
#[derive(Clone)]
struct Nobody;

fn nobody<T>(to: ReplicaId) -> Result<T, TransportError> {
    Err(TransportError::Unreachable { to, reason: "there is nobody else".to_owned() })
}

impl Transport for Nobody {
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

fn put(key: &str) -> Write {
    let put = Mutation::Put { key: Bytes::copy_from_slice(key.as_bytes()), value: Bytes::from_static(b"value") };
    Write { request: None, epoch: Epoch(1), conditions: Vec::new(), mutations: vec![put] }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_whose_storage_failed_is_opened_anew_and_has_what_was_logged() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(Failing::default());
    let place = HostPlace {
        node: NodeId(1),
        store: Arc::clone(&store),
        logs: Arc::new(LogStore::open(folder.path().join("log"), LogOptions::default()).unwrap()),
        staging: folder.path().join("staging"),
        pace: Pace::default(),
        log_bounds: LogBounds::default(),
        clock: Arc::new(|| 1000),
    };
    let host = Host::open(place, Nobody).await.unwrap();
    let shard = ShardDescriptor { shard: ShardId(1), range: KeyRange::all(), epoch: Epoch(1), version_base: 0 };
    host.begin(REPLICA, shard).await.unwrap();
    let resident = host.resident(REPLICA).unwrap();
    assert!(matches!(resident.write(put("before")).await, Ok(Answer::Written { .. })));
    store.fails.store(true, Ordering::SeqCst);
    let unanswered = tokio::time::timeout(PATIENCE, resident.write(put("logged"))).await.unwrap();
    assert!(unanswered.is_err(), "{unanswered:?}");
    store.fails.store(false, Ordering::SeqCst);
    let started = Instant::now();
    loop {
        let again = host.resident(REPLICA).filter(|again| !Arc::ptr_eq(again, &resident));
        if let Some(again) = again
            && matches!(again.write(put("after")).await, Ok(Answer::Written { .. }))
        {
            break;
        }
        assert!(started.elapsed() < PATIENCE, "it was not opened anew");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // It was on a quorum's disks, so it is there, whoever was told.
    for key in ["before", "logged", "after"] {
        assert!(store.get(key.as_bytes()).unwrap().is_some(), "{key}");
    }
    host.stop().await;
}
