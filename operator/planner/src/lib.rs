//! The planner: (fleet state, policies, now) -> plan (docs/planner.md).
//!
//! Contract: pure and deterministic. It reads no clock, no file and no network, draws no random number, and breaks ties by
//! id, so the same input gives the same plan. It decides; whoever calls it measures, asks for approval, and moves.
//!
//! Reading order: `fleet` (what is so), `policy` (what is wished), `change` (what can be done), `ledger` (what will be so
//! once the moves under way are done), `admission` (what a change must pass), `trigger` (why anything is done), `plan`.

pub mod fleet;
pub mod policy;

mod admission;
mod change;
mod check;
mod forecast;
mod health;
mod id;
mod imbalance;
mod ledger;
mod moment;
mod outcome;
mod placement;
mod plan;
mod refusal;
mod trigger;
mod view;

pub use change::{Change, ChangeKind, Priority, Reason};
pub use check::{check_again, forecast_again};
pub use fleet::{FleetError, FleetParts, FleetState};
pub use forecast::{Effect, Figure, Forecast};
pub use health::{HealthPart, HealthScore, HealthSignals};
pub use id::{Epoch, LogId, NodeId, PoolName, ReplicaId, ShardId, TierName, TierRank, Zone};
pub use imbalance::{DISK_FLOOR, Deviation, Imbalance, LOAD_FLOOR, deviation, imbalance};
pub use moment::Moment;
pub use outcome::{FigureOutcome, Outcome};
pub use plan::{Plan, PoolImbalance, Precondition, Proposal, plan};
pub use policy::{Policies, Policy};
pub use refusal::{EXAMPLES_PER_KIND, Refusal, RefusalKind, Refusals};

#[cfg(test)]
mod test_fleet;
#[cfg(test)]
mod tests;
