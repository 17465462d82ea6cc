//! A closed loop: each client sends its next write when the last one is answered.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use bytes::Bytes;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::task::JoinSet;

use crate::load::{key, value};

/// Keys under each prefix: enough that clients seldom meet.
const KEYS: u64 = 100_000;

/// A key and its value.
pub type Pair = (Bytes, Bytes);

/// A store that is written to.
pub trait Target: Send + Sync + 'static {
    /// What it is called.
    const NAME: &'static str;

    /// Beginnings of keys; a transaction stays within one.
    fn prefixes(&self) -> &[Bytes];

    /// Writes one pair, or several in one transaction; answered when they are synced.
    fn write(&self, pairs: Vec<Pair>) -> impl Future<Output = anyhow::Result<()>> + Send;
}

/// What is sent.
#[derive(Debug, Clone)]
pub struct Load {
    pub clients: usize,
    /// Keys of one call.
    pub batch: usize,
    pub length: Duration,
    pub seed: u64,
    /// Of a value.
    pub bytes: usize,
}

/// What was answered.
#[derive(Debug)]
pub struct Rate {
    pub keys_per_second: f64,
    /// Calls that failed.
    pub failed: u64,
    /// Why the last of them did.
    pub failure: Option<anyhow::Error>,
}

impl Load {
    /// Runs all clients to the end.
    pub async fn run<T: Target>(&self, target: &Arc<T>) -> anyhow::Result<Rate> {
        let mut tasks = JoinSet::new();
        let begun = Instant::now();
        for client in 0..self.clients {
            tasks.spawn(self.clone().run_client(Arc::clone(target), client, begun));
        }
        let (mut written, mut failed, mut last) = (0, 0, None);
        while let Some(ended) = tasks.join_next().await {
            let (keys, failures) = ended.context("a client of the load stopped")?;
            written += keys;
            failed += failures.len() as u64;
            last = failures.into_iter().next_back().or(last);
        }
        if written == 0 {
            bail!("{}: no write was answered; the last failure: {last:?}", T::NAME);
        }
        Ok(Rate { keys_per_second: written as f64 / begun.elapsed().as_secs_f64(), failed, failure: last })
    }

    async fn run_client<T: Target>(self, target: Arc<T>, client: usize, begun: Instant) -> (u64, Vec<anyhow::Error>) {
        let mut random = ChaCha8Rng::seed_from_u64(self.seed);
        random.set_stream(client as u64);
        let (mut written, mut failures) = (0, Vec::new());
        while begun.elapsed() < self.length {
            let pairs = self.pairs(&mut random, target.prefixes());
            let count = pairs.len() as u64;
            match target.write(pairs).await {
                Ok(()) => written += count,
                Err(error) => failures.push(error),
            }
        }
        (written, failures)
    }

    /// Keys that follow each other from a drawn one on, so that none is in a transaction twice: etcd refuses that.
    fn pairs(&self, random: &mut ChaCha8Rng, prefixes: &[Bytes]) -> Vec<Pair> {
        let prefix = &prefixes[random.random_range(0..prefixes.len())];
        let first = random.random_range(0..KEYS);
        (0..self.batch as u64)
            .map(|step| {
                let key = [prefix, key((first + step) % KEYS).as_slice()].concat();
                (key.into(), value(random, self.bytes).into())
            })
            .collect()
    }
}
