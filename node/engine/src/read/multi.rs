//! Reading many keys at once: the row cache, then tier by tier what is left, in parallel where it pays.

use bytes::Bytes;

use super::point::{Found, Record};
use super::row_cache::BeforeRead;
use crate::engine::Inner;
use crate::error::Result;
use crate::format::keys;
use crate::format::record::{self, RecordKind};
use crate::limits::MAX_VALUE_BYTES;
use crate::write::batch::check_key;

/// Positions in the call, with what was found.
pub(super) type Answers = Vec<(usize, Option<Record>)>;

/// A key that the row cache did not have.
pub(super) struct Wanted {
    position: usize,
    data_key: Vec<u8>,
    before: BeforeRead,
}

impl Wanted {
    fn key(&self) -> &[u8] {
        keys::decode(&self.data_key).unwrap_or_default()
    }
}

impl Inner {
    /// Reads keys; answers in the order asked.
    pub(crate) fn multi_get(&self, user_keys: &[&[u8]]) -> Result<Vec<Option<Record>>> {
        let (mut answers, wanted) = self.look_in_row_cache(user_keys)?;
        if wanted.is_empty() {
            return Ok(answers);
        }
        let timer = self.stats.read_timer(&self.environment);
        for (position, record) in self.find_all(wanted)? {
            answers[position] = record;
        }
        self.stats.read(timer, &self.environment);
        Ok(answers)
    }

    /// Reads keys in the order asked until their values fill `bytes`; answers the first ones, at least one.
    ///
    /// Never asks for more keys at once than fill it if every value were the largest: their sizes are known only when they
    /// are in memory.
    pub(crate) fn multi_get_within(&self, user_keys: &[&[u8]], bytes: usize) -> Result<Vec<Option<Record>>> {
        let mut answers = Vec::with_capacity(user_keys.len());
        let (mut left, mut timer) = (bytes, None);
        while let Some(rest) = user_keys.get(answers.len()..).filter(|rest| !rest.is_empty())
            && (left > 0 || answers.is_empty())
        {
            let at_once = left.div_ceil(MAX_VALUE_BYTES).clamp(1, rest.len());
            let (mut part, wanted) = self.look_in_row_cache(&rest[..at_once])?;
            if !wanted.is_empty() {
                timer.get_or_insert_with(|| self.stats.read_timer(&self.environment));
                for (position, record) in self.find_some(wanted)? {
                    part[position] = record;
                }
            }
            let read: usize = part.iter().flatten().map(|record| record.value.len()).sum();
            left = left.saturating_sub(read);
            answers.append(&mut part);
        }
        if let Some(timer) = timer {
            self.stats.read(timer, &self.environment);
        }
        Ok(answers)
    }

    fn look_in_row_cache(&self, user_keys: &[&[u8]]) -> Result<(Vec<Option<Record>>, Vec<Wanted>)> {
        let mut answers = vec![None; user_keys.len()];
        let mut wanted = Vec::new();
        for (position, key) in user_keys.iter().copied().enumerate() {
            check_key(key)?;
            if let Some(row) = self.row_cache.get(key) {
                self.heat.record_cached_read(key, row.value().len());
                answers[position] = Some(Record::of_row(row));
                continue;
            }
            let before = self.row_cache.before_read(&self.stripes, key);
            wanted.push(Wanted { position, data_key: keys::encode(key), before });
        }
        Ok((answers, wanted))
    }

    pub(super) fn find_some(&self, mut wanted: Vec<Wanted>) -> Result<Answers> {
        let _reading = self.readers.enter();
        let mut answers = Vec::with_capacity(wanted.len());
        wanted.retain(|want| match self.buffered.get(want.key()) {
            None => true,
            Some(queued) => {
                let version = queued.version;
                answers.push((want.position, queued.value.map(|value| Record { value: value.into(), version })));
                false
            }
        });
        for tier in 0..self.database.tier_count() {
            if wanted.is_empty() {
                break;
            }
            let found = self.find_in(tier, &wanted)?;
            let mut found = found.into_iter();
            let mut left = Vec::new();
            for want in wanted {
                match found.next().flatten() {
                    None => left.push(want),
                    Some(found) => answers.push((want.position, self.answer(&want, found))),
                }
            }
            wanted = left;
        }
        answers.extend(wanted.into_iter().map(|want| (want.position, None)));
        Ok(answers)
    }

    fn find_in(&self, tier: usize, wanted: &[Wanted]) -> Result<Vec<Option<Found>>> {
        let timer = self.stats.tier_timer(&self.environment);
        let pinned = self.tiers[tier].medium_read(&*self.environment.clock, || {
            self.database.raw().batched_multi_get_cf_opt(
                self.database.tier(tier),
                wanted.iter().map(|w| w.data_key.as_slice()),
                false,
                &self.database.point_read,
            )
        });
        let mut found = Vec::with_capacity(wanted.len());
        for (want, answer) in wanted.iter().zip(pinned) {
            let answer = answer.map_err(|error| self.read_error(tier, want.key(), error))?;
            let Some(bytes) = answer else {
                found.push(None);
                continue;
            };
            let decoded = record::decode(&bytes).map_err(|e| self.corrupt(tier, want.key(), e.to_string()))?;
            found.push(Some(Found {
                tier,
                kind: decoded.kind,
                version: decoded.version,
                value: Bytes::copy_from_slice(decoded.payload),
            }));
        }
        let answers = found.iter().flatten().count() as u64;
        if answers > 0 {
            self.tiers[tier].stats.answered(answers, timer, &self.environment);
        }
        Ok(found)
    }

    fn answer(&self, want: &Wanted, found: Found) -> Option<Record> {
        let Found { tier, kind, version, value } = found;
        if kind == RecordKind::Tombstone {
            return None;
        }
        self.heat.record_tier_read(want.key(), value.len(), tier);
        self.row_cache.insert(&self.stripes, want.before, want.key(), version, &value);
        Some(Record { value: value.into(), version })
    }
}
