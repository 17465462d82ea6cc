//! A scenario from options.

use std::time::Duration;

use thermocline_simulator::{
    DayCurve, Failure, HotSpot, LoadShape, NodeGroup, Placement, PolicySettings, Scenario, ShardGroup, TierShape,
};

use crate::args::SimulateArguments;

const GIB: u64 = 1 << 30;
/// The mean size of a shard.
const SHARD: u64 = 3 * GIB;
/// Copies of a shard's data.
const COPIES: u64 = 2;
/// Requests a second of a node, and cores that a thousand of them take: 40 % of its processors, on the mean.
const OPERATIONS: f64 = 25_600.0;
const CPU_PER_THOUSAND: f64 = 0.25;
const CORES: f64 = 16.0;
/// Parts of all bytes that the media of the fleet could hold, fastest first, with what a GiB of them costs a month:
/// together twice what is stored.
const MEDIA: [(&str, u16, f64, f64); 3] = [("hot", 0, 0.8, 0.30), ("warm", 10, 0.4, 0.10), ("cold", 20, 0.8, 0.02)];

/// A fleet that is half full, busy in the afternoon, with a hot spot that wanders.
pub(super) fn scenario(arguments: &SimulateArguments) -> Scenario {
    let hours = |hours: u64| Duration::from_hours(hours);
    let stored = arguments.shards * SHARD * COPIES;
    let tier = |(name, rank, share, cost_per_gib_month): (&str, u16, f64, f64)| TierShape {
        name: name.to_owned(),
        rank,
        // A node has room for some shards, however few there are.
        size: ((stored as f64 * share / arguments.nodes as f64) as u64).max(16 * GIB),
        cost_per_gib_month,
    };
    let spot = |at: u64, from: f64| HotSpot { at: hours(at), lasts: hours(2), from, width: 0.03, factor: 4.0 };
    let failure = |number: u64| Failure {
        // Far from each other, and each after the one before is made up for.
        node: 1 + (number * 7 + 2) % arguments.nodes,
        at: Duration::from_mins(arguments.hours * 60 * (number + 1) / (arguments.failures + 1)),
        back_after: None,
    };
    Scenario {
        seed: 1,
        duration: hours(arguments.hours),
        step: Duration::from_mins(1),
        nodes: vec![NodeGroup {
            count: arguments.nodes,
            zones: ["a", "b", "c"].map(str::to_owned).to_vec(),
            cores: CORES,
            bandwidth: GIB,
            tiers: MEDIA.map(tier).to_vec(),
            joins_at: None,
        }],
        shards: vec![ShardGroup {
            count: arguments.shards,
            size: SHARD,
            size_spread: 0.5,
            operations: OPERATIONS * arguments.nodes as f64,
            skew: 0.5,
            writes: 0.2,
            cpu_per_thousand: CPU_PER_THOUSAND,
            cold: 0.5,
            placement: if arguments.first_node { Placement::FirstNode } else { Placement::Spread },
        }],
        load: LoadShape {
            day_curve: Some(DayCurve { amplitude: 0.5, peak_hour: 15.0 }),
            hot_spots: vec![spot(2, 0.2), spot(8, 0.6), spot(14, 0.4)],
        },
        failures: (0..arguments.failures.min(arguments.nodes)).map(failure).collect(),
        policy: PolicySettings {
            moves_per_cluster: Some((arguments.nodes / 8).max(8) as u32),
            ..PolicySettings::default()
        },
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Arguments, Command};

    #[test]
    fn whatever_the_options_say_makes_a_scenario() {
        for line in [
            "thermoctl simulate",
            "thermoctl simulate --nodes 1 --shards 1 --failures 9",
            "thermoctl simulate --nodes 10000 --shards 1000000 --hours 720 --first-node",
        ] {
            let Command::Simulate(arguments) = Arguments::try_parse_from(line.split(' ')).unwrap().command else {
                panic!("not simulate");
            };
            scenario(&arguments).check().unwrap();
        }
    }
}
