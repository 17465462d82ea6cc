//! Classification: from heat, placement and policy to moves. Pure: no storage, no clock, no randomness; the engine gathers
//! the input, the mover carries out the output.
//!
//! - [`Policy`] is stated (by default hot, warm and cold; [`Policy::for_tiers`] for other names), [`Policy::validate`] makes a
//!   [`ValidPolicy`] or says which field is wrong. [`ValidPolicy::half_life`] goes to `HeatTracker::set_half_life`.
//! - [`classify`] takes [`ClassifierInput`]: [`TierState`]s fastest first, a [`RangeInput`] for each of
//!   `HeatTracker::ranges` (its heat, bytes in each tier, clean copies, number of keys), a [`KeyInput`] for each of
//!   `HeatTracker::admitted_keys` (with the tier it is in). It returns a [`Classification`]: [`MoveChoice`]s in the order
//!   in which to carry them out. After a range move the engine calls `HeatTracker::note_moved`: residency starts there.
//! - [`explain()`] and [`range_class`] answer for one key or range by the same thresholds.
//!
//! Rates of a range are judged per key: its reads less those of its admitted keys, over the number of its other keys.
//! Two rules keep an even load at rest: nothing moves up that is not read clearly (three standard errors) more often than
//! the average byte, and nothing that is still read moves down by a threshold while reads are spread like bytes.
mod choice;
mod classifier;
mod explain;
mod input;
mod policy;
mod survey;
mod thresholds;

pub use choice::{Classification, MoveChoice, MoveReason};
pub use classifier::{EVEN, classify};
pub use explain::{ExplainInput, Explanation, explain, range_class};
pub use input::{ClassifierInput, KeyInput, RangeInput, TierState};
pub use policy::{Policy, PolicyError, Temperature, ValidPolicy, ValidTemperature};

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests;
