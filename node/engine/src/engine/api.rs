//! The public operations. Each is a line or two over the path that does it.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;

use super::{AuditReport, Engine, Inner};
use crate::classify::{ExplainInput, Policy, explain};
use crate::error::Result;
use crate::format::keys;
use crate::format::record::RecordKind;
use crate::heat::{KeyHeat, RangeHeat};
use crate::lease::{Holder, RangeLease};
use crate::mover::{Bucket, Cancel, Course, Demotion, MoveReason, MoveStep, Moved, Pace, Part, Promotion};
use crate::options::Durability;
use crate::range::KeyRange;
use crate::read::point::Record;
use crate::read::range_size::RangeSize;
use crate::read::scan::Snapshot;
use crate::stats::{EngineStats, Health};
use crate::tier::TierSettings;
use crate::write::batch::{Batch, Condition, WriteOutcome};
use crate::write::bulk::{BulkLoad, BulkMode};
use crate::write::transaction::Transaction;

/// How long a range operation waits for another one on the same range.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// A move that somebody asks for.
pub struct MoveRequest<'a> {
    /// What to move.
    pub range: KeyRange,
    /// The name of the tier it goes to: up from slower tiers, down from faster ones.
    pub to: String,
    /// Bytes a second, beside what the policy lets through; `None`: the policy's, shared with its moves.
    pub bytes_per_second: Option<u64>,
    /// Asks it to end.
    pub cancel: &'a Cancel,
    /// Told after every part what that part moved and how far the move is.
    pub progress: &'a dyn Fn(MoveStep),
}

/// One copy of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyReport {
    /// The tier it is in.
    pub tier: String,
    /// What it is.
    pub kind: RecordKind,
    /// Its version.
    pub version: u64,
    /// Its value's bytes.
    pub bytes: u64,
}

/// Why a key is where it is.
#[derive(Debug, Clone)]
pub struct Explanation {
    /// Its copies, fastest tier first. Empty: there is no such key.
    pub copies: Vec<CopyReport>,
    /// Its own heat, if it is read often enough to be tracked.
    pub key_heat: Option<KeyHeat>,
    /// The heat of its range.
    pub range_heat: RangeHeat,
    /// The tier the policy wants it in.
    pub class: String,
    /// The threshold that decided.
    pub rule: String,
    /// Stays, will move up, will move down; and why.
    pub decision: String,
    /// Whether the row cache has it.
    pub in_row_cache: bool,
}

/// Heat by key and by range.
#[derive(Debug, Clone)]
pub struct HeatReport {
    /// The hottest keys with the tier each is in.
    pub keys: Vec<(KeyHeat, String)>,
    /// The hottest ranges with the bytes each has per tier, fastest first.
    pub ranges: Vec<(RangeHeat, Vec<u64>)>,
    /// Memory of the tracker.
    pub tracked_bytes: u64,
}

impl Engine {
    pub(crate) fn inner(&self) -> &Inner {
        &self.inner
    }

    /// Reads a key.
    ///
    /// # Errors
    /// When the key is not allowed or its tier cannot be read.
    pub fn get(&self, key: &[u8]) -> Result<Option<Record>> {
        self.inner.get(key)
    }

    /// Reads a key if the row cache can answer at once; `None`: ask [`get`](Self::get).
    #[must_use]
    pub fn get_cached(&self, key: &[u8]) -> Option<Record> {
        let row = self.inner.row_cache.get(key)?;
        self.inner.heat.record_cached_read(key, row.value().len());
        Some(Record::of_row(row))
    }

    /// Reads keys; answers in the order asked.
    ///
    /// # Errors
    /// When a key is not allowed or a tier cannot be read.
    pub fn multi_get<K: AsRef<[u8]>>(&self, user_keys: &[K]) -> Result<Vec<Option<Record>>> {
        let user_keys: Vec<&[u8]> = user_keys.iter().map(AsRef::as_ref).collect();
        self.inner.multi_get(&user_keys)
    }

