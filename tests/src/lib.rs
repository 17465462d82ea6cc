//! Tests that cross crates: processes, crashes, whole fleets

pub mod crash;
pub mod devices;
