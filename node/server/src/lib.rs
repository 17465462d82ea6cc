//! The storage node: configuration, gRPC services and admin HTTP over the engine.

pub mod admission;
pub mod args;
pub mod config;
pub mod owned_range;
pub mod system;
pub mod telemetry;
