//! Free space: a reserve on each device, the log's too (rules 7 and 10 of docs/architecture.md).
//!
//! Under a reserve user writes are refused before anything is started; moves and flushes go on, they are what frees
//! space. When space is back RocksDB is resumed and writes go on.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::environment::{DeviceProbe, DeviceSpace};
use crate::error::{EngineError, Result};
use crate::guard::Guard;

/// A device that is watched.
#[derive(Debug)]
pub(crate) struct Watched {
    /// `tier NAME` or `log`.
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    pub(crate) reserve: AtomicU64,
    free: AtomicU64,
    total: AtomicU64,
    under: AtomicBool,
}

/// The watch over all devices of a store.
pub(crate) struct Space {
    probe: Arc<dyn DeviceProbe>,
    /// The tiers in order, then the log.
    devices: Vec<Watched>,
    /// Whether user writes are refused: a device they need is under its reserve.
    refusing: AtomicBool,
    short: Mutex<Option<usize>>,
    refused: AtomicU64,
}

impl Watched {
    pub(crate) fn new(name: String, path: PathBuf, reserve: u64) -> Self {
        Self {
            name,
            path,
            reserve: AtomicU64::new(reserve),
            free: AtomicU64::new(u64::MAX),
            total: AtomicU64::new(u64::MAX),
            under: AtomicBool::new(false),
        }
    }
}

impl Space {
    /// Watches the tiers (fastest first) and, last, the log.
    pub(crate) fn new(probe: Arc<dyn DeviceProbe>, devices: Vec<Watched>) -> Self {
        Self { probe, devices, refusing: AtomicBool::new(false), short: Mutex::new(None), refused: AtomicU64::new(0) }
    }

    /// Asks every device. `true`: space came back, RocksDB should be resumed.
    pub(crate) fn refresh(&self) -> bool {
        for device in &self.devices {
            match self.probe.space(&device.path) {
                Ok(DeviceSpace { total, free }) => {
                    device.free.store(free, Ordering::Relaxed);
                    device.total.store(total, Ordering::Relaxed);
                    let under = free < device.reserve.load(Ordering::Relaxed);
                    if device.under.swap(under, Ordering::Relaxed) != under {
                        tracing::warn!(device = %device.name, free, under, "free space crossed the reserve");
                    }
                }
                Err(error) => tracing::warn!(device = %device.name, %error, "could not ask for free space"),
            }
        }
        // User writes need the log and the fastest tier. A slower tier that is full stops moves into it, not writes.
        let log = self.devices.len().saturating_sub(1);
        let needed = [log, 0];
        let short = needed.into_iter().find(|&i| self.devices.get(i).is_some_and(|d| d.under.load(Ordering::Relaxed)));
        *self.short.lock() = short;
        let was = self.refusing.swap(short.is_some(), Ordering::SeqCst);
        was && short.is_none()
    }

    /// Refuses a user write while a device it needs is under its reserve.
    pub(crate) fn admit_write(&self) -> Result<()> {
        if !self.refusing.load(Ordering::Relaxed) || !Guard::SpaceReserve.on() {
            return Ok(());
        }
        self.refused.fetch_add(1, Ordering::Relaxed);
        let short = *self.short.lock();
        short.map_or(Ok(()), |device| Err(self.out_of_space(device, 0)))
    }

    /// Refuses a move into a tier whose device is under its reserve.
    pub(crate) fn admit_move(&self, tier: usize) -> Result<()> {
        if self.under_reserve(tier) { Err(self.out_of_space(tier, 0)) } else { Ok(()) }
    }

    /// Refuses files of so many bytes that a tier's device would not take without its reserve.
    pub(crate) fn admit_files(&self, tier: usize, bytes: u64) -> Result<()> {
        let device = &self.devices[tier];
        let free = device.free.load(Ordering::Relaxed);
        let usable = free.saturating_sub(device.reserve.load(Ordering::Relaxed));
        if bytes > usable && Guard::SpaceReserve.on() { Err(self.out_of_space(tier, bytes)) } else { Ok(()) }
    }

    fn out_of_space(&self, device: usize, needed: u64) -> EngineError {
        let device = &self.devices[device];
        EngineError::OutOfSpace {
            device: device.name.clone(),
            free: device.free.load(Ordering::Relaxed),
            reserve: device.reserve.load(Ordering::Relaxed),
            needed,
        }
    }

    /// Whether a tier's device is under its reserve.
    pub(crate) fn under_reserve(&self, tier: usize) -> bool {
        self.devices[tier].under.load(Ordering::Relaxed)
    }

    /// Whether user writes are refused, and for which device.
    pub(crate) fn refusing(&self) -> Option<String> {
        let short = *self.short.lock();
        short.and_then(|i| self.devices.get(i)).map(|d| d.name.clone())
    }

    /// What a tier may hold: the smaller of its size and what its file system has for it.
    pub(crate) fn capacity(&self, tier: usize, size: u64, used: u64) -> u64 {
        let free = self.devices[tier].free.load(Ordering::Relaxed);
        size.min(used.saturating_add(free))
    }

    /// Changes the reserve of a tier; the log has that of the fastest one.
    pub(crate) fn set_reserve(&self, tier: usize, reserve: u64) {
        self.devices[tier].reserve.store(reserve, Ordering::Relaxed);
        if let Some(log) = self.devices.last().filter(|_| tier == 0) {
            log.reserve.store(reserve, Ordering::Relaxed);
        }
    }

    /// User writes refused so far.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}
