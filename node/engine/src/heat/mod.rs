//! Heat: what is read and written how often, measured in bounded memory. Pure but for the recorder's rings: no clock, no
//! threads, no storage.
//!
//! The way of an access: [`HeatRecorder`] samples it (any thread) -> the engine drains the samples now and then ->
//! [`HeatTracker::absorb`] -> the sketch admits keys, rates decay with time, ranges split and merge -> `classify` decides.
//!
//! - [`HeatRecorder`] (`Sync`): `record_read`, `record_write`, `drain`, `dropped`.
//! - [`HeatTracker`] (one owner): `absorb`, `key_heat`, `admitted_keys`, `top_keys`, `range_heat`, `ranges`,
//!   `hottest_ranges`, `note_moved`, `note_placed`, `set_stored_bytes`, `set_half_life`, `forget_key`, `memory_bytes`;
//!   `export_digest` and `merge_digest` for heat that travels with data or to followers; `encode` and `decode` for restarts.
//! - [`HeatConfig::for_fast_tier`] sizes it: at most 12 bytes for each key of the fastest tier.
//! - [`Prefetcher`]: `observe` returns a [`PrefetchChoice`]; the engine reports what it fetched with `prefetched`.
//!
//! `now` is a duration since any epoch that stays fixed while the tracker lives; `wall` is since the Unix epoch.
//! Rates are per day. A key can be judged by itself only while it is admitted: the table holds the hottest few per cent of
//! a large fast tier; the others are judged by their range.
mod adjacency;
mod admitted;
mod codec;
mod config;
mod digest;
mod event;
mod moment;
mod pattern;
mod prefetch;
mod range_heat;
mod range_table;
mod rate;
mod recorder;
mod reservoir;
mod sketch;
mod successors;
mod tracker;
mod usefulness;

pub use admitted::{AdmittedKeys, KeyHeat};
pub use config::{BYTES_PER_FAST_KEY, HeatConfig, LEAST_MEMORY_BYTES};
pub use digest::{DigestError, HeatDigest};
pub use event::{AccessEvent, AccessKind, ServedBy};
pub use pattern::{AccessPattern, PatternSummary};
pub use prefetch::{PrefetchChoice, Prefetcher};
pub use range_heat::RangeHeat;
pub use range_table::{RangeTable, RangeTableConfig};
pub use rate::Decay;
pub use recorder::HeatRecorder;
pub use sketch::FrequencySketch;
pub use tracker::HeatTracker;
pub use usefulness::{LEAST_USEFUL_SHARE, PrefetchStatistics};

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests;
