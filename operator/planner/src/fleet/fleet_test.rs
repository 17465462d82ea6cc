#![allow(clippy::unwrap_used)]
use super::*;
use crate::test_fleet::{fleet, node, shard};

fn refused(change: impl FnOnce(&mut FleetParts)) -> FleetError {
    let mut parts = fleet(vec![node(1), node(2), node(3)], vec![shard(1, &[1, 2, 3]), shard(2, &[2, 3, 1])]);
    change(&mut parts);
    FleetState::new(parts).unwrap_err()
}

#[test]
fn a_fleet_that_contradicts_itself_is_refused_by_name() {
    let (first, second, one) = (ShardId(1), ShardId(2), NodeId(1));
    assert_eq!(refused(|parts| parts.nodes.push(node(1))), FleetError::NodeTwice { node: one });
    assert_eq!(refused(|parts| parts.shards.push(shard(2, &[1]))), FleetError::ShardTwice { shard: second });
    assert_eq!(refused(|parts| parts.nodes[0].tiers.clear()), FleetError::Tiers { node: one });
    assert_eq!(refused(|parts| parts.shards[0].end = Some(Vec::new())), FleetError::Range { shard: first });
    assert_eq!(refused(|parts| parts.shards[0].end = None), FleetError::Overlap { left: first, right: second });
    assert_eq!(refused(|parts| parts.shards[0].replicas[1].leader = true), FleetError::Leader { shard: first });
    assert_eq!(
        refused(|parts| parts.shards[0].replicas[2].node = NodeId(9)),
        FleetError::UnknownNode { shard: first, node: NodeId(9) }
    );
    assert_eq!(
        refused(|parts| parts.shards[0].replicas[2].node = one),
        FleetError::TwoVoters { shard: first, node: one }
    );
    assert!(matches!(refused(|parts| parts.nodes[0].load.io_busy = f64::NAN), FleetError::Figure { .. }));
    assert!(matches!(refused(|parts| parts.shards[0].load.cpu = -1.0), FleetError::Figure { .. }));
    assert!(matches!(refused(|parts| parts.nodes[0].tiers[0].low_percent = 90.0), FleetError::Figure { .. }));
}

#[test]
fn a_witness_cannot_lead() {
    let error = refused(|parts| {
        parts.shards[0].replicas[0].leader = false;
        parts.shards[0].replicas[2].leader = true;
    });
    assert_eq!(error, FleetError::Leader { shard: ShardId(1) });
}

#[test]
fn a_learner_may_be_where_the_witness_is_that_it_takes_over_from() {
    let mut parts = fleet(vec![node(1), node(2), node(3)], vec![shard(1, &[1, 2, 3])]);
    parts.shards[0].replicas.push(crate::test_fleet::replica(1, 3, 3, Role::Learner));
    assert!(FleetState::new(parts).is_ok());
}
