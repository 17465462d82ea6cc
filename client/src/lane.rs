//! One id of a client that its writes are numbered under, and which numbers may be given out. Pure.
//!
//! A shard remembers the last [`WINDOW`] writes of an id, write `n` in slot `n % WINDOW`. A write that is sent again after its
//! slot was taken by a later one is refused, and nobody learns what became of it. So the numbers between the oldest write
//! under way and the newest stay fewer than the window: a slow write holds its lane, and the others go to another lane.

use std::collections::BTreeSet;

use bytes::Bytes;
use thermocline_proto::v1;

use crate::options::ClientId;

/// Writes of one id that a shard remembers; part of the contract.
pub(crate) const WINDOW: u64 = 64;
/// Writes under way under one id, at most: half of the window, so that one slow write does not stop its lane at once.
pub(crate) const WRITES_OF_A_LANE: usize = 32;

/// An id, with its next number and what is under way.
#[derive(Debug)]
pub(crate) struct Lane {
    id: Bytes,
    next: u64,
    under_way: BTreeSet<u64>,
}

impl Lane {
    pub(crate) fn new(id: ClientId) -> Self {
        Self { id: Bytes::copy_from_slice(id.as_bytes()), next: 1, under_way: BTreeSet::new() }
    }

    /// Whether another write may begin.
    pub(crate) fn has_room(&self) -> bool {
        let in_window = self.under_way.first().is_none_or(|oldest| self.next - oldest < WINDOW);
        self.under_way.len() < WRITES_OF_A_LANE && in_window
    }

    /// The name of a write that begins; `None` where the lane has no room.
    pub(crate) fn begin(&mut self) -> Option<v1::RequestId> {
        if !self.has_room() {
            return None;
        }
        let sequence = self.next;
        self.next += 1;
        self.under_way.insert(sequence);
        Some(v1::RequestId { client: self.id.clone(), sequence })
    }

    /// A write is not sent any more.
    pub(crate) fn end(&mut self, sequence: u64) {
        self.under_way.remove(&sequence);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_lane_that_one_slow_write_holds_goes_on_up_to_the_window_and_no_further() {
        let mut lane = Lane::new(ClientId::from([7; 16]));
        let slow = lane.begin().unwrap();
        let mut newest = slow.sequence;
        while let Some(id) = lane.begin() {
            newest = id.sequence;
            lane.end(id.sequence);
        }
        assert_eq!(newest - slow.sequence, WINDOW - 1, "one more would take the slot of the slow one");
        lane.end(slow.sequence);
        assert!(lane.has_room());
    }

    #[test]
    fn a_number_is_never_given_out_twice() {
        let mut lane = Lane::new(ClientId::from([7; 16]));
        let first = lane.begin().unwrap();
        lane.end(first.sequence);
        assert_eq!((first.sequence, lane.begin().unwrap().sequence), (1, 2));
    }

    proptest! {
        #[test]
        fn no_write_under_way_ever_loses_its_slot(steps in prop::collection::vec(prop::option::weighted(0.4, any::<prop::sample::Index>()), 1..600)) {
            let mut lane = Lane::new(ClientId::from([7; 16]));
            let mut under_way: Vec<u64> = Vec::new();
            let mut slots = std::collections::BTreeMap::new();
            for step in steps {
                match step {
                    Some(ends) if !under_way.is_empty() => {
                        let at = ends.index(under_way.len());
                        lane.end(under_way.swap_remove(at));
                    }
                    _ => {
                        if let Some(id) = lane.begin() {
                            slots.insert(id.sequence % WINDOW, id.sequence);
                            under_way.push(id.sequence);
                        }
                    }
                }
                prop_assert!(under_way.len() <= WRITES_OF_A_LANE);
                for sequence in &under_way {
                    prop_assert_eq!(slots.get(&(sequence % WINDOW)), Some(sequence));
                }
            }
        }
    }
}
