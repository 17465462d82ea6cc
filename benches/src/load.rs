//! Keys, values and draws, all from the seed.

use std::path::PathBuf;
use std::time::Instant;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Zipf};

/// What every measurement needs.
pub struct Bench {
    pub folder: PathBuf,
    pub rounds: usize,
    pub seed: u64,
}

/// How keys are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Draw {
    /// Each as likely as any other.
    Uniform,
    /// zipf(N) with exponent 0.99 over ranks, ranks scattered over the key space.
    Zipf,
}

/// A key of 16 bytes; neighbours in number are neighbours in order.
pub fn key(number: u64) -> [u8; 16] {
    let mut key = *b"user000000000000";
    let mut rest = number;
    for digit in key[4..].iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    key
}

/// A value that compresses to about half.
pub fn value(random: &mut ChaCha8Rng, bytes: usize) -> Vec<u8> {
    let mut value = vec![b'v'; bytes];
    random.fill(&mut value[..bytes / 2]);
    value
}

impl Bench {
    pub fn random(&self) -> ChaCha8Rng {
        ChaCha8Rng::seed_from_u64(self.seed)
    }

    /// So many numbers under `keys`.
    pub fn draws(&self, draw: Draw, keys: u64, count: usize) -> anyhow::Result<Vec<u64>> {
        let mut random = self.random();
        let scatter = |rank: u64| rank.wrapping_mul(0x9E37_79B9_7F4A_7C15) % keys;
        Ok(match draw {
            Draw::Uniform => (0..count).map(|_| random.random_range(0..keys)).collect(),
            Draw::Zipf => {
                let zipf = Zipf::new(keys as f64, 0.99)?;
                (0..count).map(|_| scatter(zipf.sample(&mut random) as u64)).collect()
            }
        })
    }
}

/// Operations a second.
pub fn rate(operations: usize, work: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<f64> {
    let started = Instant::now();
    work()?;
    Ok(operations as f64 / started.elapsed().as_secs_f64())
}

/// Measures both sides, the first one changing with the round.
pub fn in_turn(
    round: usize,
    ours: impl FnOnce() -> anyhow::Result<f64>,
    raw: impl FnOnce() -> anyhow::Result<f64>,
) -> anyhow::Result<(f64, f64)> {
    if round.is_multiple_of(2) {
        let first = ours()?;
        Ok((first, raw()?))
    } else {
        let first = raw()?;
        Ok((ours()?, first))
    }
}

/// Milliseconds that something took.
pub fn milliseconds(work: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<f64> {
    let started = Instant::now();
    work()?;
    Ok(started.elapsed().as_secs_f64() * 1e3)
}
