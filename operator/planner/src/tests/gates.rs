//! Each gate, budget and refusal of a change.

use std::time::Duration;

use super::*;
use crate::{
    FleetState, HealthScore, Moment, NodeId, PoolName, Priority, ShardId,
    fleet::{Availability, MoveRecord, OpenMove, OpenPhase, ShardLoad},
    policy::{Abilities, Days, Mode, Policy, Window},
    test_fleet::{GIB, auto, fleet, node, policy, settle, shard, unbalanced},
};

const LOST: Availability = Availability::Silent { since: Moment(NOW.0 - 31_000) };

/// Four nodes, the first of which leads all of six busy shards: NodeOverload is due.
fn overloaded() -> FleetParts {
    let mut shards: Vec<_> = (1..=6).map(|id| shard(id, &[1, 2, 3])).collect();
    shards.iter_mut().for_each(|shard| shard.load.cpu = 1.5);
    fleet(vec![node(1), node(2), node(3), node(4)], shards)
}

/// Four nodes, the first of which is lost.
fn failed() -> FleetParts {
    let mut parts = fleet(vec![node(1), node(2), node(3), node(4)], (1..=3).map(|id| shard(id, &[2, 1, 3])).collect());
    parts.nodes[0].availability = LOST;
    parts
}

fn with(change: impl FnOnce(&mut Policy)) -> Policies {
    let mut policy = policy();
    change(&mut policy);
    Policies::all(policy)
}

fn transfer(shard: u64, from: u64, to: u64) -> Change {
    Change::TransferLeader { shard: ShardId(shard), from: NodeId(from), to: NodeId(to) }
}

fn record(shard: u64, from: u64, to: u64, ago: Duration) -> MoveRecord {
    let (change, reason) = (transfer(shard, from, to), Reason::Rebalance);
    MoveRecord { ended: NOW - ago, change, reason, bytes: 0, completed: true }
}

#[test]
fn in_a_paused_pool_nothing_is_done_but_what_restores_lost_copies() {
    let paused = with(|policy| policy.mode = Mode::Paused);
    assert_refused(&planned(overloaded(), &paused), RefusalKind::Paused);
    let plan = planned(failed(), &paused);
    assert_eq!(plan.proposals.len(), by(&plan, Reason::NodeFailure).len());
    assert!(!plan.proposals.is_empty());
}

#[test]
fn a_pool_without_a_policy_only_proposes() {
    let plan = planned(overloaded(), &Policies::default());
    assert!(!plan.proposals.is_empty() && plan.proposals.iter().all(|proposal| proposal.needs_approval));
    assert!(planned(overloaded(), &auto()).proposals.iter().all(|proposal| !proposal.needs_approval));
    let lost = planned(failed(), &Policies::default());
    let restores = by(&lost, Reason::NodeFailure);
    assert!(!restores.is_empty() && restores.iter().all(|proposal| !proposal.needs_approval), "that is not put off");
}

#[test]
fn each_pool_goes_by_its_own_policy() {
    let mut policies = auto();
    policies.by_pool.insert(PoolName::from("main"), Policy { mode: Mode::Paused, ..Policy::default() });
    assert_refused(&planned(overloaded(), &policies), RefusalKind::Paused);
}

#[test]
fn what_can_wait_waits_for_a_window_and_what_cannot_does_not() {
    // NOW is a Monday at noon.
    let closed = |policy: &mut Policy| {
        policy.windows = vec![Window { days: Days::ALL, start_minute: 0, minutes: 60 }];
    };
    let mut unequal = fleet(vec![node(1), node(2), node(3)], (1..=12).map(|id| shard(id, &[1, 2, 3])).collect());
    unequal.shards.iter_mut().for_each(|shard| shard.load = ShardLoad::default());
    settle(&mut unequal);
    assert!(!planned(unequal.clone(), &auto()).proposals.is_empty());
    assert_refused(&planned(unequal, &with(closed)), RefusalKind::OutsideWindows);
    assert!(!by(&planned(failed(), &with(closed)), Reason::NodeFailure).is_empty());
    assert!(!by(&planned(overloaded(), &with(closed)), Reason::NodeOverload).is_empty());
}

