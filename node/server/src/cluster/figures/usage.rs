//! How one shard is used: requests counted, their keys sampled.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use thermocline_engine::KeyRange;

use super::rate::Rate;

/// Keys that are remembered, the last ones.
const SAMPLES: usize = 128;
/// One key in so many is: a prime, so that clients that go in rounds are seen as a whole.
const ONE_IN: u64 = 13;
/// Of a key so many bytes: more do not make a better place to split.
const SAMPLED_BYTES: usize = 64;
/// With fewer samples nothing is said of where the load is.
const LEAST_SAMPLES: usize = 32;

/// The requests of one shard.
#[derive(Debug, Default)]
pub(super) struct Usage {
    reads: AtomicU64,
    writes: AtomicU64,
    samples: Mutex<Samples>,
    rates: Mutex<(Rate, Rate)>,
}

#[derive(Debug, Default)]
struct Samples {
    keys: Vec<Bytes>,
    oldest: usize,
}

impl Usage {
    /// A key was read or written.
    pub(super) fn note(&self, key: &[u8], writes: bool) {
        let (mine, other) = if writes { (&self.writes, &self.reads) } else { (&self.reads, &self.writes) };
        let seen = mine.fetch_add(1, Ordering::Relaxed) + other.load(Ordering::Relaxed);
        if seen.is_multiple_of(ONE_IN) {
            self.samples.lock().add(key);
        }
    }

    /// The counters are looked at, `since` after the last time.
    pub(super) fn advance(&self, since: Duration) {
        let (reads, writes) = &mut *self.rates.lock();
        reads.advance(self.reads.load(Ordering::Relaxed), since);
        writes.advance(self.writes.load(Ordering::Relaxed), since);
    }

    /// Reads and writes a second.
    pub(super) fn rates(&self) -> (f64, f64) {
        let (reads, writes) = &*self.rates.lock();
        (reads.per_second(), writes.per_second())
    }

    /// A key of the range with as many requests before it as from it on, as far as the samples say; `None` where they say too
    /// little, or the requests before it are for what is not in the range any more.
    pub(super) fn middle(&self, range: &KeyRange) -> Option<Bytes> {
        let mut keys = self.samples.lock().keys.clone();
        keys.retain(|key| range.contains(key));
        if keys.len() < LEAST_SAMPLES {
            return None;
        }
        keys.sort_unstable();
        let middle = keys.swap_remove(keys.len() / 2);
        (middle.as_ref() > range.start()).then_some(middle)
    }

    /// The share of the requests before a key, 0 to 1; half of them where nothing is known.
    pub(super) fn share_before(&self, key: &[u8], range: &KeyRange) -> f64 {
        let samples = self.samples.lock();
        let of_range = samples.keys.iter().filter(|sample| range.contains(sample));
        let (before, all) =
            of_range.fold((0_u32, 0_u32), |(before, all), sample| (before + u32::from(sample.as_ref() < key), all + 1));
        if all == 0 { 0.5 } else { f64::from(before) / f64::from(all) }
    }
}

impl Samples {
    fn add(&mut self, key: &[u8]) {
        // A copy: a slice would hold the whole request.
        let key = Bytes::copy_from_slice(&key[..key.len().min(SAMPLED_BYTES)]);
        if self.keys.len() < SAMPLES {
            self.keys.push(key);
        } else {
            self.keys[self.oldest] = key;
            self.oldest = (self.oldest + 1) % SAMPLES;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn noted(keys: impl Iterator<Item = String>) -> Usage {
        let usage = Usage::default();
        keys.for_each(|key| usage.note(key.as_bytes(), false));
        usage
    }

    #[test]
    fn the_middle_of_the_load_is_where_the_requests_are_not_where_the_keys_are() {
        // Nine of ten requests are for keys from `m` on.
        let usage = noted((0..20_000_u32).map(|i| format!("{}{:04}", if i % 10 == 0 { 'a' } else { 'm' }, i % 1000)));
        let middle = usage.middle(&KeyRange::all()).unwrap();
        assert!(middle.starts_with(b"m"), "{}", middle.escape_ascii());
        let before = usage.share_before(&middle, &KeyRange::all());
        assert!((0.3..0.7).contains(&before), "{before}");
        assert!(usage.share_before(b"m", &KeyRange::all()) < 0.3);
    }

    #[test]
    fn what_is_no_longer_in_the_range_counts_for_nothing() {
        let usage = noted((0..20_000_u32).map(|i| format!("{:04}", i % 1000)));
        let left = KeyRange::new("", "0100").unwrap();
        assert_eq!(usage.middle(&left), None, "too few samples are left of it");
        let right = KeyRange::new("0500", "").unwrap();
        assert!(usage.middle(&right).unwrap().as_ref() > &b"0500"[..]);
        assert!((usage.share_before(b"0750", &right) - 0.5).abs() < 0.2);
    }

    #[test]
    fn one_hot_key_at_the_start_of_the_range_is_no_place_to_split() {
        let usage = noted((0..5000).map(|_| "hot".to_owned()));
        assert_eq!(usage.middle(&KeyRange::new("hot", "").unwrap()), None);
        assert_eq!(usage.share_before(b"hot", &KeyRange::all()), 0.0);
    }

    #[test]
    fn samples_are_bounded_in_number_and_length() {
        let usage = noted((0..100_000).map(|i| format!("{i}{}", "x".repeat(4000))));
        let samples = usage.samples.lock();
        assert_eq!(samples.keys.len(), SAMPLES);
        assert!(samples.keys.iter().all(|key| key.len() <= SAMPLED_BYTES));
    }
}
