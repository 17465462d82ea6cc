//! Syncs of the log that are shared: whoever needs one joins the next that begins.
//!
//! A write that is to survive a power loss is logged while its stripe is held, like any other, and joins here when it
//! has let go: a stripe that was held over the sync would let one write of a key through for each sync. A sync makes
//! everything durable that was logged before it began, so the one that is under way does not do: it may have passed the
//! record already. One of those that wait leads the next, for all of them.
//!
//! What is logged and not yet synced is seen by others, as what is written without a sync is. Whatever they write after
//! they saw it stands behind it in the one log, so no power loss leaves theirs without it.

use std::sync::{Arc, OnceLock};

use parking_lot::{Condvar, Mutex};

use crate::error::{EngineError, Result, chain};

/// One sync and whoever waits for it.
#[derive(Default)]
struct Round {
    /// How it ended. A failure is that of all who joined it: that a later sync succeeds proves nothing.
    ended: OnceLock<std::result::Result<(), String>>,
}

#[derive(Default)]
struct State {
    /// The next to begin.
    next: Arc<Round>,
    /// Whether one is under way.
    running: bool,
}

/// The rounds of a store.
#[derive(Default)]
pub(crate) struct GroupSync {
    state: Mutex<State>,
    ended: Condvar,
}

impl GroupSync {
    /// Waits for a sync that begins after now; carries it out if nobody else does.
    pub(crate) fn join(&self, sync: impl FnOnce() -> Result<()>) -> Result<()> {
        let mut state = self.state.lock();
        let round = Arc::clone(&state.next);
        loop {
            if let Some(ended) = round.ended.get() {
                return ended.clone().map_err(|reason| EngineError::NotSynced { reason });
            }
            // A round begins when it stops to be the next one, and runs until it has ended: this one has not begun.
            if !state.running {
                break;
            }
            self.ended.wait(&mut state);
        }
        state.running = true;
        state.next = Arc::default();
        drop(state);
        let synced = sync().map_err(|error| chain(&error));
        let mut state = self.state.lock();
        state.running = false;
        // Nobody else leads this round.
        let _ = round.ended.set(synced.clone());
        drop(state);
        self.ended.notify_all();
        synced.map_err(|reason| EngineError::NotSynced { reason })
    }

    /// How many wait for the next round.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        Arc::strong_count(&self.state.lock().next) - 1
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use crossbeam_channel::bounded;

    use super::*;

    /// A round that runs until it is told to end, and others that join meanwhile.
    fn joined_while_one_runs(second: &(dyn Fn() -> Result<()> + Sync)) -> Vec<Result<()>> {
        let group = GroupSync::default();
        let (begun, has_begun) = bounded::<()>(1);
        let (end, may_end) = bounded::<()>(1);
        std::thread::scope(|scope| {
            let first = scope.spawn(|| {
                group.join(|| {
                    begun.send(()).unwrap();
                    may_end.recv().unwrap();
                    Ok(())
                })
            });
            has_begun.recv().unwrap();
            let others: Vec<_> = (0..4).map(|_| scope.spawn(|| group.join(second))).collect();
            while group.waiting() < others.len() {
                std::thread::yield_now();
            }
            assert!(others.iter().all(|other| !other.is_finished()), "answered by a sync that had begun before");
            end.send(()).unwrap();
            first.join().unwrap().unwrap();
            others.into_iter().map(|other| other.join().unwrap()).collect()
        })
    }

    #[test]
    fn those_who_come_during_a_sync_share_the_next_one() {
        let syncs = AtomicU64::new(0);
        let synced = joined_while_one_runs(&|| {
            syncs.fetch_add(1, Ordering::SeqCst);
            Ok(())
        });
        assert!(synced.iter().all(Result::is_ok));
        assert_eq!(syncs.into_inner(), 1);
    }

    #[test]
    fn a_sync_that_fails_fails_all_who_wait_for_it_and_nobody_tries_again() {
        let syncs = AtomicU64::new(0);
        let synced = joined_while_one_runs(&|| {
            // A second try would be called good.
            let tries = syncs.fetch_add(1, Ordering::SeqCst);
            if tries == 0 { Err(EngineError::Invalid("the device is gone".to_owned())) } else { Ok(()) }
        });
        for result in synced {
            assert!(matches!(&result, Err(EngineError::NotSynced { reason }) if reason.contains("gone")), "{result:?}");
        }
        assert_eq!(syncs.into_inner(), 1);
    }
}
