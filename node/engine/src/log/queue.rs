//! The bounded queue before the writer thread.
//!
//! A place is reserved first, which may wait, and filled later, which never waits: filling happens under a group's lock. The
//! writer ends only when the queue is closed, empty and no place is reserved, so an accepted request is always answered.

use std::collections::VecDeque;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// The queue; `T` is a request.
#[derive(Debug)]
pub(super) struct Queue<T> {
    state: Mutex<State<T>>,
    // Something to take, or closed.
    filled: Condvar,
    // A place became free, or closed.
    freed: Condvar,
    limits: QueueLimits,
}

/// How much may wait, and how much is taken at once.
#[derive(Debug, Clone, Copy)]
pub(super) struct QueueLimits {
    /// Requests that may wait.
    pub(super) requests: usize,
    /// Bytes that may wait; a larger request is let in alone.
    pub(super) bytes: usize,
    /// Bytes taken at once; a larger request is taken alone.
    pub(super) batch_bytes: usize,
}

#[derive(Debug)]
struct State<T> {
    items: VecDeque<(usize, T)>,
    // Places that are reserved or filled, and their bytes.
    places: usize,
    bytes: usize,
    closed: bool,
}

/// A reserved place; given back when dropped.
#[derive(Debug)]
pub(super) struct Place<'q, T> {
    queue: &'q Queue<T>,
    bytes: usize,
    filled: bool,
}

impl<T> Queue<T> {
    /// An empty queue.
    pub(super) fn new(limits: QueueLimits) -> Self {
        let state = State { items: VecDeque::new(), places: 0, bytes: 0, closed: false };
        Self { state: Mutex::new(state), filled: Condvar::new(), freed: Condvar::new(), limits }
    }

    /// Waits for a place for `bytes`; `None` when the queue is closed.
    pub(super) fn reserve(&self, bytes: usize) -> Option<Place<'_, T>> {
        let mut state = self.state.lock();
        loop {
            if state.closed {
                return None;
            }
            let fits = state.places < self.limits.requests && state.bytes.saturating_add(bytes) <= self.limits.bytes;
            if fits || state.places == 0 {
                state.places += 1;
                state.bytes += bytes;
                return Some(Place { queue: self, bytes, filled: false });
            }
            self.freed.wait(&mut state);
        }
    }

    /// Takes what waits, in order, up to the batch limit; waits while there is nothing. With `linger` it also waits that long,
    /// once, while fewer than `expected` requests are there. `None` when the queue is closed and drained.
    pub(super) fn take(&self, expected: usize, linger: Duration) -> Option<Vec<T>> {
        let mut state = self.state.lock();
        while state.items.is_empty() {
            if state.closed && state.places == 0 {
                return None;
            }
            self.filled.wait(&mut state);
        }
        if state.items.len() < expected && !linger.is_zero() && !state.closed {
            self.filled.wait_for(&mut state, linger);
        }
        let mut batch = Vec::with_capacity(state.items.len());
        let mut taken = 0;
        while let Some(&(bytes, _)) = state.items.front() {
            if !batch.is_empty() && taken + bytes > self.limits.batch_bytes {
                break;
            }
            if let Some((_, item)) = state.items.pop_front() {
                batch.push(item);
            }
            taken += bytes;
            state.places -= 1;
            state.bytes -= bytes;
        }
        self.freed.notify_all();
        Some(batch)
    }

    /// Lets nothing more in. What is in, and what fills a reserved place, is still taken.
    pub(super) fn close(&self) {
        self.state.lock().closed = true;
        self.filled.notify_all();
        self.freed.notify_all();
    }

    /// Requests and bytes that wait or are reserved.
    pub(super) fn waiting(&self) -> (usize, usize) {
        let state = self.state.lock();
        (state.places, state.bytes)
    }
}

impl<T> Place<'_, T> {
    /// Puts the request into its place. Never waits.
    pub(super) fn fill(mut self, item: T) {
        let mut state = self.queue.state.lock();
        state.items.push_back((self.bytes, item));
        self.filled = true;
        drop(state);
        self.queue.filled.notify_one();
    }
}

impl<T> Drop for Place<'_, T> {
    fn drop(&mut self) {
        if self.filled {
            return;
        }
        let mut state = self.queue.state.lock();
        state.places -= 1;
        state.bytes -= self.bytes;
        drop(state);
        self.queue.freed.notify_all();
        // A closed queue may be drained now.
        self.queue.filled.notify_all();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use std::sync::Arc;
    use std::sync::mpsc;
    use std::thread;

    fn queue(requests: usize, bytes: usize, batch_bytes: usize) -> Queue<u32> {
        Queue::new(QueueLimits { requests, bytes, batch_bytes })
    }

    #[test]
    fn a_batch_ends_before_the_request_that_would_exceed_it_and_a_large_request_goes_alone() {
        let queue = queue(100, 1000, 10);
        for (item, bytes) in [(1, 4), (2, 6), (3, 1), (4, 50), (5, 1)] {
            queue.reserve(bytes).unwrap().fill(item);
        }
        let mut batches = Vec::new();
        for _ in 0..4 {
            batches.push(queue.take(0, Duration::ZERO).unwrap());
        }
        assert_eq!(batches, [vec![1, 2], vec![3], vec![4], vec![5]]);
        assert_eq!(queue.waiting(), (0, 0));
    }

    #[test]
    fn a_full_queue_makes_the_next_request_wait_until_something_is_taken() {
        for (requests, bytes) in [(1, 1000), (100, 10)] {
            let queue = Arc::new(queue(requests, bytes, 1000));
            queue.reserve(10).unwrap().fill(1);
            let (sender, receiver) = mpsc::channel();
            let waiting = {
                let queue = Arc::clone(&queue);
                thread::spawn(move || {
                    queue.reserve(1).unwrap().fill(2);
                    sender.send(()).unwrap();
                })
            };
            assert!(receiver.recv_timeout(Duration::from_millis(50)).is_err(), "let in over the limit");
            assert_eq!(queue.take(0, Duration::ZERO), Some(vec![1]));
            receiver.recv_timeout(Duration::from_secs(30)).unwrap();
            assert_eq!(queue.take(0, Duration::ZERO), Some(vec![2]));
            waiting.join().unwrap();
        }
    }

    #[test]
    fn a_closed_queue_ends_only_after_reserved_places_are_filled_or_given_back() {
        let queue = queue(10, 10, 10);
        let place = queue.reserve(1).unwrap();
        let given_back = queue.reserve(1).unwrap();
        queue.close();
        assert!(queue.reserve(1).is_none());
        place.fill(7);
        assert_eq!(queue.take(0, Duration::ZERO), Some(vec![7]));
        drop(given_back);
        assert_eq!(queue.take(0, Duration::ZERO), None);
    }
}