#[test]
fn a_shard_with_an_open_move_gets_no_other() {
    let mut parts = overloaded();
    let open = |id| OpenMove {
        change: transfer(id, 2, 1),
        reason: Reason::Manual,
        priority: Priority::Low,
        phase: OpenPhase::Running,
        bytes: 0,
    };
    parts.open = (1..=6).map(open).collect();
    parts.nodes[0].load.cpu_used = 20.0;
    assert_refused(&planned(parts.clone(), &auto()), RefusalKind::ShardBusy);
    for open in &mut parts.open {
        (open.phase, open.priority) = (OpenPhase::Proposed, Priority::High);
    }
    assert_refused(&planned(parts, &auto()), RefusalKind::ShardBusy);
}

#[test]
fn a_move_that_only_waits_holds_up_none_that_is_more_urgent() {
    let mut parts = failed();
    let open = |phase| {
        let change = Change::TransferLeader { shard: ShardId(1), from: NodeId(2), to: NodeId(3) };
        OpenMove { change, reason: Reason::Rebalance, priority: Priority::Normal, phase, bytes: 0 }
    };
    for phase in [OpenPhase::Proposed, OpenPhase::Approved] {
        parts.open = vec![open(phase)];
        let plan = planned(parts.clone(), &auto());
        assert!(changes(&plan).iter().any(|change| change.shard() == ShardId(1)), "{:#?}", plan.refusals);
    }
    parts.open = vec![open(OpenPhase::Running)];
    let plan = planned(parts, &auto());
    assert!(changes(&plan).iter().all(|change| change.shard() != ShardId(1)));
}

#[test]
fn what_nobody_can_carry_out_is_neither_planned_nor_counted_and_says_so_once_for_all() {
    // Two data replicas and a witness on three nodes: only an exchange could level them.
    let mut shards: Vec<_> = (1..=6).map(|id| shard(id, &[1, 2, 3])).collect();
    shards.iter_mut().for_each(|shard| shard.bytes = vec![(crate::TierRank(0), 5 * GIB)]);
    let parts = fleet(vec![node(1), node(2), node(3)], shards);
    let exchanges = |plan: &Plan| {
        let exchange = |change: &&Change| matches!(change, Change::MoveReplica { exchange: Some(_), .. });
        changes(plan).into_iter().filter(exchange).count()
    };
    let able = planned(parts.clone(), &auto());
    assert!(exchanges(&able) > 0, "{able:#?}");
    let unable = Abilities { exchanges: false, read_replicas: false, merges: false, tier_changes: false };
    let plan = planned(parts, &Policies { abilities: unable, ..auto() });
    assert_eq!(exchanges(&plan), 0);
    let (_, count, examples) =
        plan.refusals.iter().find(|(kind, ..)| *kind == RefusalKind::NotPossible).expect("it is told");
    assert!(count > 0 && examples[0].to_string().contains("exchange of a replica with its shard's witness"));
    assert_eq!(plan.refusals.count(RefusalKind::ClusterBudget), 0);
}

#[test]
fn where_media_cannot_be_changed_a_full_tier_is_relieved_by_moves_between_nodes() {
    let mut nodes = [node(1), node(2), node(3), node(4)];
    for node in &mut nodes {
        node.tiers.push(crate::test_fleet::tier(9, 1000 * GIB));
    }
    let mut shards: Vec<_> = (1..=9).map(|id| shard(id, &[1, 2, 3])).collect();
    shards.iter_mut().for_each(|shard| shard.bytes = vec![(crate::TierRank(0), 10 * GIB)]);
    let parts = fleet(nodes.to_vec(), shards);
    let full = |policies: &Policies| {
        let plan = planned(parts.clone(), policies);
        by(&plan, Reason::DiskFull).iter().map(|proposal| proposal.change.kind()).collect::<Vec<_>>()
    };
    assert!(full(&auto()).contains(&ChangeKind::ChangeTier));
    let unable = Abilities { tier_changes: false, ..Abilities::default() };
    let moves = full(&Policies { abilities: unable, ..auto() });
    assert!(!moves.is_empty() && !moves.contains(&ChangeKind::ChangeTier), "{moves:?}");
}

#[test]
fn a_shard_that_moved_a_short_while_ago_stays() {
    let mut parts = overloaded();
    let moved = |parts: &mut FleetParts, ago: u64| {
        parts.shards.iter_mut().for_each(|shard| shard.times.last_move = Some(NOW - Duration::from_secs(ago)));
    };
    moved(&mut parts, 599);
    assert_refused(&planned(parts.clone(), &auto()), RefusalKind::MinResidency);
    moved(&mut parts, 600);
    assert!(!planned(parts, &auto()).proposals.is_empty());
    let mut lost = failed();
    moved(&mut lost, 1);
    assert!(!by(&planned(lost, &auto()), Reason::NodeFailure).is_empty(), "what is lost cannot wait");
}

