//! The ids that a client writes under. A write takes a place in the first [`Lane`] that has room; where none has and no more
//! lanes are allowed, it waits.
//!
//! Lanes are used again, the first ones first, and not made for each call: a shard remembers a bounded number of ids for
//! minutes, and refuses a retry under an id that it does not know.

use parking_lot::Mutex;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use thermocline_proto::v1;
use tokio::{sync::Notify, time::Instant};

use crate::{
    lane::{Lane, WRITES_OF_A_LANE},
    options::ClientId,
};

/// The lanes of one client.
#[derive(Debug)]
pub(crate) struct Lanes {
    inner: Mutex<Inner>,
    most: usize,
    room: Notify,
}

#[derive(Debug)]
struct Inner {
    lanes: Vec<Lane>,
    /// Gives the ids of further lanes: random because the first one is, and the same for the same first one.
    ids: StdRng,
}

/// A write's place in a lane, given back when dropped.
#[derive(Debug)]
pub(crate) struct Ticket<'a> {
    lanes: &'a Lanes,
    lane: usize,
    /// The write's name.
    pub(crate) id: v1::RequestId,
}

impl Lanes {
    /// At most `most` lanes, the first of them under `first`.
    pub(crate) fn new(first: ClientId, most: usize) -> Self {
        let mut seed = [0; 32];
        seed[..16].copy_from_slice(first.as_bytes());
        seed[16..].copy_from_slice(first.as_bytes());
        let inner = Inner { lanes: vec![Lane::new(first)], ids: StdRng::from_seed(seed) };
        Self { inner: Mutex::new(inner), most: most.max(1), room: Notify::new() }
    }

    /// Writes that may be under way at once.
    pub(crate) const fn capacity(&self) -> usize {
        self.most * WRITES_OF_A_LANE
    }

    /// A place for a write; `None` where none came free until the deadline.
    pub(crate) async fn take(&self, deadline: Instant) -> Option<Ticket<'_>> {
        tokio::time::timeout_at(deadline, self.wait()).await.ok()
    }

    async fn wait(&self) -> Ticket<'_> {
        loop {
            // Asked for before the look, so that a place that comes free in between is not missed.
            let room = self.room.notified();
            if let Some(ticket) = self.try_take() {
                return ticket;
            }
            room.await;
        }
    }

    fn try_take(&self) -> Option<Ticket<'_>> {
        let mut inner = self.inner.lock();
        if !inner.lanes.iter().any(Lane::has_room) && inner.lanes.len() < self.most {
            let id: [u8; 16] = inner.ids.random();
            inner.lanes.push(Lane::new(ClientId::from(id)));
        }
        let (lane, id) = inner.lanes.iter_mut().enumerate().find_map(|(lane, one)| Some((lane, one.begin()?)))?;
        // Of several places that came free at once one alone was told of.
        if inner.lanes.iter().any(Lane::has_room) {
            self.room.notify_one();
        }
        Some(Ticket { lanes: self, lane, id })
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.lanes.inner.lock().lanes[self.lane].end(self.id.sequence);
        self.lanes.room.notify_one();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use std::{collections::BTreeSet, time::Duration};

    use super::*;

    const FIRST: [u8; 16] = [7; 16];

    fn lanes(most: usize) -> Lanes {
        Lanes::new(ClientId::from(FIRST), most)
    }

    fn all(lanes: &Lanes) -> Vec<Ticket<'_>> {
        std::iter::from_fn(|| lanes.try_take()).collect()
    }

    #[test]
    fn writes_one_after_the_other_stay_in_the_first_lane() {
        let lanes = lanes(4);
        for sequence in 1..200 {
            let ticket = lanes.try_take().unwrap();
            assert_eq!((ticket.id.client.as_ref(), ticket.id.sequence), (&FIRST[..], sequence));
        }
    }

    #[test]
    fn more_writes_at_once_take_further_lanes_up_to_the_bound_under_ids_that_follow_from_the_first() {
        let (lanes, same) = (lanes(3), lanes(3));
        let tickets = all(&lanes);
        assert_eq!(tickets.len(), lanes.capacity());
        let ids: BTreeSet<_> = tickets.iter().map(|ticket| ticket.id.client.clone()).collect();
        assert_eq!(ids.len(), 3);
        assert_eq!(ids, all(&same).iter().map(|ticket| ticket.id.client.clone()).collect());
        drop(tickets);
        assert_eq!(lanes.try_take().unwrap().id.client, &FIRST[..], "lanes are used again, the first one first");
    }

    #[tokio::test]
    async fn a_write_without_a_place_waits_until_its_deadline() {
        let lanes = lanes(1);
        let _all = all(&lanes);
        assert!(lanes.take(Instant::now() + Duration::from_millis(20)).await.is_none());
    }

    #[tokio::test]
    async fn all_who_wait_get_a_place_when_one_end_frees_several() {
        let lanes = lanes(1);
        let slow = lanes.try_take().unwrap();
        // The window is full although one write alone is under way.
        while lanes.try_take().is_some() {}
        let deadline = Instant::now() + Duration::from_secs(30);
        let waiting = futures::future::join_all((0..10).map(|_| lanes.take(deadline)));
        let (got, ()) = futures::future::join(waiting, async { drop(slow) }).await;
        assert!(got.iter().all(Option::is_some));
    }
}
