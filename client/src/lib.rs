//! The client library: routing, deadlines, retries
