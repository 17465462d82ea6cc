//! Heat that travels: with moved data, to followers, over a restart.
//!
//! Format, version 1, little-endian: magic `THEAT`, version (1 byte), wall clock in milliseconds (8), number of ranges (4),
//! number of keys (4), the ranges in key order, the keys, and the XXH3-64 of everything before (8). Times are ages, so that
//! neither side needs the other's clock. The sketch does not travel: it only admits, and refills in one pass.

use std::time::Duration;

use super::admitted::AdmittedEntry;
use super::codec::{Reader, Writer};
use super::event::ServedBy;
use super::moment::Moment;
use super::rate::{Decay, DecayedRate};
use super::tracker::HeatTracker;
use crate::range::KeyRange;

const MAGIC: &[u8; 5] = b"THEAT";
const VERSION: u8 = 1;
/// Bytes of admitted keys that are kept over a restart, the hottest: it is all rewritten every minute.
const KEPT_KEY_BYTES: usize = 8 << 20;
/// Bytes of a key in a digest, beside the key itself.
const KEY_COST: usize = 41;

/// Why bytes are no heat digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// Too short, or no digest at all.
    #[error("the bytes are not a heat digest: they do not start with {MAGIC:?}")]
    NotADigest,
    /// Written by another release.
    #[error(
        "the heat digest has version {found}, this release reads version {VERSION}; heat is measured anew without it"
    )]
    UnknownVersion {
        /// The version in the bytes.
        found: u8,
    },
    /// The checksum does not match.
    #[error("the heat digest is damaged: its checksum does not match; heat is measured anew without it")]
    Damaged,
    /// The checksum matches, but the content breaks the format.
    #[error("the heat digest breaks its format: {what}")]
    Malformed {
        /// What is wrong.
        what: &'static str,
    },
}

/// A rate as it travels: as of its last event, which was `age` before the digest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct TravelRate {
    pub(super) per_day: f64,
    pub(super) age: Option<Duration>,
}

impl TravelRate {
    fn of(rate: &DecayedRate, share: f64, now: Moment) -> Self {
        let (per_day, last) = rate.parts();
        Self { per_day: per_day * share, age: last.age(now) }
    }

    fn arrived(&self, elapsed: Duration, now: Moment) -> DecayedRate {
        DecayedRate::known(self.per_day, moment(self.age, elapsed, now))
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct TravelRange {
    pub(super) range: KeyRange,
    pub(super) reads: TravelRate,
    pub(super) writes: TravelRate,
    pub(super) written_bytes: f64,
    pub(super) written_mean: Option<Duration>,
    pub(super) since: Duration,
    pub(super) moved: Option<Duration>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct TravelKey {
    pub(super) key: Vec<u8>,
    pub(super) reads: TravelRate,
    pub(super) writes: TravelRate,
    pub(super) served_by: Option<ServedBy>,
    pub(super) bytes: u32,
}

/// The heat of a range of keys, without clocks.
#[derive(Debug, Clone, PartialEq)]
pub struct HeatDigest {
    pub(super) ranges: Vec<TravelRange>,
    pub(super) keys: Vec<TravelKey>,
}

impl HeatDigest {
    /// The digest as bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        self.encode_at(Duration::ZERO)
    }

    /// Reads what [`HeatDigest::encode`] wrote.
    ///
    /// # Errors
    /// The bytes are not what it wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, DigestError> {
        Self::decode_at(bytes).map(|(digest, _)| digest)
    }

    /// Number of ranges and of keys in it.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        (self.ranges.len(), self.keys.len())
    }

    pub(super) fn export(tracker: &HeatTracker, range: &KeyRange, now: Duration) -> Self {
        let inside = tracker.admitted.iter().filter(|(key, _)| range.contains(key));
        Self::of(tracker, range, inside, now)
    }

    /// What is kept over a restart: all ranges, and as many keys as there is room for.
    pub(super) fn to_keep(tracker: &HeatTracker, now: Duration) -> Self {
        let mut left = KEPT_KEY_BYTES;
        let fits = |(key, _): &(&[u8], &AdmittedEntry)| {
            let rest = left.checked_sub(KEY_COST + key.len());
            left = rest.unwrap_or(0);
            rest.is_some()
        };
        let hottest = tracker.admitted.hottest(KEPT_KEY_BYTES / KEY_COST, now.into(), &tracker.decay);
        Self::of(tracker, &KeyRange::all(), hottest.into_iter().take_while(fits), now)
    }

