//! What to read ahead: a pure decision, fed with the keys of a reader in the order it reads them.
//!
//! Only where it is provable: a run of at least three adjacent keys, or a successor that was seen before. The share of
//! prefetched bytes that get used is measured; under 60 % it switches itself off and tries again after a while.

use std::time::Duration;

use super::adjacency::is_adjacent;
use super::successors::Successors;
use super::usefulness::{PrefetchStatistics, Usefulness};

/// Keys in a row that make a run.
const RUN: u32 = 3;
const FIRST_AHEAD: u32 = 8;
const FURTHEST_AHEAD: u32 = 64;
/// Readers told apart; more share a place.
const STREAMS: usize = 64;
const SUCCESSOR_SLOTS: usize = 4096;

/// What to fetch into the row cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PrefetchChoice {
    /// Nothing.
    Nothing,
    /// A sequential run: the `count` keys that follow `after` in key order.
    Following {
        /// The last key that is read or fetched already.
        after: Vec<u8>,
        /// How many keys after the first `skip`.
        count: u32,
        /// Keys after `after` that an earlier choice of this run has fetched.
        skip: u32,
    },
    /// A learned successor.
    Key(Vec<u8>),
}

#[derive(Debug, Clone, Default)]
struct Stream {
    id: u64,
    last: Box<[u8]>,
    /// Adjacent keys in a row, the first included.
    length: u32,
    /// Keys of the run that were chosen and not yet read.
    ahead: u32,
    /// Size of the next choice; doubles while the run goes on.
    step: u32,
}

/// Decides what to prefetch. Not shared: one for each read path, or under a lock.
#[derive(Debug)]
pub struct Prefetcher {
    streams: Box<[Stream]>,
    successors: Successors,
    usefulness: Usefulness,
}

impl Default for Prefetcher {
    fn default() -> Self {
        Self::new()
    }
}

impl Prefetcher {
    /// Knows nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            streams: vec![Stream::default(); STREAMS].into_boxed_slice(),
            successors: Successors::new(SUCCESSOR_SLOTS),
            usefulness: Usefulness::new(),
        }
    }

    /// A reader (`stream`: a connection, a range, a thread) read `key`. Says what to fetch now.
    pub fn observe(&mut self, stream: u64, key: &[u8], now: Duration) -> PrefetchChoice {
        self.usefulness.read(key, now);
        let enabled = self.usefulness.enabled(now);
        let place = (stream % self.streams.len() as u64) as usize;
        let Some(state) = self.streams.get_mut(place) else { return PrefetchChoice::Nothing };
        if state.id != stream {
            *state = Stream { id: stream, ..Stream::default() };
        }
        let known = !state.last.is_empty();
        let in_run = known && is_adjacent(&state.last, key);
        if known && !in_run && *state.last != *key {
            self.successors.learn(&state.last, key);
        }
        state.advance(key, in_run);
        if !enabled {
            state.ahead = 0;
            return PrefetchChoice::Nothing;
        }
        if let Some(choice) = state.choose(key) {
            return choice;
        }
        match self.successors.after(key) {
            Some(next) if !in_run => PrefetchChoice::Key(next.to_vec()),
            _ => PrefetchChoice::Nothing,
        }
    }

    /// `key` was fetched because of a choice; `bytes` of key and value.
    pub fn prefetched(&mut self, key: &[u8], bytes: usize, now: Duration) {
        self.usefulness.prefetched(key, u32::try_from(bytes).unwrap_or(u32::MAX), now);
    }

    /// What was measured so far.
    #[must_use]
    pub fn statistics(&self) -> PrefetchStatistics {
        self.usefulness.statistics()
    }

    /// Memory of the tables, without the bounded books on what is outstanding.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let keys: usize = self.streams.iter().map(|stream| stream.last.len()).sum();
        self.streams.len() * size_of::<Stream>() + keys + self.successors.memory_bytes()
    }
}

impl Stream {
    fn advance(&mut self, key: &[u8], in_run: bool) {
        if in_run {
            self.length = self.length.saturating_add(1);
            self.ahead = self.ahead.saturating_sub(1);
        } else if *self.last != *key {
            self.length = 1;
            self.ahead = 0;
            self.step = FIRST_AHEAD;
        }
        self.last = key.into();
    }

    /// The next part of a run, when half of the last one is read.
    fn choose(&mut self, key: &[u8]) -> Option<PrefetchChoice> {
        if self.length < RUN || self.ahead > self.step / 4 {
            return None;
        }
        let choice = PrefetchChoice::Following { after: key.to_vec(), count: self.step, skip: self.ahead };
        self.ahead += self.step;
        self.step = (self.step * 2).min(FURTHEST_AHEAD);
        Some(choice)
    }
}
