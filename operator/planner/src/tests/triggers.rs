//! Each trigger: when it acts, and what it does.

use std::time::Duration;

use super::*;
use crate::{
    Figure, Moment, NodeId, Policies, Policy, Priority, ShardId, TierRank, Zone,
    fleet::{Availability, Role, ShardLoad, SplitKey},
    policy::Mode,
    test_fleet::{GIB, auto, fleet, node, policy, replica, settle, shard, tier, unbalanced},
};

const LOST: Availability = Availability::Silent { since: Moment(NOW.0 - 31_000) };

#[test]
fn a_fleet_in_order_is_left_alone() {
    let shards = (1..=6).map(|id| shard(id, &[[1, 2, 3], [2, 3, 1], [3, 1, 2]][id as usize % 3])).collect();
    let plan = planned(fleet(vec![node(1), node(2), node(3)], shards), &auto());
    assert_eq!(changes(&plan), Vec::<&Change>::new());
    assert!(plan.refusals.is_empty(), "{:#?}", plan.refusals);
}

#[test]
fn an_overloaded_node_gives_leaders_away_first() {
    let mut shards: Vec<_> = (1..=9).map(|id| shard(id, &[1, 2, 3])).collect();
    shards.iter_mut().for_each(|shard| shard.load.cpu = 1.0);
    let plan = planned(fleet(vec![node(1), node(2), node(3)], shards), &unbalanced());
    let overload = by(&plan, Reason::NodeOverload);
    assert_eq!(overload[0].priority, Priority::High);
    for proposal in &overload {
        let Change::TransferLeader { from, to, .. } = &proposal.change else { panic!("{}", proposal.change) };
        assert_eq!((*from, *to), (NodeId(1), NodeId(2)));
    }
    assert_eq!(overload.len(), 4, "as many leaders as the budget allows");
    let cpu = overload[0].forecast.effects.iter().find(|effect| effect.figure == Figure::CpuPercent).unwrap();
    assert!((cpu.before - 90.0).abs() < 1e-9 && (cpu.after - 80.0).abs() < 1e-9, "{cpu:?}");
}

#[test]
fn an_overloaded_node_without_followers_that_have_room_gives_replicas_away() {
    let mut shards: Vec<_> = (1..=9).map(|id| shard(id, &[1, 2, 3])).collect();
    shards.iter_mut().for_each(|shard| shard.load.cpu = 1.0);
    let mut parts = fleet(vec![node(1), node(2), node(3), node(4)], shards);
    parts.nodes[1].load.cpu_used = 9.0;
    parts.nodes[2].load.cpu_used = 1.0;
    let plan = planned(parts, &auto());
    let overload = by(&plan, Reason::NodeOverload);
    assert!(!overload.is_empty());
    for proposal in overload {
        assert!(matches!(proposal.change, Change::MoveReplica { to: NodeId(4), .. }), "{}", proposal.change);
    }
}

#[test]
fn a_node_whose_devices_are_busy_gives_load_away() {
    let mut parts = fleet(vec![node(1), node(2), node(3)], (1..=9).map(|id| shard(id, &[1, 2, 3])).collect());
    parts.nodes[0].load.io_busy = 0.95;
    let plan = planned(parts, &auto());
    let overload = by(&plan, Reason::NodeOverload);
    assert!(overload.iter().all(|proposal| proposal.change.kind() == ChangeKind::TransferLeader));
    assert!(!overload.is_empty(), "{:#?}", plan.refusals);
}

