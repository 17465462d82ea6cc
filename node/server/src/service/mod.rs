//! The gRPC services: they check what a client sent, admit it, call the engine and put its answer into messages.

pub mod admin;
pub mod consistency;
pub mod convert;
pub mod deadline;
pub mod kv;
pub mod limits;
pub mod rejection;
pub mod status;

pub use rejection::Rejection;
