//! A tier of an open store.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use rocksdb::perf::{PerfContext, PerfMetric, PerfStatsLevel, set_perf_stats};

use super::{TierId, TierIdentity, TierLayout, TierSettings};
use crate::environment::Clock;
use crate::mover::Bucket;
use crate::stats::TierStats;

thread_local! {
    static PERFORMANCE: RefCell<PerfContext> = RefCell::new(PerfContext::default());
}

/// What the engine keeps of an open tier.
pub(crate) struct TierState {
    pub(crate) identity: TierIdentity,
    pub(crate) layout: TierLayout,
    settings: ArcSwap<TierSettings>,
    pub(crate) stats: TierStats,
    leaving: AtomicBool,
    medium: Bucket,
}

impl TierState {
    pub(crate) fn new(identity: TierIdentity, layout: TierLayout, settings: TierSettings) -> Self {
        Self {
            identity,
            layout,
            settings: ArcSwap::from_pointee(settings),
            stats: TierStats::default(),
            leaving: AtomicBool::new(false),
            medium: Bucket::default(),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.identity.name
    }

    pub(crate) const fn id(&self) -> TierId {
        self.identity.id
    }

    pub(crate) fn settings(&self) -> Arc<TierSettings> {
        self.settings.load_full()
    }

    pub(crate) fn set_settings(&self, settings: TierSettings) {
        self.settings.store(Arc::new(settings));
    }

    /// Whether it was emptied, or is being emptied, to be taken away: the policy moves nothing there.
    pub(crate) fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::SeqCst)
    }

    /// Changed under a lease that keeps all moves into the tier out: one that begins later sees it.
    pub(crate) fn set_leaving(&self, leaving: bool) {
        self.leaving.store(leaving, Ordering::SeqCst);
    }

    /// Reads from the tier; with a throttle, waits as the emulated medium would for the blocks that RocksDB fetched.
    pub(crate) fn medium_read<T>(&self, clock: &dyn Clock, read: impl FnOnce() -> T) -> T {
        let Some(rate) = self.settings.load().throttle_bytes_per_second else {
            return read();
        };
        let (value, bytes) = PERFORMANCE.with_borrow_mut(|context| {
            set_perf_stats(PerfStatsLevel::EnableCount);
            context.reset();
            let value = read();
            let bytes = context.metric(PerfMetric::BlockReadByte);
            set_perf_stats(PerfStatsLevel::Disable);
            (value, bytes)
        });
        if bytes > 0 {
            // A device answers when it has read: wait for what was queued before and for these bytes.
            self.medium.pass(clock, bytes, Some(rate));
            clock.sleep(std::time::Duration::from_secs_f64(bytes as f64 / rate as f64));
        }
        value
    }

    /// Has written to the tier; with a throttle, waits as the emulated medium would.
    pub(crate) fn medium_write(&self, clock: &dyn Clock, bytes: u64) {
        let rate = self.settings.load().throttle_bytes_per_second;
        self.medium.pass(clock, bytes, rate);
    }
}
