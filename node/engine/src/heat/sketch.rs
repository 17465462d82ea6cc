//! A 4-bit count-min sketch: how often a key was seen lately, in a few bits a key.
//!
//! It only *admits* keys to the table of admitted keys; time decides the rest. Four rows, 16 counters in each word (four
//! for each row), conservative updates. All counters are halved after a set number of bytes read: the clock of a cache is
//! what passed through it, not seconds. Until a halving the estimate is never under the true count (up to 15).

const ROW_SEEDS: [u64; 4] =
    [0xc3a5_c85c_97cb_3127, 0xb492_b66f_be98_f273, 0x9ae1_6a3b_2f90_404f, 0xcbf2_9ce4_8422_2325];
const HALF_MASK: u64 = 0x7777_7777_7777_7777;

/// The most a counter holds.
pub const MAXIMUM_COUNT: u8 = 15;

/// Counts key hashes in 4 bits each.
#[derive(Debug)]
pub struct FrequencySketch {
    words: Box<[u64]>,
    halve_every_bytes: u64,
    bytes_until_halving: u64,
}

impl FrequencySketch {
    /// A sketch of `memory_bytes` (at least 64) that halves after `halve_every_bytes` bytes read.
    #[must_use]
    pub fn new(memory_bytes: usize, halve_every_bytes: u64) -> Self {
        let halve_every_bytes = halve_every_bytes.max(1);
        Self {
            words: vec![0; (memory_bytes / 8).max(8)].into_boxed_slice(),
            halve_every_bytes,
            bytes_until_halving: halve_every_bytes,
        }
    }

    /// Counts one sighting. Only the smallest of the four counters grow, which keeps collisions from adding up.
    pub fn increment(&mut self, hash: u64) {
        let smallest = self.estimate(hash);
        if smallest == MAXIMUM_COUNT {
            return;
        }
        for row in 0..4 {
            let (word, shift) = self.place(hash, row);
            if (self.words[word] >> shift) & 0xf == u64::from(smallest) {
                self.words[word] += 1 << shift;
            }
        }
    }

    /// How often the hash was seen since it was last halved away; at most 15; never too low, seldom too high.
    #[must_use]
    pub fn estimate(&self, hash: u64) -> u8 {
        let mut smallest = MAXIMUM_COUNT;
        for row in 0..4 {
            let (word, shift) = self.place(hash, row);
            smallest = smallest.min(((self.words[word] >> shift) & 0xf) as u8);
        }
        smallest
    }

    /// Advances the byte clock; true when that halved the counters.
    pub fn bytes_read(&mut self, bytes: u64) -> bool {
        if bytes < self.bytes_until_halving {
            self.bytes_until_halving -= bytes;
            return false;
        }
        for word in &mut self.words {
            *word = (*word >> 1) & HALF_MASK;
        }
        self.bytes_until_halving = self.halve_every_bytes;
        true
    }

    /// Memory of the counters.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.words.len() * 8
    }

    /// The word and the bit offset of a row's counter. A word holds four counters for each row, so that rows never share one.
    fn place(&self, hash: u64, row: usize) -> (usize, u32) {
        let mut mixed = (hash ^ ROW_SEEDS[row]).wrapping_mul(ROW_SEEDS[(row + 1) & 3] | 1);
        mixed ^= mixed >> 32;
        mixed = mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let word = ((u128::from(mixed) * self.words.len() as u128) >> 64) as usize;
        let shift = (row as u32) * 16 + ((mixed & 3) as u32) * 4;
        (word, shift)
    }
}
