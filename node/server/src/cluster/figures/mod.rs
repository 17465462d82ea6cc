//! What the shards here hold and how they are used, as figures for whoever balances the fleet. Services tell of every request
//! (`usage`); rates and sizes are worked out now and then, in the background. All of it is estimated, none of it is kept over a
//! restart.

mod rate;
mod usage;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use thermocline_engine::{Engine, EngineError, KeyRange, RangeSize};
use thermocline_shard::host::Resident;
use thermocline_shard::{ReplicaId, Role, ShardId};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::usage::Usage;
use super::NodeHost;
use crate::telemetry::chain;

/// Between two looks at the counters.
const COUNTED_EVERY: Duration = Duration::from_secs(1);
/// Between two estimates of sizes, in looks at the counters.
const SIZED_EVERY: u64 = 4;
/// The middle is looked for again once the size has changed by one part in so many.
const MIDDLE_AGAIN: u64 = 8;
/// The middle of what is smaller is not looked for: no rule splits it for its size.
const LEAST_PARTED_BYTES: u64 = 512 << 10;

/// What a shard holds, and where it could be parted.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ShardSize {
    /// Bytes and records of this node's copy.
    pub size: RangeSize,
    /// Keys that would part it usefully.
    pub split_keys: Vec<SplitKey>,
}

/// A key that a shard could be split at.
#[derive(Debug, Clone, PartialEq)]
pub struct SplitKey {
    /// The first key of the right part.
    pub key: Bytes,
    /// The share of the requests before it, 0 to 1.
    pub load_left: f64,
    /// The share of the bytes before it, 0 to 1.
    pub bytes_left: f64,
}

/// The figures of a node's shards.
#[derive(Debug, Default)]
pub struct Figures {
    used: RwLock<BTreeMap<ShardId, Arc<Usage>>>,
    sized: Mutex<BTreeMap<ReplicaId, Sized>>,
}

/// What was estimated, and of which keys: a split makes it worthless.
#[derive(Debug, Clone)]
struct Sized {
    range: KeyRange,
    found: ShardSize,
    /// The key that halves the bytes, and how many there were when it was looked for.
    middle: Option<(Bytes, u64)>,
}

impl Figures {
    /// A request of a shard was answered that read or wrote these keys.
    pub fn used<'a>(&self, shard: ShardId, writes: bool, keys: impl Iterator<Item = &'a [u8]>) {
        let usage = self.usage(shard);
        keys.for_each(|key| usage.note(key, writes));
    }

    /// Reads and writes a second that this node answered for a shard.
    pub fn rates(&self, shard: ShardId) -> (f64, f64) {
        self.used.read().get(&shard).map(|usage| usage.rates()).unwrap_or_default()
    }

    /// What a replica here holds; nothing until that was estimated of the keys that it has now.
    pub fn size(&self, replica: ReplicaId, range: &KeyRange) -> ShardSize {
        let sized = self.sized.lock();
        sized.get(&replica).filter(|sized| sized.range == *range).map(|sized| sized.found.clone()).unwrap_or_default()
    }

    fn usage(&self, shard: ShardId) -> Arc<Usage> {
        if let Some(usage) = self.used.read().get(&shard) {
            return Arc::clone(usage);
        }
        Arc::clone(self.used.write().entry(shard).or_default())
    }

    fn advance(&self, since: Duration) {
        self.used.read().values().for_each(|usage| usage.advance(since));
    }

    /// Forgets what is not here any more.
    fn retain(&self, residents: &[Arc<Resident<Engine>>]) {
        let shards: BTreeSet<ShardId> = residents.iter().map(|resident| resident.shard()).collect();
        let replicas: BTreeSet<ReplicaId> = residents.iter().map(|resident| resident.replica().id()).collect();
        self.used.write().retain(|shard, _| shards.contains(shard));
        self.sized.lock().retain(|replica, _| replicas.contains(replica));
    }

    /// Estimates what a replica holds; where it leads, also where it could be parted.
    fn look_at(&self, engine: &Engine, resident: &Resident<Engine>) -> Result<(), EngineError> {
        let Some(descriptor) = resident.descriptor() else { return Ok(()) };
        let (replica, range) = (resident.replica().id(), descriptor.range);
        let size = engine.range_size(&range)?;
        let bytes = size.bytes();
        let before = self.sized.lock().get(&replica).filter(|sized| sized.range == range).cloned();
        let mut middle = before.and_then(|sized| sized.middle);
        let mut split_keys = Vec::new();
        if resident.replica().group().leads() {
            let stale = middle.as_ref().is_none_or(|(_, then)| then.abs_diff(bytes) > then / MIDDLE_AGAIN);
            if bytes >= LEAST_PARTED_BYTES && stale {
                middle = engine.middle_key(&range)?.map(|key| (key, bytes));
            }
            let usage = self.usage(resident.shard());
            let halves_bytes = middle.as_ref().map(|(key, _)| key.clone());
            for key in halves_bytes.into_iter().chain(usage.middle(&range)) {
                let left = engine.range_size(&range.until_key(&key))?.bytes();
                let bytes_left = left as f64 / bytes.max(left).max(1) as f64;
                split_keys.push(SplitKey { load_left: usage.share_before(&key, &range), bytes_left, key });
            }
        }
        let found = ShardSize { size, split_keys };
        self.sized.lock().insert(replica, Sized { range, found, middle });
        Ok(())
    }
}

/// Works the figures out until the token is cancelled.
pub async fn measure(host: Arc<NodeHost>, figures: Arc<Figures>, stop: CancellationToken) {
    let mut looked = Instant::now();
    for round in 1_u64.. {
        if stop.run_until_cancelled(tokio::time::sleep(COUNTED_EVERY)).await.is_none() {
            return;
        }
        figures.advance(looked.elapsed());
        looked = Instant::now();
        if round.is_multiple_of(SIZED_EVERY) {
            let (host, figures) = (Arc::clone(&host), Arc::clone(&figures));
            // Estimates read indexes from disks.
            if tokio::task::spawn_blocking(move || size_all(&host, &figures)).await.is_err() {
                return;
            }
        }
    }
}

fn size_all(host: &NodeHost, figures: &Figures) {
    let residents = host.all();
    figures.retain(&residents);
    for resident in residents.iter().filter(|resident| resident.replica().role() == Role::Data) {
        if let Err(error) = figures.look_at(host.store(), resident) {
            tracing::debug!(
                shard = resident.shard().0,
                error = chain(&error),
                "what a shard holds cannot be estimated now"
            );
        }
    }
}
