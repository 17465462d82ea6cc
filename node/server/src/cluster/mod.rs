//! The node as one of a cluster with shards: its replicas, the wires to the others, and what it knows of them.
//!
//! `book` (who is where), `lines` (connections), `greeting` (finding each other), `wire`, `sending`, `copies`, `arriving`, `service`
//! (what replicas say to each other), `directory`, `routing`, `publishing` (which shard owns a key), `sweeping` (replicas that
//! were let go), `figures` (what the shards here hold and how they are used).

mod arriving;
mod book;
mod copies;
mod directory;
mod figures;
mod greeting;
mod lines;
mod publishing;
mod routing;
mod rtt;
mod sending;
mod service;
mod sweeping;
mod wire;

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use thermocline_engine::log::{LogError, LogOptions, LogStore, StorageFailure};
use thermocline_engine::{Clock, Engine, KeyRange};
use thermocline_proto::FIRST_OWN_KEY;
use thermocline_shard::host::{Host, HostError, HostPlace, LogBounds, SendRates};
use thermocline_shard::raft::Pace;
use thermocline_shard::{Epoch, ReplicaId, ShardDescriptor, ShardId};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use book::{Book, BookError, NodeEntry};
pub use copies::{Copied, Copies};
pub use directory::{Directory, DirectoryError};
pub use figures::{Figures, SplitKey};
pub use lines::Lines;
pub use routing::Router;
pub use rtt::RoundTrips;
pub use service::{ReplicasService, only_for};
pub use wire::Wire;

/// The replicas of this node.
pub type NodeHost = Host<Engine, Wire>;

/// The first numbers of a cluster are given by whoever initialises it.
const META_REPLICA: ReplicaId = ReplicaId(1);
const FIRST_REPLICA: ReplicaId = ReplicaId(2);
const FIRST_SHARD: ShardId = ShardId(1);
const FIRST_FREE: u64 = 16;
/// What snapshots take together, unless a job says less.
const SNAPSHOT_BYTES_PER_SECOND: u64 = 100 << 20;

/// What a node is told of its cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterSettings {
    /// The cluster's id: a node of another one is refused.
    pub id: String,
    /// `host:port` of the replicas' listener of some other nodes.
    pub seeds: Vec<String>,
    /// Where the node is.
    pub zone: String,
    /// How others reach the node, where that is not the address it listens on.
    pub advertise: Option<String>,
    /// Where the node's connections to others leave from; `None`: as the system chooses.
    pub source: Option<IpAddr>,
}