#[test]
fn a_shard_is_moved_only_so_often_in_a_day() {
    let mut parts = overloaded();
    let day = Duration::from_hours(24);
    parts.history = (1..=6).flat_map(|id| vec![record(id, 1, 2, day - Duration::from_secs(1)); 4]).collect();
    assert_refused(&planned(parts.clone(), &auto()), RefusalKind::MovesPerShard);
    parts.history.iter_mut().for_each(|record| record.ended = NOW - day);
    assert!(!planned(parts, &auto()).proposals.is_empty(), "a day later it is free again");
}

#[test]
fn a_node_that_load_moved_from_is_left_alone_until_it_was_measured_again() {
    let mut parts = overloaded();
    parts.history = vec![record(99, 1, 4, Duration::from_secs(59))];
    assert_refused(&planned(parts.clone(), &unbalanced()), RefusalKind::Cooldown);
    parts.history[0].ended = NOW - Duration::from_secs(60);
    assert!(!planned(parts, &unbalanced()).proposals.is_empty());
}

#[test]
fn a_node_has_only_so_many_moves_at_a_time() {
    let at_most = |leaders, moves| {
        let mut policies = unbalanced();
        policies.fallback.budget.leader_moves = leaders;
        (policies.fallback.budget.moves_in, policies.fallback.budget.moves_out) = (moves, moves);
        let plan = planned(overloaded(), &policies);
        assert!(plan.refusals.count(RefusalKind::NodeBudget) > 0);
        kinds(&plan)
    };
    assert_eq!(at_most(1, 2), [ChangeKind::TransferLeader]);
    assert_eq!(at_most(2, 2), [ChangeKind::TransferLeader; 2]);
    assert_eq!(at_most(0, 1), [ChangeKind::MoveReplica]);
}

#[test]
fn a_cluster_has_only_so_many_moves_and_critical_ones_have_their_own() {
    let none = with(|policy| {
        policy.budget.moves_per_cluster = 1;
        policy.budget.leader_moves = 0;
    });
    let mut parts = overloaded();
    let busy = OpenMove {
        change: Change::AddReplica { shard: ShardId(6), role: crate::fleet::Role::Learner, to: NodeId(4) },
        reason: Reason::HotDataReplication,
        priority: Priority::Normal,
        phase: OpenPhase::Running,
        bytes: GIB,
    };
    parts.open = vec![busy.clone()];
    assert_refused(&planned(parts, &none), RefusalKind::ClusterBudget);
    let mut lost = failed();
    lost.shards.push(shard(6, &[2, 4, 3]));
    settle(&mut lost);
    lost.open = vec![OpenMove {
        change: Change::AddReplica { shard: ShardId(6), role: crate::fleet::Role::Learner, to: NodeId(2) },
        ..busy
    }];
    let plan = planned(lost, &none);
    assert_eq!(by(&plan, Reason::NodeFailure).len(), 1, "{plan:#?}");
}

#[test]
fn a_day_has_only_so_many_bytes() {
    let few = |bytes| {
        with(|policy| {
            policy.budget.leader_moves = 0;
            policy.budget.bytes_per_day = Some(bytes);
        })
    };
    let mut parts = overloaded();
    parts.history = vec![record(99, 3, 3, Duration::from_hours(1))];
    parts.history[0].bytes = GIB;
    assert_eq!(planned(parts.clone(), &few(2 * GIB)).proposals.len(), 1);
    assert_refused(&planned(parts, &few(2 * GIB - 1)), RefusalKind::DailyBytes);
    assert!(!by(&planned(failed(), &few(0)), Reason::NodeFailure).is_empty());
}

#[test]
fn splits_and_merges_have_a_budget() {
    let mut parts = fleet(vec![node(1), node(2), node(3)], (1..=9).map(|id| shard(id, &[1, 2, 3])).collect());
    parts.shards.iter_mut().for_each(|shard| (shard.load, shard.bytes[0].1) = (ShardLoad::default(), 1));
    settle(&mut parts);
    let plan = planned(parts, &with(|policy| policy.budget.range_changes = 1));
    assert_eq!(kinds(&plan), [ChangeKind::MergeShards]);
    assert!(plan.refusals.count(RefusalKind::ClusterBudget) > 0);
}

