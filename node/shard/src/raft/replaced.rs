//! Whether what a replica stores is being replaced or taken away: a read meanwhile would take what is missing for what never was.

use std::sync::atomic::{AtomicU64, Ordering};

/// How often a replica's state began to be replaced, and how often that ended well.
#[derive(Debug, Default)]
pub struct Replaced {
    begun: AtomicU64,
    done: AtomicU64,
}

impl Replaced {
    /// To be called before the first record goes.
    pub fn begin(&self) {
        self.begun.fetch_add(1, Ordering::SeqCst);
    }

    /// What was begun is whole. Where it failed, or the replica goes, this is not called: nothing is read any more.
    pub fn done(&self) {
        self.done.fetch_add(1, Ordering::SeqCst);
    }

    /// Names the state that is there, which is whole; `None` where it is not. What was read is of it if it has the same name after
    /// as before.
    #[must_use]
    pub fn whole(&self) -> Option<u64> {
        let begun = self.begun.load(Ordering::SeqCst);
        (begun == self.done.load(Ordering::SeqCst)).then_some(begun)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_that_is_being_replaced_is_not_whole_and_has_another_name_afterwards() {
        let replaced = Replaced::default();
        let before = replaced.whole();
        assert!(before.is_some());
        replaced.begin();
        assert_eq!(replaced.whole(), None);
        replaced.done();
        assert!(replaced.whole().is_some_and(|after| Some(after) != before));
    }

    #[test]
    fn a_replica_that_goes_while_it_is_replaced_is_not_whole_again() {
        let replaced = Replaced::default();
        replaced.begin();
        replaced.begin();
        replaced.done();
        assert_eq!(replaced.whole(), None);
    }
}