#[test]
fn a_full_slowest_tier_sends_replicas_to_the_emptiest_node() {
    let mut large: Vec<_> = (1..=9).map(|id| shard(id, &[1, 2, 3])).collect();
    large.iter_mut().for_each(|shard| shard.bytes[0].1 = 10 * GIB);
    let mut sizes = policy();
    sizes.shard_sizes.target = 100 * GIB;
    let mut parts = fleet(vec![node(1), node(2), node(3), node(4)], large);
    parts.nodes[1].tiers[0].used = 50 * GIB;
    parts.nodes[2].tiers[0].used = 20 * GIB;
    let plan = planned(parts, &Policies::all(sizes));
    let full = by(&plan, Reason::DiskFull);
    assert_eq!(full.len(), 2, "down to the low watermark, two moves at a time: {:#?}", plan.refusals);
    for proposal in full {
        assert!(matches!(proposal.change, Change::MoveReplica { from: NodeId(1), to: NodeId(4), .. }));
        assert_eq!((proposal.forecast.bytes, proposal.forecast.cost), (10 * GIB, 30 * GIB));
        assert_eq!(proposal.forecast.duration, Duration::from_secs(2 + 160), "at 64 MiB/s");
    }
}

#[test]
fn a_full_fast_tier_gives_to_the_slower_medium_where_that_is_cheaper() {
    let mut nodes = vec![node(1), node(2), node(3), node(4)];
    nodes.iter_mut().for_each(|node| node.tiers = vec![tier(0, 10 * GIB), tier(10, 100 * GIB)]);
    let plan = planned(fleet(nodes, (1..=9).map(|id| shard(id, &[1, 2, 3])).collect()), &unbalanced());
    let full = by(&plan, Reason::DiskFull);
    let change = Change::ChangeTier {
        shard: ShardId(1),
        node: NodeId(1),
        from_tier: TierRank(0),
        to_tier: TierRank(10),
        bytes: GIB,
    };
    assert_eq!(full[0].change, change);
    assert_eq!(full[0].forecast.cost, 2 * GIB, "read and written, not sent");
}

#[test]
fn a_hot_shard_gets_a_read_replica_and_loses_it_when_it_has_cooled() {
    let mut parts = fleet(vec![node(1), node(2), node(3), node(4)], (1..=4).map(|id| shard(id, &[1, 2, 3])).collect());
    parts.shards[0].load = ShardLoad { reads: 2_000.0, cpu: 2.0, hot_keys: 100, ..ShardLoad::default() };
    settle(&mut parts);
    let policies = unbalanced();
    let plan = planned(parts.clone(), &policies);
    assert_eq!(changes(&plan), [&Change::AddReplica { shard: ShardId(1), role: Role::Learner, to: NodeId(4) }]);
    assert_eq!((plan.proposals[0].reason, plan.proposals[0].priority), (Reason::HotDataReplication, Priority::Normal));
    parts.shards[0].replicas.push(replica(1, 3, 4, Role::Learner));
    parts.shards[0].load.hot_keys = 60;
    assert_eq!(changes(&planned(parts.clone(), &policies)), Vec::<&Change>::new(), "not yet under half");
    parts.shards[0].load.hot_keys = 49;
    assert_eq!(kinds(&planned(parts, &policies)), [ChangeKind::RemoveReplica]);
}

#[test]
fn cold_data_goes_to_the_slower_medium_while_the_fast_one_is_over_its_low_watermark() {
    let mut nodes = vec![node(1), node(2), node(3)];
    nodes.iter_mut().for_each(|node| node.tiers = vec![tier(0, 10 * GIB), tier(10, 100 * GIB)]);
    let mut shards: Vec<_> = (1..=8).map(|id| shard(id, &[1, 2, 3])).collect();
    shards[4].load.cold_keys = 500_000;
    shards[5].load.cold_keys = 9_999;
    let parts = fleet(nodes, shards);
    let plan = planned(parts, &unbalanced());
    let cold = by(&plan, Reason::ColdDataArchive);
    let [proposal] = cold.as_slice() else { panic!("{cold:#?}") };
    assert_eq!((proposal.change.shard(), proposal.priority), (ShardId(5), Priority::Low));
    assert_eq!(proposal.forecast.bytes, GIB / 2, "half of its keys are cold");
}

