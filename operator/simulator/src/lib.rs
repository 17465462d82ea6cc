//! A fleet that exists in figures alone, planned for by the real planner (docs/planner.md, "Simulation").
//!
//! Contract: pure. A scenario with its seed gives the same run on every machine; time goes in steps, and whoever runs it
//! measures what a round takes.

mod generate;
mod load;
mod notation;
mod report;
mod scenario;
mod simulation;

pub use report::{MovesOf, Report, Sample};
pub use scenario::{
    DayCurve, Failure, HotSpot, LoadShape, NodeGroup, Placement, PolicySettings, Scenario, ScenarioError, ShardGroup,
    TierShape,
};
pub use simulation::{Simulation, SimulationError};
