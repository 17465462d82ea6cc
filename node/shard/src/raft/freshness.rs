//! How new a replica's state is, by its own clock alone. Pure.
//!
//! A replica asks whoever leads up to which entry a read has to see. The leader answers once a quorum has said, after it was
//! asked, that it leads: so whatever was acknowledged before the question is among those entries, and a replica that has applied
//! them is at least as new as the moment *it sent* the question. No two clocks are compared, and whatever is late on the way, or
//! paused, makes the state seem older than it is, never newer.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// Time since a moment that means nothing. Nobody sets it, and it goes on while the process or its machine sleeps.
pub type SteadyClock = Arc<dyn Fn() -> Duration + Send + Sync>;

/// Answers that wait until they are applied, at most.
const KEPT: usize = 16;

/// What a leader said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Told {
    /// When the question was sent.
    pub asked: Duration,
    /// The entry up to which a read has to see.
    pub index: u64,
}

/// What leaders said, the oldest first; of those that are applied the newest.
#[derive(Debug, Default)]
pub(super) struct Freshness(VecDeque<Told>);

impl Freshness {
    /// A leader answered.
    pub fn note(&mut self, told: Told) {
        if self.0.back().is_some_and(|last| last.asked >= told.asked) {
            return;
        }
        // The older ones are applied first: they must not be put off by ever newer ones.
        if self.0.len() == KEPT {
            self.0.pop_back();
        }
        self.0.push_back(told);
    }

    /// The last moment before which all that was acknowledged is in a state that has applied the entries up to this one.
    pub fn whole_at(&mut self, applied: Option<u64>) -> Option<Duration> {
        let newest = self.0.iter().rposition(|told| Some(told.index) <= applied)?;
        self.0.drain(..newest);
        self.0.front().map(|told| told.asked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn told(asked: u64, index: u64) -> Told {
        Told { asked: seconds(asked), index }
    }

    #[test]
    fn nothing_is_known_of_a_state_before_a_leader_was_asked_and_what_it_said_is_applied() {
        let mut freshness = Freshness::default();
        assert_eq!(freshness.whole_at(Some(100)), None);
        freshness.note(told(5, 10));
        assert_eq!(freshness.whole_at(None), None);
        assert_eq!(freshness.whole_at(Some(9)), None);
        assert_eq!(freshness.whole_at(Some(10)), Some(seconds(5)));
    }

    #[test]
    fn a_state_is_as_new_as_the_last_question_whose_answer_is_applied() {
        let mut freshness = Freshness::default();
        for (asked, index) in [(1, 10), (2, 20), (3, 30)] {
            freshness.note(told(asked, index));
        }
        assert_eq!(freshness.whole_at(Some(29)), Some(seconds(2)));
        assert_eq!(freshness.whole_at(Some(29)), Some(seconds(2)), "it is no newer by being asked");
        assert_eq!(freshness.whole_at(Some(1000)), Some(seconds(3)));
    }

    #[test]
    fn a_leader_that_lost_its_own_first_entry_puts_off_nobody() {
        // The next one's log may be shorter.
        let mut freshness = Freshness::default();
        freshness.note(told(1, 10));
        freshness.note(told(2, 100));
        freshness.note(told(3, 95));
        assert_eq!(freshness.whole_at(Some(95)), Some(seconds(3)));
    }

    #[test]
    fn a_replica_that_is_always_behind_the_newest_answer_gets_to_older_ones() {
        let mut freshness = Freshness::default();
        for at in 1..=1000 {
            freshness.note(told(at, at));
        }
        assert!(freshness.0.len() <= KEPT);
        assert_eq!(freshness.whole_at(Some(2)), Some(seconds(2)));
        assert_eq!(freshness.whole_at(Some(1000)), Some(seconds(1000)));
    }

    #[test]
    fn an_answer_that_comes_late_makes_a_state_no_newer() {
        let mut freshness = Freshness::default();
        freshness.note(told(7, 10));
        freshness.note(told(6, 20));
        assert_eq!(freshness.whole_at(Some(1000)), Some(seconds(7)));
    }
}
