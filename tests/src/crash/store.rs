//! The store under test: three tiers so small that data moves, flushes and compacts within tenths of a second.

use std::path::{Path, PathBuf};
use std::time::Duration;

use thermocline_engine::classify::Policy;
use thermocline_engine::{EngineOptions, Medium, TierSpec};

/// The tiers' names, fastest first.
pub const TIERS: [&str; 3] = ["hot", "warm", "cold"];
/// The bound of the write-ahead log.
pub const MAX_WAL_BYTES: u64 = 4 << 20;

/// The folders of a store in `base`, one per device: the tiers' (the log is in the fastest one's).
#[must_use]
pub fn devices(base: &Path) -> Vec<PathBuf> {
    TIERS.iter().map(|name| base.join(name)).collect()
}

/// The options of a store in `base`, without moves in the background.
#[must_use]
pub fn options(base: &Path) -> EngineOptions {
    let media = [Medium::Nvme, Medium::Ssd, Medium::Hdd];
    let sizes = [1 << 20, 2 << 20, 64 << 20];
    let tiers = TIERS.iter().zip(media).zip(sizes).zip([0, 10, 20]).map(|(((name, medium), size), rank)| {
        let mut tier = TierSpec::new(*name, rank, medium, base.join(name), size);
        tier.settings.reserve_bytes = 0;
        tier
    });
    let mut options = EngineOptions::new(tiers.collect(), 32 << 20);
    options.max_wal_bytes = MAX_WAL_BYTES;
    options.background_moves = false;
    options.heat_sampling = 1;
    options.policy =
        Policy { evaluation_interval: Duration::from_millis(100), min_residency: Duration::ZERO, ..options.policy };
    options
}
