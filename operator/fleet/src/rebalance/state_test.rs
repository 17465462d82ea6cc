#![allow(clippy::unwrap_used)]
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use thermocline_crds::validate;
use thermocline_planner::{FleetState, plan};

use super::*;
use crate::home::Placement;
use crate::rebalance::{BusyShards, policies};
use crate::revision::Memory;

const NOW: Moment = Moment(1_000_000_000);

/// A member: replica, node, whether it is a witness.
type Member = (u64, u64, bool);

fn shard(number: u64, replica: u64, leads: bool, members: &[Member]) -> v1::ShardStatus {
    let member = |(replica, node, witness): &Member| v1::MemberStatus {
        replica: *replica,
        node: *node,
        witness: *witness,
        votes: true,
        lag: Some(0),
    };
    let bytes = vec![v1::TierBytes { tier: "hot".to_owned(), bytes: 1 << 20 }];
    v1::ShardStatus {
        shard: number,
        epoch: 1,
        start: vec![u8::try_from(number).unwrap()].into(),
        end: vec![u8::try_from(number + 1).unwrap()].into(),
        replica,
        leads,
        term: 1,
        bytes,
        members: members.iter().map(member).collect(),
        ..v1::ShardStatus::default()
    }
}

fn heard(node: u64, ago: u64, shards: Vec<v1::ShardStatus>) -> Heard {
    let tier = v1::TierStatus {
        name: "hot".to_owned(),
        capacity_bytes: 1 << 30,
        used_bytes: 1 << 20,
        high_watermark: 0.85,
        low_watermark: 0.75,
        ..v1::TierStatus::default()
    };
    let load = v1::DeviceLoad { memory_limit_bytes: 1 << 30, ..v1::DeviceLoad::default() };
    let status = v1::NodeStatus {
        node_id: node,
        uptime_ms: 3_600_000,
        tiers: vec![tier],
        load: Some(load),
        shards,
        ..v1::NodeStatus::default()
    };
    Heard { name: format!("main-{node}"), status, ago: Duration::from_secs(ago), away: None }
}

/// A pool of so many nodes, each shard on two and a witness.
fn desired(nodes: usize) -> Desired {
    let text = format!(
        "
{{apiVersion: thermocline.dev/v1alpha1, kind: StorageCluster, metadata: {{name: demo}}, spec: {{version: 0.1.0}}}}
---
{{apiVersion: thermocline.dev/v1alpha1, kind: StorageTier, metadata: {{name: hot}},
 spec: {{cluster: demo, rank: 0, medium: NVMe, size: 1Gi}}}}
---
{{apiVersion: thermocline.dev/v1alpha1, kind: StoragePool, metadata: {{name: main}},
 spec: {{cluster: demo, replicas: {nodes}, replication: {{shardSize: 1Gi}}, tiers: [{{name: hot}}]}}}}
"
    );
    let objects = validate::manifest(&text).unwrap().into_iter().map(|located| located.object).collect::<Vec<_>>();
    let placement = Placement { first_address: Ipv4Addr::LOCALHOST, nodes_folder: Path::new("/nodes") };
    crate::desired::desired(&objects, placement, &mut Memory::default())
}

fn planned(known: &Known) -> Vec<Change> {
    let desired = desired(known.len());
    let state = FleetState::new(fleet_parts(&desired, known, &Moves::default(), NOW)).unwrap();
    plan(&state, &policies(&desired), NOW).proposals.into_iter().map(|proposal| proposal.change).collect()
}

fn named(nodes: Vec<Heard>) -> Known {
    nodes.into_iter().map(|heard| (heard.status.node_id, heard)).collect()
}

#[test]
fn a_shard_with_one_replica_grows_to_what_its_pool_declares() {
    let known =
        named(vec![heard(1, 0, vec![shard(1, 10, true, &[(10, 1, false)])]), heard(2, 1, vec![]), heard(3, 1, vec![])]);
    let changes = planned(&known);
    assert!(matches!(changes[..], [Change::AddReplica { shard: ShardId(1), role: Role::Data, .. }]), "{changes:?}");
}

