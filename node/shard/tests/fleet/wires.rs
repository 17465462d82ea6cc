//! Wires between the nodes of one process, which can be cut, held and made to take no entries.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest, TransferLeaderResponse,
    VoteRequest, VoteResponse,
};
use thermocline_engine::{KeyRange, LogicalHash};
use thermocline_shard::command::{Freeze, Thaw};
use thermocline_shard::host::{AskError, Asks, FrozenShard, Host, Resident};
use thermocline_shard::machine::{ShardStore, Snapshot};
use thermocline_shard::raft::{Member, SnapshotMeta, Transport, TransportError, TypeConfig, Vote};
use thermocline_shard::{NodeId, ReplicaId, Role, ShardId};

use super::PATIENCE;

/// What a leader waits for a hash before it asks again.
const HASH: Duration = Duration::from_secs(1);

/// The wires between nodes, and what is wrong with them.
pub struct Wires<S: ShardStore>(Arc<Between<S>>);

type WiredHost<S> = Arc<Host<S, Wire<S>>>;

/// What the wires share.
pub struct Between<S: ShardStore> {
    pub(super) hosts: Mutex<BTreeMap<NodeId, WiredHost<S>>>,
    pub(super) cut: Mutex<BTreeSet<NodeId>>,
    /// These answer, but take no entries.
    pub(super) stuck: Mutex<BTreeSet<NodeId>>,
    /// What is said to and by these arrives when they go on.
    pub(super) paused: Mutex<BTreeSet<NodeId>>,
    /// These do what a merge asks of them, and do not say so.
    pub(super) silent: Mutex<BTreeSet<NodeId>>,
    /// How often a hash was asked for.
    hashes: AtomicU64,
}

impl<S: ShardStore> Default for Wires<S> {
    fn default() -> Self {
        let (hosts, cut, stuck, paused, silent, hashes) = Default::default();
        Self(Arc::new(Between { hosts, cut, stuck, paused, silent, hashes }))
    }
}

impl<S: ShardStore> Clone for Wires<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S: ShardStore> std::ops::Deref for Wires<S> {
    type Target = Between<S>;

    fn deref(&self) -> &Between<S> {
        &self.0
    }
}

impl<S: ShardStore> Wires<S> {
    pub fn from(&self, from: NodeId) -> Wire<S> {
        Wire { from, wires: self.clone() }
    }

    pub fn add(&self, host: Arc<Host<S, Wire<S>>>) {
        self.hosts.lock().unwrap().insert(host.node(), host);
    }

    pub fn hashes_asked(&self) -> u64 {
        self.hashes.load(Ordering::SeqCst)
    }

    pub fn remove(&self, node: NodeId) -> Option<Arc<Host<S, Wire<S>>>> {
        self.hosts.lock().unwrap().remove(&node)
    }
}

/// The way from one node to the others.
pub struct Wire<S: ShardStore> {
    from: NodeId,
    wires: Wires<S>,
}

impl<S: ShardStore> Clone for Wire<S> {
    fn clone(&self) -> Self {
        Self { from: self.from, wires: self.wires.clone() }
    }
}

type Found<S> = (Arc<Host<S, Wire<S>>>, Arc<Resident<S>>);

impl<S: ShardStore> Wire<S> {
    fn host(&self, node: NodeId) -> Option<Arc<Host<S, Self>>> {
        let cut = self.wires.cut.lock().unwrap();
        let found = self.wires.hosts.lock().unwrap().get(&node).cloned();
        found.filter(|_| !cut.contains(&self.from) && !cut.contains(&node))
    }

    /// Asks a replica. What is paused meanwhile hears of it later, also where nobody waits for the answer any more.
    async fn ask<A, E, F>(
        &self,
        to: ReplicaId,
        node: NodeId,
        within: Duration,
        ask: impl FnOnce(Found<S>) -> F + Send + 'static,
    ) -> Result<A, TransportError>
    where
        A: Send + 'static,
        E: std::fmt::Display,
        F: Future<Output = Result<A, E>> + Send,
    {
        let wire = self.clone();
        let asked = tokio::spawn(async move {
            wire.pass(node).await;
            let found = wire.resident(to, node)?;
            let unreachable = |error: E| TransportError::Unreachable { to, reason: error.to_string() };
            let answer = ask(found).await.map_err(unreachable);
            wire.pass(node).await;
            answer
        });
        match tokio::time::timeout(within, asked).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(TransportError::Unreachable { to, reason: "it ended".to_owned() }),
            Err(_) => Err(TransportError::Silent { to, after: within }),
        }
    }

    /// Waits until neither end is paused.
    async fn pass(&self, node: NodeId) {
        let is_paused = || {
            let paused = self.wires.paused.lock().unwrap();
            paused.contains(&self.from) || paused.contains(&node)
        };
        while is_paused() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn resident(&self, to: ReplicaId, node: NodeId) -> Result<Found<S>, TransportError> {
        let unreachable = |reason: &str| TransportError::Unreachable { to, reason: reason.to_owned() };
        let host = self.host(node).ok_or_else(|| unreachable("the wire is cut"))?;
        let resident = host.resident(to).ok_or_else(|| unreachable("the replica is not there"))?;
        Ok((host, resident))
    }

    fn asked(&self, node: NodeId) -> Result<Arc<Host<S, Self>>, AskError> {
        self.host(node).ok_or_else(|| AskError::Unreachable { node, reason: "the wire is cut".to_owned() })
    }
}