#[test]
fn cold_data_goes_to_a_node_whose_slow_tier_has_room_where_its_own_has_none() {
    let mut nodes = vec![node(1), node(2), node(3), node(4)];
    nodes.iter_mut().for_each(|node| node.tiers = vec![tier(0, 10 * GIB), tier(10, 100 * GIB)]);
    let mut shards: Vec<_> = (1..=8).map(|id| shard(id, &[1, 2, 3])).collect();
    shards[4].load.cold_keys = 500_000;
    let mut parts = fleet(nodes, shards);
    parts.nodes[0].tiers[1].used = 84 * GIB + GIB / 2 + 1;
    parts.nodes[1].tiers[1].used = 84 * GIB + GIB / 2 + 1;
    parts.nodes[2].tiers[1].used = 80 * GIB;
    let plan = planned(parts, &unbalanced());
    let cold = by(&plan, Reason::ColdDataArchive);
    assert!(matches!(cold[0].change, Change::MoveReplica { shard: ShardId(5), to: NodeId(4), .. }), "{cold:#?}");
}

#[test]
fn a_leader_far_from_its_clients_hands_over_to_a_follower_near_them() {
    let mut parts = fleet(vec![node(1), node(2), node(3)], vec![shard(1, &[1, 2, 3])]);
    let far = Zone::from("far");
    parts.nodes[0].latency.insert(far.clone(), Duration::from_millis(150));
    parts.nodes[1].latency.insert(far.clone(), Duration::from_millis(5));
    parts.shards[0].clients.insert(far.clone(), 90.0);
    parts.shards[0].clients.insert("zone-1".into(), 10.0);
    let plan = planned(parts.clone(), &auto());
    let network = by(&plan, Reason::NetworkOptimization);
    assert!(matches!(network[0].change, Change::TransferLeader { to: NodeId(2), .. }));
    let effect = network[0].forecast.effects[0];
    assert_eq!((effect.figure, effect.before, effect.after), (Figure::LatencyMillis, 150.0, 5.0));
    parts.nodes[0].latency.insert(far, Duration::from_millis(100));
    assert_eq!(by(&planned(parts, &auto()), Reason::NetworkOptimization).len(), 0, "not over the threshold");
}

#[test]
fn where_no_member_is_near_the_clients_the_leaders_one_goes_there() {
    let mut parts = fleet(vec![node(1), node(2), node(3), node(4)], vec![shard(1, &[1, 2, 3])]);
    let far = Zone::from("zone-4");
    for place in 0..3 {
        parts.nodes[place].latency.insert(far.clone(), Duration::from_millis(150));
    }
    // Of a shard that says nothing of its clients, those of the leader's node count.
    parts.nodes[0].clients.insert(far, 90.0);
    let plan = planned(parts, &auto());
    let network = by(&plan, Reason::NetworkOptimization);
    assert!(matches!(network[0].change, Change::MoveReplica { from: NodeId(1), to: NodeId(4), .. }), "{network:#?}");
}

#[test]
fn members_of_a_lost_node_are_made_anew_the_busiest_shards_first() {
    let mut parts = fleet(vec![node(1), node(2), node(3), node(4)], (1..=4).map(|id| shard(id, &[2, 1, 3])).collect());
    parts.shards[2].load.reads = 500.0;
    parts.nodes[0].availability = LOST;
    let plan = planned(parts, &auto());
    let failure = by(&plan, Reason::NodeFailure);
    let shards: Vec<u64> = failure.iter().map(|proposal| proposal.change.shard().0).collect();
    assert_eq!(shards, [3, 1], "two at a time into a node");
    for proposal in failure {
        assert_eq!(proposal.priority, Priority::Critical);
        assert!(matches!(proposal.change, Change::MoveReplica { from: NodeId(1), to: NodeId(4), .. }));
        let effect = proposal.forecast.effects[0];
        assert_eq!((effect.figure, effect.before, effect.after), (Figure::Members, 2.0, 3.0));
    }
}

