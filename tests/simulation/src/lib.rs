//! Deterministic simulation of replicas: real hosts, replicas, logs' and state machines' code of `node/shard` on simulated nodes,
//! devices and a network, all in one thread and drawn from one seed (docs/testing.md, "Simulation").
//!
//! Reading order: `world` (a run), `plan` (what a seed makes of it), `node` (a process with a clock of its own), `network`,
//! `disk` and `store` (what survives a crash), `faults` and `operator` (what happens to them), `clients`; `observer` sees what is
//! written and said, and tells it to the invariants (`invariant`). `flaw` are bugs to be found. What is simulated and what is
//! not: replicas, their leaders' jobs, their messages and encodings are real; the engine, its log store, connections and the
//! node's services are not.

mod clients;
mod disk;
mod faults;
mod flaw;
pub mod invariant;
mod message;
mod network;
mod node;
mod observer;
mod operator;
mod panics;
mod plan;
mod report;
mod service;
mod store;
mod trace;
mod wire;
mod world;

pub use flaw::Flaw;
pub use plan::Plan;
pub use report::Report;
pub use world::World;