#[test]
fn a_shard_is_changed_only_while_its_other_members_are_sound() {
    let unsound: [fn(&mut crate::fleet::Replica); 3] =
        [|member| member.healthy = false, |member| member.needs_snapshot = true, |member| member.lag = 128];
    for spoil in unsound {
        for mut parts in [overloaded(), failed()] {
            parts.shards.iter_mut().for_each(|shard| spoil(&mut shard.replicas[2]));
            assert_refused(&planned(parts, &auto()), RefusalKind::ReplicaUnsound);
        }
    }
}

#[test]
fn a_shard_without_a_leader_is_left_alone() {
    let mut parts = overloaded();
    parts.shards.iter_mut().for_each(|shard| shard.replicas[0].leader = false);
    assert_refused(&planned(parts, &auto()), RefusalKind::NoLeader);
}

#[test]
fn a_node_is_not_lost_before_its_time() {
    let mut parts = failed();
    parts.nodes[0].availability = Availability::Silent { since: NOW - Duration::from_millis(29_999) };
    assert_refused(&planned(parts, &auto()), RefusalKind::NotYetLost);
}

#[test]
fn two_silent_nodes_are_not_replaced_even_if_one_has_only_begun_to_be() {
    let mut parts = failed();
    parts.nodes[3].availability = Availability::Silent { since: NOW };
    parts.shards.push(shard(9, &[2, 4, 3]));
    assert_refused(&planned(parts, &auto()), RefusalKind::SeveralNodesLost);
}

#[test]
fn a_silent_node_without_members_does_not_stand_in_the_way() {
    let mut parts = failed();
    parts.nodes.push(node(5));
    parts.nodes[4].availability = LOST;
    assert!(!by(&planned(parts, &auto()), Reason::NodeFailure).is_empty());
}

#[test]
fn all_nodes_away_and_back_changes_nothing() {
    let mut parts = failed();
    parts.nodes.iter_mut().for_each(|node| node.availability = LOST);
    assert_refused(&planned(parts.clone(), &auto()), RefusalKind::SeveralNodesLost);
    parts.nodes.iter_mut().for_each(|node| node.availability = Availability::Live);
    assert_eq!(by(&planned(parts, &auto()), Reason::NodeFailure).len(), 0);
}

#[test]
fn while_a_drain_is_on_a_lost_node_is_not_replaced() {
    let mut parts = failed();
    parts.nodes[3].availability = Availability::Draining { cancelled: false };
    assert_refused(&planned(parts.clone(), &auto()), RefusalKind::DrainInProgress);
    parts.nodes[3].availability = Availability::Draining { cancelled: true };
    assert!(!by(&planned(parts, &auto()), Reason::NodeFailure).is_empty());
}

#[test]
fn a_shard_whose_only_copy_is_lost_is_named() {
    let mut parts = fleet(vec![node(1), node(2), node(3)], vec![shard(1, &[1])]);
    parts.nodes[0].availability = LOST;
    let plan = planned(parts, &auto());
    assert_refused(&plan, RefusalKind::NoCopyLeft);
}

#[test]
fn a_pool_with_too_few_nodes_says_so() {
    let plan = planned(fleet(vec![node(1)], vec![shard(1, &[1])]), &auto());
    assert_refused(&plan, RefusalKind::TooFewNodes);
}

#[test]
fn a_member_that_nobody_can_take_is_named_with_the_reason() {
    let mut parts = failed();
    parts.nodes[3].signals.failures = 1_000;
    parts.nodes[3].signals.uptime = Duration::ZERO;
    assert!(HealthScore::of(&parts.nodes[3]).points < HealthScore::TARGET_FLOOR);
    let plan = planned(parts, &auto());
    assert_refused(&plan, RefusalKind::NoTarget);
    let (_, _, examples) = plan.refusals.iter().find(|(kind, ..)| *kind == RefusalKind::NoTarget).unwrap();
    assert!(examples[0].to_string().contains("health score of 40"), "{}", examples[0]);
}

#[test]
fn where_everyone_is_as_busy_nothing_is_moved_and_that_is_said() {
    let mut shards = Vec::new();
    for (id, nodes) in [[1, 2, 3], [2, 3, 1], [3, 1, 2]].iter().cycle().take(27).enumerate() {
        shards.push(shard(id as u64 + 1, nodes));
        shards[id].load.cpu = 1.0;
    }
    let plan = planned(fleet(vec![node(1), node(2), node(3)], shards), &auto());
    assert_refused(&plan, RefusalKind::NoRelief);
}

