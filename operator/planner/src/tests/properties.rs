//! What holds of every fleet.

use std::{collections::BTreeMap, time::Duration};

use proptest::prelude::*;

use super::*;
use crate::{
    FleetState, Moment, NodeId, ShardId, Zone,
    fleet::{MoveRecord, Node, Role, Shard},
    imbalance,
    test_fleet::{GIB, auto, fleet, node, policy, pool, settle, shard},
};

/// A fleet of `zones` zones; each shard's members, size and load as given.
fn drawn(nodes: u64, zones: u64, shards: &[(u64, u64, u64)]) -> FleetParts {
    let make = |id| Node { zone: Zone::from(format!("zone-{}", id % zones).as_str()), ..node(id) };
    let place = |number: usize, (at, size, load): (u64, u64, u64)| {
        let members = [1 + at % nodes, 1 + (at + 1) % nodes, 1 + (at + 2) % nodes];
        let mut made: Shard = shard(number as u64 + 1, &members);
        made.bytes[0].1 = 1 + size * GIB / 16;
        made.load.cpu = load as f64 / 16.0;
        made
    };
    let shards = shards.iter().enumerate().map(|(number, drawn)| place(number, *drawn)).collect();
    fleet((1..=nodes).map(make).collect(), shards)
}

fn shards() -> impl Strategy<Value = Vec<(u64, u64, u64)>> {
    prop::collection::vec((0..6_u64, 0..64_u64, 0..16_u64), 1..60)
}

/// Does what a plan says, at once; ends are remembered as a fleet would.
fn carry_out(fleet: FleetState, plan: &Plan, number: &mut u64, now: Moment) -> FleetState {
    let mut fleet = fleet;
    for proposal in &plan.proposals {
        *number += 2;
        let mut parts = fleet.after(&proposal.change, *number, &auto(), now).unwrap().into_parts();
        parts.history.push(MoveRecord {
            ended: now,
            change: proposal.change.clone(),
            reason: proposal.reason,
            bytes: proposal.forecast.bytes,
            completed: true,
        });
        fleet = FleetState::new(parts).unwrap();
    }
    fleet
}

