#![allow(clippy::unwrap_used)]
use super::*;

const BOUNDS: LogBounds = LogBounds {
    step_bytes: 100,
    step_entries: 50,
    lag_bytes: 200,
    kept_bytes: 1000,
    patience: Duration::from_secs(3),
    stuck: Duration::from_secs(30),
};
const TWO: ReplicaId = ReplicaId(2);
const WITNESS: ReplicaId = ReplicaId(3);

/// A log of entries of 10 bytes up to 1000.
fn behind(index: u64) -> u64 {
    1000_u64.saturating_sub(index) * 10
}

fn log(released: u64) -> LogFacts {
    LogFacts { released, applied: 1000, bytes: behind(released) }
}

/// A voter that takes entries.
fn alive(replica: ReplicaId, matched: u64) -> Follower {
    let (stalled, silent) = (Duration::ZERO, Duration::ZERO);
    Follower { replica, votes: true, matched: Some(matched), lacks_bytes: behind(matched), stalled, silent }
}

fn dead(replica: ReplicaId, matched: u64) -> Follower {
    let long = Duration::from_secs(10);
    Follower { stalled: long, silent: long, ..alive(replica, matched) }
}

fn decided(released: u64, followers: &[Follower]) -> LogDecision {
    decide(&BOUNDS, log(released), followers, behind)
}

fn released(released: u64, followers: &[Follower]) -> Option<(u64, Vec<ReplicaId>)> {
    decided(released, followers).release.map(|release| (release.upto, release.lacking))
}

#[test]
fn what_everybody_has_is_let_go_and_nothing_that_a_live_replica_lacks() {
    assert_eq!(released(900, &[alive(TWO, 1000), alive(WITNESS, 990)]), Some((990, vec![])));
    assert_eq!(released(900, &[alive(TWO, 950), alive(WITNESS, 1000)]), Some((950, vec![])));
    assert_eq!(released(900, &[alive(TWO, 900), alive(WITNESS, 1000)]), None);
}

#[test]
fn little_is_not_let_go_by_itself() {
    assert_eq!(released(992, &[alive(TWO, 1000), alive(WITNESS, 1000)]), None);
    let small = |index: u64| 1000_u64.saturating_sub(index);
    let facts = LogFacts { bytes: small(940), ..log(940) };
    let decision = decide(&BOUNDS, facts, &[alive(TWO, 1000), alive(WITNESS, 1000)], small);
    assert_eq!(decision.release.unwrap().upto, 1000, "few bytes, but many entries");
}

#[test]
fn the_log_waits_for_a_dead_replica_up_to_its_bound_and_then_marks_it() {
    assert_eq!(released(900, &[dead(TWO, 905), alive(WITNESS, 1000)]), None);
    assert_eq!(released(850, &[dead(TWO, 905), alive(WITNESS, 1000)]), Some((905, vec![])), "it has so much");
    assert_eq!(released(890, &[dead(TWO, 895), alive(WITNESS, 990)]), Some((990, vec![TWO])));
}

#[test]
fn one_that_was_marked_holds_nothing_until_it_answers_and_then_what_comes_behind_its_snapshot() {
    assert_eq!(released(950, &[dead(TWO, 895), alive(WITNESS, 1000)]), Some((1000, vec![TWO])));
    assert_eq!(released(950, &[alive(TWO, 895), alive(WITNESS, 1000)]), None);
    let copying = Follower { stalled: Duration::from_secs(60), ..alive(TWO, 895) };
    assert_eq!(released(950, &[copying, alive(WITNESS, 1000)]), None, "a snapshot takes its time");
    assert_eq!(
        released(890, &[Follower { matched: Some(10), ..copying }, alive(WITNESS, 1000)]),
        Some((1000, vec![TWO]))
    );
}

#[test]
fn nothing_is_let_go_while_it_is_not_known_what_a_replica_has() {
    let unknown = Follower { matched: None, lacks_bytes: behind(0), ..alive(TWO, 0) };
    assert_eq!(released(500, &[unknown, alive(WITNESS, 1000)]), None);
    let long = Follower { stalled: Duration::from_secs(60), ..unknown };
    assert_eq!(released(910, &[long, alive(WITNESS, 1000)]), None);
    assert_eq!(released(500, &[long, alive(WITNESS, 1000)]), Some((1000, vec![TWO])));
}

#[test]
fn one_that_answers_but_takes_nothing_for_long_is_given_a_snapshot() {
    let stuck = |seconds| Follower { stalled: Duration::from_secs(seconds), ..alive(TWO, 995) };
    assert_eq!(released(990, &[stuck(29), alive(WITNESS, 1000)]), None);
    assert_eq!(released(990, &[stuck(31), alive(WITNESS, 1000)]), Some((1000, vec![TWO])));
    assert!(decided(990, &[stuck(31), alive(WITNESS, 1000)]).lets_go, "the log may not agree on anything without it");
    assert!(!decided(990, &[stuck(29), alive(WITNESS, 1000)]).lets_go);
}

#[test]
fn the_leader_slows_for_a_voter_that_takes_entries_too_slowly_and_for_no_other() {
    let slow = |follower: Follower| decided(100, &[follower, alive(WITNESS, 1000)]).slow;
    assert!(slow(alive(TWO, 979)));
    assert!(!slow(alive(TWO, 981)), "it lacks little");
    assert!(!slow(dead(TWO, 500)), "a dead one never stops writes");
    assert!(!slow(Follower { votes: false, ..alive(TWO, 500) }), "a learner waits for itself");
    assert!(!slow(alive(TWO, 50)), "it is sent a snapshot");
    assert!(!slow(Follower { matched: None, ..alive(TWO, 0) }));
}

#[test]
fn a_voter_that_advances_is_waited_for_even_over_the_bound_and_a_learner_is_not() {
    let far = alive(TWO, 890);
    assert_eq!(released(880, &[far, alive(WITNESS, 1000)]), Some((890, vec![])));
    let learner = Follower { votes: false, ..far };
    assert_eq!(released(880, &[learner, alive(WITNESS, 1000)]), Some((1000, vec![TWO])));
}
