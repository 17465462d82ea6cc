//! Where members go.

use super::*;
use crate::{
    NodeId, Zone,
    fleet::{Availability, Role},
    test_fleet::{GIB, auto, fleet, node, policy, replica, settle, shard},
};

const LOST: Availability = Availability::Silent { since: crate::Moment(NOW.0 - 31_000) };

fn target(parts: FleetParts) -> Option<NodeId> {
    planned(parts, &auto()).proposals.first().and_then(|proposal| proposal.change.to())
}

fn in_zones(zones: &[&str]) -> Vec<crate::fleet::Node> {
    (1..).zip(zones).map(|(id, zone)| crate::fleet::Node { zone: Zone::from(*zone), ..node(id) }).collect()
}

#[test]
fn a_member_goes_to_a_zone_without_one_even_if_its_node_is_fuller() {
    let mut parts = fleet(in_zones(&["a", "a", "b"]), vec![shard(1, &[1])]);
    parts.nodes[2].tiers[0].used = 50 * GIB;
    assert_eq!(target(parts), Some(NodeId(3)));
}

#[test]
fn among_nodes_of_one_zone_the_least_full_one_is_taken_then_the_first() {
    let mut parts = fleet(in_zones(&["a", "b", "b", "b"]), vec![shard(1, &[1])]);
    parts.nodes[1].load.cpu_used = 5.0;
    assert_eq!(target(parts), Some(NodeId(3)));
}

#[test]
fn a_witness_goes_to_another_zone_than_the_data() {
    let mut parts = fleet(in_zones(&["a", "b", "b", "c"]), vec![shard(1, &[1])]);
    parts.shards[0].replicas.push(replica(1, 1, 2, Role::Data));
    settle(&mut parts);
    parts.nodes[3].tiers[0].used = 50 * GIB;
    assert_eq!(target(parts), Some(NodeId(4)));
}

#[test]
fn members_do_not_end_in_fewer_zones_for_the_sake_of_balance() {
    let shards: Vec<_> = (1..=9).map(|id| shard(id, &[1, 2, 3])).collect();
    let mut parts = fleet(in_zones(&["a", "b", "c", "b"]), shards);
    parts.shards.iter_mut().for_each(|shard| shard.load.cpu = 1.0);
    settle(&mut parts);
    parts.nodes[2].load.cpu_used = 1.0;
    let mut only_moves = policy();
    only_moves.budget.leader_moves = 0;
    let plan = planned(parts.clone(), &Policies::all(only_moves.clone()));
    assert!(changes(&plan).iter().all(|change| change.from() != Some(NodeId(1)) || change.to() != Some(NodeId(4))));
    parts.nodes[3].zone = Zone::from("d");
    let plan = planned(parts, &Policies::all(only_moves));
    assert!(changes(&plan).iter().any(|change| (change.from(), change.to()) == (Some(NodeId(1)), Some(NodeId(4)))));
}

#[test]
fn a_lost_member_is_made_anew_in_a_zone_with_another_where_there_is_no_other() {
    let mut parts = fleet(in_zones(&["a", "b", "c", "b"]), vec![shard(1, &[2, 1, 3])]);
    parts.nodes[0].availability = LOST;
    // Two nodes are left for three members, but for the one in the zone that has one already.
    assert_eq!(target(parts), Some(NodeId(4)));
}

#[test]
fn nothing_is_placed_on_a_tier_that_fails_or_is_full() {
    let mut parts = fleet(vec![node(1), node(2), node(3)], vec![shard(1, &[1])]);
    parts.nodes[1].tiers[0].degraded = true;
    assert_eq!(target(parts.clone()), Some(NodeId(3)));
    parts.nodes[2].tiers[0].used = 84 * GIB + 1;
    assert_refused(&planned(parts.clone(), &auto()), RefusalKind::NoTarget);
    parts.nodes[2].tiers[0].used = 84 * GIB;
    assert_eq!(target(parts), Some(NodeId(3)));
}

#[test]
fn two_voters_of_a_shard_are_never_on_one_node() {
    let mut parts = fleet(vec![node(1), node(2), node(3)], vec![shard(1, &[2, 1, 3])]);
    parts.nodes[0].availability = LOST;
    assert_refused(&planned(parts, &auto()), RefusalKind::NoTarget);
}

#[test]
fn nothing_goes_to_a_node_that_leaves_is_silent_or_of_another_pool() {
    let spoilt: [fn(&mut crate::fleet::Node); 3] = [
        |node| node.availability = Availability::Draining { cancelled: false },
        |node| node.availability = LOST,
        |node| node.pool = "other".into(),
    ];
    for spoil in spoilt {
        let mut parts = fleet(vec![node(1), node(2), node(3)], vec![shard(1, &[1])]);
        spoil(&mut parts.nodes[1]);
        parts.nodes[2].tiers[0].used = 50 * GIB;
        assert_eq!(target(parts), Some(NodeId(3)));
    }
}