    /// Reads keys in the order asked until their values fill `bytes`; answers the first ones, at least one.
    ///
    /// Takes no more memory than that and one value of the largest size. [`multi_get`](Self::multi_get) is faster: it asks
    /// for all keys at once.
    ///
    /// # Errors
    /// When a key is not allowed or a tier cannot be read.
    pub fn multi_get_within<K: AsRef<[u8]>>(&self, user_keys: &[K], bytes: usize) -> Result<Vec<Option<Record>>> {
        let user_keys: Vec<&[u8]> = user_keys.iter().map(AsRef::as_ref).collect();
        self.inner.multi_get_within(&user_keys, bytes)
    }

    /// Sets a key; returns its version.
    ///
    /// # Errors
    /// When key or value is not allowed, or writes are refused.
    pub fn put(&self, key: &[u8], value: &[u8], durability: Durability) -> Result<u64> {
        self.inner.write_one(key, Some(value), durability)
    }

    /// Removes a key; returns the version of the removal.
    ///
    /// # Errors
    /// When the key is not allowed, or writes are refused.
    pub fn delete(&self, key: &[u8], durability: Durability) -> Result<u64> {
        self.inner.write_one(key, None, durability)
    }

    /// Writes a batch, all or nothing, if every condition holds.
    ///
    /// # Errors
    /// When writes are refused. A condition that does not hold is an outcome, not an error.
    pub fn write(&self, batch: &Batch, conditions: &[Condition], durability: Durability) -> Result<WriteOutcome> {
        self.inner.write_batch(batch, conditions, durability)
    }

    /// Begins a batch with savepoints; dropping it rolls it back.
    pub fn begin_batch(&self) -> Transaction {
        Transaction::new(self.clone(), Batch::default())
    }

