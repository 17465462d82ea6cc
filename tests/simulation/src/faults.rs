//! What goes wrong, and when it is put right.

use std::collections::BTreeMap;

use rand::RngExt;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use thermocline_shard::NodeId;

use crate::network::{Network, Weather};
use crate::node::Node;
use crate::plan::{Plan, generator};
use crate::trace::Trace;

/// Something that is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wrong {
    Down(NodeId),
    Paused(NodeId),
    Cut(NodeId, NodeId),
    Storm,
    SlowDisk(NodeId),
    Clock(NodeId),
}

/// How often what went wrong.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wrongs {
    /// Processes that were killed.
    pub kills: u32,
    /// Power that was lost.
    pub power_losses: u32,
    /// Processes that were paused.
    pub pauses: u32,
    /// Nodes that were cut off others, one way or both.
    pub cuts: u32,
    /// Networks, devices and clocks that were bad for a while.
    pub others: u32,
}

/// Brings about what a seed draws.
pub struct Faults {
    chance: ChaCha8Rng,
    next: u64,
    calm: u64,
    fine: Weather,
    /// By when they are put right.
    wrong: BTreeMap<(u64, u64), Wrong>,
    number: u64,
    counts: Wrongs,
}

impl Faults {
    /// The faults of a run, from a moment on.
    pub fn new(plan: &Plan, from: u64) -> Self {
        let chance = generator(plan.seed, "faults");
        let (calm, fine) = (plan.calm, plan.weather);
        Self { chance, next: from, calm, fine, wrong: BTreeMap::new(), number: 0, counts: Wrongs::default() }
    }

    /// How often what went wrong.
    pub const fn counts(&self) -> Wrongs {
        self.counts
    }

    /// A millisecond passes: what is due goes wrong, and what has lasted is put right. `leaders` are hit more often.
    ///
    /// # Errors
    /// When a node does not start.
    pub fn step(
        &mut self,
        now: u64,
        nodes: &mut BTreeMap<NodeId, Node>,
        network: &Network,
        leaders: &[NodeId],
        trace: &Trace,
    ) -> anyhow::Result<()> {
        while let Some(((until, number), wrong)) = self.wrong.pop_first() {
            if until > now {
                self.wrong.insert((until, number), wrong);
                break;
            }
            self.put_right(wrong, now, nodes, network, trace)?;
        }
        if now < self.next {
            return Ok(());
        }
        self.next = now + self.chance.random_range(self.calm / 4..=self.calm);
        let hit = self.choose(nodes, leaders);
        self.go_wrong(hit, now, nodes, network, trace)
    }

    /// Everything is put right.
    ///
    /// # Errors
    /// When a node does not start.
    pub fn end(
        &mut self,
        now: u64,
        nodes: &mut BTreeMap<NodeId, Node>,
        network: &Network,
        trace: &Trace,
    ) -> anyhow::Result<()> {
        for wrong in std::mem::take(&mut self.wrong).into_values() {
            self.put_right(wrong, now, nodes, network, trace)?;
        }
        network.join_all();
        let calm = Weather { slow: 0.0, lost: 0.0, doubled: 0.0, ..self.fine };
        network.set_weather(calm);
        Ok(())
    }

    fn choose(&mut self, nodes: &BTreeMap<NodeId, Node>, leaders: &[NodeId]) -> NodeId {
        let all: Vec<NodeId> = nodes.keys().copied().collect();
        let from = if self.chance.random_bool(0.5) && !leaders.is_empty() { leaders } else { &all };
        from.choose(&mut self.chance).copied().unwrap_or(NodeId(1))
    }