/// A node that does not take part in its cluster.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// Its book cannot be used.
    #[error("cannot use what the node knows of its cluster")]
    Book(#[from] BookError),
    /// Its logs cannot be opened.
    #[error("cannot open the logs of the replicas")]
    Log(#[from] LogError),
    /// Its replicas cannot be read or written.
    #[error("cannot run the replicas")]
    Host(#[from] HostError),
    /// The cluster's own records cannot be written.
    #[error("cannot write the first records of the cluster")]
    Directory(#[from] DirectoryError),
}

/// The node as one of a cluster.
pub struct Cluster {
    /// The cluster's id.
    pub id: String,
    /// Where the node is.
    pub zone: String,
    /// Its replicas.
    pub host: Arc<NodeHost>,
    /// Who is where.
    pub book: Arc<Book>,
    /// Connections to the others.
    pub lines: Lines,
    /// The cluster's own records.
    pub directory: Directory,
    /// Which shard owns a key.
    pub router: Arc<Router>,
    /// How far away the others are.
    pub trips: Arc<RoundTrips>,
    /// How far the copies are that are sent from here.
    pub copies: Arc<Copies>,
    /// What the shards here hold and how they are used.
    pub figures: Arc<Figures>,
    logs: Arc<LogStore>,
    seeds: Vec<String>,
}

impl Cluster {
    /// Opens the replicas of a node; `me` is how others reach it, its number aside.
    ///
    /// # Errors
    /// When what is on its disks is another cluster's, or cannot be read.
    pub async fn open(
        settings: &ClusterSettings,
        engine: &Engine,
        root: &Path,
        number: u64,
        me: NodeEntry,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, ClusterError> {
        let book = Arc::new(Book::open(root, &settings.id, number)?);
        book.introduce(NodeEntry { node: book.me().0, ..me });
        let lines = Lines::new(Arc::clone(&book), &settings.id, settings.source);
        let rates = Arc::new(SendRates::default());
        let limit = sending::Limit::new(SNAPSHOT_BYTES_PER_SECOND);
        let copies = Arc::<Copies>::default();
        let wire = Wire::new(lines.clone(), Arc::clone(&rates), limit, Arc::clone(&copies));
        let logs = {
            let folder = root.join("raft-log");
            let opened = tokio::task::spawn_blocking(move || LogStore::open(folder, LogOptions::default()));
            Arc::new(opened.await.map_err(|_| LogError::Closed)??)
        };
        let wall = Arc::clone(&clock);
        let place = HostPlace {
            node: book.me(),
            store: Arc::new(engine.clone()),
            logs: Arc::<LogStore>::clone(&logs),
            staging: root.join("snapshots"),
            pace: Pace::default(),
            log_bounds: LogBounds::default(),
            clock: Arc::new(move || u64::try_from(wall.wall().as_millis()).unwrap_or(u64::MAX)),
            steady: Arc::new(move || clock.monotonic()),
        };
        let host = Host::open(place, wire.clone()).await?;
        host.drive(Arc::new(wire), rates);
        let directory = Directory::new(Arc::clone(&book), lines.clone());
        let router = Arc::new(Router::new(Arc::clone(&host), Arc::clone(&book), directory.clone()));
        Ok(Arc::new(Self {
            id: settings.id.clone(),
            zone: settings.zone.clone(),
            host,
            book,
            lines,
            directory,
            router,
            trips: Arc::default(),
            copies,
            figures: Arc::default(),
            logs,
            seeds: settings.seeds.clone(),
        }))
    }

    /// Finds the others and tells where shards are, until the token is cancelled.
    pub fn run(self: &Arc<Self>, tasks: &mut JoinSet<()>, stop: &CancellationToken) {
        let (host, book) = (Arc::clone(&self.host), Arc::clone(&self.book));
        let (seeds, trips) = (self.seeds.clone(), Arc::clone(&self.trips));
        tasks.spawn(greeting::greet(host, book, self.lines.clone(), seeds, trips, stop.clone()));
        tasks.spawn(figures::measure(Arc::clone(&self.host), Arc::clone(&self.figures), stop.clone()));
        let (host, router) = (Arc::clone(&self.host), Arc::clone(&self.router));
        tasks.spawn(publishing::publish(Arc::clone(&host), router, self.directory.clone(), stop.clone()));
        tasks.spawn(sweeping::sweep(host, self.directory.clone(), stop.clone()));
    }

    /// Why the logs of the replicas take nothing more: none of them can vote or write until the node is started again.
    pub fn log_failure(&self) -> Option<Arc<StorageFailure>> {
        self.logs.failure()
    }

    /// Whether the meta group began on this node.
    pub fn began_here(&self) -> bool {
        self.host.resident(META_REPLICA).is_some()
    }

    /// Begins the cluster with this node: the meta group and a first shard of all other keys, each with one replica here.
    /// Whoever asks has made sure that no other node is asked. Done twice it changes nothing.
    ///
    /// # Errors
    /// When the disks do not take it.
    pub async fn initialize(&self) -> Result<(), ClusterError> {
        let own = KeyRange::new(FIRST_OWN_KEY, "").unwrap_or_else(KeyRange::all);
        let users = KeyRange::new("", FIRST_OWN_KEY).unwrap_or_else(KeyRange::all);
        let shard = |shard, range| ShardDescriptor { shard, range, epoch: Epoch(1), version_base: 0 };
        self.host.begin(META_REPLICA, shard(ShardId::META, own)).await?;
        self.host.begin(FIRST_REPLICA, shard(FIRST_SHARD, users)).await?;
        // The greeting tells the same, only later.
        let member = thermocline_proto::replica::v1::Member {
            replica: META_REPLICA.0,
            node: self.book.me().0,
            role: thermocline_proto::replica::v1::Role::Data.into(),
        };
        self.book.learn(Vec::new(), &[member], 0);
        Ok(self.directory.begin(FIRST_FREE).await?)
    }

    /// Gives up the lead of every shard, as far as others can take it, within a time.
    pub async fn hand_over(&self, within: Duration) {
        let until = tokio::time::Instant::now() + within;
        loop {
            let led: Vec<_> =
                self.host.all().into_iter().filter(|resident| resident.replica().group().leads()).collect();
            let to = led.iter().filter_map(|resident| {
                let group = resident.replica().group();
                let to = *group.other_data_voters(group.replica).first()?;
                Some((resident, to))
            });
            let to: Vec<_> = to.collect();
            if to.is_empty() || tokio::time::Instant::now() >= until {
                return;
            }
            for (resident, to) in to {
                if let Err(error) = resident.replica().transfer_to(to).await {
                    tracing::debug!(%error, "a shard was not handed over");
                }
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}