#[test]
fn a_node_that_nobody_has_heard_for_long_is_replaced_and_one_that_its_peers_hear_is_not() {
    let members = [(10, 1, false), (11, 2, false), (12, 3, true)];
    let nodes = || {
        vec![
            heard(1, 0, vec![shard(1, 10, true, &members)]),
            heard(2, 60, vec![shard(1, 11, false, &members)]),
            heard(3, 0, vec![shard(1, 12, false, &members)]),
            heard(4, 0, vec![]),
        ]
    };
    let lost = planned(&named(nodes()));
    assert!(lost.iter().any(|change| change.to() == Some(NodeId(4))), "{lost:?}");
    let mut reachable = nodes();
    reachable[0].status.round_trips = vec![v1::RoundTrip { node: 2, micros: 100, heard_ms_ago: 500 }];
    assert_eq!(planned(&named(reachable)), []);
    // All were away, and the others are back since a moment ago.
    let mut together = nodes();
    together[0].away = Some((Duration::from_secs(58), Duration::from_secs(2)));
    assert_eq!(planned(&named(together)), []);
    // One that was away at another time says nothing of this one.
    let mut apart = nodes();
    apart[0].away = Some((Duration::from_secs(20), Duration::from_secs(2)));
    assert_eq!(planned(&named(apart)), lost);
}

#[test]
fn a_node_that_leaves_is_emptied_and_is_empty_only_once_it_says_so_itself_and_no_leader_counts_on_it() {
    let members = [(10, 1, false), (11, 2, false), (12, 3, true)];
    let nodes = || {
        vec![
            heard(1, 0, vec![shard(1, 10, true, &members)]),
            heard(2, 0, vec![shard(1, 11, false, &members)]),
            heard(3, 0, vec![shard(1, 12, false, &members)]),
            heard(0, 0, vec![]),
        ]
    };
    let mut desired = desired(4);
    desired.nodes.get_mut("main-2").unwrap().leaving = Some(crate::desired::Leaving::Offline);
    let state = FleetState::new(fleet_parts(&desired, &named(nodes()), &Moves::default(), NOW)).unwrap();
    let plan = plan(&state, &policies(&desired), NOW);
    let changes: Vec<_> = plan.proposals.iter().map(|proposal| (&proposal.change, proposal.needs_approval)).collect();
    assert!(
        matches!(changes[..], [(Change::MoveReplica { from: NodeId(2), to: NodeId(0), .. }, false)]),
        "{changes:?}"
    );

    let is_empty = |known: &Known| super::is_empty(known, "main-2");
    assert!(!is_empty(&named(nodes())));
    let mut without = nodes();
    without[1].status.shards.clear();
    assert!(!is_empty(&named(without.clone())), "it is a member still");
    without[0].status.shards[0].members.retain(|member| member.node != 2);
    assert!(is_empty(&named(without.clone())));
    without[1].ago = Duration::from_secs(10);
    assert!(!is_empty(&named(without)), "it may have been given something since");
}

#[test]
fn a_shard_whose_leader_is_at_work_on_a_job_is_left_alone() {
    let mut busy = shard(1, 10, true, &[(10, 1, false)]);
    busy.job = Some(v1::ShardJob { job: 5, kind: "AddReplica".to_owned(), to: 2, ..v1::ShardJob::default() });
    let known = named(vec![heard(1, 0, vec![busy]), heard(2, 0, vec![]), heard(3, 0, vec![])]);
    assert_eq!(planned(&known), []);
}

#[test]
fn replicas_that_trade_places_are_beside_each_other_for_a_while_and_count_as_before() {
    let members = [(10, 1, false), (11, 2, false), (12, 3, true), (13, 3, false), (14, 2, true)];
    let learn = |count: usize| {
        let mut told = shard(1, 10, true, &members);
        told.members.iter_mut().skip(3).take(count).for_each(|member| member.votes = false);
        told.job = Some(v1::ShardJob {
            kind: "ExchangeReplica".to_owned(),
            from: 2,
            to: 3,
            leaving: 11,
            leaving_witness: 12,
            ..v1::ShardJob::default()
        });
        named(vec![heard(1, 0, vec![told]), heard(2, 0, vec![]), heard(3, 0, vec![])])
    };
    for learners in [2, 0] {
        let parts = fleet_parts(&desired(3), &learn(learners), &Moves::default(), NOW);
        let state = FleetState::new(parts.clone()).unwrap();
        let voters = state.shards()[0].replicas.iter().filter(|replica| replica.votes());
        assert_eq!(voters.map(|replica| replica.id.0).collect::<Vec<_>>(), [10, 11, 12]);
        assert!(matches!(parts.open[0].change, Change::MoveReplica { exchange: Some(ReplicaId(12)), .. }));
    }
}

