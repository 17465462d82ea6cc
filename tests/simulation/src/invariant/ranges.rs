//! Every key has one owner: a shard's range is one per epoch, and the newest ranges cover the keys once, without a gap.

use std::collections::{BTreeMap, BTreeSet};

use thermocline_engine::KeyRange;
use thermocline_shard::{Epoch, ShardDescriptor, ShardId};

use super::{Held, Violation};

/// The descriptors that were ever in force.
#[derive(Debug, Default)]
pub struct Ranges {
    known: BTreeMap<(ShardId, Epoch), KeyRange>,
    /// Shards that are parts of others now.
    absorbed: BTreeSet<ShardId>,
}

impl Ranges {
    /// Descriptors that came into force together, at some replica.
    ///
    /// # Errors
    /// When one has another range than at another replica, or keys have two owners or none.
    pub fn told(&mut self, descriptors: &[ShardDescriptor]) -> Held {
        for descriptor in descriptors {
            let key = (descriptor.shard, descriptor.epoch);
            let known = self.known.entry(key).or_insert_with(|| descriptor.range.clone());
            if *known != descriptor.range {
                let (shard, epoch) = key;
                let said = format!("{shard} at {epoch} is {known:?} here and {:?} there", descriptor.range);
                return Err(Violation::of("one range per epoch", said));
            }
        }
        self.tile()
    }

    /// Shards became parts of others; who has their keys is told next.
    pub fn absorbed(&mut self, shards: impl IntoIterator<Item = ShardId>) {
        self.absorbed.extend(shards);
    }

    /// How many shards became parts of others.
    #[must_use]
    pub fn merges(&self) -> usize {
        self.absorbed.len()
    }

    /// Whether a shard is a part of another one now.
    #[must_use]
    pub fn is_absorbed(&self, shard: ShardId) -> bool {
        self.absorbed.contains(&shard)
    }

    /// How many shards there are.
    #[must_use]
    pub fn shards(&self) -> usize {
        self.newest().len()
    }

    fn newest(&self) -> BTreeMap<ShardId, &KeyRange> {
        // In order of epochs: the last one of a shard stays.
        let there = self.known.iter().filter(|((shard, _), _)| !self.absorbed.contains(shard));
        there.map(|((shard, _), range)| (*shard, range)).collect()
    }

    fn tile(&self) -> Held {
        let mut newest: Vec<&KeyRange> = self.newest().into_values().collect();
        newest.sort_by(|left, right| left.start().cmp(right.start()));
        let mut upto = Some(&[][..]);
        for range in &newest {
            if upto != Some(range.start()) {
                let said = format!("keys from {upto:?} on have no owner or two: the next range is {range:?}");
                return Err(Violation::of("one owner per key", said));
            }
            upto = range.end();
        }
        if newest.is_empty() || upto.is_none() {
            return Ok(());
        }
        Err(Violation::of("one owner per key", format!("keys from {upto:?} on have no owner")))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn shard(number: u64, epoch: u64, start: &str, end: &str) -> ShardDescriptor {
        let range = KeyRange::new(start, end).unwrap();
        ShardDescriptor { shard: ShardId(number), range, epoch: Epoch(epoch), version_base: 0 }
    }

    #[test]
    fn a_split_that_leaves_every_key_with_one_owner_passes_wherever_it_is_told_of() {
        let mut ranges = Ranges::default();
        ranges.told(&[shard(1, 1, "", "")]).unwrap();
        ranges.told(&[shard(1, 2, "", "m"), shard(2, 2, "m", "")]).unwrap();
        ranges.told(&[shard(1, 1, "", "")]).unwrap();
        ranges.told(&[shard(1, 2, "", "m"), shard(2, 2, "m", "")]).unwrap();
        assert_eq!(ranges.shards(), 2);
    }

    #[test]
    fn keys_without_an_owner_or_with_two_are_found() {
        for wrong in [
            &[shard(1, 1, "b", "")][..],
            &[shard(1, 1, "", "m")],
            &[shard(1, 1, "", "m"), shard(2, 1, "n", "")],
            &[shard(1, 1, "", "n"), shard(2, 1, "m", "")],
            &[shard(1, 1, "", ""), shard(2, 1, "m", "")],
        ] {
            assert_eq!(Ranges::default().told(wrong).unwrap_err().invariant, "one owner per key", "{wrong:?}");
        }
    }

    #[test]
    fn a_merge_that_leaves_every_key_with_one_owner_passes_and_one_that_loses_or_doubles_keys_is_found() {
        let two = || {
            let mut ranges = Ranges::default();
            ranges.told(&[shard(1, 2, "", "m"), shard(2, 2, "m", "")]).unwrap();
            ranges
        };
        let mut ranges = two();
        ranges.absorbed([ShardId(2)]);
        ranges.told(&[shard(1, 3, "", "")]).unwrap();
        assert_eq!((ranges.shards(), ranges.merges()), (1, 1));
        ranges.told(&[shard(2, 2, "m", "")]).unwrap();
        // Nobody said that the other one is a part of it now.
        assert!(two().told(&[shard(1, 3, "", "")]).is_err());
        let mut lost = two();
        lost.absorbed([ShardId(2)]);
        assert!(lost.told(&[shard(1, 3, "", "m")]).is_err());
    }

    #[test]
    fn two_ranges_of_one_epoch_are_found() {
        let mut ranges = Ranges::default();
        ranges.told(&[shard(1, 1, "", "")]).unwrap();
        ranges.told(&[shard(1, 2, "", "m"), shard(2, 2, "m", "")]).unwrap();
        let other = ranges.told(&[shard(1, 2, "", "k"), shard(2, 2, "k", "")]);
        assert_eq!(other.unwrap_err().invariant, "one range per epoch");
    }
}
