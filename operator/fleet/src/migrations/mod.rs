//! Moves between nodes as Migration objects: what becomes of one next. Pure; what it says is carried out in
//! `controller/migrations`.
//!
//! - [`Item`]: an object, parsed. [`change`]: what it does, in the planner's terms. [`moves`]: all of them, for the planner.
//! - [`proposed`]: the planner's proposals as objects, under names of their own.
//! - [`Waiting`]: up to where a move begins. [`Following`]: from there to its end.
//! - [`superfluous`]: which objects of ended moves go.
//!
//! A move has begun when its object says so. What a leader is asked for it carries a number that follows from the object's uid,
//! so whoever takes over asks for the same, and the leader does it once.

mod following;
mod forecast;
mod identity;
mod intent;
mod item;
mod planned;
mod proposals;
mod retention;
mod telling;
mod waiting;
mod words;

pub use following::{AskState, Following, Step};
pub use forecast::result;
pub use forecast::told as forecast_told;
pub use identity::job_of;
pub use intent::{apart, change};
pub use item::{Item, items};
pub use planned::moves;
pub use proposals::{Proposed, overtaken, proposed};
pub use retention::superfluous;
pub use telling::{conditions, tell};
pub use waiting::{Held, PROPOSAL_LIFE, Verdict, Waiting};

#[cfg(test)]
#[path = "../migrations_test.rs"]
mod tests;