    fn go_wrong(
        &mut self,
        hit: NodeId,
        now: u64,
        nodes: &mut BTreeMap<NodeId, Node>,
        network: &Network,
        trace: &Trace,
    ) -> anyhow::Result<()> {
        let away = nodes.values().filter(|node| !node.runs() || node.is_paused()).count();
        // Two at once is more than a group of three can take: it must stand still then, and not be wrong.
        let may_stop = away == 0 || (away == 1 && self.chance.random_bool(0.15));
        let kind = self.chance.random_range(0..100);
        let others: Vec<NodeId> = nodes.keys().copied().filter(|node| *node != hit).collect();
        let Some(node) = nodes.get_mut(&hit) else { return Ok(()) };
        match kind {
            0..15 if may_stop && node.runs() => {
                self.counts.kills += 1;
                let (tells, lucky) = (self.chance.random_bool(0.8), self.chance.random_bool(0.5));
                trace.note(now, &format!("{hit} is killed"), &[u8::from(tells), u8::from(lucky)]);
                node.kill(tells, lucky);
                self.until(now, 20, 5000, Wrong::Down(hit));
            }
            15..35 if may_stop && node.runs() => {
                self.counts.power_losses += 1;
                let lucky = self.chance.random_bool(0.5);
                let kept = self.chance.random_range(0..=node.store.unsynced());
                let kept = if self.chance.random_bool(0.5) { 0 } else { kept };
                trace.note(now, &format!("{hit} loses power, {kept} changes stay"), &[u8::from(lucky)]);
                node.kill(false, lucky);
                node.store.lose_power(kept)?;
                self.until(now, 20, 5000, Wrong::Down(hit));
            }
            35..50 if may_stop && node.runs() => {
                self.counts.pauses += 1;
                trace.note(now, &format!("{hit} is paused"), &[]);
                node.pause();
                self.until(now, 100, 6000, Wrong::Paused(hit));
            }
            50..65 => {
                self.counts.cuts += 1;
                // Alone, or with some of the others.
                let side: Vec<NodeId> = others.iter().copied().filter(|_| self.chance.random_bool(0.7)).collect();
                trace.note(now, &format!("{hit} is cut off {side:?}"), &[]);
                let until = now + self.chance.random_range(100..8000);
                for other in side {
                    for (from, to) in [(hit, other), (other, hit)] {
                        network.cut(from, to);
                        self.at(until, Wrong::Cut(from, to));
                    }
                }
            }
            65..80 => {
                self.counts.cuts += 1;
                let Some(other) = others.choose(&mut self.chance).copied() else { return Ok(()) };
                trace.note(now, &format!("nothing goes from {hit} to {other}"), &[]);
                network.cut(hit, other);
                self.until(now, 100, 8000, Wrong::Cut(hit, other));
            }
            80..87 => {
                self.counts.others += 1;
                let storm = Weather {
                    slow: 0.3,
                    slow_millis: self.chance.random_range(50..800),
                    lost: self.chance.random_range(0.05..0.4),
                    ..self.fine
                };
                trace.note(now, "the network is bad", &[]);
                network.set_weather(storm);
                self.until(now, 500, 5000, Wrong::Storm);
            }
            87..95 => {
                self.counts.others += 1;
                node.latency = self.chance.random_range(20..600);
                trace.note(now, &format!("the device of {hit} is slow"), &node.latency.to_be_bytes());
                self.until(now, 500, 5000, Wrong::SlowDisk(hit));
            }
            95.. => {
                self.counts.others += 1;
                let skew = self.chance.random_range(-3_600_000..3_600_000);
                trace.note(now, &format!("the clock of {hit} is off by {skew} ms"), &[]);
                node.set_skew(skew);
                self.until(now, 500, 20_000, Wrong::Clock(hit));
            }
            _ => {}
        }
        Ok(())
    }

    fn until(&mut self, now: u64, least: u64, most: u64, wrong: Wrong) {
        let until = now + self.chance.random_range(least..most);
        self.at(until, wrong);
    }

    fn at(&mut self, until: u64, wrong: Wrong) {
        self.number += 1;
        self.wrong.insert((until, self.number), wrong);
    }

    fn put_right(
        &self,
        wrong: Wrong,
        now: u64,
        nodes: &mut BTreeMap<NodeId, Node>,
        network: &Network,
        trace: &Trace,
    ) -> anyhow::Result<()> {
        trace.note(now, &format!("put right: {wrong:?}"), &[]);
        let (Wrong::Down(of) | Wrong::Paused(of) | Wrong::SlowDisk(of) | Wrong::Clock(of)) = wrong else {
            match wrong {
                Wrong::Cut(from, to) => network.join(from, to),
                _ => network.set_weather(self.fine),
            }
            return Ok(());
        };
        let Some(node) = nodes.get_mut(&of) else { return Ok(()) };
        match wrong {
            Wrong::Down(_) if !node.runs() => node.start()?,
            Wrong::Paused(_) => node.resume(),
            Wrong::SlowDisk(_) => node.latency = 1,
            Wrong::Clock(_) => node.set_skew(0),
            _ => {}
        }
        Ok(())
    }
}
