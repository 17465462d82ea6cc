//! What a move will take and do, as objects say it, and what came of it.

use std::time::Duration;

use thermocline_crds::v1alpha1::{Effect, EffectOutcome, Forecast, MigrationResult};
use thermocline_planner::{self as planner, Figure, FleetState, NodeId, Outcome, Proposal, TierRank};

use super::proposals::name_of;
use super::words::number;
use crate::rebalance::{Known, named};

/// A forecast as objects say it.
#[must_use]
pub fn told(forecast: &planner::Forecast, known: &Known) -> Forecast {
    let effect = |effect: &planner::Effect| Effect {
        figure: figure_told(effect.figure),
        node: effect.node.map(|node| name_of(known, node)),
        before: effect.before,
        after: effect.after,
    };
    Forecast {
        bytes: number(forecast.bytes),
        milliseconds: milliseconds(forecast.duration),
        effects: forecast.effects.iter().map(effect).collect(),
    }
}

/// What came of a forecast, by the fleet as it is after the move.
#[must_use]
pub fn result(
    proposal: &Proposal,
    forecast: Option<&Forecast>,
    (bytes, took): (u64, Duration),
    after: Option<&FleetState>,
    known: &Known,
) -> MigrationResult {
    let effects = forecast.map(|forecast| forecast.effects.iter().filter_map(|told| effect(told, known)).collect());
    let mut proposal = proposal.clone();
    proposal.forecast.effects = effects.unwrap_or_default();
    let outcome = after.map(|after| Outcome::of(&proposal, bytes, took, after));
    let outcome_told = |figure: planner::FigureOutcome| EffectOutcome {
        figure: figure_told(figure.predicted.figure),
        node: figure.predicted.node.map(|node| name_of(known, node)),
        predicted: figure.predicted.after,
        actual: figure.actual,
    };
    let effects = outcome.map(|outcome| outcome.figures.into_iter().map(outcome_told).collect());
    MigrationResult { bytes: number(bytes), milliseconds: milliseconds(took), effects: effects.unwrap_or_default() }
}

fn effect(told: &Effect, known: &Known) -> Option<planner::Effect> {
    let figure = figure(&told.figure)?;
    let node = match &told.node {
        Some(name) => Some(NodeId(named(known, name)?)),
        None => None,
    };
    Some(planner::Effect { figure, node, before: told.before, after: told.after })
}

fn milliseconds(of: Duration) -> i64 {
    i64::try_from(of.as_millis()).unwrap_or(i64::MAX)
}

const FIGURES: [(&str, Figure); 8] = [
    ("DiskPercent", Figure::DiskPercent),
    ("CpuPercent", Figure::CpuPercent),
    ("IoPercent", Figure::IoPercent),
    ("Members", Figure::Members),
    ("ReadReplicas", Figure::ReadReplicas),
    ("LatencyMillis", Figure::LatencyMillis),
    ("ShardBytes", Figure::ShardBytes),
    ("ShardOperations", Figure::ShardOperations),
];
/// Before the rank of the tier that it is of.
const TIER: &str = "TierPercent/";

fn figure_told(of: Figure) -> String {
    let plain = FIGURES.iter().find(|(_, figure)| *figure == of);
    match (of, plain) {
        (Figure::TierPercent(rank), _) => format!("{TIER}{}", rank.0),
        (_, Some((name, _))) => (*name).to_owned(),
        (other, None) => format!("{other:?}"),
    }
}

fn figure(told: &str) -> Option<Figure> {
    let plain = || FIGURES.iter().find(|(name, _)| *name == told).map(|(_, figure)| *figure);
    let tier = told.strip_prefix(TIER).and_then(|rank| rank.parse().ok());
    tier.map(|rank| Figure::TierPercent(TierRank(rank))).or_else(plain)
}
