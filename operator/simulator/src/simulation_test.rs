#![allow(clippy::unwrap_used, clippy::panic)]
use super::*;

/// Six nodes of three zones with 60 shards, and what is added to that.
fn scenario(placement: &str, more: &str) -> Scenario {
    let text = format!(
        "{{seed: 7, duration: 6h, step: 1m,
           nodes: [{{count: 6, tiers: [{{name: hot, rank: 0, size: 100Gi, costPerGiBMonth: 0.3}}]}}],
           shards: [{{count: 60, size: 1Gi, sizeSpread: 0.5, operations: 30000, skew: 0.5, writes: 0.2, placement: {placement}}}]
           {more}}}"
    );
    Scenario::from_yaml(&text).unwrap()
}

fn run(scenario: Scenario) -> Report {
    let mut simulation = Simulation::new(scenario);
    while !simulation.is_over() {
        simulation.plan().unwrap();
        simulation.advance();
    }
    simulation.report()
}

#[test]
fn one_seed_gives_one_run() {
    let short = || Scenario { duration: Duration::from_mins(30), ..scenario("spread", "") };
    assert_eq!(run(short()), run(short()));
    assert_ne!(run(short()), run(Scenario { seed: 8, ..short() }));
}

#[test]
fn all_data_on_one_node_comes_to_balance_and_then_rests() {
    let report = run(scenario("firstNode", ""));
    assert!(report.converged_after.is_some(), "{report:#?}");
    assert!(report.imbalance_after <= 20.0, "{}", report.imbalance_after);
    let last_hour: Vec<&Sample> = report.samples.iter().filter(|sample| sample.second >= 5 * 3_600).collect();
    assert!(last_hour.iter().all(|sample| sample.moving == 0), "it rests");
    assert_eq!(report.returns, 0);
}

#[test]
fn shards_that_are_too_large_or_too_busy_are_split() {
    let text = "{seed: 7, duration: 1h, step: 1m,
        nodes: [{count: 6, tiers: [{name: hot, rank: 0, size: 500Gi}]}],
        shards: [{count: 6, size: 18Gi, operations: 100}, {count: 6, size: 1Gi, operations: 24000, cpuPerThousand: 0.2}]}";
    let report = run(Scenario::from_yaml(text).unwrap());
    assert_eq!(report.shards, 6 * 4 + 6 * 2, "{report:#?}");
}

#[test]
fn a_node_that_fails_is_made_up_for_and_a_short_absence_is_not() {
    let failed = run(scenario("spread", ", failures: [{node: 2, at: 1h}]"));
    assert!(failed.recovered_after.is_some_and(|seconds| seconds < 3_600), "{:?}", failed.recovered_after);
    assert!(failed.moves["NodeFailure"].moves > 0);
    // One step is a minute, and a node is lost after half of one.
    let fine = Scenario {
        step: Duration::from_secs(10),
        ..scenario("spread", ", failures: [{node: 2, at: 1h, backAfter: 20s}]")
    };
    assert!(!run(fine).moves.contains_key("NodeFailure"));
}

#[test]
fn nodes_that_join_are_filled() {
    let more = ", policy: {imbalancePercent: 20}";
    let mut joined = scenario("spread", more);
    let late = crate::NodeGroup { count: 3, joins_at: Some(Duration::from_hours(1)), ..joined.nodes[0].clone() };
    joined.nodes.push(late);
    let report = run(joined);
    let at = |hour: u64| report.samples.iter().find(|sample| sample.second == hour * 3_600).unwrap();
    assert!(at(1).imbalance() > 50.0 && report.imbalance_after <= 20.0, "{}", report.imbalance_after);
}

#[test]
fn a_load_that_comes_and_goes_moves_no_shard_more_often_than_allowed() {
    let more = ", load: {dayCurve: {amplitude: 0.9, peakHour: 3}, hotSpots: [
        {at: 1h, for: 1h, from: 0.1, width: 0.1, factor: 8}, {at: 3h, for: 1h, from: 0.6, width: 0.1, factor: 8}]}";
    let report = run(scenario("spread", more));
    assert!(report.moves_per_shard_max <= 4, "{}", report.moves_per_shard_max);
    assert!(!report.moves.is_empty());
}

#[test]
fn moves_take_the_time_that_was_forecast() {
    let report = run(scenario("firstNode", ""));
    // A step is longer than a move is: what is told of it is exact only within the step.
    assert!(report.duration_error.abs() < 0.5, "{}", report.duration_error);
    assert!(report.bytes_moved > 0);
}

#[test]
fn a_scenario_that_makes_no_fleet_is_refused_by_its_field() {
    for (text, field) in [
        ("{nodes: [], shards: []}", "number of nodes"),
        ("{nodes: [{count: 1, tiers: []}], shards: [{count: 1, size: 1Gi, operations: 1}]}", "number of tiers"),
        (
            "{nodes: [{count: 1, tiers: [{name: a, rank: 0, size: 1Gi}]}], shards: [{count: 1, size: 1Gi, operations: -1}]}",
            "operations",
        ),
        (
            "{nodes: [{count: 1, tiers: [{name: a, rank: 0, size: 1Gi}]}], shards: [{count: 1, size: 1X, operations: 1}]}",
            "size",
        ),
        ("{nodes: [], shards: [], colour: red}", "colour"),
    ] {
        let error = Scenario::from_yaml(text).unwrap_err().to_string();
        assert!(error.contains(field), "{text}: {error}");
    }
}

#[test]
fn the_examples_are_scenarios() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/simulate");
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        Scenario::from_yaml(&text).unwrap();
        seen += 1;
    }
    assert!(seen > 0);
}
