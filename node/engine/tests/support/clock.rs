//! A clock on which chosen threads stop: the engine asks for the time between two steps of a read, and sleeps between
//! two steps of a throttled move.

use std::collections::HashMap;
use std::sync::Arc;
use std::thread::ThreadId;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use thermocline_engine::{Clock, Environment, SystemClock};

/// What stops a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// When it asks for the time so many times more.
    Asking(u32),
    /// When it sleeps next.
    Sleeping,
}

#[derive(Default)]
struct State {
    stops: HashMap<ThreadId, Stop>,
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

    /// Stops the calling thread once.
    pub fn stop_me(&self, stop: Stop) {
        self.0.state.lock().stops.insert(std::thread::current().id(), stop);
    }

    /// The calling thread stops no more.
    pub fn forget_me(&self) {
        self.0.state.lock().stops.remove(&std::thread::current().id());
    }

    /// Waits until a thread stands still; `false` after a minute.
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

    fn stop(&self, mut due: impl FnMut(&mut Stop) -> bool) {
        let mut state = self.0.state.lock();
        let me = std::thread::current().id();
        if !state.stops.get_mut(&me).is_some_and(&mut due) {
            return;
        }
        state.stops.remove(&me);
        state.stopped += 1;
        self.0.changed.notify_all();
        while state.released == 0 {
            self.0.changed.wait(&mut state);
        }
        state.released -= 1;
        state.stopped -= 1;
    }
}

impl Clock for StopClock {
    fn wall(&self) -> Duration {
        self.0.system.wall()
    }

    fn monotonic(&self) -> Duration {
        self.stop(|stop| match stop {
            Stop::Asking(0 | 1) => true,
            Stop::Asking(left) => {
                *left -= 1;
                false
            }
            Stop::Sleeping => false,
        });
        self.0.system.monotonic()
    }

    fn sleep(&self, duration: Duration) {
        self.stop(|stop| *stop == Stop::Sleeping);
        self.0.system.sleep(duration);
    }
}
