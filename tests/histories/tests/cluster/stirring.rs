//! What is asked of shards while clients call and things go wrong: they split, become one again, are led by others, their
//! replicas move, come, go and trade places, and a node is emptied of all of them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rand::seq::{IndexedRandom, SliceRandom};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use thermocline_histories::Counts;
use thermocline_proto::v1;
use thermocline_proto::v1::change_shard_request::Change;
use tokio::time::sleep;

use crate::PREFIXES;
use crate::hand::Hand;
use crate::support::run::milliseconds;

/// What is drawn for the changes, beside what is for faults and clients.
const STREAM: u64 = 1 << 40;

#[derive(Debug, Clone, Copy)]
enum Turn {
    Split,
    Merge,
    Transfer,
    Move,
    Exchange,
    AddAndRemove,
    Drain,
}

/// Of a round, in the order of the first one.
const ROUND: [Turn; 10] = [
    Turn::Split,
    Turn::Move,
    Turn::Transfer,
    Turn::Merge,
    Turn::Drain,
    Turn::Exchange,
    Turn::Transfer,
    Turn::Move,
    Turn::AddAndRemove,
    Turn::Split,
];

/// How often two neighbours are asked to become one: what split off is led after an election, and members are away now and then.
const LOOKS: usize = 10;

struct Stirring {
    hand: Hand,
    random: ChaCha8Rng,
    counts: Counts,
    name: &'static str,
}

/// Changes shards one after the other until it is told to stop; how often what was done.
pub async fn stir(hand: Hand, seed: u64, name: &'static str, stop: Arc<AtomicBool>) -> Counts {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(STREAM);
    let mut stirring = Stirring { hand, random, counts: Counts::default(), name };
    let mut round: Vec<Turn> = ROUND.into_iter().rev().collect();
    while !stop.load(Ordering::SeqCst) {
        let Some(turn) = round.pop() else {
            round = ROUND.to_vec();
            round.shuffle(&mut stirring.random);
            continue;
        };
        stirring.take(turn, &stop).await;
        let pause = milliseconds(stirring.random.random_range(200..1500));
        sleep(pause).await;
    }
    stirring.counts
}

impl Stirring {
    async fn take(&mut self, turn: Turn, stop: &AtomicBool) {
        let shards = self.hand.shards().await;
        let Some(shard) = shards.choose(&mut self.random).cloned() else { return };
        let done = match turn {
            Turn::Split => self.split(&shards).await.then_some("splits"),
            Turn::Merge => self.merge(&shards).await.then_some("merges"),
            Turn::Transfer => self.transfer(&shard).await.then_some("hand-overs"),
            Turn::Move => self.move_one(&shard).await.then_some("moves"),
            Turn::Exchange => self.exchange(&shard).await.then_some("exchanges"),
            Turn::AddAndRemove => self.add_and_remove(&shard).await.then_some("additions and removals"),
            Turn::Drain => self.drain(stop).await.then_some("drains"),
        };
        println!(
            "{}: {turn:?} of shard {} {}",
            self.name,
            shard.shard,
            if done.is_some() { "done" } else { "not done" }
        );
        if let Some(done) = done {
            self.counts.note(done);
        }
    }

    /// Between two prefixes of keys that one shard has.
    async fn split(&mut self, shards: &[v1::ShardStatus]) -> bool {
        let inside = |at: &str| {
            shards.iter().find(|shard| {
                &shard.start[..] < at.as_bytes() && (shard.end.is_empty() || at.as_bytes() < &shard.end[..])
            })
        };
        let places = PREFIXES.iter().filter_map(|at| Some((*at, inside(at).filter(|shard| shard.shard != 0)?)));
        let places: Vec<_> = places.collect();
        let Some((at, shard)) = places.choose(&mut self.random) else { return false };
        self.hand.change(shard.shard, Change::Split(v1::SplitShard { at: at.as_bytes().into() })).await
    }

    /// Two neighbours become one. Where no two have the same members, one is parted for it; a member that is away for a while
    /// has it given up, and it is asked for again.
    async fn merge(&mut self, shards: &[v1::ShardStatus]) -> bool {
        if neighbours(shards).is_empty() && !self.split(shards).await {
            return false;
        }
        for _ in 0..LOOKS {
            let pairs = neighbours(&self.hand.shards().await);
            if let Some((left, right)) = pairs.choose(&mut self.random) {
                let order = |job| Change::Merge(v1::MergeShard { job, right: right.shard, right_epoch: 0 });
                match self.hand.job(left.shard, order).await.as_deref() {
                    Some("Done") => return true,
                    Some(_) => {}
                    // Nobody takes it as they are now.
                    None => return false,
                }
            }
            sleep(milliseconds(1000)).await;
        }
        false
    }

