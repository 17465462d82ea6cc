#![allow(clippy::unwrap_used)]
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

const REPLICA: ReplicaId = ReplicaId(7);

struct Asked {
    disk: Disk,
    answered: Arc<AtomicUsize>,
}

impl Asked {
    fn new(flaw: Option<Flaw>) -> Self {
        Self { disk: Disk::new(Arc::new(Observer::new()), flaw), answered: Arc::default() }
    }

    fn append(&self, index: u64) {
        let answered = Arc::clone(&self.answered);
        let done = Box::new(move |outcome: io::Result<()>| {
            outcome.unwrap();
            answered.fetch_add(1, Ordering::SeqCst);
        });
        self.disk.append(REPLICA, vec![(index, Bytes::from_static(b"entry"))], done);
    }

    fn answered(&self) -> usize {
        self.answered.load(Ordering::SeqCst)
    }
}

#[test]
fn what_was_answered_survives_a_crash_and_what_was_not_is_gone() {
    let asked = Asked::new(None);
    asked.append(1);
    asked.disk.step(0, 3);
    asked.append(2);
    asked.disk.step(2, 3);
    assert_eq!(asked.answered(), 0, "the write takes 3 ms");
    assert_eq!(asked.disk.last_index(REPLICA), Some(2), "what was asked can be read at once");
    asked.disk.step(3, 3);
    assert_eq!(asked.answered(), 1, "the second came after the first write began");
    asked.disk.crash(false);
    assert_eq!(asked.disk.last_index(REPLICA), Some(1));
}

#[test]
fn the_write_under_way_is_there_wholly_or_not_at_all() {
    for (lucky, last) in [(true, Some(2)), (false, None)] {
        let asked = Asked::new(None);
        asked.append(1);
        asked.append(2);
        asked.disk.step(0, 3);
        asked.append(3);
        asked.disk.crash(lucky);
        assert_eq!(asked.disk.last_index(REPLICA), last);
        assert_eq!(asked.answered(), 0);
    }
}

#[test]
fn a_disk_that_answers_before_it_synced_loses_what_it_answered() {
    let asked = Asked::new(Some(Flaw::EntriesNotSynced));
    asked.append(1);
    assert_eq!(asked.answered(), 1);
    asked.disk.crash(false);
    assert_eq!(asked.disk.last_index(REPLICA), None);
}