impl<S: ShardStore> Transport for Wire<S> {
    async fn append_entries(
        &self,
        to: ReplicaId,
        member: Member,
        request: AppendEntriesRequest<TypeConfig>,
        within: Duration,
    ) -> Result<AppendEntriesResponse<TypeConfig>, TransportError> {
        if !request.entries.is_empty() && self.wires.stuck.lock().unwrap().contains(&member.node) {
            return Err(TransportError::Unreachable { to, reason: "it takes no entries".to_owned() });
        }
        let append = move |(_, resident): Found<S>| async move { resident.replica().on_append_entries(request).await };
        self.ask(to, member.node, within, append).await
    }

    async fn vote(
        &self,
        to: ReplicaId,
        member: Member,
        request: VoteRequest<TypeConfig>,
        pre: bool,
        within: Duration,
    ) -> Result<VoteResponse<TypeConfig>, TransportError> {
        let vote = move |(_, resident): Found<S>| async move { resident.replica().on_vote(request, pre).await };
        self.ask(to, member.node, within, vote).await
    }

    async fn read_index(&self, to: ReplicaId, member: Member, within: Duration) -> Result<u64, TransportError> {
        let ask = move |(_, resident): Found<S>| async move { resident.replica().on_read_index().await };
        self.ask(to, member.node, within, ask).await
    }

    async fn transfer_leader(
        &self,
        to: ReplicaId,
        member: Member,
        request: TransferLeaderRequest<TypeConfig>,
        within: Duration,
    ) -> Result<TransferLeaderResponse<TypeConfig>, TransportError> {
        let lead = move |(_, resident): Found<S>| async move { resident.replica().on_transfer_leader(request).await };
        self.ask(to, member.node, within, lead).await
    }

    async fn snapshot(
        &self,
        to: ReplicaId,
        member: Member,
        vote: Vote,
        meta: SnapshotMeta,
        snapshot: Snapshot,
    ) -> Result<SnapshotResponse<TypeConfig>, TransportError> {
        let install =
            move |(host, resident): Found<S>| async move { host.install(&resident, vote, meta, snapshot).await };
        let vote = self.ask(to, member.node, PATIENCE, install).await?;
        Ok(SnapshotResponse { vote })
    }
}

impl<S: ShardStore> Asks for Wire<S> {
    async fn create(
        &self,
        on: NodeId,
        replica: ReplicaId,
        shard: ShardId,
        role: Role,
        range: KeyRange,
    ) -> Result<(), AskError> {
        let refused =
            |error: thermocline_shard::host::HostError| AskError::Refused { node: on, reason: error.to_string() };
        self.asked(on)?.create(replica, shard, role, Some(&range)).await.map_err(refused)
    }

    async fn remove(&self, on: NodeId, replica: ReplicaId) -> Result<(), AskError> {
        let refused =
            |error: thermocline_shard::host::HostError| AskError::Refused { node: on, reason: error.to_string() };
        self.asked(on)?.remove(replica).await.map_err(refused)
    }

    async fn freeze(&self, on: NodeId, shard: ShardId, freeze: Freeze) -> Result<Option<FrozenShard>, AskError> {
        let frozen = self.asked(on)?.freeze(shard, &freeze).await.map_err(|error| AskError::of_merge(on, error))?;
        let silent = self.wires.silent.lock().unwrap().contains(&on);
        Ok(frozen.filter(|_| !silent))
    }

    async fn thaw(&self, on: NodeId, shard: ShardId, thaw: Thaw) -> Result<bool, AskError> {
        self.asked(on)?.thaw(shard, thaw).await.map_err(|error| AskError::of_merge(on, error))
    }

    async fn hash(&self, on: NodeId, replica: ReplicaId, index: u64) -> Result<LogicalHash, AskError> {
        self.wires.hashes.fetch_add(1, Ordering::SeqCst);
        let unreachable = |reason: String| AskError::Unreachable { node: on, reason };
        let resident = self.asked(on)?.resident(replica).ok_or_else(|| unreachable("not there".to_owned()))?;
        match tokio::time::timeout(HASH, resident.replica().hash_at(index)).await {
            Ok(hash) => hash.map_err(|error| AskError::Failed { node: on, reason: error.to_string() }),
            Err(_) => Err(unreachable("no hash yet".to_owned())),
        }
    }
}
