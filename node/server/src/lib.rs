//! The storage node: configuration, gRPC services and admin HTTP over the engine.
//!
//! Reading order: [`process`] (start to exit code), [`config`], [`node`] (start, serve, drain), [`service`] (what a
//! request goes through), [`admission`], [`cluster`] (replicas and other nodes), then [`facade`] and what reports on the node: [`health`], [`metrics`], [`http`],
//! [`system`].
//!
//! Rules: the engine blocks, so it is called on blocking threads under admission only; every queue is bounded, and what
//! does not fit is refused at once; a request is checked completely before the engine sees it.

pub mod admission;
pub mod args;
pub mod byte_bound;
pub mod cluster;
pub mod config;
pub mod facade;
pub mod health;
pub mod http;
pub mod identity;
pub mod metrics;
pub mod node;
pub mod owned_range;
pub mod process;
pub mod ready_file;
pub mod service;
pub mod shutdown;
pub mod system;
pub mod telemetry;
