//! openraft's own tests of logs and state machines, on the real log store and engine, and on the store in memory.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::io;
use std::path::Path;
use std::sync::Arc;

use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};
use thermocline_engine::log::{LogOptions, LogStore};
use thermocline_engine::{Engine, EngineOptions, Environment, Medium, TierSpec};
use thermocline_shard::machine::{MemoryStore, ShardStore};
use thermocline_shard::raft::{ReplicaLog, ReplicaStateMachine, TypeConfig};
use thermocline_shard::{ReplicaId, Role};

/// Builds a replica in a folder that goes with the test.
struct InFolder<S>(fn(&Path) -> S, Role);

impl<S: ShardStore> StoreBuilder<TypeConfig, ReplicaLog, ReplicaStateMachine<S>, tempfile::TempDir> for InFolder<S> {
    async fn build(&self) -> Result<(tempfile::TempDir, ReplicaLog, ReplicaStateMachine<S>), StorageError<TypeConfig>> {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new((self.0)(folder.path()));
        let staging = folder.path().join("staging");
        std::fs::create_dir(&staging).unwrap();
        let machine =
            ReplicaStateMachine::open(store, ReplicaId(1), self.1, staging, tokio::sync::mpsc::unbounded_channel().0);
        let machine = machine.map_err(|error| {
            StorageError::from_io_error(
                openraft::ErrorSubject::StateMachine,
                openraft::ErrorVerb::Read,
                io::Error::other(error),
            )
        })?;
        let logs = LogStore::open(folder.path().join("log"), LogOptions::default()).unwrap();
        Ok((folder, ReplicaLog::new(Arc::new(logs), ReplicaId(1)), machine))
    }
}

fn engine(folder: &Path) -> Engine {
    let tier = |name: &str, rank, medium| TierSpec::new(name, rank, medium, folder.join(name), 1 << 30);
    let tiers = vec![tier("hot", 0, Medium::Nvme), tier("cold", 20, Medium::Hdd)];
    let options = EngineOptions { background_moves: false, ..EngineOptions::new(tiers, 64 << 20) };
    Engine::open(options, Environment::system(1)).unwrap()
}

fn memory(_: &Path) -> MemoryStore {
    MemoryStore::default()
}

fn run(suite: impl Future<Output = Result<(), StorageError<TypeConfig>>>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(suite).unwrap();
}

#[test]
fn openrafts_suite_passes_on_log_store_and_engine() {
    run(Suite::test_all(InFolder(engine, Role::Data)));
}

#[test]
fn openrafts_suite_passes_on_a_store_in_memory() {
    run(Suite::test_all(InFolder(memory, Role::Data)));
}

#[test]
fn openrafts_suite_passes_on_a_witness() {
    run(Suite::test_all(InFolder(engine, Role::Witness)));
}
