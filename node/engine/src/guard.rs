//! The guards of the invariants, each with a switch.
//!
//! In an ordinary build every guard is on and the switches are gone. With the feature `guard-switches` the environment
//! variable `THERMOCLINE_GUARDS_OFF` (names, comma separated) turns some off: `make mutation` does so one by one and
//! fails where no test notices.

/// A guard that keeps an invariant of the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Guard {
    /// Rule 1: a reader caches a row only if no write began since before its read.
    CacheInsertCheck,
    /// Rule 1: a writer removes the key from the row cache before it writes.
    CacheRemove,
    /// Rule 1: a writer holds its stripe, whose sequence is odd meanwhile.
    StripeSequence,
    /// Rule 1: conditions are judged while their stripes are held.
    ConditionExclusive,
    /// I3: a version is checked again under the stripe before its copy leaves the fastest tier.
    DemoteRecheck,
    /// I3: a clean copy leaves only when its source is really there.
    CleanSourceCheck,
    /// Rule 3: a copy goes up only if nothing was written since its source was read.
    PromoteRecheck,
    /// Rule 3: moving up leaves the lower copy where it is.
    PromoteCopies,
    /// Rule 4: the WAL is synced before every ingest.
    SyncBeforeIngest,
    /// I4: writers of slower tiers hold the range.
    RangeLease,
    /// Rule 4: the mover takes no range that a range operation waits for.
    LeaseFairness,
    /// Rule 4: the lease is checked again before every effect.
    LeaseRecheck,
    /// Rule 4: recovery finishes what the journal says.
    JournalRecovery,
    /// Rule 3: a tombstone travels down like a value.
    TombstoneTravels,
    /// Rule 3: a tombstone deletes what the last tier holds.
    TombstoneDeletesLast,
    /// Rule 3: emptying a tier waits for the readers of before.
    ReadersMoveOn,
    /// Rule 6: a scan reads every tier at one snapshot.
    ScanSnapshot,
    /// Rule 6: the faster tier wins.
    FasterWins,
    /// Rule 7: writes are refused under the reserve.
    SpaceReserve,
    /// Rule 7: the first failed write to storage is sticky.
    StickyFailure,
    /// Rule 7: a block that cannot be read stops its range, not the store.
    ReadErrorsPass,
    /// Rule 7: writes are refused, not held up for ever, when damage keeps the fastest tier from being compacted.
    DamageRefuses,
    /// Rule 7: a store that lacks what was synced is refused.
    SyncedMark,
    /// I2: a sorted bulk load is refused where something was written or deleted since it began.
    LoadSeesChanges,
    /// Rule 2: versions above the ceiling are not given out before it is stored.
    VersionCeiling,
    /// Rule 1: a range that left and came back has a new generation in the row cache.
    RangeGeneration,
    /// Writers stay out of a range that is wiped or installed.
    RangeFence,
    /// Buffered writes are seen by reads before they are written.
    BufferedReads,
    /// A direct write to a key waits for the buffered ones before it.
    BufferedOrder,
}

impl Guard {
    /// Every guard, for the mutation run.
    pub const ALL: [Self; 29] = [
        Self::CacheInsertCheck,
        Self::CacheRemove,
        Self::StripeSequence,
        Self::ConditionExclusive,
        Self::DemoteRecheck,
        Self::CleanSourceCheck,
        Self::PromoteRecheck,
        Self::PromoteCopies,
        Self::SyncBeforeIngest,
        Self::RangeLease,
        Self::LeaseFairness,
        Self::LeaseRecheck,
        Self::JournalRecovery,
        Self::TombstoneTravels,
        Self::TombstoneDeletesLast,
        Self::ReadersMoveOn,
        Self::ScanSnapshot,
        Self::FasterWins,
        Self::SpaceReserve,
        Self::StickyFailure,
        Self::ReadErrorsPass,
        Self::DamageRefuses,
        Self::SyncedMark,
        Self::LoadSeesChanges,
        Self::VersionCeiling,
        Self::RangeGeneration,
        Self::RangeFence,
        Self::BufferedReads,
        Self::BufferedOrder,
    ];

    /// Whether the guard is on: always, in an ordinary build.
    #[cfg(not(feature = "guard-switches"))]
    #[must_use]
    #[inline(always)]
    pub const fn on(self) -> bool {
        true
    }

    /// Whether the guard is on: unless `THERMOCLINE_GUARDS_OFF` names it.
    #[cfg(feature = "guard-switches")]
    #[must_use]
    pub fn on(self) -> bool {
        use std::sync::LazyLock;
        static OFF: LazyLock<u64> = LazyLock::new(|| {
            let names = std::env::var("THERMOCLINE_GUARDS_OFF").unwrap_or_default();
            Guard::ALL
                .iter()
                .filter(|guard| names.split(',').any(|name| name == format!("{guard:?}")))
                .fold(0, |bits, guard| bits | 1 << (*guard as u8))
        });
        *OFF & (1 << (self as u8)) == 0
    }
}
