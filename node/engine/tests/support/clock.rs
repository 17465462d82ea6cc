//! A clock on which chosen threads stop when they sleep: the engine sleeps between two steps of a throttled move.

use std::collections::HashSet;
use std::sync::Arc;
use std::thread::ThreadId;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use thermocline_engine::{Clock, Environment, SystemClock};

#[derive(Default)]
struct State {
    stops: HashSet<ThreadId>,
    stopped: usize,
    released: usize,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    system: SystemClock,
}

/// The machine's clock, with stops.
#[derive(Clone, Default)]
pub struct StopClock(Arc<Shared>);

impl StopClock {
    pub fn environment(&self) -> Environment {
        Environment { clock: Arc::new(self.clone()), ..Environment::system(7) }
    }

    /// Stops the calling thread when it sleeps next.
    pub fn stop_me(&self) {
        self.0.state.lock().stops.insert(std::thread::current().id());
    }

    /// Waits until a thread stands still.
    pub fn wait(&self) {
        let mut state = self.0.state.lock();
        while state.stopped == 0 {
            assert!(
                !self.0.changed.wait_for(&mut state, Duration::from_secs(60)).timed_out(),
                "no thread stopped within a minute"
            );
        }
    }

    /// Lets one stopped thread go on.
    pub fn release(&self) {
        self.0.state.lock().released += 1;
        self.0.changed.notify_all();
    }

    fn stop(&self) {
        let mut state = self.0.state.lock();
        if !state.stops.remove(&std::thread::current().id()) {
            return;
        }
        state.stopped += 1;
        self.0.changed.notify_all();
        // A test that fails meanwhile cannot let go.
        while state.released == 0 && !self.0.changed.wait_for(&mut state, super::PATIENCE).timed_out() {}
        state.released = state.released.saturating_sub(1);
        state.stopped -= 1;
    }
}

impl Clock for StopClock {
    fn wall(&self) -> Duration {
        self.0.system.wall()
    }

    fn monotonic(&self) -> Duration {
        self.0.system.monotonic()
    }

    fn sleep(&self, duration: Duration) {
        self.stop();
        self.0.system.sleep(duration);
    }
}
