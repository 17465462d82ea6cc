//! What the engine counts, and the report made of it.

mod counters;
mod latency;
mod report;

pub(crate) use counters::{MoveKey, Stats, TierStats};
pub use latency::LatencySummary;
pub use report::{EngineStats, Health, MoveTotal, TierReport};
