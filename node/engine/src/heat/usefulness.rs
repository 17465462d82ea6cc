//! The measured usefulness of prefetching, and the switch that it works.
//!
//! A prefetched key is *used* when it is read within the horizon, else *wasted*. Under 60 % used bytes in the window
//! prefetching switches itself off, and after a pause tries again with an empty window; every failed try doubles the pause.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use xxhash_rust::xxh3::xxh3_64;

/// Below this share of used bytes prefetching is off.
pub const LEAST_USEFUL_SHARE: f64 = 0.6;
/// Prefetched keys decided before the share means anything.
const ENOUGH_DECIDED: usize = 64;
/// Decided keys in the sliding window.
const WINDOW: usize = 1024;
/// Keys prefetched and not yet decided, at most.
const MOST_OUTSTANDING: usize = 4096;
/// A key not read in this long was prefetched in vain.
const HORIZON: Duration = Duration::from_secs(30);
const FIRST_PAUSE: Duration = Duration::from_secs(60);
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

/// What was measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PrefetchStatistics {
    /// Bytes prefetched since start.
    pub prefetched_bytes: u64,
    /// Of these, bytes that were read in time.
    pub used_bytes: u64,
    /// Share of used bytes in the window; `None` before enough is known.
    pub useful_share: Option<f64>,
    /// Whether prefetching is on.
    pub enabled: bool,
}

#[derive(Debug)]
pub(super) struct Usefulness {
    outstanding: HashMap<u64, (u32, Duration)>,
    order: VecDeque<(u64, Duration)>,
    window: VecDeque<(u32, bool)>,
    window_bytes: u64,
    window_used: u64,
    prefetched_bytes: u64,
    used_bytes: u64,
    off_until: Option<Duration>,
    pause: Duration,
}

impl Usefulness {
    pub(super) fn new() -> Self {
        Self {
            outstanding: HashMap::new(),
            order: VecDeque::new(),
            window: VecDeque::new(),
            window_bytes: 0,
            window_used: 0,
            prefetched_bytes: 0,
            used_bytes: 0,
            off_until: None,
            pause: FIRST_PAUSE,
        }
    }

    /// Whether prefetching is on; ends a pause that is over.
    pub(super) fn enabled(&mut self, now: Duration) -> bool {
        self.expire(now);
        match self.off_until {
            Some(until) if now < until => false,
            Some(_) => {
                self.off_until = None;
                self.clear_window();
                true
            }
            None => true,
        }
    }

    pub(super) fn prefetched(&mut self, key: &[u8], bytes: u32, now: Duration) {
        self.prefetched_bytes += u64::from(bytes);
        while self.order.len() >= MOST_OUTSTANDING {
            self.give_up_oldest(now);
        }
        let hash = xxh3_64(key);
        // A key prefetched again before it was read keeps its first place: the second fetch is decided with it.
        let entry = self.outstanding.entry(hash).or_insert((0, now));
        let first = entry.0 == 0;
        entry.0 = entry.0.saturating_add(bytes.max(1));
        let since = entry.1;
        if first {
            self.order.push_back((hash, since));
        }
    }

    /// A key was read; decides it where it was prefetched. True then.
    pub(super) fn read(&mut self, key: &[u8], now: Duration) -> bool {
        if self.outstanding.is_empty() {
            return false;
        }
        let Some((bytes, _)) = self.outstanding.remove(&xxh3_64(key)) else { return false };
        self.used_bytes += u64::from(bytes);
        self.decide(bytes, true, now);
        true
    }

    pub(super) fn statistics(&self) -> PrefetchStatistics {
        PrefetchStatistics {
            prefetched_bytes: self.prefetched_bytes,
            used_bytes: self.used_bytes,
            useful_share: self.share(),
            enabled: self.off_until.is_none(),
        }
    }

    fn share(&self) -> Option<f64> {
        (self.window.len() >= ENOUGH_DECIDED).then(|| self.window_used as f64 / self.window_bytes.max(1) as f64)
    }

    fn expire(&mut self, now: Duration) {
        while let Some((_, since)) = self.order.front() {
            if now.saturating_sub(*since) < HORIZON {
                return;
            }
            self.give_up_oldest(now);
        }
    }

    fn give_up_oldest(&mut self, now: Duration) {
        let Some((hash, since)) = self.order.pop_front() else { return };
        // Read meanwhile, or prefetched anew after that.
        if self.outstanding.get(&hash).is_some_and(|(_, own)| *own == since)
            && let Some((bytes, _)) = self.outstanding.remove(&hash)
        {
            self.decide(bytes, false, now);
        }
    }

    fn decide(&mut self, bytes: u32, used: bool, now: Duration) {
        // While off, late reads of old prefetches still count for the totals, not for the switch.
        if self.off_until.is_some() {
            return;
        }
        self.window.push_back((bytes, used));
        self.window_bytes += u64::from(bytes);
        self.window_used += if used { u64::from(bytes) } else { 0 };
        if self.window.len() > WINDOW
            && let Some((old, was_used)) = self.window.pop_front()
        {
            self.window_bytes -= u64::from(old);
            self.window_used -= if was_used { u64::from(old) } else { 0 };
        }
        match self.share() {
            Some(share) if share < LEAST_USEFUL_SHARE => {
                self.off_until = Some(now.saturating_add(self.pause));
                self.pause = (self.pause * 2).min(LONGEST_PAUSE);
            }
            Some(_) if self.window.len() == WINDOW => self.pause = FIRST_PAUSE,
            _ => {}
        }
    }

    fn clear_window(&mut self) {
        self.window.clear();
        self.window_bytes = 0;
        self.window_used = 0;
        self.outstanding.clear();
        self.order.clear();
    }
}
