//! Clients that write without pause, and when they were answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use thermocline_client::Client;
use tokio::task::JoinSet;

use crate::load::{key, value};

const CLIENTS: u64 = 8;
const KEYS: u64 = 20_000;
const VALUE_BYTES: usize = 256;
/// A request that takes longer is one that somebody notices.
const LONG: Duration = Duration::from_millis(500);

/// Writes until it is told to stop.
pub struct Writers {
    stop: Arc<AtomicBool>,
    tasks: JoinSet<Vec<Answer>>,
    begun: Instant,
}

struct Answer {
    at: Instant,
    took: Duration,
    failed: bool,
}

/// What the writers met.
#[derive(Debug, Clone, Copy)]
pub struct Met {
    /// The longest time in which nobody was answered.
    pub gap: Duration,
    pub p99: Duration,
    /// Requests that took over half a second.
    pub long: u64,
    pub failed: u64,
    pub answered: u64,
}

impl Writers {
    /// Begins to write.
    pub fn begin(client: &Client, seed: u64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut tasks = JoinSet::new();
        for number in 0..CLIENTS {
            tasks.spawn(write(client.clone(), Arc::clone(&stop), seed, number));
        }
        Self { stop, tasks, begun: Instant::now() }
    }

    /// Ends the writing and says what the writers met.
    pub async fn end(mut self) -> anyhow::Result<Met> {
        self.stop.store(true, Ordering::Relaxed);
        let mut answers = Vec::new();
        while let Some(ended) = self.tasks.join_next().await {
            answers.extend(ended.context("a writer stopped")?);
        }
        answers.sort_by_key(|answer| answer.at);
        let (mut last, mut gap) = (self.begun, Duration::ZERO);
        for answer in answers.iter().filter(|answer| !answer.failed) {
            gap = gap.max(answer.at.duration_since(last));
            last = answer.at;
        }
        let mut took: Vec<Duration> = answers.iter().map(|answer| answer.took).collect();
        took.sort_unstable();
        let p99 = took.get(took.len() * 99 / 100).copied().context("no write was answered")?;
        let number = |of: fn(&&Answer) -> bool| answers.iter().filter(of).count() as u64;
        let (long, failed) = (number(|answer| answer.took > LONG), number(|answer| answer.failed));
        Ok(Met { gap, p99, long, failed, answered: answers.len() as u64 - failed })
    }
}

async fn write(client: Client, stop: Arc<AtomicBool>, seed: u64, number: u64) -> Vec<Answer> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(number);
    let mut answers = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let (key, value) = (key(random.random_range(0..KEYS)).to_vec(), value(&mut random, VALUE_BYTES));
        let begun = Instant::now();
        let failed = match client.put(key, value).await {
            Ok(_) => false,
            Err(error) => {
                eprintln!("a write failed: {error}");
                true
            }
        };
        answers.push(Answer { at: Instant::now(), took: begun.elapsed(), failed });
    }
    answers
}
