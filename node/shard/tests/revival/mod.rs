//! A replica whose storage fails for a while, alone on its node.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use thermocline_engine::log::{LogOptions, LogStore};
use thermocline_engine::{KeyRange, Mutation};
use thermocline_shard::command::Write;
use thermocline_shard::host::{Host, HostPlace, LogBounds};
use thermocline_shard::machine::{Answer, MemoryStore, ShardStore};
use thermocline_shard::raft::Pace;
use thermocline_shard::{Epoch, NodeId, ReplicaId, ShardDescriptor, ShardId};
use tokio::time::Instant;

use crate::crashes::stopping::{Left, Stopping};
use crate::fleet::Wires;

const PATIENCE: Duration = Duration::from_secs(60);
const REPLICA: ReplicaId = ReplicaId(7);

fn put(key: &str) -> Write {
    let put = Mutation::Put { key: Bytes::copy_from_slice(key.as_bytes()), value: Bytes::from_static(b"value") };
    Write { request: None, epoch: Epoch(1), conditions: Vec::new(), mutations: vec![put] }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_whose_storage_failed_is_opened_anew_and_has_what_was_logged() {
    let folder = tempfile::tempdir().unwrap();
    let left = Left::all();
    let store = Arc::new(Stopping::new(Arc::new(MemoryStore::default()), left.clone()));
    let place = HostPlace {
        node: NodeId(1),
        store: Arc::clone(&store),
        logs: Arc::new(LogStore::open(folder.path().join("log"), LogOptions::default()).unwrap()),
        staging: folder.path().join("staging"),
        pace: Pace::default(),
        log_bounds: LogBounds::default(),
        clock: Arc::new(|| 1000),
        steady: Arc::new(Duration::default),
    };
    let host = Host::open(place, Wires::<Stopping>::default().from(NodeId(1))).await.unwrap();
    let shard = ShardDescriptor { shard: ShardId(1), range: KeyRange::all(), epoch: Epoch(1), version_base: 0 };
    host.begin(REPLICA, shard).await.unwrap();
    let resident = host.resident(REPLICA).unwrap();
    assert!(matches!(resident.write(put("before")).await, Ok(Answer::Written { .. })));
    left.set(0);
    let unanswered = tokio::time::timeout(PATIENCE, resident.write(put("logged"))).await.unwrap();
    assert!(unanswered.is_err(), "{unanswered:?}");
    left.set(i64::MAX);
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
