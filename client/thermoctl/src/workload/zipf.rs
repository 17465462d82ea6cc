//! Zipf ranks after Gray et al., "Quickly generating billion-record synthetic databases" (1994), the method of YCSB.
//!
//! Rank 0 is the most popular; rank `r` has a share proportional to `1 / (r + 1)^theta`. Ranks 0 and 1 are exact; the
//! others follow the method's continuous approximation.

use rand::{Rng, RngExt};

/// Above this many items the sum of the harmonic series is approximated by its integral: exact enough (the error is
/// below the last exact term, 1e-7 of the sum) and instant.
const EXACT_TERMS: u64 = 10_000_000;

/// Draws ranks of `0..items`.
#[derive(Debug, Clone, PartialEq)]
pub struct Zipf {
    items: u64,
    theta: f64,
    zeta: f64,
    alpha: f64,
    eta: f64,
}

impl Zipf {
    /// The skew of YCSB.
    pub const YCSB_THETA: f64 = 0.99;

    /// Ranks of `items` (at least 1) with skew `theta`, kept inside (0, 1).
    #[must_use]
    pub fn new(items: u64, theta: f64) -> Self {
        let theta = theta.clamp(0.01, 0.9999);
        Self::with_zeta(items, theta, zeta(items.max(1), theta))
    }

    /// As [`Self::new`] where the sum of the series is known.
    #[must_use]
    pub fn with_zeta(items: u64, theta: f64, zeta_of_items: f64) -> Self {
        let items = items.max(1);
        let zeta_of_two = zeta(2, theta);
        Self {
            items,
            theta,
            zeta: zeta_of_items,
            alpha: 1.0 / (1.0 - theta),
            eta: (1.0 - (2.0 / items as f64).powf(1.0 - theta)) / (1.0 - zeta_of_two / zeta_of_items),
        }
    }

    /// The share of all draws that goes to `rank`.
    #[must_use]
    pub fn share(&self, rank: u64) -> f64 {
        1.0 / ((rank + 1) as f64).powf(self.theta) / self.zeta
    }

    /// Draws a rank.
    pub fn sample(&self, random: &mut impl Rng) -> u64 {
        let uniform: f64 = random.random();
        let scaled = uniform * self.zeta;
        if scaled < 1.0 || self.items == 1 {
            return 0;
        }
        if scaled < 1.0 + 0.5_f64.powf(self.theta) {
            return 1;
        }
        let rank = self.items as f64 * (self.eta * uniform - self.eta + 1.0).powf(self.alpha);
        (rank as u64).min(self.items - 1)
    }
}

/// The sum of `1 / i^theta` for `i` in `1..=items`.
fn zeta(items: u64, theta: f64) -> f64 {
    let exact = items.min(EXACT_TERMS);
    let sum: f64 = (1..=exact).map(|term| (term as f64).powf(-theta)).sum();
    if items == exact {
        return sum;
    }
    let tail = ((items as f64 + 0.5).powf(1.0 - theta) - (exact as f64 + 0.5).powf(1.0 - theta)) / (1.0 - theta);
    sum + tail
}

/// FNV-1a over the eight bytes of a number, as YCSB scrambles ranks: neighbours in popularity are no neighbours in
/// the key space.
#[must_use]
pub fn fnv1a_64(number: u64) -> u64 {
    number
        .to_le_bytes()
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn the_most_popular_ranks_get_their_shares() {
        const DRAWS: u32 = 200_000;
        let zipf = Zipf::new(1000, Zipf::YCSB_THETA);
        let mut random = ChaCha8Rng::seed_from_u64(5);
        let mut counts = vec![0_u32; 1000];
        for _ in 0..DRAWS {
            counts[zipf.sample(&mut random) as usize] += 1;
        }
        for rank in [0, 1] {
            let drawn = f64::from(counts[rank]) / f64::from(DRAWS);
            let expected = zipf.share(rank as u64);
            assert!((drawn - expected).abs() < 0.004, "rank {rank}: {drawn} for {expected}");
        }
        // The approximation beyond rank 1 holds over groups of ranks.
        for (low, high) in [(0, 10), (10, 100), (100, 1000)] {
            let drawn = f64::from(counts[low..high].iter().sum::<u32>()) / f64::from(DRAWS);
            let expected: f64 = (low..high).map(|rank| zipf.share(rank as u64)).sum();
            assert!((drawn - expected).abs() < 0.03, "ranks {low}..{high}: {drawn} for {expected}");
        }
    }

    #[test]
    fn shares_add_up_to_one() {
        let zipf = Zipf::new(500, 0.7);
        let sum: f64 = (0..500).map(|rank| zipf.share(rank)).sum();
        assert!((sum - 1.0).abs() < 1e-9, "{sum}");
    }

    #[test]
    fn the_sum_over_the_ten_billion_items_of_ycsb_is_the_published_one() {
        let sum = zeta(10_000_000_000, Zipf::YCSB_THETA);
        assert!((sum - 26.469_028_201_783_02).abs() < 1e-5, "{sum}");
    }

    #[test]
    fn one_item_is_always_drawn() {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let zipf = Zipf::new(1, Zipf::YCSB_THETA);
        assert!((0..100).all(|_| zipf.sample(&mut random) == 0));
        let two = Zipf::new(2, Zipf::YCSB_THETA);
        assert!((0..1000).all(|_| two.sample(&mut random) < 2));
    }

    #[test]
    fn the_hash_is_fnv_1a() {
        // Of eight zero bytes, from the definition: offset basis times prime to the eighth, modulo 2^64.
        let expected = (0..8).fold(0xcbf2_9ce4_8422_2325_u64, |hash, _| hash.wrapping_mul(0x0100_0000_01b3));
        assert_eq!(fnv1a_64(0), expected);
        assert_ne!(fnv1a_64(1), fnv1a_64(256));
    }
}
