//! The audit: reads every copy of every key at one moment and checks the invariants between the tiers.
//!
//! For people after an incident and for tests. It runs beside traffic and moves, and reads the whole range once.

use rocksdb::{DBRawIteratorWithThreadMode, ReadOptions};

use super::Inner;
use crate::error::{Result, printable_key};
use crate::format::keys;
use crate::format::record::{self, RecordKind, RecordRef};
use crate::range::KeyRange;

/// So many violations are told one by one; all are counted.
const TOLD: usize = 100;

/// What an audit found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditReport {
    /// Keys that have a record, tombstones included.
    pub keys: u64,
    /// Their copies over all tiers.
    pub copies: u64,
    /// Tombstones in the last of several tiers: harmless, left where a slower tier was taken away, until the sweep of the
    /// last tier has been there.
    pub last_tier_tombstones: u64,
    /// Keys that break an invariant.
    pub violation_count: u64,
    /// What is wrong with the first hundred of them: the tier, the key, the invariant.
    pub violations: Vec<String>,
}

/// One copy of the key that is looked at.
struct Copy {
    tier: usize,
    kind: RecordKind,
    version: u64,
}

type TierIterator<'a> = DBRawIteratorWithThreadMode<'a, rocksdb::DB>;

impl Inner {
    pub(super) fn audit(&self, range: &KeyRange) -> Result<AuditReport> {
        self.buffered.flush(&self.database)?;
        let snapshot = self.database.raw().snapshot();
        let (start, end) = keys::bounds(range);
        let mut iterators: Vec<TierIterator<'_>> = (0..self.database.tier_count())
            .map(|tier| {
                let mut read = ReadOptions::default();
                read.set_iterate_lower_bound(start.clone());
                read.set_iterate_upper_bound(end.clone());
                read.fill_cache(false);
                let mut iterator = snapshot.raw_iterator_cf_opt(self.database.tier(tier), read);
                iterator.seek_to_first();
                iterator
            })
            .collect();
        let mut report = AuditReport::default();
        while let Some(data_key) = iterators.iter().filter_map(TierIterator::key).min().map(<[u8]>::to_vec) {
            let copies = self.copies_of(&data_key, &mut iterators)?;
            report.keys += 1;
            report.copies += copies.len() as u64;
            let last = self.database.tier_count() - 1;
            let left = |c: &Copy| c.tier == last && last > 0 && c.kind == RecordKind::Tombstone;
            report.last_tier_tombstones += copies.iter().filter(|c| left(c)).count() as u64;
            if let Some(violation) = self.violation(&copies) {
                report.violation_count += 1;
                if report.violations.len() < TOLD {
                    let key = keys::decode(&data_key).unwrap_or(&data_key);
                    report.violations.push(format!("key {}: {violation}", printable_key(key)));
                }
            }
        }
        for (tier, iterator) in iterators.iter().enumerate() {
            iterator.status().map_err(|error| self.read_error(tier, range.start(), error))?;
        }
        Ok(report)
    }

    /// Every tier's copy of the key, fastest first; the iterators that stood on it move on.
    fn copies_of(&self, data_key: &[u8], iterators: &mut [TierIterator<'_>]) -> Result<Vec<Copy>> {
        let mut copies = Vec::with_capacity(iterators.len());
        for (tier, iterator) in iterators.iter_mut().enumerate() {
            if iterator.key() != Some(data_key) {
                continue;
            }
            if let Some(value) = iterator.value() {
                let user_key = keys::decode(data_key).unwrap_or(data_key);
                let RecordRef { kind, version, payload: _ } =
                    record::decode(value).map_err(|error| self.corrupt(tier, user_key, error.to_string()))?;
                copies.push(Copy { tier, kind, version });
            }
            iterator.next();
        }
        Ok(copies)
    }

    fn violation(&self, copies: &[Copy]) -> Option<String> {
        let name = |copy: &Copy| self.tiers[copy.tier].name();
        for pair in copies.windows(2) {
            if pair[0].version < pair[1].version {
                return Some(format!(
                    "version {} in {} is older than version {} in {}, which is slower (I2)",
                    pair[0].version,
                    name(&pair[0]),
                    pair[1].version,
                    name(&pair[1])
                ));
            }
        }
        // A shadowed clean copy may have lost its source: it leaves with what shadows it.
        let first = copies.first().filter(|c| c.kind == RecordKind::CleanCopy)?;
        let source = copies[1..].iter().any(|c| c.kind == RecordKind::Value && c.version == first.version);
        (!source)
            .then(|| format!("the clean copy of version {} in {} has no source below (I3)", first.version, name(first)))
    }
}
