//! Load on a store: pure, seeded generators and a runner, for `thermoctl bench` and for demonstrations.
//!
//! Reading order: [`KeyDistribution`] (which record is touched) → [`Mix`] (what is done to it) → [`OperationStream`]
//! (both, as a replayable stream) → [`Builtin`] (workloads by name) → [`run`] (the stream against a [`Target`]) →
//! [`Report`]. Everything before the runner is pure: the same seed gives the same operations on every machine.

mod builtin;
mod distribution;
mod key_source;
mod operation;
mod report;
mod runner;
mod store_target;
mod zipf;

pub use builtin::Builtin;
pub use distribution::{KeyDistribution, KeySampler};
pub use key_source::{KeySource, ListedKeys, NumberedKeys};
pub use operation::{Mix, MixError, Operation, OperationKind, OperationStream};
pub use report::{LatencySummary, Recorder, Report};
pub use runner::{Live, Outcome, Pace, Plan, Stop, Target, run};
pub use store_target::StoreTarget;
pub use zipf::{Zipf, fnv1a_64};
