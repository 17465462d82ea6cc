//! Admission: how many engine calls run at once, how many may wait, and for how long.
//!
//! The engine blocks, so its calls run on the runtime's blocking threads. Without a bound those threads and the queue
//! before them grow until memory ends; here at most `running` calls run, at most `waiting` wait, holding at most
//! `bytes` of request data, and everything beyond that is refused at once so that a client backs off instead of
//! piling up. A call whose deadline passes while it waits never starts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use thiserror::Error;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use crate::byte_bound::{ByteBound, HeldBytes};

/// The bounds of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Calls that run at once.
    pub running: usize,
    /// Calls that wait.
    pub waiting: usize,
    /// Bytes of request data that arriving, waiting and running calls hold together.
    pub bytes: usize,
}

/// Why a call did not run, or did not finish in time.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AdmissionError {
    /// As many calls wait as may.
    #[error("the node is overloaded: {waiting} requests wait already; retry later")]
    QueueFull {
        /// How many may.
        waiting: usize,
    },
    /// The requests at hand, or the answers on their way, hold as many bytes as they may.
    #[error("the node is overloaded: {what} may hold {limit} bytes together, and this is more; retry later")]
    BytesFull {
        /// Which of them.
        what: &'static str,
        /// How many they may.
        limit: usize,
    },
    /// The deadline passed before the call began: it had no effect.
    #[error("the deadline passed before the request was started; it had no effect")]
    ExpiredWaiting,
    /// The deadline passed while the call ran: it ends by itself, its outcome is not known here.
    #[error("the deadline passed while the request was running; a write may still take effect")]
    ExpiredRunning,
    /// The call panicked or the runtime is shutting down.
    #[error("the request was ended by an internal failure: {reason}")]
    Lost {
        /// What the runtime says.
        reason: String,
    },
}

/// A bounded pool of blocking calls. Cheap to clone.
#[derive(Debug, Clone)]
pub struct AdmissionPool {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    limits: Limits,
    permits: Arc<Semaphore>,
    waiting: AtomicUsize,
    bytes: ByteBound,
    /// Apart from requests: clients that are slow to take their answers must not keep others from writing.
    answers: ByteBound,
    refused: AtomicU64,
}

/// What a pool is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdmissionState {
    /// Calls running now.
    pub running: usize,
    /// Calls waiting now.
    pub waiting: usize,
    /// Calls refused since start.
    pub refused: u64,
}

impl AdmissionPool {
    /// A pool with these limits.
    pub fn new(limits: Limits) -> Self {
        Self {
            inner: Arc::new(Inner {
                limits,
                permits: Arc::new(Semaphore::new(limits.running)),
                waiting: AtomicUsize::new(0),
                bytes: ByteBound::new("requests in hand", limits.bytes),
                answers: ByteBound::new("answers on their way", limits.bytes),
                refused: AtomicU64::new(0),
            }),
        }
    }

    /// Runs `call` on a blocking thread once there is room; `bytes` is what the request holds in memory.
    pub async fn run<T, F>(&self, bytes: usize, deadline: Option<Instant>, call: F) -> Result<T, AdmissionError>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let inner = &self.inner;
        // Held by the call itself, so that a client that goes away does not free what its running call still uses.
        let mut held = self.request_bytes();
        self.grow(&mut held, bytes)?;
        let permit = match Arc::clone(&inner.permits).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => {
                let limit = inner.limits.waiting;
                let _waiting = WaitingSlot::take(inner)
                    .ok_or_else(|| self.refuse(AdmissionError::QueueFull { waiting: limit }))?;
                let acquire = Arc::clone(&inner.permits).acquire_owned();
                until(deadline, acquire)
                    .await
                    .ok_or(AdmissionError::ExpiredWaiting)?
                    .map_err(|error| AdmissionError::Lost { reason: error.to_string() })?
            }
        };
        if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            return Err(AdmissionError::ExpiredWaiting);
        }
        let task = tokio::task::spawn_blocking(move || {
            let outcome = call();
            drop((permit, held));
            outcome
        });
        until(deadline, task)
            .await
            .ok_or(AdmissionError::ExpiredRunning)?
            .map_err(|error| AdmissionError::Lost { reason: error.to_string() })
    }

    /// What a request holds, nothing yet; [`grow`](Self::grow) counts what there is of it.
    pub fn request_bytes(&self) -> HeldBytes {
        self.inner.bytes.nothing()
    }

    /// What a large answer holds, nothing yet; all answers have as much room together as all requests.
    pub fn answer_bytes(&self) -> HeldBytes {
        self.inner.answers.nothing()
    }

    /// Counts more bytes of a request or an answer.
    pub fn grow(&self, held: &mut HeldBytes, bytes: usize) -> Result<(), AdmissionError> {
        let refused = AdmissionError::BytesFull { what: held.what(), limit: self.inner.limits.bytes };
        if held.grow(bytes) { Ok(()) } else { Err(self.refuse(refused)) }
    }

    /// What the pool is doing.
    pub fn state(&self) -> AdmissionState {
        let inner = &self.inner;
        AdmissionState {
            running: inner.limits.running.saturating_sub(inner.permits.available_permits()),
            waiting: inner.waiting.load(Ordering::Relaxed),
            refused: inner.refused.load(Ordering::Relaxed),
        }
    }

    /// Waits until no call runs or waits, at most so long; whether that came.
    ///
    /// A call whose client has gone runs on, so the end of the connections does not mean the end of the calls.
    pub async fn drained(&self, within: Duration) -> bool {
        let all = u32::try_from(self.inner.limits.running).unwrap_or(u32::MAX);
        tokio::time::timeout(within, self.inner.permits.acquire_many(all)).await.is_ok()
    }

    fn refuse(&self, error: AdmissionError) -> AdmissionError {
        self.inner.refused.fetch_add(1, Ordering::Relaxed);
        error
    }
}

async fn until<F: Future>(deadline: Option<Instant>, future: F) -> Option<F::Output> {
    match deadline {
        Some(deadline) => timeout_at(deadline, future).await.ok(),
        None => Some(future.await),
    }
}

struct WaitingSlot<'a>(&'a Inner);

impl<'a> WaitingSlot<'a> {
    fn take(inner: &'a Inner) -> Option<Self> {
        add_within(&inner.waiting, 1, inner.limits.waiting).then(|| Self(inner))
    }
}

impl Drop for WaitingSlot<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Adds where the sum stays within the limit. A count that guards nothing but itself needs no ordering.
fn add_within(counter: &AtomicUsize, more: usize, limit: usize) -> bool {
    counter
        .try_update(Ordering::Relaxed, Ordering::Relaxed, |now| now.checked_add(more).filter(|sum| *sum <= limit))
        .is_ok()
}

#[cfg(test)]
#[path = "admission_test.rs"]
mod tests;
