//! Moves between nodes, as the planner sees them: its input is made of what the nodes say and of the Migrations (`state`), its
//! rules of the policies (`policies`). What becomes of its output is in [`crate::migrations`]. Pure.

mod averages;
mod busy;
mod imbalance;
mod policies;
mod state;

pub use averages::LoadAverage;
pub use busy::BusyShards;
pub use imbalance::disk_imbalance;
pub use policies::policies;
pub use state::{Heard, Known, Moves, fleet_parts, is_empty, is_lost, led, named, one_a_shard, strangers, was_away};
