//! A fleet that balances itself, and then leaves things where they are.
//!
//! `BALANCE_QUIET_SECONDS` says for how long nothing may move under a steady load (`make balance`: 600).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use thermocline_client::{Batch, Client};
use thermocline_fleet::rebalance::disk_imbalance;

use super::replicated::statuses;
use super::support::*;

/// Splits and moves of some tens of MiB, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(600);
const RECORDS: u64 = 12_000;
const VALUE_BYTES: usize = 4 << 10;
/// What the planner calls balanced.
const BALANCED_PERCENT: f64 = 20.0;

fn quiet() -> Duration {
    let seconds = std::env::var("BALANCE_QUIET_SECONDS").ok().map(|text| text.parse().unwrap());
    Duration::from_secs(seconds.unwrap_or(60))
}

/// A fleet of three whose shards have one replica each, all of them on the first node at first.
fn unbalanced() -> Fleet {
    let fleet = Fleet::new();
    let folder = fleet.folder.path().join("manifests");
    std::fs::create_dir_all(&folder).unwrap();
    for entry in std::fs::read_dir(examples("make-run")).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let text = text
            .replace("data: 2", "data: 1")
            .replace("witness: true", "witness: false")
            .replace("size: 2Gi", "size: 256Mi");
        std::fs::write(folder.join(path.file_name().unwrap()), text).unwrap();
    }
    fleet.ok(&["local", "up", "-f", folder.to_str().unwrap(), "--address", &fleet.address]);
    fleet
}

/// Every byte another one, so that compression does not decide how much there is.
fn value(number: u64) -> Vec<u8> {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    std::iter::repeat_with(next).take(VALUE_BYTES).collect()
}

fn key(number: u64) -> String {
    format!("key{number:06}")
}

async fn load(client: &Client) {
    for first in (0..RECORDS).step_by(32) {
        let mut number = first;
        while number < (first + 32).min(RECORDS) {
            let batch = (number..number + 8).fold(Batch::new(), |batch, of| batch.put(key(of), value(of)));
            match client.write(batch).await {
                Ok(_) => number += 8,
                // It was split within the batch meanwhile.
                Err(thermocline_client::Error::BatchSpansShards { .. }) => {
                    for of in number..number + 8 {
                        client.put(key(of), value(of)).await.unwrap();
                    }
                    number += 8;
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
}

/// The moves of replicas that have begun, by shard: from where to where, in their order, and why.
fn moves(fleet: &Fleet) -> BTreeMap<u64, Vec<Moved>> {
    let all = fleet.get(&["tcm"]);
    let mut found: Vec<&Value> = all.as_array().unwrap().iter().collect();
    found.sort_by_key(|object| object["metadata"]["creationTimestamp"].as_str().unwrap_or_default().to_owned());
    let mut by_shard: BTreeMap<u64, Vec<_>> = BTreeMap::new();
    for object in found {
        let begun = ["Running", "Verifying", "Completed"].contains(&object["status"]["phase"].as_str().unwrap_or(""));
        if let (true, Some(shard), "MoveReplica") =
            (begun, object["spec"]["shard"].as_u64(), object["spec"]["kind"].as_str().unwrap_or(""))
        {
            let node = |field: &str| object["spec"][field].as_str().unwrap_or_default().to_owned();
            let why = format!("{}: {}", object["spec"]["reason"], object["status"]["forecast"]);
            by_shard.entry(shard).or_default().push(Moved { from: node("from"), to: node("to"), why });
        }
    }
    by_shard
}

/// A move of a replica.
#[derive(Debug)]
struct Moved {
    from: String,
    to: String,
    /// For whoever reads why a test failed.
    #[allow(dead_code)]
    why: String,
}

fn count(moves: &BTreeMap<u64, Vec<Moved>>) -> usize {
    moves.values().map(Vec::len).sum()
}

/// Moves that undo an earlier one of the same shard.
fn thrash(moves: &BTreeMap<u64, Vec<Moved>>) -> usize {
    let undone = |of: &Vec<Moved>| {
        let goes_back =
            |place: usize| of[..place].iter().any(|before| before.from == of[place].to && before.to == of[place].from);
        (0..of.len()).filter(|place| goes_back(*place)).count()
    };
    moves.values().map(undone).sum()
}

/// Reads and writes keys that `choose` gives until it is told to stop; how many were answered.
fn using(
    client: &Client,
    choose: impl Fn(u64) -> u64 + Send + 'static,
) -> (Arc<AtomicBool>, tokio::task::JoinHandle<u64>) {
    let (stop, client) = (Arc::new(AtomicBool::new(false)), client.clone());
    let told = Arc::clone(&stop);
    let used = tokio::spawn(async move {
        let mut number = 0;
        while !told.load(Ordering::SeqCst) {
            number += 1;
            let of = choose(number) % RECORDS;
            if number % 4 == 0 {
                client.put(key(of), value(of)).await.unwrap();
            } else {
                assert!(client.get(key(of)).await.unwrap().is_some(), "{of}");
            }
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
        number
    });
    (stop, used)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the machine to itself: other tests' load would move its shards; `make balance` runs it"]
async fn what_is_all_on_one_node_is_spread_without_a_hand_and_then_stays_where_it_is() {
    let fleet = unbalanced();
    let client = fleet.client().await;
    load(&client).await;
    // What is overwritten again and again takes room too, and counts.
    let (stop, used) = using(&client, |number| number.wrapping_mul(7919));
    let begun = Instant::now();
    let (mut still_since, mut before) = (Instant::now(), 0);
    // Balanced, and no split or move has come after it for a while.
    loop {
        let (now, imbalance) = (count(&moves(&fleet)), disk_imbalance(&statuses(&client).await));
        if now != before || imbalance > BALANCED_PERCENT {
            (still_since, before) = (Instant::now(), now);
        }
        if before > 0 && still_since.elapsed() > Duration::from_secs(60) {
            break;
        }
        let table = || fleet.ok(&["get", "tcm"]);
        assert!(begun.elapsed() < PATIENCE, "imbalance {imbalance:.0} % after {before} moves: {}", table());
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    println!("balanced after {:?} and {before} moves", begun.elapsed());

    let quiet_since = Instant::now();
    while quiet_since.elapsed() < quiet() {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let now = moves(&fleet);
        assert_eq!(count(&now), before, "nothing moves under a steady load: {now:?}");
    }
    stop.store(true, Ordering::SeqCst);
    assert!(used.await.unwrap() > 1000, "a load that is none shows nothing");
    let imbalance = disk_imbalance(&statuses(&client).await);
    assert!(imbalance <= BALANCED_PERCENT, "{imbalance}");

    // What is hot goes from one end of the keys to the other and back, faster than a move would pay.
    let phase = Arc::new(AtomicU64::new(0));
    let told = Arc::clone(&phase);
    let ends = move |number: u64| match told.load(Ordering::SeqCst) % 2 {
        0 => number % 500,
        _ => RECORDS - 1 - number % 500,
    };
    let (stop, used) = using(&client, ends);
    for _ in 0..8 {
        tokio::time::sleep(quiet() / 8).await;
        phase.fetch_add(1, Ordering::SeqCst);
    }
    stop.store(true, Ordering::SeqCst);
    used.await.unwrap();
    let after = moves(&fleet);
    println!("{} moves more under an oscillating load, {} of all went back", count(&after) - before, thrash(&after));
    assert_eq!(thrash(&after), 0, "{after:?}");
    for (shard, of) in &after {
        assert!(of.len() <= 4, "shard {shard} has moved {} times: {of:?}", of.len());
    }
}