#[test]
fn a_member_too_many_that_is_lost_is_let_go_instead_of_made_anew() {
    let mut parts = fleet((1..=5).map(node).collect(), vec![shard(1, &[2, 1, 3])]);
    parts.shards[0].replicas.push(replica(1, 3, 4, Role::Data));
    parts.nodes[0].availability = LOST;
    let plan = planned(parts, &auto());
    assert!(matches!(changes(&plan)[..], [Change::RemoveReplica { from: NodeId(1), .. }]), "{plan:#?}");
}

#[test]
fn a_witness_of_a_lost_node_is_made_anew_without_bytes() {
    let mut parts = fleet(vec![node(1), node(2), node(3), node(4)], vec![shard(1, &[1, 2, 3])]);
    parts.nodes[2].availability = LOST;
    let plan = planned(parts, &auto());
    assert!(matches!(changes(&plan)[0], Change::MoveReplica { role: Role::Witness, to: NodeId(4), .. }));
    assert_eq!(plan.proposals[0].forecast.bytes, 0);
}

#[test]
fn nodes_that_differ_too_much_are_levelled_by_the_witnesses_they_exchange() {
    let mut parts = fleet(vec![node(1), node(2), node(3)], (1..=12).map(|id| shard(id, &[1, 2, 3])).collect());
    parts.shards.iter_mut().for_each(|shard| shard.load = ShardLoad::default());
    settle(&mut parts);
    let plan = planned(parts, &auto());
    let moves = by(&plan, Reason::Rebalance);
    assert_eq!(moves.len(), 2, "two moves into a node at a time: {:#?}", plan.refusals);
    for proposal in moves {
        assert!(matches!(proposal.change, Change::MoveReplica { to: NodeId(3), exchange: Some(_), .. }));
    }
    assert!(plan.imbalance[0].then.score() < plan.imbalance[0].now.score());
}

#[test]
fn a_shard_that_weighs_next_to_nothing_is_not_moved_about_where_no_other_one_would_help() {
    let mut shards: Vec<_> = [1, 1, 1, 1, 2, 2, 3, 3].into_iter().zip(1..).map(|(on, id)| shard(id, &[on])).collect();
    shards.iter_mut().for_each(|shard| (shard.bytes[0].1, shard.load) = (10 * GIB, ShardLoad::default()));
    // As the index of shards is.
    shards[0].bytes[0].1 = 1 << 10;
    let mut alone = policy();
    (alone.replication.data, alone.replication.witness, alone.shard_sizes.target) = (1, false, 100 * GIB);
    let mut parts = fleet(vec![node(1), node(2), node(3)], shards);
    let moves = |plan: &crate::Plan| {
        plan.proposals.iter().filter(|proposal| proposal.change.kind() == ChangeKind::MoveReplica).count()
    };
    let plan = planned(parts.clone(), &Policies::all(alone.clone()));
    assert_eq!(moves(&plan), 0, "30, 20 and 20 of 100 GiB: {:#?}", plan.proposals);
    parts.shards[1].bytes[0].1 = 2 * GIB;
    parts.shards[2].bytes[0].1 = 18 * GIB;
    let plan = planned(parts, &Policies::all(alone));
    assert_eq!(moves(&plan), 1, "one that weighs enough is: {:#?}", plan.refusals);
}

#[test]
fn a_node_that_has_just_come_is_filled_by_the_fullest() {
    let shards = (1..=24).map(|id| shard(id, &[[1, 2, 3], [2, 3, 1], [3, 1, 2]][id as usize % 3])).collect();
    let mut parts = fleet(vec![node(1), node(2), node(3), node(4)], shards);
    parts.nodes[3].availability = Availability::New;
    let plan = planned(parts, &auto());
    let moves = by(&plan, Reason::Rebalance);
    assert!(!moves.is_empty() && moves.iter().all(|proposal| proposal.change.to() == Some(NodeId(4))), "{moves:#?}");
}

