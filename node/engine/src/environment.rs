//! What the engine takes from outside: time, randomness, the free space of devices, and crash points for tests.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Time, as the engine sees it.
pub trait Clock: Send + Sync + 'static {
    /// Since the Unix epoch. Heat is aged by it, so it must go on over restarts.
    fn wall(&self) -> Duration;
    /// Since an arbitrary moment, never backwards; it goes on while the machine is suspended, where the system has such a clock.
    fn monotonic(&self) -> Duration;
    /// Waits.
    fn sleep(&self, duration: Duration);
}

/// The machine's clock.
#[derive(Debug)]
pub struct SystemClock {
    started: Duration,
}

impl Default for SystemClock {
    fn default() -> Self {
        Self { started: since_boot() }
    }
}

/// The standard library's own clock stands still while the machine is suspended.
#[cfg(target_os = "linux")]
fn since_boot() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::try_from(now).unwrap_or_default()
}

#[cfg(not(target_os = "linux"))]
#[allow(clippy::disallowed_methods)] // the one place where the machine's clock is read
fn since_boot() -> Duration {
    static FIRST: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    FIRST.get_or_init(std::time::Instant::now).elapsed()
}

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods)] // the one place where the machine's clock is read
    fn wall(&self) -> Duration {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
    }

    fn monotonic(&self) -> Duration {
        since_boot().saturating_sub(self.started)
    }

    #[allow(clippy::disallowed_methods)] // the one place that waits by the machine's clock
    fn sleep(&self, duration: Duration) {
        std::thread::sleep(duration);
    }
}

/// What a file system has, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceSpace {
    /// In all.
    pub total: u64,
    /// Free for this process.
    pub free: u64,
}

/// Asks devices for their space.
pub trait DeviceProbe: Send + Sync + 'static {
    /// The space of the file system that holds `path`.
    ///
    /// # Errors
    /// What the system answered.
    fn space(&self, path: &Path) -> std::io::Result<DeviceSpace>;
}

/// Asks the system, by statvfs.
#[derive(Debug, Default)]
pub struct SystemProbe;

impl DeviceProbe for SystemProbe {
    fn space(&self, path: &Path) -> std::io::Result<DeviceSpace> {
        let facts = rustix::fs::statvfs(path)?;
        Ok(DeviceSpace {
            total: facts.f_blocks.saturating_mul(facts.f_frsize),
            free: facts.f_bavail.saturating_mul(facts.f_frsize),
        })
    }
}

/// A moment at which a test may end the process or let an operation fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CrashPoint {
    /// The journal names the move; nothing was written yet.
    MoveJournaled,
    /// The file for the target tier is written and synced.
    FileWritten,
    /// The WAL is synced.
    WalSynced,
    /// The file is ingested.
    Ingested,
    /// The journal says that the upper copies go.
    DropJournaled,
    /// The upper copies are gone.
    Dropped,
    /// The journal entry is gone.
    MoveDone,
    /// Moves have left much behind in the tier they emptied: a range of it is about to be compacted. No step of a move.
    DeletesDue,
    /// A checkpoint is about to copy the files of a tier. No step of a move.
    CheckpointCopying,
    /// A wipe is journaled.
    WipeJournaled,
    /// Some tiers are wiped.
    WipeHalfDone,
    /// An install is journaled.
    InstallJournaled,
    /// Some files of an install are ingested.
    InstallHalfDone,
    /// Copies are up, the slowest tier still has them.
    EmptyCopied,
    /// The buffered writes are about to be written.
    BufferedFlush,
}

impl CrashPoint {
    /// Every step of a move or range operation, for the tests that visit them all.
    pub const ALL: [Self; 13] = [
        Self::MoveJournaled,
        Self::FileWritten,
        Self::WalSynced,
        Self::Ingested,
        Self::DropJournaled,
        Self::Dropped,
        Self::MoveDone,
        Self::WipeJournaled,
        Self::WipeHalfDone,
        Self::InstallJournaled,
        Self::InstallHalfDone,
        Self::EmptyCopied,
        Self::BufferedFlush,
    ];
}

/// Called at every crash point; a test's may abort the process. `Err` lets the operation fail there.
pub type CrashHook = Arc<dyn Fn(CrashPoint) -> Result<(), String> + Send + Sync>;

/// Everything the engine takes from outside.
#[derive(Clone)]
pub struct Environment {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Free space.
    pub probe: Arc<dyn DeviceProbe>,
    /// The seed of everything random: ids of new tiers, sampling.
    pub seed: u64,
    /// Called at crash points.
    pub crash_hook: Option<CrashHook>,
}

impl Environment {
    /// The machine's clock and devices, and this seed.
    #[must_use]
    pub fn system(seed: u64) -> Self {
        Self { clock: Arc::new(SystemClock::default()), probe: Arc::new(SystemProbe), seed, crash_hook: None }
    }

    /// Passes a crash point.
    pub(crate) fn pass(&self, point: CrashPoint) -> crate::Result<()> {
        match &self.crash_hook {
            Some(hook) => {
                hook(point).map_err(|reason| crate::EngineError::Invalid(format!("stopped at {point:?}: {reason}")))
            }
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment").field("seed", &self.seed).finish_non_exhaustive()
    }
}