    /// The store as it is now: point reads and scans that see no later write.
    ///
    /// # Errors
    /// When buffered writes cannot be written first.
    pub fn snapshot(&self) -> Result<Snapshot<'_>> {
        self.inner.snapshot()
    }

    /// Copies the store as it is now into a new folder, where it opens like any store.
    ///
    /// # Errors
    /// When the folder exists or cannot be written.
    pub fn checkpoint(&self, folder: &Path) -> Result<()> {
        self.inner.checkpoint(folder)
    }

    /// Begins a bulk load.
    ///
    /// # Errors
    /// When writes are refused.
    pub fn bulk_load(&self, mode: BulkMode) -> Result<BulkLoad> {
        BulkLoad::new(self.clone(), mode)
    }

    /// Replaces the policy of moves between media.
    ///
    /// # Errors
    /// When it names tiers that are not there or values that are not allowed; the old one stays.
    pub fn set_policy(&self, policy: &Policy) -> Result<()> {
        let names: Vec<&str> = self.inner.tiers.iter().map(|t| t.name()).collect();
        let valid = super::open::fitted(policy, &names).validate(&names)?;
        self.inner.heat.with(|tracker, _| tracker.set_half_life(valid.half_life()));
        self.inner.policy.store(std::sync::Arc::new(valid));
        Ok(())
    }

    /// Changes size, reserve, watermarks and throttle of a tier.
    ///
    /// # Errors
    /// When there is no such tier or the numbers contradict themselves.
    pub fn set_tier_settings(&self, tier: &str, settings: TierSettings) -> Result<()> {
        let index = self.inner.tier_named(tier)?;
        settings.check(tier).map_err(crate::EngineError::Invalid)?;
        self.inner.space.set_reserve(index, settings.reserve_bytes);
        self.inner.tiers[index].set_settings(settings);
        Ok(())
    }

    /// Classifies now and carries out the moves chosen.
    ///
    /// # Errors
    /// When a move fails; what was moved stays moved.
    pub fn reclassify(&self) -> Result<Moved> {
        self.inner.reclassify()
    }

    /// Moves a range to a tier: what is in slower tiers is copied up, what is in faster ones moves down.
    ///
    /// # Errors
    /// When there is no such tier, the range is held, or the move is cancelled; what was moved stays moved.
    pub fn move_range(&self, request: &MoveRequest<'_>) -> Result<Moved> {
        let inner = &*self.inner;
        let to = inner.tier_named(&request.to)?;
        let _running = inner.mover.run();
        let own = Bucket::default();
        let pace = match request.bytes_per_second {
            Some(rate) => Some(Pace { rate, budget: &own }),
            None => inner.policy_pace(),
        };
        let lease = inner.leases.acquire(&inner.database, &request.range, Holder::Mover, PATIENCE)?;
        // Whoever has data moved there does not take it away.
        inner.tiers[to].set_leaving(false);
        let moved = self.move_leased(&lease, request, to, pace);
        drop(lease);
        // Whoever had this moved wants the space, and may want to take the tier away.
        (0..to).for_each(|tier| inner.all_left_is_due(tier));
        inner.compact_due(moved)
    }

    fn move_leased(
        &self,
        lease: &RangeLease,
        request: &MoveRequest<'_>,
        to: usize,
        pace: Option<Pace<'_>>,
    ) -> Result<Moved> {
        let inner = &*self.inner;
        inner.buffered.flush(&inner.database)?;
        let course = Course::of(inner, &request.range, to)?;
        let progress = |part: Part<'_>| (request.progress)(course.step(inner, &part));
        let mut moved = Moved::default();
        for from in 0..to {
            moved += inner.demote(
                lease,
                &Demotion {
                    from,
                    to,
                    reason: MoveReason::Manual,
                    keep: &|_| false,
                    pace,
                    cancel: request.cancel,
                    progress: &progress,
                    enough: u64::MAX,
                },
            )?;
        }
        let promotion = Promotion { reason: MoveReason::Manual, pace, cancel: request.cancel, progress: &progress };
        moved += inner.promote_range(lease, to, &promotion)?;
        inner.heat.with(|tracker, now| tracker.note_moved(&request.range, now));
        Ok(moved)
    }

    /// Moves everything out of a tier, so that the store can be opened without it. Once that is done the policy moves
    /// nothing back, until the store opens again or [`move_range`](Self::move_range) goes there.
    ///
    /// # Errors
    /// When it is the fastest, there is no such tier, or the move is cancelled.
    pub fn empty_tier(&self, tier: &str, cancel: &Cancel) -> Result<Moved> {
        let inner = &*self.inner;
        let index = inner.tier_named(tier)?;
        let _running = inner.mover.run();
        let lease = inner.leases.acquire(&inner.database, &KeyRange::all(), Holder::Mover, PATIENCE)?;
        inner.tiers[index].set_leaving(true);
        let moved = inner.empty_tier(&lease, index, cancel).inspect_err(|_| inner.tiers[index].set_leaving(false))?;
        // A range operation need not wait for this: nothing of the content changes.
        drop(lease);
        inner.compact(index, &KeyRange::all())?;
        Ok(moved)
    }

    /// Why a key is where it is.
    ///
    /// # Errors
    /// When the key is not allowed or its tier cannot be read.
    pub fn explain(&self, key: &[u8]) -> Result<Explanation> {
        crate::write::batch::check_key(key)?;
        self.inner.explain(key)
    }

    /// The hottest keys and ranges.
    ///
    /// # Errors
    /// When sizes cannot be estimated.
    pub fn heat(&self, keys: usize, ranges: usize) -> Result<HeatReport> {
        self.inner.heat_report(keys, ranges)
    }

    /// What a range holds in each tier, estimated without reading it.
    ///
    /// # Errors
    /// When a size cannot be estimated.
    pub fn range_size(&self, range: &KeyRange) -> Result<RangeSize> {
        self.inner.range_size(range)
    }

    /// A key with about as many bytes of the range before it as from it on: found by estimates, or by reading where the range
    /// is small. `None` where it has fewer than two keys.
    ///
    /// # Errors
    /// When a tier cannot be read.
    pub fn middle_key(&self, range: &KeyRange) -> Result<Option<Bytes>> {
        self.inner.middle_key(range)
    }

    /// Reads every copy of every key of a range at one moment and checks that no faster tier is older than a slower one
    /// and that every clean copy has its source. Beside traffic and moves; it reads the whole range once.
    ///
    /// # Errors
    /// When a tier cannot be read. What breaks an invariant is in the report.
    pub fn audit(&self, range: &KeyRange) -> Result<AuditReport> {
        self.inner.audit(range)
    }

    /// Everything that is counted.
    #[must_use]
    pub fn stats(&self) -> EngineStats {
        self.inner.stats()
    }

    /// Whether it serves.
    #[must_use]
    pub fn health(&self) -> Health {
        self.inner.health()
    }

    /// RocksDB's statistics and ours, as text for a person.
    #[must_use]
    pub fn print_stats(&self) -> String {
        self.inner.print_stats()
    }

    /// Asks devices for their free space now instead of at the next interval.
    pub fn refresh_space(&self) {
        self.inner.refresh_space();
    }

    /// Writes the write buffers of the fastest tier to files, as happens by itself when they are full.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn flush(&self) -> Result<()> {
        let inner = &*self.inner;
        inner.buffered.flush(&inner.database)?;
        let flushed = inner.database.raw().flush_cf(inner.database.tier(0));
        inner.database.judge(flushed, "flush the fastest tier")
    }

    /// Makes everything written so far survive a power loss, but the records of an unlogged bulk load that has not
    /// finished; returns the last version up to which everything does.
    ///
    /// # Errors
    /// When the log cannot be synced.
    pub fn sync(&self) -> Result<u64> {
        self.inner.sync()
    }

    /// Closes the store: ends moves, writes what is buffered, syncs. Dropping the last handle does the same, but can
    /// only log what goes wrong.
    ///
    /// # Errors
    /// When heat cannot be written, or buffered writes cannot: those are lost with the last handle
    /// ([`BufferLost`](crate::EngineError::BufferLost)).
    pub fn close(self) -> Result<()> {
        // Only from a handle can another one be made: with one left it stays one.
        let last = std::sync::Arc::strong_count(&self.background) == 1;
        self.background.close(last)
    }
}

