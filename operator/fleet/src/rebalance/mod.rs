//! Moves between nodes: what the planner says of the fleet, carried out by the leaders of the shards. The decisions are the
//! planner's; here its input is made of what the nodes say (`state`), and its output becomes orders (`order`). Pure.

mod order;
mod policies;
mod state;

pub use order::{Order, order};
pub use policies::policies;
pub use state::{Heard, Known, fleet_parts, must_be_done, strangers};