#[test]
fn a_node_that_drains_gives_its_leaders_away_first_and_then_everything() {
    let mut parts = fleet(vec![node(1), node(2), node(3), node(4)], (1..=2).map(|id| shard(id, &[1, 2, 3])).collect());
    parts.shards.push(shard(3, &[2, 1, 3]));
    settle(&mut parts);
    parts.nodes[0].availability = Availability::Draining { cancelled: false };
    let plan = planned(parts.clone(), &auto());
    assert_eq!(kinds(&plan), [ChangeKind::TransferLeader, ChangeKind::TransferLeader, ChangeKind::MoveReplica]);
    assert!(plan.proposals.iter().all(|proposal| proposal.reason == Reason::Drain));
    let paused = Policies::all(Policy { mode: Mode::Paused, ..policy() });
    for policies in [Policies::default(), paused] {
        let plan = planned(parts.clone(), &policies);
        let drain = by(&plan, Reason::Drain);
        assert!(!drain.is_empty() && drain.iter().all(|proposal| !proposal.needs_approval), "a person asked for it");
    }
    parts.nodes[0].availability = Availability::Draining { cancelled: true };
    assert_eq!(by(&planned(parts, &auto()), Reason::Drain).len(), 0, "it stays after all");
}

#[test]
fn a_shard_of_one_replica_grows_to_the_replication_of_its_pool() {
    let mut parts = fleet(vec![node(1), node(2), node(3)], vec![shard(1, &[1])]);
    let plan = planned(parts.clone(), &auto());
    let [Change::AddReplica { role: Role::Data, to, .. }] = changes(&plan)[..] else { panic!("{plan:#?}") };
    assert_eq!(plan.proposals[0].priority, Priority::Critical);
    parts.shards[0].replicas.push(replica(1, 1, to.0, Role::Data));
    let plan = planned(parts, &auto());
    assert!(matches!(changes(&plan)[..], [Change::AddReplica { role: Role::Witness, .. }]), "{plan:#?}");
}

#[test]
fn a_member_too_many_is_removed_but_never_the_leader() {
    let mut parts = fleet(vec![node(1), node(2), node(3), node(4)], vec![shard(1, &[1, 2, 3])]);
    parts.shards[0].replicas.push(replica(1, 3, 4, Role::Data));
    parts.nodes[3].zone = parts.nodes[1].zone.clone();
    settle(&mut parts);
    let plan = planned(parts.clone(), &auto());
    let removed: Vec<_> = plan.proposals.iter().filter_map(|proposal| proposal.change.from()).collect();
    assert_eq!(removed, [NodeId(4)], "of those that share a zone the newest");
    for shard in &mut parts.shards {
        shard.replicas.iter_mut().for_each(|member| member.leader = member.node == NodeId(4));
    }
    let plan = planned(parts, &auto());
    let removed: Vec<_> = plan.proposals.iter().filter_map(|proposal| proposal.change.from()).collect();
    assert_eq!(removed, [NodeId(2)], "the other one of that zone, for the newest leads");
}

#[test]
fn a_shard_is_split_where_it_is_too_large_at_the_key_nearest_to_its_middle() {
    let mut parts = fleet(vec![node(1), node(2), node(3)], vec![shard(1, &[1, 2, 3])]);
    parts.shards[0].bytes[0].1 = 9 * GIB;
    let key = |byte: u8, left: f64| {
        let mut key = parts.shards[0].start.clone();
        key.push(byte);
        SplitKey { key, load_left: 0.5, bytes_left: left }
    };
    let keys = vec![key(1, 0.1), key(2, 0.4), key(3, 0.8)];
    parts.shards[0].split_keys = keys.clone();
    let split = |parts: &FleetParts| planned(parts.clone(), &auto());
    let change = Change::SplitShard { shard: ShardId(1), at: keys[1].key.clone() };
    assert_eq!(changes(&split(&parts)), [&change]);
    parts.shards[0].split_keys = vec![keys[0].clone(), keys[2].clone()];
    assert_refused(&split(&parts), RefusalKind::NoSplitKey);
    parts.shards[0].bytes[0].1 = 8 * GIB;
    assert_eq!(changes(&split(&parts)), Vec::<&Change>::new());
}