    async fn transfer(&mut self, shard: &v1::ShardStatus) -> bool {
        let others = shard.members.iter().filter(|member| !member.witness && member.replica != shard.replica);
        let others: Vec<_> = others.collect();
        let Some(to) = others.choose(&mut self.random) else { return false };
        self.hand.change(shard.shard, Change::TransferLeader(v1::TransferLeader { node: to.node })).await
    }

    /// A node that has no replica of the shard.
    async fn free(&mut self, shard: &v1::ShardStatus) -> Option<u64> {
        let nodes: Vec<u64> = self.hand.statuses().await.iter().map(|(_, status)| status.node_id).collect();
        let free = nodes.iter().filter(|node| shard.members.iter().all(|member| member.node != **node));
        free.collect::<Vec<_>>().choose(&mut self.random).map(|node| **node)
    }

    async fn move_one(&mut self, shard: &v1::ShardStatus) -> bool {
        let Some(member) = shard.members.choose(&mut self.random) else { return false };
        self.move_from(shard, member.node).await
    }

    async fn move_from(&mut self, shard: &v1::ShardStatus, from: u64) -> bool {
        let Some(to) = self.free(shard).await else { return false };
        let order = |job| Change::MoveReplica(v1::MoveReplica { job, from, to, bytes_per_second: 0 });
        self.has_done(shard, order).await
    }

    async fn exchange(&mut self, shard: &v1::ShardStatus) -> bool {
        let data: Vec<u64> = shard.members.iter().filter(|one| !one.witness).map(|one| one.node).collect();
        let witness = shard.members.iter().find(|one| one.witness).map(|one| one.node);
        let (Some(&data), Some(witness)) = (data.choose(&mut self.random), witness) else { return false };
        let order = |job| Change::ExchangeReplica(v1::ExchangeReplica { job, data, witness, bytes_per_second: 0 });
        self.has_done(shard, order).await
    }

    async fn add_and_remove(&mut self, shard: &v1::ShardStatus) -> bool {
        let Some(node) = self.free(shard).await else { return false };
        let add = |job| Change::AddReplica(v1::AddReplica { job, node, witness: false, bytes_per_second: 0 });
        let added = self.has_done(shard, add).await;
        // One that was not taken in time may have begun by now.
        let remove = |job| Change::RemoveReplica(v1::RemoveReplica { job, node });
        let removed = self.has_done(shard, remove).await;
        added && removed
    }

    async fn has_done(&self, shard: &v1::ShardStatus, order: impl Fn(u64) -> Change) -> bool {
        self.hand.job(shard.shard, order).await.as_deref() == Some("Done")
    }

    /// All replicas of a node go elsewhere. With the next one that is emptied some come back.
    async fn drain(&mut self, stop: &AtomicBool) -> bool {
        let told = self.hand.statuses().await;
        let loaded: Vec<u64> =
            told.iter().filter(|(_, status)| !status.shards.is_empty()).map(|(_, status)| status.node_id).collect();
        let Some(&node) = loaded.choose(&mut self.random) else { return false };
        // Nodes that are away for a while come back.
        for _ in 0..3 {
            for shard in self.hand.shards().await {
                if stop.load(Ordering::SeqCst) {
                    return false;
                }
                let is_on_it = shard.members.iter().any(|member| member.node == node);
                if is_on_it && self.move_from(&shard, node).await {
                    self.counts.note("moves");
                }
            }
            let told = self.hand.statuses().await;
            if told.iter().any(|(_, status)| status.node_id == node && status.shards.is_empty()) {
                return true;
            }
        }
        false
    }
}

/// Neighbours that have replicas of the same kind on the same nodes.
fn neighbours(shards: &[v1::ShardStatus]) -> Vec<(v1::ShardStatus, v1::ShardStatus)> {
    let places = |shard: &v1::ShardStatus| -> BTreeSet<(u64, bool)> {
        shard.members.iter().map(|member| (member.node, member.witness)).collect()
    };
    let beside = |left: &v1::ShardStatus| {
        let right = shards.iter().find(|right| left.shard != 0 && right.start == left.end && !left.end.is_empty())?;
        (places(left) == places(right)).then(|| (left.clone(), right.clone()))
    };
    shards.iter().filter_map(beside).collect()
}
