//! Pause points: a thread stops where a test wants it until the test lets it go on.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use thermocline_engine::{CrashPoint, Environment};

#[derive(Default)]
struct State {
    /// Where the next thread that comes by stops.
    armed: HashSet<CrashPoint>,
    /// Where threads stand now.
    reached: HashSet<CrashPoint>,
    /// Where the next thread that comes by fails.
    failing: HashSet<CrashPoint>,
}

/// Pauses at the engine's crash points.
#[derive(Clone, Default)]
pub struct Pauses(Arc<(Mutex<State>, Condvar)>);

impl Pauses {
    /// The machine's environment with these pauses.
    pub fn environment(&self) -> Environment {
        let pauses = self.clone();
        super::hooked(move |point| pauses.pass(point))
    }

    /// The same, and the queue of buffered writes is written only where somebody else than its own thread asks for it.
    pub fn environment_without_flusher(&self) -> Environment {
        let pauses = self.clone();
        super::hooked(move |point| {
            if point == CrashPoint::BufferedFlush && std::thread::current().name() == Some("buffered-flush") {
                return Err("the test keeps the queue".to_owned());
            }
            pauses.pass(point)
        })
    }

    fn pass(&self, point: CrashPoint) -> Result<(), String> {
        let (state, changed) = &*self.0;
        let mut state = state.lock();
        if state.failing.remove(&point) {
            return Err("the test asked for it".to_owned());
        }
        if state.armed.contains(&point) {
            state.reached.insert(point);
            changed.notify_all();
            // A test that fails while somebody stands here cannot let go.
            while state.armed.contains(&point) && !changed.wait_for(&mut state, super::PATIENCE).timed_out() {}
            state.reached.remove(&point);
        }
        Ok(())
    }

    /// Whoever comes to this point stops there.
    pub fn arm(&self, point: CrashPoint) {
        self.0.0.lock().armed.insert(point);
    }

    /// The next one who comes to this point fails there.
    pub fn fail(&self, point: CrashPoint) {
        self.0.0.lock().failing.insert(point);
    }

    /// Waits until somebody stands at the point.
    pub fn wait(&self, point: CrashPoint) {
        let (state, changed) = &*self.0;
        let mut state = state.lock();
        while !state.reached.contains(&point) {
            assert!(
                !changed.wait_for(&mut state, Duration::from_secs(60)).timed_out(),
                "nobody came to {point:?} within a minute"
            );
        }
    }

    /// Lets go whoever stands at the point, and disarms it.
    pub fn release(&self, point: CrashPoint) {
        let (state, changed) = &*self.0;
        state.lock().armed.remove(&point);
        changed.notify_all();
    }
}
