//! `simulate`: the planner on a fleet that exists in figures alone; prints what came of it and what planning took.

mod generated;
mod plot;
mod summary;

use std::{fs, path::Path, time::Instant};

use serde::Serialize;
use thermocline_simulator::{Report, Scenario, Simulation};

use super::{Ended, progress};
use crate::{CommandError, ExitCode, args::SimulateArguments, context::Context};

/// What a run is told as.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SimulationView {
    #[serde(flatten)]
    report: Report,
    planning: PlanningTime,
}

/// What planning took on this machine.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct PlanningTime {
    rounds: u64,
    mean_millis: f64,
    max_millis: f64,
}

pub(super) fn run(context: &Context, arguments: &SimulateArguments) -> Ended {
    let scenario = scenario(arguments)?;
    let steps = scenario.duration.as_secs_f64() / scenario.step.as_secs_f64();
    let bar = progress::bar(&context.printer, Some(steps.ceil() as u64), false);
    let failed = |error: &dyn std::error::Error| CommandError::Move(format!("the simulation stopped: {error}"));
    let mut simulation = Simulation::new(scenario);
    let mut planning = PlanningTime::default();
    while !simulation.is_over() {
        let begin = Instant::now();
        simulation.plan().map_err(|error| failed(&error))?;
        planning.add(begin.elapsed().as_secs_f64() * 1_000.0);
        simulation.advance();
        bar.inc(1);
    }
    bar.finish_and_clear();
    let view = SimulationView { report: simulation.report(), planning };
    if let Some(path) = &arguments.plot {
        let write = |source| CommandError::Write { what: path.display().to_string(), source };
        let drawing = plot::draw(&view.report).map_err(|error| CommandError::Encode(error.into()))?;
        fs::write(path, drawing).map_err(write)?;
    }
    context.printer.print(&view, |view| summary::text(context, view))?;
    Ok(ExitCode::Success)
}

impl PlanningTime {
    fn add(&mut self, millis: f64) {
        self.mean_millis = (self.mean_millis * self.rounds as f64 + millis) / (self.rounds + 1) as f64;
        self.max_millis = self.max_millis.max(millis);
        self.rounds += 1;
    }
}

fn scenario(arguments: &SimulateArguments) -> Result<Scenario, CommandError> {
    let mut scenario = match &arguments.file {
        Some(path) => read(path)?,
        None => generated::scenario(arguments),
    };
    scenario.seed = arguments.seed.unwrap_or(scenario.seed);
    scenario.policy.moves_per_cluster = arguments.moves.or(scenario.policy.moves_per_cluster);
    scenario.check().map_err(|error| CommandError::Usage(error.to_string()))?;
    Ok(scenario)
}

fn read(path: &Path) -> Result<Scenario, CommandError> {
    let text = fs::read_to_string(path).map_err(|source| CommandError::Read { path: path.to_owned(), source })?;
    let wrong = |error: &dyn std::error::Error| CommandError::Manifest {
        what: path.display().to_string(),
        detail: format!("{error}; examples/simulate shows every field"),
    };
    Scenario::from_yaml(&text).map_err(|error| wrong(&error))
}
