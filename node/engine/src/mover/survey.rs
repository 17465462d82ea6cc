//! What the classifier is told of the store: its tiers, its ranges, and where the keys are that are judged by themselves.

use std::time::Duration;

use crate::classify::{KeyInput, RangeInput, TierState};
use crate::engine::Inner;
use crate::error::{EngineError, Result};
use crate::format::keys;
use crate::heat::{KeyHeat, RangeHeat, ServedBy};

impl Inner {
    /// The tiers as the classifier sees them.
    pub(crate) fn tier_states(&self) -> Vec<TierState> {
        (0..self.tiers.len()).map(|tier| self.tier_state(tier)).collect()
    }

    pub(super) fn tier_state(&self, tier: usize) -> TierState {
        let settings = self.tiers[tier].settings();
        let used_bytes = self.database.tier_bytes(tier);
        TierState {
            name: self.tiers[tier].name().to_owned(),
            capacity_bytes: self.space.capacity(tier, settings.size_bytes, used_bytes),
            used_bytes,
            high_watermark: settings.high_watermark,
            low_watermark: settings.low_watermark,
            accepts_moves: !self.space.under_reserve(tier)
                && !self.is_blocked_by_damage(tier)
                && !self.tiers[tier].is_leaving(),
        }
    }

    /// The ranges, and the admitted keys with the tier each is in. There may be millions of these, and to look one up is
    /// a read of its record: it is done for so long, the hottest first, and the others are where they were last seen.
    pub(super) fn survey(&self, look_up_for: Duration) -> Result<(Vec<RangeInput>, Vec<KeyInput>)> {
        let (ranges, admitted) = self.heat.with(|tracker, now| (tracker.ranges(now), tracker.admitted_keys(now)));
        let densities = self.densities();
        let ranges =
            ranges.into_iter().map(|heat| self.range_input_at(heat, &densities)).collect::<Result<Vec<_>>>()?;
        self.heat.with(|tracker, _| {
            for range in &ranges {
                tracker.set_stored_bytes(range.heat.range.start(), range.bytes.iter().sum());
            }
        });
        let mut keys = Vec::with_capacity(admitted.len());
        let mut seen = Vec::new();
        let clock = &*self.environment.clock;
        let started = clock.monotonic();
        for heat in admitted {
            self.check_open()?;
            let last_seen = self.last_seen_in(&heat);
            let tier = if clock.monotonic().saturating_sub(started) < look_up_for {
                let found = self.placed_in(&heat)?;
                seen.extend(found.filter(|tier| Some(*tier) != last_seen).map(|tier| (heat.key.clone(), tier)));
                found
            } else {
                // One that nobody has seen is taken to be in the fastest: what is not there cannot leave it.
                last_seen.or(Some(0))
            };
            if let Some(tier) = tier {
                keys.push(KeyInput { heat, tier, moved_ago: None });
            }
        }
        self.heat.with(|tracker, _| seen.iter().for_each(|(key, tier)| tracker.note_placed(key, *tier)));
        Ok((ranges, keys))
    }

    pub(crate) fn placed_in(&self, heat: &KeyHeat) -> Result<Option<usize>> {
        let data_key = keys::encode(&heat.key);
        for tier in 0..self.database.tier_count() {
            match self.header_in_tier(tier, &data_key) {
                Ok(Some(_)) => return Ok(Some(tier)),
                Ok(None) => {}
                // Where it is cannot be read: it is not moved.
                Err(EngineError::Corrupt { .. }) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    fn last_seen_in(&self, heat: &KeyHeat) -> Option<usize> {
        match heat.served_by {
            Some(ServedBy::Tier(tier)) => Some(usize::from(tier)).filter(|tier| *tier < self.tiers.len()),
            _ => None,
        }
    }

    /// A range's heat with its bytes per tier, as RocksDB estimates them.
    pub(crate) fn range_input(&self, heat: RangeHeat) -> Result<RangeInput> {
        self.range_input_at(heat, &self.densities())
    }

    fn range_input_at(&self, heat: RangeHeat, densities: &[f64]) -> Result<RangeInput> {
        let (start, end) = keys::bounds(&heat.range);
        let bytes = (0..self.database.tier_count())
            .map(|tier| self.database.approximate_bytes(tier, &start, &end))
            .collect::<Result<Vec<_>>>()?;
        let records: f64 = bytes.iter().zip(densities).map(|(bytes, density)| *bytes as f64 * density).sum();
        Ok(RangeInput { heat, bytes, clean_bytes: Vec::new(), keys: records.ceil() as u64 })
    }

    /// Records a byte in each tier, estimated from the whole tier.
    pub(crate) fn densities(&self) -> Vec<f64> {
        let density = |tier| {
            let records = self.database.property(tier, "rocksdb.estimate-num-keys") as f64;
            records / self.database.tier_bytes(tier).max(1) as f64
        };
        (0..self.database.tier_count()).map(density).collect()
    }
}
