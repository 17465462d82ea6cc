//! Tests of the heat module, a file for each part.
mod admitted;
mod digest;
mod pattern;
mod prefetch;
mod range_table;
mod rate;
mod recorder;
mod sketch;
mod tracker;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use std::time::Duration;

use super::{AccessEvent, AccessKind, ServedBy};

fn random(seed: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed)
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn read(key: &[u8]) -> AccessEvent {
    AccessEvent { key: key.into(), bytes: 100, kind: AccessKind::Read(ServedBy::Tier(1)), weight: 1 }
}

fn write(key: &[u8], bytes: u32) -> AccessEvent {
    AccessEvent { key: key.into(), bytes, kind: AccessKind::Write, weight: 1 }
}

fn key(number: u64) -> Vec<u8> {
    format!("key{number:08}").into_bytes()
}
