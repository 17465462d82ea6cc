//! A proposal once more, when it starts.

use std::time::Duration;

use super::*;
use crate::{
    Epoch, Outcome, Refusal, check_again,
    fleet::{Availability, OpenMove, OpenPhase},
    policy::Mode,
    test_fleet::{auto, fleet, node, policy, settle, shard},
};

const LOST: Availability = Availability::Silent { since: crate::Moment(NOW.0 - 31_000) };

fn failed() -> FleetParts {
    let mut parts = fleet(vec![node(1), node(2), node(3), node(4)], vec![shard(1, &[2, 1, 3])]);
    parts.nodes[0].availability = LOST;
    parts
}

fn overloaded() -> FleetParts {
    let mut shards: Vec<_> = (1..=6).map(|id| shard(id, &[1, 2, 3])).collect();
    shards.iter_mut().for_each(|shard| shard.load.cpu = 1.5);
    fleet(vec![node(1), node(2), node(3), node(4)], shards)
}

/// What checking the first proposal again says, once it is open and `change` has happened.
fn again(parts: FleetParts, change: impl FnOnce(&mut FleetParts)) -> Result<(), Refusal> {
    let proposal = planned(parts.clone(), &auto()).proposals.swap_remove(0);
    let mut parts = parts;
    parts.open.push(OpenMove {
        change: proposal.change.clone(),
        reason: proposal.reason,
        priority: proposal.priority,
        phase: OpenPhase::Approved,
        bytes: proposal.forecast.bytes,
    });
    change(&mut parts);
    check_again(&proposal, &state(parts), &auto(), NOW)
}

#[test]
fn a_proposal_starts_where_nothing_has_changed() {
    assert_eq!(again(failed(), |_| {}), Ok(()));
    assert_eq!(again(overloaded(), |_| {}), Ok(()));
}

#[test]
fn every_proposal_of_a_plan_may_start_at_once() {
    for parts in [failed(), overloaded()] {
        let plan = planned(parts.clone(), &auto());
        for proposal in &plan.proposals {
            assert_eq!(check_again(proposal, &state(parts.clone()), &auto(), NOW), Ok(()), "{}", proposal.change);
        }
    }
}

#[test]
fn a_shard_that_changed_since_is_not_moved() {
    let range = again(failed(), |parts| parts.shards[0].epoch = Epoch(2)).unwrap_err();
    assert_eq!(range.kind(), RefusalKind::Changed);
    let members = again(failed(), |parts| parts.shards[0].membership.index = 2).unwrap_err();
    assert_eq!(members.kind(), RefusalKind::Changed);
    assert_eq!(again(failed(), |parts| parts.shards.clear()).unwrap_err().kind(), RefusalKind::Gone);
}

#[test]
fn a_lost_node_that_is_back_keeps_its_members() {
    let back = again(failed(), |parts| parts.nodes[0].availability = Availability::Live).unwrap_err();
    assert_eq!(back.kind(), RefusalKind::NotNeeded);
}

#[test]
fn the_gates_of_a_lost_node_are_asked_again() {
    let second = again(failed(), |parts| parts.nodes[2].availability = Availability::Silent { since: NOW });
    assert_eq!(second.unwrap_err().kind(), RefusalKind::SeveralNodesLost);
    let drain = again(failed(), |parts| parts.nodes[2].availability = Availability::Draining { cancelled: false });
    assert_eq!(drain.unwrap_err().kind(), RefusalKind::DrainInProgress);
    let full = again(failed(), |parts| parts.nodes[3].tiers[0].used = parts.nodes[3].tiers[0].capacity);
    assert_eq!(full.unwrap_err().kind(), RefusalKind::NoRoom);
}

#[test]
fn load_that_has_gone_is_not_moved() {
    let idle = again(overloaded(), |parts| {
        parts.shards.iter_mut().for_each(|shard| shard.load.cpu = 0.1);
        settle(parts);
    });
    assert_eq!(idle.unwrap_err().kind(), RefusalKind::NotNeeded);
}

#[test]
fn load_is_not_moved_to_a_node_that_has_become_busier() {
    let busy = again(overloaded(), |parts| parts.nodes[1].load.cpu_used = 9.5);
    assert_eq!(busy.unwrap_err().kind(), RefusalKind::WouldOverload);
}

#[test]
fn a_policy_that_was_paused_since_holds_what_was_planned() {
    let proposal = planned(overloaded(), &auto()).proposals.swap_remove(0);
    let paused = Policies::all(crate::Policy { mode: Mode::Paused, ..policy() });
    assert_eq!(check_again(&proposal, &state(overloaded()), &paused, NOW).unwrap_err().kind(), RefusalKind::Paused);
}

#[test]
fn a_leader_that_has_moved_since_is_not_moved_again() {
    let moved = again(overloaded(), |parts| {
        for shard in &mut parts.shards {
            shard.replicas[0].leader = false;
            shard.replicas[1].leader = true;
        }
    });
    assert_eq!(moved.unwrap_err().kind(), RefusalKind::Gone);
}

#[test]
fn a_member_that_is_no_longer_the_one_is_not_moved() {
    let other = again(failed(), |parts| parts.shards[0].replicas[1].id = crate::ReplicaId(99));
    assert_eq!(other.unwrap_err().kind(), RefusalKind::Gone);
}

#[test]
fn a_target_that_leaves_is_silent_or_was_given_to_another_pool_since_takes_nothing() {
    let growing = || fleet(vec![node(1), node(2), node(3)], vec![shard(1, &[1])]);
    let spoilt: [fn(&mut crate::fleet::Node); 3] = [
        |node| node.availability = Availability::Draining { cancelled: false },
        |node| node.availability = LOST,
        |node| node.pool = "other".into(),
    ];
    assert_eq!(again(growing(), |_| {}), Ok(()));
    for spoil in spoilt {
        let refused = again(growing(), |parts| spoil(&mut parts.nodes[1])).unwrap_err();
        assert_eq!(refused.kind(), RefusalKind::TargetNotReady, "{refused}");
    }
}

#[test]
fn what_came_of_a_move_stands_beside_what_was_forecast() {
    let parts = overloaded();
    let proposal = planned(parts.clone(), &auto()).proposals.swap_remove(0);
    let after = state(parts).after(&proposal.change, 1_000, &auto(), NOW).unwrap();
    let outcome = Outcome::of(&proposal, 0, proposal.forecast.duration + Duration::from_secs(1), &after);
    assert_eq!(outcome.duration_error(), 1.0);
    assert_eq!(outcome.bytes_error(), None, "a leader has no bytes");
    assert!(!outcome.figures.is_empty());
    for figure in &outcome.figures {
        let error = figure.actual.unwrap() - figure.predicted.after;
        assert!(error.abs() < 1e-9, "{figure:?}");
    }
}