    fn of<'a>(
        tracker: &HeatTracker,
        range: &KeyRange,
        keys: impl Iterator<Item = (&'a [u8], &'a AdmittedEntry)>,
        now: Duration,
    ) -> Self {
        let now = Moment::from(now);
        let ranges = tracker
            .ranges
            .entries()
            .filter_map(|(own, entry)| {
                let clipped = own.intersection(range)?;
                let after_end = clipped
                    .end()
                    .map_or(1.0, |end| if own.end() == Some(end) { 1.0 } else { entry.reservoir.share_before(end) });
                let before_start =
                    if own.start() == clipped.start() { 0.0 } else { entry.reservoir.share_before(clipped.start()) };
                let share = (after_end - before_start).max(0.0);
                Some(TravelRange {
                    range: clipped,
                    reads: TravelRate::of(&entry.reads, share, now),
                    writes: TravelRate::of(&entry.writes, share, now),
                    written_bytes: entry.written_bytes * share,
                    written_mean: entry.written_mean.age(now),
                    since: entry.since.age(now).unwrap_or_default(),
                    moved: entry.moved.age(now),
                })
            })
            .collect();
        let mut keys: Vec<TravelKey> = keys
            .map(|(key, entry)| TravelKey {
                key: key.to_vec(),
                reads: TravelRate::of(&entry.reads, 1.0, now),
                writes: TravelRate::of(&entry.writes, 1.0, now),
                served_by: entry.served_by,
                bytes: entry.bytes,
            })
            .collect();
        keys.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        Self { ranges, keys }
    }

    /// Merges into `tracker` what was known `elapsed` ago. Idempotent: of two views of one history the hotter stays.
    pub(super) fn merge_into(&self, tracker: &mut HeatTracker, elapsed: Duration, now: Duration) {
        let moment_now = Moment::from(now);
        let decay = tracker.decay;
        for travelled in &self.ranges {
            tracker.ranges.ensure_boundary(travelled.range.start());
            if let Some(end) = travelled.range.end() {
                tracker.ranges.ensure_boundary(end);
            }
            travelled.merge_into(tracker, elapsed, moment_now, &decay);
        }
        tracker.ranges.recount_total(&decay);
        for travelled in &self.keys {
            let known = tracker.admitted.entry_mut(&travelled.key).copied();
            let own = known.unwrap_or(AdmittedEntry::EMPTY);
            let merged = AdmittedEntry {
                reads: own.reads.hotter(&travelled.reads.arrived(elapsed, moment_now), &decay),
                writes: own.writes.hotter(&travelled.writes.arrived(elapsed, moment_now), &decay),
                // Where a key is on another node says nothing about this one; after a restart it does.
                served_by: own.served_by.or(travelled.served_by),
                bytes: if known.is_some() { own.bytes } else { travelled.bytes },
            };
            tracker.admitted.insert(&travelled.key, merged, moment_now, &decay);
        }
    }

    pub(super) fn encode_at(&self, wall: Duration) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.raw(MAGIC);
        writer.byte(VERSION);
        writer.number(u64::try_from(wall.as_millis()).unwrap_or(u64::MAX));
        writer.count(self.ranges.len());
        writer.count(self.keys.len());
        for range in &self.ranges {
            range.write(&mut writer);
        }
        for key in &self.keys {
            key.write(&mut writer);
        }
        writer.finish()
    }

    pub(super) fn decode_at(bytes: &[u8]) -> Result<(Self, Duration), DigestError> {
        let mut reader = Reader::checked(bytes, MAGIC, VERSION)?;
        let wall = Duration::from_millis(reader.number()?);
        let range_count = reader.count()?;
        let key_count = reader.count()?;
        let ranges = (0..range_count).map(|_| TravelRange::read(&mut reader)).collect::<Result<Vec<_>, _>>()?;
        let keys = (0..key_count).map(|_| TravelKey::read(&mut reader)).collect::<Result<Vec<_>, _>>()?;
        if !reader.is_empty() {
            return Err(DigestError::Malformed { what: "bytes follow its last key" });
        }
        Ok((Self { ranges, keys }, wall))
    }
}

impl TravelRange {
    fn merge_into(&self, tracker: &mut HeatTracker, elapsed: Duration, now: Moment, decay: &Decay) {
        let (reads, writes) = (self.reads.arrived(elapsed, now), self.writes.arrived(elapsed, now));
        let mut own = (0.0, 0.0, 0.0);
        let mut parts = 0.0;
        for entry in tracker.ranges.overlapping_mut(&self.range) {
            own.0 += entry.reads.at(now, decay);
            own.1 += entry.writes.at(now, decay);
            own.2 += entry.written_bytes;
            parts += 1.0;
        }
        // Each part keeps its share of what is known here; parts that know nothing share evenly.
        let share = |part: f64, whole: f64| {
            if whole > 0.0 { part / whole } else { 1.0 / parts }
        };
        for entry in tracker.ranges.overlapping_mut(&self.range) {
            let read_share = share(entry.reads.at(now, decay), own.0);
            let write_share = share(entry.writes.at(now, decay), own.1);
            let byte_share = share(entry.written_bytes, own.2);
            entry.reads = entry.reads.hotter(&reads.scaled(read_share), decay);
            entry.writes = entry.writes.hotter(&writes.scaled(write_share), decay);
            let bytes = self.written_bytes * byte_share;
            if bytes > entry.written_bytes {
                entry.written_bytes = bytes;
                entry.written_mean = moment(self.written_mean, elapsed, now);
            }
            entry.since = entry.since.min(moment(Some(self.since), elapsed, now));
            entry.moved = entry.moved.max(moment(self.moved, elapsed, now));
        }
    }
}

/// The moment that was `age` old when the digest was made, `elapsed` ago.
fn moment(age: Option<Duration>, elapsed: Duration, now: Moment) -> Moment {
    age.map_or(Moment::NEVER, |age| Moment::before(now, age.saturating_add(elapsed)))
}
