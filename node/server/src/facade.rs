//! What the control plane, the probes and the metrics read of a running node, in one place.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use thermocline_engine::Engine;
use thermocline_engine::classify::Policy;
use thermocline_proto::v1;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::admission::AdmissionPool;
use crate::cluster::Cluster;
use crate::health::{HealthBoard, NodeHealth};
use crate::metrics::snapshot::{self, Facts};
use crate::metrics::{NodeMetrics, ReplicaFigures};
use crate::owned_range::OwnedRange;
use crate::service::admin::shard_statuses;
use crate::service::convert;
use crate::system::{Load, LoadSampler, space_of};

/// How often the system is asked for the load.
const LOAD_INTERVAL: Duration = Duration::from_secs(1);

/// A running node, as seen by what reports on it.
pub struct Facade {
    /// The node's name.
    pub node: String,
    /// The keys it owns.
    pub range: OwnedRange,
    /// The store.
    pub engine: Engine,
    /// Its replicas and what it knows of the others, where the cluster has shards.
    pub cluster: Option<Arc<Cluster>>,
    /// Whether it serves.
    pub health: HealthBoard,
    /// Counts of the data plane.
    pub metrics: Arc<NodeMetrics>,
    /// Admission of gets and writes.
    pub requests: AdmissionPool,
    /// Admission of scans.
    pub scans: AdmissionPool,
    /// The folders of the tiers, fastest first.
    pub tier_folders: Vec<PathBuf>,
    /// The load, as last sampled.
    pub load: watch::Receiver<Load>,
    /// Since when it serves.
    pub started: Instant,
    /// The generation of the tiers' settings in force; 0: those of the configuration.
    pub tiers_generation: AtomicU64,
    /// The policy in force, as stated; held while it is replaced, so that an older one cannot overtake a newer.
    pub policy: Mutex<Policy>,
    /// Counts changes that a Status stream should tell at once.
    pub changes: watch::Sender<u64>,
}

/// The engine's figures could not be collected.
#[derive(Debug, thiserror::Error)]
pub enum FacadeError {
    /// The figures do not form a valid text.
    #[error("the metrics could not be written")]
    Metrics(#[from] prometheus::Error),
    /// The runtime is shutting down.
    #[error("the figures of the engine could not be read")]
    Ended(#[from] tokio::task::JoinError),
}

impl Facade {
    /// How storage is: the store, and the logs of the replicas.
    pub fn storage_health(&self) -> NodeHealth {
        let logs = self.cluster.as_ref().and_then(|cluster| cluster.log_failure());
        logs.map_or_else(|| self.engine.health().into(), |failure| NodeHealth::without_logs(&failure))
    }

    /// Tells every Status stream that something changed.
    pub fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    /// The metrics as text. On a blocking thread: the engine asks its files for some of them.
    pub async fn metrics_text(self: &Arc<Self>) -> Result<String, FacadeError> {
        let facade = Arc::clone(self);
        let text = tokio::task::spawn_blocking(move || {
            let facts = facade.facts();
            snapshot::render(&facade.metrics, &facts)
        });
        Ok(text.await??)
    }

    /// The state as the Status stream tells it.
    pub async fn status(self: &Arc<Self>) -> Result<v1::NodeStatus, FacadeError> {
        let facade = Arc::clone(self);
        let status = tokio::task::spawn_blocking(move || facade.read_status());
        Ok(status.await?)
    }

    fn read_status(&self) -> v1::NodeStatus {
        let health = self.health.now();
        let stats = self.engine.stats();
        let uptime = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let cluster = self.cluster.as_deref();
        let tiers: Vec<&str> = stats.tiers.iter().map(|tier| tier.name.as_str()).collect();
        let round_trip = |(node, trip, heard): (thermocline_shard::NodeId, Duration, Duration)| v1::RoundTrip {
            node: node.0,
            micros: u64::try_from(trip.as_micros()).unwrap_or(u64::MAX),
            heard_ms_ago: convert::millis(heard),
        };
        v1::NodeStatus {
            node_id: cluster.map_or(0, |cluster| cluster.book.me().0),
            cluster_id: cluster.map(|cluster| cluster.id.clone()).unwrap_or_default(),
            zone: cluster.map(|cluster| cluster.zone.clone()).unwrap_or_default(),
            shards: cluster.map(|cluster| shard_statuses(cluster, &tiers)).unwrap_or_default(),
            round_trips: cluster.map(|cluster| cluster.trips.all()).into_iter().flatten().map(round_trip).collect(),
            node: self.node.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            health: health.message().into(),
            health_reason: health.reason().to_owned(),
            uptime_ms: uptime,
            range_start: self.range.start().to_vec().into(),
            range_end: self.range.end().to_vec().into(),
            tiers_generation: self.tiers_generation.load(Ordering::Relaxed),
            load: Some(convert::load(&self.load.borrow())),
            ..convert::status(&stats, self.policy.lock().paused)
        }
    }

    fn facts(&self) -> Facts {
        let shards = self.cluster.as_deref().map(|cluster| shard_statuses(cluster, &[])).unwrap_or_default();
        Facts {
            replicas: ReplicaFigures::of(&shards),
            uptime: self.started.elapsed(),
            health: self.health.now(),
            stats: self.engine.stats(),
            disk_usage: self
                .tier_folders
                .iter()
                .map(|folder| space_of(folder).map(|space| space.used_ratio()))
                .collect(),
            load: *self.load.borrow(),
            pools: vec![("requests", self.requests.state()), ("scans", self.scans.state())],
        }
    }
}

/// Samples the load until the token is cancelled.
pub async fn sample_load(mut sampler: LoadSampler, loads: watch::Sender<Load>, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(LOAD_INTERVAL);
    let mut last = Instant::now();
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let now = Instant::now();
        loads.send_replace(sampler.sample(now.duration_since(last)));
        last = now;
    }
}