impl Inner {
    fn explain(&self, key: &[u8]) -> Result<Explanation> {
        let data_key = keys::encode(key);
        let mut copies = Vec::new();
        let mut placed_in = None;
        for tier in 0..self.database.tier_count() {
            if let Some(found) = self.find_in_tier(tier, key, &data_key, false)? {
                placed_in.get_or_insert(tier);
                copies.push(CopyReport {
                    tier: self.tiers[tier].name().to_owned(),
                    kind: found.kind,
                    version: found.version,
                    bytes: found.value.len() as u64,
                });
            }
        }
        let (key_heat, range_heat, range_keys) = self.heat.with(|tracker, now| {
            let range = tracker.range_heat(key, now);
            let mut around = tracker.admitted_keys(now);
            around.retain(|k| range.range.contains(&k.key));
            (tracker.key_heat(key, now), range, around)
        });
        let range = self.range_input(range_heat.clone())?;
        let answer = explain(&ExplainInput {
            key: key_heat.as_ref(),
            range: &range,
            range_keys: &range_keys,
            policy: &self.policy.load(),
            tiers: &self.tier_states(),
            placed_in,
            frozen: self.mover.frozen.load(std::sync::atomic::Ordering::Relaxed),
        });
        Ok(Explanation {
            copies,
            key_heat,
            range_heat,
            class: answer.class,
            rule: answer.rule,
            decision: answer.decision,
            in_row_cache: self.row_cache.holds(key),
        })
    }

    fn heat_report(&self, keys: usize, ranges: usize) -> Result<HeatReport> {
        let (top, hottest) =
            self.heat.with(|tracker, now| (tracker.top_keys(keys, now), tracker.hottest_ranges(ranges, now)));
        let named = |heat: KeyHeat| -> Result<(KeyHeat, String)> {
            let tier = self.placed_in(&heat)?;
            Ok((heat, tier.map_or_else(String::new, |tier| self.tiers[tier].name().to_owned())))
        };
        let sized = |heat: RangeHeat| -> Result<(RangeHeat, Vec<u64>)> {
            let input = self.range_input(heat)?;
            Ok((input.heat, input.bytes))
        };
        Ok(HeatReport {
            keys: top.into_iter().map(named).collect::<Result<_>>()?,
            ranges: hottest.into_iter().map(sized).collect::<Result<_>>()?,
            tracked_bytes: self.heat.memory_bytes(),
        })
    }
}
