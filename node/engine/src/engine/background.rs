//! The engine's threads: the flusher of buffered writes, the watch over space, readers of parts, the mover. They end
//! with the last handle.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;

use super::Inner;
use crate::error::{EngineError, chain};
use crate::mover::{run_mover, run_sweep};
use crate::options::EngineOptions;
use crate::prefetch::run_prefetch;
use crate::read::part_readers::run_part_reader;
use crate::write::buffered::MAX_AGE;

/// How long a thread may sleep before it looks whether the store closes.
const GLANCE: Duration = Duration::from_millis(50);

/// The running threads.
pub(super) struct Background {
    inner: Arc<Inner>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// The last handle was told how closing ended: dropping it does not try again, or what it was told could be wrong.
    told: AtomicBool,
}

impl Background {
    pub(super) fn start(inner: &Arc<Inner>, options: &EngineOptions) -> Self {
        let interval = options.space_interval;
        let mut threads = vec![
            spawn("buffered-flush", inner, flush_buffered),
            spawn("space-watch", inner, move |inner| watch_space(inner, interval)),
        ];
        for _ in 0..inner.part_readers.threads() {
            threads.push(spawn("multi-get", inner, run_part_reader));
        }
        if options.background_moves {
            threads.push(spawn("prefetch", inner, run_prefetch));
            threads.push(spawn("mover", inner, run_mover));
            threads.push(spawn("sweep", inner, run_sweep));
        }
        Self {
            inner: Arc::clone(inner),
            threads: Mutex::new(threads.into_iter().flatten().collect()),
            told: AtomicBool::new(false),
        }
    }

    /// Stops, and tells how that ended. `last`: the caller holds the last handle.
    pub(super) fn close(&self, last: bool) -> crate::Result<()> {
        let stopped = self.stop();
        self.told.store(last && stopped.is_err(), Ordering::SeqCst);
        stopped
    }

    /// Ends the threads and writes what is only in memory: as much of it as can be, whatever fails.
    fn stop(&self) -> crate::Result<()> {
        self.inner.closing.store(true, Ordering::SeqCst);
        for thread in self.threads.lock().drain(..) {
            if thread.join().is_err() {
                tracing::error!("a background thread of the engine panicked");
            }
        }
        let flushed = self.inner.buffered.flush(&self.inner.database).map_err(|source| EngineError::BufferLost {
            entries: self.inner.buffered.pending(),
            source: Box::new(source),
        });
        let stored = self.inner.heat.store();
        let synced = match flushed {
            Ok(()) => self.inner.sync().map(|_| ()),
            Err(_) => self.inner.database.sync_wal(),
        };
        flushed.and(stored).and(synced)
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if self.told.load(Ordering::SeqCst) {
            return;
        }
        if let Err(error) = self.stop() {
            let error = chain(&error);
            tracing::error!(error, "the store did not close cleanly; what was acknowledged as buffered may be lost");
        }
    }
}

fn spawn(name: &str, inner: &Arc<Inner>, body: impl FnOnce(&Inner) + Send + 'static) -> Option<JoinHandle<()>> {
    let inner = Arc::clone(inner);
    let spawned = std::thread::Builder::new().name(name.to_owned()).spawn(move || body(&inner));
    spawned.inspect_err(|error| tracing::error!(name, %error, "a background thread could not be started")).ok()
}

fn flush_buffered(inner: &Inner) {
    while !inner.is_closing() {
        if !inner.buffered.wait(GLANCE) {
            continue;
        }
        inner.environment.clock.sleep(MAX_AGE);
        if let Err(error) = inner.buffered.flush(&inner.database) {
            tracing::warn!(error = %chain(&error), "buffered writes stay queued");
            inner.environment.clock.sleep(GLANCE);
        }
    }
}

fn watch_space(inner: &Inner, interval: Duration) {
    let mut slept = interval;
    while !inner.is_closing() {
        inner.database.watch_damage();
        // Here, since it always runs: the rings of samples are bounded, and a round of moves may take hours.
        inner.heat.absorb();
        if slept < interval {
            let nap = GLANCE.min(interval);
            inner.environment.clock.sleep(nap);
            slept += nap;
            continue;
        }
        slept = Duration::ZERO;
        inner.refresh_space();
    }
}

impl Inner {
    /// Asks the devices for their space; resumes RocksDB when it came back.
    pub(crate) fn refresh_space(&self) {
        let returned = self.space.refresh();
        let stopped = self.database.events.out_of_space.swap(0, Ordering::SeqCst) > 0;
        if (returned || stopped) && self.space.refusing().is_none() {
            match self.database.raw().resume() {
                Ok(()) => tracing::info!("space is back: writes go on"),
                Err(error) => {
                    self.database.events.out_of_space.fetch_add(1, Ordering::SeqCst);
                    tracing::warn!(%error, "space is back, but RocksDB does not resume yet");
                }
            }
        }
    }
}