#[test]
fn a_job_of_nobodys_holds_up_what_waits_for_its_shard() {
    let mut busy = shard(1, 10, true, &[(10, 1, false)]);
    busy.job = Some(v1::ShardJob { job: 5, kind: "AddReplica".to_owned(), to: 2, ..v1::ShardJob::default() });
    let known = named(vec![heard(1, 0, vec![busy]), heard(2, 0, vec![]), heard(3, 0, vec![])]);
    let open = |phase, to| OpenMove {
        change: Change::AddReplica { shard: ShardId(1), role: Role::Data, to: NodeId(to) },
        reason: Reason::Manual,
        priority: Priority::Normal,
        phase,
        bytes: 0,
    };
    let seen = |phase| {
        let moves = Moves { open: vec![open(phase, 3)], ended: vec![] };
        fleet_parts(&desired(3), &known, &moves, NOW).open
    };
    // What was begun before and deleted is undone yet: what comes after it waits, and is not refused by the leader.
    assert_eq!(seen(OpenPhase::Approved)[0].change.to(), Some(NodeId(2)));
    assert_eq!(seen(OpenPhase::Running), [open(OpenPhase::Running, 3)]);
}

#[test]
fn a_member_on_a_node_that_the_fleet_has_never_heard_is_on_a_stranger() {
    let members = [(10, 1, false), (11, 9, false), (12, 3, true)];
    let known = named(vec![heard(1, 0, vec![shard(1, 10, true, &members)]), heard(3, 0, vec![])]);
    assert_eq!(strangers(&known), BTreeSet::from([9]));
}

#[test]
fn a_node_that_was_gone_before_the_fleet_began_is_replaced_too() {
    let members = [(10, 1, false), (11, 9, false), (12, 3, true)];
    let stranger = v1::NodeStatus { node_id: 9, ..v1::NodeStatus::default() };
    let stranger = Heard { name: "node 9".to_owned(), status: stranger, ago: Duration::from_secs(60), away: None };
    let nodes = vec![
        heard(1, 0, vec![shard(1, 10, true, &members)]),
        heard(3, 0, vec![shard(1, 12, false, &members)]),
        heard(4, 0, vec![]),
        stranger,
    ];
    let changes = planned(&named(nodes));
    assert!(changes.iter().any(|change| change.to() == Some(NodeId(4))), "{changes:?}");
}

fn held(mebibytes: u64) -> v1::ShardStatus {
    let bytes = vec![v1::TierBytes { tier: "hot".to_owned(), bytes: mebibytes << 20 }];
    let split_keys = vec![
        v1::SplitKey { key: vec![1, 7].into(), load_left: 0.5, bytes_left: 0.1 },
        v1::SplitKey { key: vec![1, 9].into(), load_left: 0.1, bytes_left: 0.5 },
    ];
    let members = [(10, 1, false), (11, 2, false), (12, 3, true)];
    v1::ShardStatus { bytes, split_keys, ..shard(1, 10, true, &members) }
}

fn three_nodes(first: v1::ShardStatus) -> Vec<Heard> {
    let members = [(10, 1, false), (11, 2, false), (12, 3, true)];
    vec![
        heard(1, 0, vec![first]),
        heard(2, 0, vec![shard(1, 11, false, &members)]),
        heard(3, 0, vec![shard(1, 12, false, &members)]),
    ]
}

#[test]
fn a_shard_over_twice_the_declared_size_is_split_where_its_leader_says_the_bytes_are_halved() {
    let known = named(three_nodes(held(2049)));
    assert_eq!(planned(&known), [Change::SplitShard { shard: ShardId(1), at: vec![1, 9] }]);
    assert_eq!(planned(&named(three_nodes(held(2047)))), []);
}

#[test]
fn a_shard_that_was_busy_for_long_enough_is_split_where_its_requests_are_halved() {
    let load =
        v1::DeviceLoad { cpu_percent: 30.0, cpu_cores: 2.0, memory_limit_bytes: 1 << 30, ..v1::DeviceLoad::default() };
    let busy = v1::ShardStatus { reads_per_second: 2000.0, writes_per_second: 1000.0, ..held(100) };
    let mut nodes = three_nodes(busy);
    nodes[0].status.load = Some(load);
    let (known, desired, mut memory) = (named(nodes), desired(3), BusyShards::default());
    let mut planned_at = |now: Moment| {
        let mut parts = fleet_parts(&desired, &known, &Moves::default(), now);
        memory.observe(&parts.shards, &policies(&desired), now);
        memory.tell(&mut parts.shards);
        let state = FleetState::new(parts).unwrap();
        let proposals = plan(&state, &policies(&desired), now).proposals.into_iter();
        proposals
            .map(|proposal| proposal.change)
            .filter(|change| matches!(change, Change::SplitShard { .. }))
            .collect::<Vec<_>>()
    };
    assert_eq!(planned_at(NOW), [], "not before it has been busy for a while");
    let later = NOW + Duration::from_secs(101);
    assert_eq!(planned_at(later), [Change::SplitShard { shard: ShardId(1), at: vec![1, 7] }]);
}

