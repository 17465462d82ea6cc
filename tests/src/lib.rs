//! Tests that cross crates: processes, crashes, whole fleets
