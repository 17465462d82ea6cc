//! The fleet: brings the nodes of a home to what its objects declare. First home: this machine.
//!
//! # Shape
//!
//! - [`home`]: what a home must offer. The Kubernetes home will offer the same; nothing outside [`local`] knows of processes
//!   or folders.
//! - Pure, from values to values: [`desired`] (objects -> what every node should run), [`render`] (a node's configuration),
//!   [`policy_message`] (what a node is told of a policy),
//!   [`revision`] (generations that only grow), [`reconcile`] (desired and observed -> actions), [`migration`] (how far a move
//!   is and what to do next), [`held_tiers`] (which tiers may not be taken away), [`status`] (what is told in the objects).
//! - [`watch`]: the nodes' Status streams, the only source of figures.
//! - [`moves`]: the moves that nodes carry out for Migrations.
//! - [`rebalance`], [`migrations`]: moves between nodes, as the planner sees them and as objects.
//! - [`controller`]: the loop that reads, decides, executes and tells.
//! - [`local`]: the local home: objects as files, nodes as processes on 127.0.0.N.

mod begin;
mod chain;
pub mod controller;
pub mod desired;
pub mod event;
pub mod held_tiers;
pub mod home;
pub mod local;
pub mod migration;
pub mod migrations;
pub mod moves;
pub mod policy_message;
pub mod rebalance;
pub mod reconcile;
pub mod render;
pub mod revision;
pub mod status;
pub mod watch;

pub use chain::chain;