#[test]
fn small_neighbours_are_merged_once_they_have_been_idle_for_an_hour_and_the_index_stays_alone() {
    let members = [(10, 1, false), (11, 2, false), (12, 3, true)];
    let ranged = |number, start: &[u8], end: &[u8]| v1::ShardStatus {
        start: start.to_vec().into(),
        end: end.to_vec().into(),
        ..shard(number, 10, true, &members)
    };
    let mut nodes = three_nodes(ranged(1, b"", b"m"));
    nodes[0].status.shards.extend([ranged(2, b"m", b"\xff\xff"), ranged(0, b"\xff\xff", b"")]);
    let (desired, mut memory) = (desired(3), BusyShards::default());
    let mut planned_at = |nodes: &[Heard], now: Moment| {
        let mut parts = fleet_parts(&desired, &named(nodes.to_vec()), &Moves::default(), now);
        memory.observe(&parts.shards, &policies(&desired), now);
        memory.tell(&mut parts.shards);
        let state = FleetState::new(parts).unwrap();
        let proposals = plan(&state, &policies(&desired), now).proposals.into_iter().map(|proposal| proposal.change);
        proposals.filter(|change| matches!(change, Change::MergeShards { .. })).collect::<Vec<_>>()
    };
    assert_eq!(planned_at(&nodes, NOW), []);
    let mut busy = nodes.clone();
    busy[0].status.shards[1].reads_per_second = 500.0;
    let busy_at = NOW + Duration::from_secs(600);
    assert_eq!(planned_at(&busy, busy_at), []);
    assert_eq!(planned_at(&nodes, NOW + Duration::from_secs(3601)), [], "it was busy meanwhile");
    let merge = Change::MergeShards { left: ShardId(1), right: ShardId(2) };
    assert_eq!(planned_at(&nodes, busy_at + Duration::from_secs(3601)), [merge]);
}

#[test]
fn of_open_moves_with_a_shard_in_common_the_first_counts() {
    let open = |change| OpenMove { phase: OpenPhase::Approved, ..super::running(change) };
    let urgent = open(Change::TransferLeader { shard: ShardId(1), from: NodeId(1), to: NodeId(2) });
    let merge = open(Change::MergeShards { left: ShardId(9), right: ShardId(1) });
    let moves = Moves { open: vec![urgent.clone(), merge], ..Moves::default() };
    let parts = fleet_parts(&desired(3), &named(three_nodes(held(10))), &moves, NOW);
    assert_eq!(parts.open, [urgent]);
    FleetState::new(parts).unwrap();
}

#[test]
fn a_shard_that_is_a_part_of_another_one_now_is_left_out_whoever_still_speaks_of_it() {
    let members = [(10, 1, false), (11, 2, false), (12, 3, true)];
    let merged = v1::ShardStatus { start: Default::default(), end: Default::default(), epoch: 9, ..held(10) };
    let mut nodes = three_nodes(merged);
    // As it was before, on a node that is away.
    nodes[1].status.shards.push(v1::ShardStatus {
        start: b"m".to_vec().into(),
        end: Default::default(),
        epoch: 8,
        ..shard(2, 21, false, &members)
    });
    let parts = fleet_parts(&desired(3), &named(nodes), &Moves::default(), NOW);
    assert_eq!(parts.shards.iter().map(|shard| shard.id).collect::<Vec<_>>(), [ShardId(1)]);
    FleetState::new(parts).unwrap();
}

#[test]
fn a_shard_takes_of_its_leaders_processors_what_its_requests_are_of_all() {
    let used = |reads, leads| v1::ShardStatus { reads_per_second: reads, leads, ..v1::ShardStatus::default() };
    let status = v1::NodeStatus {
        load: Some(v1::DeviceLoad { cpu_percent: 50.0, cpu_cores: 4.0, ..v1::DeviceLoad::default() }),
        shards: vec![used(300.0, true), used(100.0, true), used(1000.0, false)],
        ..v1::NodeStatus::default()
    };
    assert!((cpu_of(&status.shards[0], &status) - 1.5).abs() < 1e-9);
    let idle = v1::NodeStatus { shards: vec![used(0.0, true)], ..status };
    assert_eq!(cpu_of(&idle.shards[0], &idle), 0.0);
}
