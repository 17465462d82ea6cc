//! Data of nodes changes tiers while clients call: ranges of keys are moved down and up again, and everything is classified anew.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use thermocline_histories::Counts;
use thermocline_proto::v1;
use tokio::time::{sleep, timeout};

use crate::PREFIXES;
use crate::hand::Hand;
use crate::members::NODES;
use crate::support::run::milliseconds;

/// What is drawn for media, beside everything else.
const STREAM: u64 = 2 << 40;
/// A node that is stopped meanwhile goes on with its move by itself.
const MOST: Duration = Duration::from_secs(10);

/// Moves ranges between the tiers of nodes until it is told to stop; how many moved something.
pub async fn change(hand: Hand, seed: u64, stop: Arc<AtomicBool>) -> Counts {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(STREAM);
    let mut counts = Counts::default();
    while !stop.load(Ordering::SeqCst) {
        let node = random.random_range(0..NODES);
        let prefix = PREFIXES.choose(&mut random).map_or("", |prefix| *prefix);
        let to = if random.random_bool(0.7) { "cold" } else { "hot" };
        if timeout(MOST, moved(&hand, node, prefix, to)).await.is_ok_and(|records| records.unwrap_or(0) > 0) {
            counts.note("changes of tier");
        }
        if random.random_bool(0.1) && timeout(MOST, reclassified(&hand, node)).await.is_ok_and(|done| done.is_some()) {
            counts.note("classifications");
        }
        sleep(milliseconds(random.random_range(100..1000))).await;
    }
    counts
}

/// How many records a node moved to a tier; `None` where it did not come to an end.
async fn moved(hand: &Hand, node: usize, prefix: &str, to: &str) -> Option<u64> {
    let request = v1::MoveRangeRequest {
        start: prefix.to_owned().into(),
        // Behind every key with the prefix.
        end: format!("{}0", prefix.trim_end_matches('/')).into(),
        to_tier: to.to_owned(),
        bytes_per_second: 0,
    };
    let mut told = hand.client.admin(node)?.move_range(request).await.ok()?.into_inner();
    while let Some(progress) = told.message().await.ok()? {
        if progress.state == "completed" {
            return Some(progress.records);
        }
    }
    None
}

async fn reclassified(hand: &Hand, node: usize) -> Option<()> {
    hand.client.admin(node)?.reclassify(v1::ReclassifyRequest {}).await.ok().map(drop)
}