#[test]
fn what_frees_a_disk_does_not_go_where_it_would_unbalance_the_load() {
    let mut parts = fleet(vec![node(1), node(2), node(3), node(4)], (1..=3).map(|id| shard(id, &[1, 2, 3])).collect());
    for shard in &mut parts.shards {
        (shard.bytes[0].1, shard.load.cpu) = (30 * GIB, 2.0);
    }
    settle(&mut parts);
    parts.nodes[2].tiers[0].used = 84 * GIB;
    let to_the_last = |parts: &FleetParts| {
        changes(&planned(parts.clone(), &auto()))
            .iter()
            .any(|change| (change.from(), change.to()) == (Some(NodeId(1)), Some(NodeId(4))))
    };
    assert!(to_the_last(&parts));
    // Now it is as busy as the node that it would help.
    parts.nodes[3].load.cpu_used = 6.0;
    assert!(!to_the_last(&parts));
}

#[test]
fn a_deviation_that_is_allowed_is_left_alone() {
    let shards = (1..=24).map(|id| shard(id, &[[1, 2, 3], [2, 3, 1], [3, 1, 2]][id as usize % 3])).collect();
    let mut parts = fleet(vec![node(1), node(2), node(3)], shards);
    parts.shards.iter_mut().for_each(|shard| shard.load = ShardLoad::default());
    settle(&mut parts);
    parts.nodes[0].tiers[0].used = 20 * GIB;
    let plan = planned(parts.clone(), &auto());
    let score = plan.imbalance[0].now.score();
    assert!(score > 10.0 && score < 20.0, "{score}");
    assert_eq!(changes(&plan), Vec::<&Change>::new());
    parts.nodes[0].tiers[0].used = 30 * GIB;
    assert!(!planned(parts, &auto()).proposals.is_empty());
}

#[test]
fn relief_of_a_disk_goes_on_below_the_trigger_only_once_it_was_begun_and_to_nobody_who_is_fuller() {
    let mut parts = fleet(vec![node(1), node(2), node(3), node(4)], (1..=8).map(|id| shard(id, &[1, 2, 3])).collect());
    parts.shards.iter_mut().for_each(|shard| shard.bytes[0].1 = 10 * GIB);
    parts.nodes.iter_mut().for_each(|node| node.tiers[0].used = 70 * GIB);
    parts.nodes[0].tiers[0].used = 80 * GIB;
    parts.nodes[3].tiers[0].used = 60 * GIB;
    assert_eq!(by(&planned(parts.clone(), &unbalanced()), Reason::DiskFull).len(), 0);
    parts.history = vec![MoveRecord { reason: Reason::DiskFull, ..record(99, 1, 4, Duration::from_mins(29)) }];
    let plan = planned(parts.clone(), &unbalanced());
    assert_eq!(by(&plan, Reason::DiskFull).len(), 1, "{:#?}", plan.refusals);
    parts.nodes[1].tiers[0].used = 70 * GIB;
    parts.nodes[2].tiers[0].used = 70 * GIB + 1;
    parts.nodes[3].tiers[0].used = 70 * GIB + 1;
    assert_eq!(by(&planned(parts, &unbalanced()), Reason::DiskFull).len(), 0, "they would be as full as it is");
}

#[test]
fn a_shard_with_hot_keys_that_carries_no_more_than_others_gets_no_read_replica() {
    let mut parts = fleet(vec![node(1), node(2), node(3), node(4)], (1..=4).map(|id| shard(id, &[1, 2, 3])).collect());
    parts.shards[0].load.hot_keys = 1_000;
    assert_eq!(by(&planned(parts, &unbalanced()), Reason::HotDataReplication).len(), 0);
}

#[test]
fn one_shard_that_is_the_whole_load_is_not_handed_around() {
    let mut parts = fleet(vec![node(1), node(2), node(3), node(4)], vec![shard(1, &[1, 2, 3])]);
    parts.shards[0].load.cpu = 9.0;
    settle(&mut parts);
    let plan = planned(parts, &auto());
    assert_refused(&plan, RefusalKind::NoRelief);
}

#[test]
fn plans_are_the_same_for_the_same_fleet_in_any_order() {
    let mut turned = overloaded();
    turned.nodes.reverse();
    turned.shards.reverse();
    turned.shards.iter_mut().for_each(|shard| shard.replicas.reverse());
    let (first, second) = (FleetState::new(overloaded()).unwrap(), FleetState::new(turned).unwrap());
    assert_eq!(crate::plan(&first, &auto(), NOW), crate::plan(&second, &auto(), NOW));
}
