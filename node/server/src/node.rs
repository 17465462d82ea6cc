//! A node from start to stop.
//!
//! Start: bind, check whose folder it is, open the store (recovery ends before traffic begins), serve. Stop: say so
//! (health, readiness), take no new connections, let what is in flight end within the grace period, close the store.

mod listener;
mod serve;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use parking_lot::Mutex;
use thermocline_engine::{Engine, Environment, OpenError};
use thiserror::Error;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::admission::AdmissionPool;
use crate::args::RequestLimits;
use crate::cluster::{Cluster, ClusterError, ClusterSettings, NodeEntry};
use crate::config::Settings;
use crate::facade::{self, Facade};
use crate::health::{self, HealthBoard};
use crate::identity::{self, IdentityError, Owner};
use crate::metrics::NodeMetrics;
use crate::ready_file::Addresses;
use crate::service::admin::MoveBoard;
use crate::system::{LoadSampler, Roots};

use listener::Listeners;

/// A node that did not start, or did not end well.
#[derive(Debug, Error)]
pub enum NodeError {
    /// An address is taken, or not this machine's.
    #[error("cannot listen on {address} ({field})")]
    Bind {
        /// The field of the configuration.
        field: &'static str,
        /// The address.
        address: std::net::SocketAddr,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The folder is another node's.
    #[error("the data folder cannot be used")]
    Identity(#[from] IdentityError),
    /// Its part in the cluster cannot be taken up.
    #[error("cannot take part in the cluster")]
    Cluster(#[from] ClusterError),
    /// The store does not open.
    #[error("cannot open the store")]
    Open(#[source] Box<OpenError>),
    /// The store does not close.
    #[error("the store did not close cleanly; what was acknowledged as buffered may be lost")]
    Close(#[source] Box<thermocline_engine::EngineError>),
    /// The metrics contradict themselves.
    #[error("the metrics cannot be set up")]
    Metrics(#[from] prometheus::Error),
    /// The descriptor set cannot be served.
    #[error("reflection cannot be set up")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// A listener ended by itself.
    #[error("{listener} ended: {reason}")]
    Ended {
        /// Which.
        listener: &'static str,
        /// Why.
        reason: String,
    },
    /// The runtime lost a task.
    #[error("a task of the node was lost")]
    Lost(#[from] tokio::task::JoinError),
}

/// How a stop ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// Everything in flight ended.
    Drained,
    /// The grace period passed first; what was in flight was cut off.
    CutOff {
        /// Calls of the data plane that were under way.
        in_flight: i64,
    },
}

/// A node that serves.
pub struct Node {
    facade: Arc<Facade>,
    addresses: Addresses,
    moves: Arc<MoveBoard>,
    /// Ends the gRPC listeners and every stream without an end of its own.
    accepting: CancellationToken,
    /// Ends the admin HTTP and what runs in the background; probes are answered until the drain is over.
    running: CancellationToken,
    servers: JoinSet<Result<(), NodeError>>,
    background: JoinSet<()>,
}

impl Node {
    /// Starts a node; returns when it serves.
    pub async fn start(settings: Settings, limits: RequestLimits) -> Result<Self, NodeError> {
        let listeners = Listeners::bind(&settings).await?;
        let addresses = listeners.addresses()?;
        let folders: Vec<&Path> = settings.tiers.iter().map(|tier| tier.path.as_path()).collect();
        let memory_limit = settings.memory_limit.map(crate::config::ByteSize::bytes);
        let memory = LoadSampler::new(Roots::default(), &[], memory_limit).memory_limit_bytes();
        let environment = Environment::system(seed("engine seed"));
        let moves = Arc::new(MoveBoard::of_start(environment.clock.wall()));
        let clock = Arc::clone(&environment.clock);
        let engine = open(settings.clone(), memory, environment).await?;
        let cluster = match &settings.shards {
            None => None,
            Some(shards) => {
                let me = entry(&settings, shards, &addresses);
                Some(Cluster::open(shards, &engine, &settings.root, seed("node number"), me, clock).await?)
            }
        };
        // After the store was opened, for the folders exist from then on.
        let sampler = LoadSampler::new(Roots::default(), &folders, memory_limit);
        let (loads, load) =
            watch::channel(crate::system::Load { memory_limit_bytes: memory, ..crate::system::Load::default() });
        let facade = Arc::new(Facade {
            node: settings.node.clone(),
            range: settings.range.clone(),
            health: HealthBoard::new(engine.health().into()),
            engine,
            cluster,
            metrics: NodeMetrics::new()?,
            requests: AdmissionPool::new(limits.requests),
            scans: AdmissionPool::new(limits.scans),
            tier_folders: settings.tiers.iter().map(|tier| tier.path.clone()).collect(),
            load,
            started: Instant::now(),
            tiers_generation: AtomicU64::new(0),
            policy: Mutex::new(settings.engine_options(memory).policy),
            changes: watch::Sender::new(0),
        });
        let mut node = Self {
            facade,
            addresses,
            moves,
            accepting: CancellationToken::new(),
            running: CancellationToken::new(),
            servers: JoinSet::new(),
            background: JoinSet::new(),
        };
        let (health, storage) = (node.facade.health.clone(), Arc::clone(&node.facade));
        node.background.spawn(health::monitor(health, move || storage.storage_health(), node.running.clone()));
        node.background.spawn(facade::sample_load(sampler, loads, node.running.clone()));
        if let Some(cluster) = node.facade.cluster.clone() {
            cluster.run(&mut node.background, &node.running);
        }
        node.serve(listeners, settings.engine_durability())?;
        Ok(node)
    }

    /// Where it listens.
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Waits for a listener to end by itself, which none should.
    pub async fn failed(&mut self) -> NodeError {
        match self.servers.join_next().await {
            Some(Ok(Err(error))) => error,
            Some(Err(error)) => error.into(),
            Some(Ok(Ok(()))) => {
                NodeError::Ended { listener: "a listener", reason: "without being asked to".to_owned() }
            }
            None => std::future::pending().await,
        }
    }

    /// Drains and closes; nothing acknowledged is lost, whether or not all of it ends in time.
    pub async fn stop(mut self, grace: Duration) -> Result<Stopped, NodeError> {
        let deadline = Instant::now() + grace;
        self.facade.health.drain();
        if let Some(cluster) = &self.facade.cluster {
            // Others lead before this one is gone: clients then wait for no election.
            cluster.hand_over(grace / 4).await;
        }
        self.accepting.cancel();
        self.moves.cancel_all();
        let drained = timeout_at(deadline, self.drain()).await.is_ok();
        let in_flight = self.facade.metrics.in_flight();
        self.running.cancel();
        self.servers.shutdown().await;
        self.background.shutdown().await;
        if let Some(cluster) = &self.facade.cluster {
            cluster.host.stop().await;
        }
        let engine = self.facade.engine.clone();
        drop(self);
        // Waits for calls that still run, then writes what is only in memory.
        tokio::task::spawn_blocking(move || engine.close())
            .await?
            .map_err(|error| NodeError::Close(Box::new(error)))?;
        Ok(if drained { Stopped::Drained } else { Stopped::CutOff { in_flight } })
    }

    /// Until the gRPC listeners have ended and the engine has no calls any more.
    async fn drain(&mut self) {
        // The admin HTTP and the replicas' listener go on.
        let going_on = if self.addresses.peer.is_some() { 2 } else { 1 };
        while self.servers.len() > going_on {
            if let Some(Ok(Err(error))) = self.servers.join_next().await {
                tracing::warn!(error = %crate::telemetry::chain(&error), "a listener did not end well");
            }
        }
        let forever = Duration::from_secs(u32::MAX.into());
        self.facade.requests.drained(forever).await;
        self.facade.scans.drained(forever).await;
        self.moves.drained().await;
    }
}

/// Opens the store on a blocking thread: recovery may take a while.
async fn open(settings: Settings, memory: u64, environment: Environment) -> Result<Engine, NodeError> {
    tokio::task::spawn_blocking(move || {
        let owner = Owner { cluster: settings.cluster.clone(), node: settings.node.clone() };
        let marked = identity::check(&settings.root, &owner)?;
        let engine = Engine::open(settings.engine_options(memory), environment)
            .map_err(|error| NodeError::Open(Box::new(error)))?;
        if !marked {
            identity::mark(&settings.root, &owner)?;
        }
        Ok(engine)
    })
    .await?
}

/// A number of the system's randomness: the standard library draws the keys of its hash maps from there.
fn seed(what: &str) -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(what)
}

/// How others reach the node.
fn entry(settings: &Settings, shards: &ClusterSettings, addresses: &Addresses) -> NodeEntry {
    let reached = |address: std::net::SocketAddr| match &shards.advertise {
        None => address.to_string(),
        Some(host) => format!("{host}:{}", address.port()),
    };
    NodeEntry {
        node: 0,
        name: settings.node.clone(),
        zone: shards.zone.clone(),
        kv: reached(addresses.kv),
        admin: reached(addresses.admin),
        peer: addresses.peer.map(reached).unwrap_or_default(),
        revision: 0,
    }
}
