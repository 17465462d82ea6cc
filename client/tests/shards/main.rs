//! The client against a cluster with shards on loopback, whose nodes answer, break and hang as a script says.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod cluster;
mod cuttable;
mod node;
mod reads;
mod routing;
mod world;
mod writes;
