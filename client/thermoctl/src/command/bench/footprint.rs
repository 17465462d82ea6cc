//! What a run has written and not removed again, and what is said of it on Ctrl-C.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use crate::{output::count, workload::Live};

/// Counts the records of one run.
#[derive(Debug)]
pub(super) struct Footprint {
    /// Whether they are removed at the end.
    removed_at_end: bool,
    begun: AtomicU64,
    live: Arc<Live>,
    removed: AtomicU64,
    removing: AtomicBool,
}

impl Footprint {
    pub(super) fn new(removed_at_end: bool, live: Arc<Live>) -> Self {
        let (begun, removed, removing) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
        Self { removed_at_end, begun, live, removed, removing }
    }

    /// So many records were loaded, or may have been.
    pub(super) fn loaded_up_to(&self, number: u64) {
        self.begun.store(number, Ordering::Relaxed);
    }

    pub(super) fn begin_to_remove(&self) {
        self.removing.store(true, Ordering::Relaxed);
    }

    pub(super) fn removed(&self, records: u64) {
        self.removed.fetch_add(records, Ordering::Relaxed);
    }

    /// How many records there may still be.
    fn left(&self) -> u64 {
        let written = self.begun.load(Ordering::Relaxed) + self.live.inserted();
        written.saturating_sub(self.removed.load(Ordering::Relaxed))
    }

    /// What a first Ctrl-C does now. One that comes while records are removed ends that, which says so itself.
    pub(super) fn first_words(&self) -> String {
        match (self.removing.load(Ordering::Relaxed), self.removed_at_end) {
            (true, _) => String::new(),
            (false, true) => "removing what was loaded; Ctrl-C again leaves it".to_owned(),
            (false, false) => "ending after what is under way; Ctrl-C again does not wait for it".to_owned(),
        }
    }

    /// What an end now leaves.
    pub(super) fn last_words(&self) -> String {
        match self.left() {
            0 => String::new(),
            left => format!("up to {} records of the run stay", count(left)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interruption_is_told_what_stays_at_the_time() {
        let footprint = Footprint::new(true, Arc::default());
        assert_eq!(footprint.last_words(), "", "nothing is written yet");
        footprint.loaded_up_to(1500);
        assert!(footprint.first_words().contains("again leaves it"));
        assert_eq!(footprint.last_words(), "up to 1,500 records of the run stay");
        footprint.begin_to_remove();
        footprint.removed(500);
        assert_eq!(footprint.first_words(), "");
        assert_eq!(footprint.last_words(), "up to 1,000 records of the run stay");
        let kept = Footprint::new(false, Arc::default());
        assert!(!kept.first_words().contains("removing"), "they are to stay");
    }
}