fn rules_hold(fleet: &FleetState) {
    for shard in fleet.shards() {
        let mut nodes: Vec<NodeId> = shard.replicas.iter().map(|replica| replica.node).collect();
        nodes.sort();
        nodes.dedup();
        assert_eq!(nodes.len(), shard.replicas.len(), "{} has two members on a node", shard.id);
        assert!(shard.leader().is_some_and(|leader| leader.role == Role::Data));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn one_fleet_has_one_plan(nodes in 3..7_u64, zones in 1..4_u64, shards in shards()) {
        let fleet = state(drawn(nodes, zones, &shards));
        prop_assert_eq!(crate::plan(&fleet, &auto(), NOW), crate::plan(&state(drawn(nodes, zones, &shards)), &auto(), NOW));
    }

    #[test]
    fn a_plan_that_is_carried_out_never_raises_the_imbalance_over_what_it_was_or_may_be(
        nodes in 3..7_u64, zones in 1..4_u64, shards in shards(),
    ) {
        let fleet = state(drawn(nodes, zones, &shards));
        let plan = crate::plan(&fleet, &auto(), NOW);
        let before = imbalance(&fleet, &pool());
        let after = carry_out(fleet, &plan, &mut 1_000, NOW);
        rules_hold(&after);
        let score = imbalance(&after, &pool());
        for (before, after) in [(before.disk, score.disk), (before.load, score.load)] {
            prop_assert!(after.percent <= before.percent.max(20.0) + 1e-6, "{before:?} -> {after:?}");
        }
        // And the plan knew.
        prop_assert!((plan.imbalance[0].then.score() - score.score()).abs() < 1e-6);
    }

    #[test]
    fn no_proposal_leaves_the_node_that_takes_worse_off_than_the_one_it_helps(
        nodes in 3..7_u64, zones in 1..4_u64, shards in shards(),
    ) {
        let fleet = state(drawn(nodes, zones, &shards));
        let plan = crate::plan(&fleet, &auto(), NOW);
        for proposal in plan.proposals.iter().filter(|proposal| proposal.reason == Reason::NodeOverload) {
            let percent = |node, after: bool| proposal.forecast.effects.iter()
                .find(|effect| effect.figure == crate::Figure::CpuPercent && effect.node == node)
                .map(|effect| if after { effect.after } else { effect.before });
            let (from, to) = (proposal.change.from(), proposal.change.to());
            prop_assert!(percent(to, true) < percent(from, false), "{proposal:#?}");
        }
    }

    #[test]
    fn a_steady_fleet_comes_to_rest_in_balance(nodes in 3..7_u64, at in 0..6_u64, size in 1..8_u64) {
        // Shards small enough that balance exists, all on the same nodes.
        let shards: Vec<_> = (0..48).map(|number| (at, 8 + (number + size) % 8, 1)).collect();
        let mut fleet = state(drawn(nodes, nodes, &shards));
        let (mut now, mut number) = (NOW, 1_000);
        for _ in 0..200 {
            let plan = crate::plan(&fleet, &auto(), now);
            if plan.proposals.is_empty() && imbalance(&fleet, &pool()).score() <= 20.0 {
                break;
            }
            fleet = carry_out(fleet, &plan, &mut number, now);
            now = now + Duration::from_secs(61);
        }
        prop_assert!(imbalance(&fleet, &pool()).score() <= 20.0, "{:?}", imbalance(&fleet, &pool()));
        rules_hold(&fleet);
        for _ in 0..20 {
            now = now + Duration::from_secs(600);
            prop_assert_eq!(kinds(&crate::plan(&fleet, &auto(), now)), Vec::new());
        }
    }

    #[test]
    fn an_oscillating_load_moves_a_shard_only_so_often(period in 2..40_u64, hot in 1..6_u64) {
        let mut fleet = state(drawn(4, 4, &[(0, 8, 4), (1, 8, 4), (2, 8, 4), (3, 8, 4), (0, 8, 4), (1, 8, 4), (2, 8, 4), (3, 8, 4)]));
        // Nothing but the budget of moves holds it back.
        let mut eager = policy();
        (eager.min_residency, eager.cooldown) = (Duration::ZERO, Duration::ZERO);
        let policies = Policies::all(eager);
        let (mut now, mut number) = (NOW, 1_000);
        let mut moves: BTreeMap<ShardId, u32> = BTreeMap::new();
        // A day in rounds of five minutes; the load stands on one half of the shards, then on the other.
        for round in 0..288_u64 {
            let mut parts = fleet.into_parts();
            for shard in &mut parts.shards {
                let its_turn = (shard.id.0 + round / period) % 2 == 0;
                shard.load.cpu = if its_turn { hot as f64 } else { 0.1 };
            }
            settle(&mut parts);
            let before = state(parts);
            let plan = crate::plan(&before, &policies, now);
            for proposal in &plan.proposals {
                if proposal.change.kind() != ChangeKind::MergeShards {
                    *moves.entry(proposal.change.shard()).or_default() += 1;
                }
            }
            fleet = carry_out(before, &plan, &mut number, now);
            now = now + Duration::from_secs(300);
        }
        let most = moves.values().max().copied().unwrap_or_default();
        prop_assert!(most <= policy().moves_per_shard, "{moves:?}");
    }

    #[test]
    fn a_node_over_its_disk_trigger_falls_under_its_low_watermark(full in 86..95_u64, others in 0..40_u64) {
        let mut shards: Vec<Shard> = (1..=full).map(|id| shard(id, &[1, 2, 3])).collect();
        for (number, shard) in shards.iter_mut().enumerate() {
            shard.load.cpu = 0.0;
            // Of each, one copy on the full node and one on any of the others.
            shard.replicas[1].node = NodeId(2 + number as u64 % 3);
            shard.replicas[2].node = NodeId(2 + (number as u64 + 1) % 3);
        }
        shards.extend((full + 1..=full + others).map(|id| shard(id, &[2, 3, 4])));
        let mut fleet = state(fleet((1..=5).map(node).collect(), shards));
        let (mut now, mut number) = (NOW, 10_000);
        for _ in 0..100 {
            let plan = crate::plan(&fleet, &auto(), now);
            fleet = carry_out(fleet, &plan, &mut number, now);
            now = now + Duration::from_secs(61);
        }
        let tier = &fleet.nodes()[0].tiers[0];
        prop_assert!(tier.percent(tier.used) <= tier.low_percent, "{}", tier.percent(tier.used));
    }

    #[test]
    fn an_overloaded_node_loses_two_fifths_of_its_load_where_there_is_room(shards in 9..40_u64, percent in 81..100_u64) {
        let mut made: Vec<Shard> = (1..=shards).map(|id| shard(id, &[1, 2, 3])).collect();
        for (number, shard) in made.iter_mut().enumerate() {
            shard.load.cpu = percent as f64 / 10.0 / shards as f64;
            shard.replicas[1].node = NodeId(2 + number as u64 % 4);
            shard.replicas[2].node = NodeId(2 + (number as u64 + 1) % 4);
        }
        // No balance is wanted here: what the overload alone does is to be seen.
        let mut alone = policy();
        alone.triggers.imbalance_percent = 1_000.0;
        let policies = Policies::all(alone);
        let mut fleet = state(fleet((1..=5).map(node).collect(), made));
        let before = fleet.nodes()[0].load.cpu_used;
        let (mut now, mut number) = (NOW, 1_000);
        for _ in 0..60 {
            let plan = crate::plan(&fleet, &policies, now);
            fleet = carry_out(fleet, &plan, &mut number, now);
            now = now + Duration::from_secs(61);
        }
        let after = fleet.nodes()[0].load.cpu_used;
        prop_assert!(after <= before * 0.6 + 1e-9, "{before} -> {after}");
    }
}

#[test]
fn the_work_of_a_round_is_bounded_for_the_largest_fleet() {
    let shards: Vec<_> = (0..100_000_u64).map(|number| (number * number % 997, number % 64, number % 7)).collect();
    let mut parts = drawn(1_000, 10, &shards);
    for node in &mut parts.nodes {
        node.tiers[0].capacity = 2_000 * GIB;
        node.load.cpu_cores = 64.0;
    }
    let mut wide = policy();
    wide.budget.moves_per_cluster = 1_000;
    let plan = crate::plan(&state(parts), &Policies::all(wide), NOW);
    assert!(!plan.proposals.is_empty());
    assert!(plan.work < 10_000_000, "{} steps", plan.work);
}
