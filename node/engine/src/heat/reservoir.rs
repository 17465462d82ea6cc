//! A small uniform sample of the keys that a range's accesses touch; its median is where the range splits.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// Keys in a full reservoir.
const CAPACITY: usize = 16;
/// Accesses over which the sample is uniform; older ones fade, so that the median follows the load.
const MEMORY: u32 = 256;

#[derive(Debug, Clone, Default)]
pub(crate) struct Reservoir {
    keys: Vec<Box<[u8]>>,
    seen: u32,
}

impl Reservoir {
    /// Offers a key. `allowance` is by how many bytes the sample may grow. Returns the change in bytes.
    pub(crate) fn offer(&mut self, key: &[u8], allowance: usize, random: &mut ChaCha8Rng) -> isize {
        self.seen = (self.seen + 1).min(MEMORY);
        if self.keys.len() < CAPACITY {
            if key.len() > allowance {
                return 0;
            }
            self.keys.push(key.into());
            return key.len() as isize;
        }
        let place = random.random_range(0..self.seen) as usize;
        match self.keys.get_mut(place) {
            Some(old) if key.len() <= old.len() + allowance => {
                let change = key.len() as isize - old.len() as isize;
                *old = key.into();
                change
            }
            _ => 0,
        }
    }

    /// Bytes of the sampled keys.
    pub(crate) fn bytes(&self) -> usize {
        self.keys.iter().map(|key| key.len()).sum()
    }

    /// The share of the sample before `key`; a half when nothing was sampled.
    pub(crate) fn share_before(&self, key: &[u8]) -> f64 {
        if self.keys.is_empty() {
            return 0.5;
        }
        self.keys.iter().filter(|sampled| sampled.as_ref() < key).count() as f64 / self.keys.len() as f64
    }

    /// The key that halves the sample; `None` while too few different keys were seen. Greater than at least one of them.
    pub(crate) fn median(&self) -> Option<&[u8]> {
        let mut keys: Vec<&[u8]> = self.keys.iter().map(|key| &**key).collect();
        keys.sort_unstable();
        keys.dedup();
        if keys.len() < 4 {
            return None;
        }
        keys.get(keys.len() / 2).copied()
    }

    /// Moves the keys from `key` on into a reservoir of their own.
    pub(crate) fn split_off(&mut self, key: &[u8]) -> Self {
        let (left, right): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.keys).into_iter().partition(|sampled| sampled.as_ref() < key);
        let right = Self { seen: right.len() as u32, keys: right };
        *self = Self { seen: left.len() as u32, keys: left };
        right
    }

    /// Takes every other key of both.
    pub(crate) fn merged(left: &Self, right: &Self) -> Self {
        let keys: Vec<_> = if left.keys.len() + right.keys.len() <= CAPACITY {
            left.keys.iter().chain(&right.keys).cloned().collect()
        } else {
            left.keys.iter().step_by(2).chain(right.keys.iter().step_by(2)).cloned().collect()
        };
        Self { seen: (left.seen + right.seen).min(MEMORY).max(keys.len() as u32), keys }
    }
}
