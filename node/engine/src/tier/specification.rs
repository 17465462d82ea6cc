//! What a store is told about a tier.

use std::path::PathBuf;

use super::{Medium, Profile};

/// One tier as configured.
#[derive(Debug, Clone, PartialEq)]
pub struct TierSpec {
    /// Its name: a label, unique in the store.
    pub name: String,
    /// Its place in the order: smaller is faster. Sparse and fixed for the life of the tier.
    pub rank: u32,
    /// What its device is.
    pub medium: Medium,
    /// Its folder on that device.
    pub path: PathBuf,
    /// How RocksDB is set up for it.
    pub profile: Profile,
    /// What can change while the store is open.
    pub settings: TierSettings,
}

/// What can change of a tier while the store is open.
#[derive(Debug, Clone, PartialEq)]
pub struct TierSettings {
    /// What it may hold, in bytes; the file system may have less.
    pub size_bytes: u64,
    /// Kept free on the device: under it writes are refused.
    pub reserve_bytes: u64,
    /// Over this share of its capacity data moves down.
    pub high_watermark: f64,
    /// Down to this share.
    pub low_watermark: f64,
    /// Emulates a slower medium: what this tier reads and writes in a second. `None`: the device as it is.
    pub throttle_bytes_per_second: Option<u64>,
}

impl TierSpec {
    /// A tier with the defaults of its medium: watermarks 85 and 75 %, a reserve of 5 % up to 1 GiB.
    #[must_use]
    pub fn new(name: impl Into<String>, rank: u32, medium: Medium, path: impl Into<PathBuf>, size_bytes: u64) -> Self {
        Self {
            name: name.into(),
            rank,
            medium,
            path: path.into(),
            profile: Profile::for_medium(medium),
            settings: TierSettings::of_size(size_bytes),
        }
    }
}

impl TierSpec {
    /// Its profile, with write buffers that a small tier can hold: at most an eighth of its size each.
    pub(crate) fn fitted_profile(&self) -> Profile {
        let most = (self.settings.size_bytes / 8).max(1 << 20);
        Profile { write_buffer_bytes: self.profile.write_buffer_bytes.min(most), ..self.profile.clone() }
    }
}

impl TierSettings {
    /// The defaults for a size.
    #[must_use]
    pub fn of_size(size_bytes: u64) -> Self {
        Self {
            size_bytes,
            reserve_bytes: (size_bytes / 20).min(1 << 30),
            high_watermark: 0.85,
            low_watermark: 0.75,
            throttle_bytes_per_second: None,
        }
    }

    /// Whether the numbers make sense; the message says what is allowed.
    pub(crate) fn check(&self, name: &str) -> Result<(), String> {
        if self.size_bytes < 1 << 20 {
            return Err(format!("tier {name}: the size is at least 1 MiB"));
        }
        let (low, high) = (self.low_watermark, self.high_watermark);
        if !(low > 0.0 && low < high && high <= 1.0) {
            return Err(format!("tier {name}: the watermarks must be 0 < low < high <= 1, they are {low} and {high}"));
        }
        if self.throttle_bytes_per_second == Some(0) {
            return Err(format!(
                "tier {name}: a throttle of 0 bytes per second lets nothing through; leave it out for none"
            ));
        }
        Ok(())
    }
}
