//! Classification: from heat, placement and policy to moves. Pure: no storage, no clock, no randomness; the engine gathers
//! the input, the mover carries out the output.
mod choice;
mod classifier;
mod explain;
mod input;
mod policy;
mod survey;
mod thresholds;

pub use choice::{Classification, MoveChoice, MoveReason};
pub use classifier::{EVEN, classify};
pub use explain::{ExplainInput, Explanation, explain};
pub use input::{ClassifierInput, KeyInput, RangeInput, TierState};
pub use policy::{Policy, PolicyError, Temperature, ValidPolicy, ValidTemperature};

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests;