#[test]
fn a_split_waits_for_no_approval_and_not_for_the_rest_after_a_move() {
    let mut parts = fleet(vec![node(1), node(2), node(3)], vec![shard(1, &[1, 2, 3])]);
    parts.shards[0].bytes[0].1 = 9 * GIB;
    let mut key = parts.shards[0].start.clone();
    key.push(1);
    parts.shards[0].split_keys = vec![SplitKey { key, load_left: 0.5, bytes_left: 0.5 }];
    parts.shards[0].times.last_move = Some(Moment(NOW.0 - 1));
    for mode in [Mode::Paused, Mode::Propose] {
        let plan = planned(parts.clone(), &Policies::all(Policy { mode, ..policy() }));
        assert_eq!(kinds(&plan), [ChangeKind::SplitShard], "{mode:?}");
        assert!(!plan.proposals[0].needs_approval, "{mode:?}");
    }
}

#[test]
fn a_busy_shard_is_split_once_it_has_been_busy_for_long_enough() {
    let mut parts = fleet(vec![node(1), node(2), node(3)], vec![shard(1, &[1, 2, 3])]);
    let mut key = parts.shards[0].start.clone();
    key.push(1);
    parts.shards[0].split_keys = vec![SplitKey { key, load_left: 0.5, bytes_left: 0.0 }];
    let with = |reads: f64, cpu: f64, since: u64| {
        let mut parts = parts.clone();
        let busy_since = Some(Moment(NOW.0 - since));
        parts.shards[0].load = ShardLoad { reads, cpu, busy_since, ..ShardLoad::default() };
        kinds(&planned(parts, &auto())).contains(&ChangeKind::SplitShard)
    };
    assert!(with(2_501.0, 0.31, 100_000));
    assert!(!with(2_500.0, 0.31, 100_000), "too few requests");
    assert!(!with(2_501.0, 0.30, 100_000), "too little processor time");
    assert!(!with(2_501.0, 0.31, 99_999), "not for long enough");
}

#[test]
fn small_idle_neighbours_with_the_same_members_are_merged() {
    let mut parts = fleet(vec![node(1), node(2), node(3)], (1..=2).map(|id| shard(id, &[1, 2, 3])).collect());
    for shard in &mut parts.shards {
        shard.bytes[0].1 = GIB - 1;
        shard.load = ShardLoad::default();
    }
    let merge = |parts: &FleetParts| planned(parts.clone(), &unbalanced());
    assert_eq!(changes(&merge(&parts)), [&Change::MergeShards { left: ShardId(1), right: ShardId(2) }]);
    let mut other = parts.clone();
    other.shards[1].replicas[2].role = Role::Data;
    other.shards[1].replicas[1].role = Role::Witness;
    assert_refused(&merge(&other), RefusalKind::MembersDiffer);
    let mut young = parts.clone();
    young.shards[0].times.last_split = Some(Moment(NOW.0 - 3_599_000));
    assert_refused(&merge(&young), RefusalKind::TooYoung);
    let mut restless = parts.clone();
    restless.shards[1].times.last_busy = young.shards[0].times.last_split.max(young.shards[1].times.last_split);
    assert!(restless.shards[1].times.last_busy.is_some());
    assert_refused(&merge(&restless), RefusalKind::TooYoung);
    let mut busy = parts.clone();
    busy.shards[0].load.writes = 100.0;
    assert_eq!(changes(&merge(&busy)), Vec::<&Change>::new());
    let mut large = parts.clone();
    large.shards[1].bytes[0].1 = GIB;
    assert_eq!(changes(&merge(&large)), Vec::<&Change>::new());
    parts.shards[0].end = Some(1_u64.to_be_bytes().iter().copied().chain([7]).collect());
    assert_eq!(changes(&merge(&parts)), Vec::<&Change>::new(), "no neighbours");
}
