//! Where a shard is in the key space.

use bytes::Bytes;
use thermocline_engine::{KeyRange, MAX_VERSION};
use thermocline_proto::replica::v1 as wire;

use crate::{Epoch, ShardId};

/// Writes that one entry of a log may hold: the low bits of a version tell them apart.
pub const MAX_WRITES_PER_ENTRY: usize = 1 << VERSION_BITS;
const VERSION_BITS: u32 = 10;

/// A shard's part of the key space, and what versions its writes have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardDescriptor {
    /// The shard.
    pub shard: ShardId,
    /// Its keys.
    pub range: KeyRange,
    /// How often range or shard have changed: what was routed by another epoch is refused.
    pub epoch: Epoch,
    /// Versions of its writes lie above this one, and with it above those of every shard that its keys were in.
    pub version_base: u64,
}

impl From<&ShardDescriptor> for wire::Descriptor {
    fn from(descriptor: &ShardDescriptor) -> Self {
        let ShardDescriptor { shard, range, epoch, version_base } = descriptor;
        Self {
            shard: shard.0,
            start: Bytes::copy_from_slice(range.start()),
            end: Bytes::copy_from_slice(range.end().unwrap_or_default()),
            epoch: epoch.0,
            version_base: *version_base,
        }
    }
}

/// A range that ends before it starts.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the range of a shard ends before it starts")]
pub struct RangeError;

impl TryFrom<wire::Descriptor> for ShardDescriptor {
    type Error = RangeError;

    fn try_from(message: wire::Descriptor) -> Result<Self, RangeError> {
        Ok(Self {
            shard: ShardId(message.shard),
            range: KeyRange::new(message.start, message.end).ok_or(RangeError)?,
            epoch: Epoch(message.epoch),
            version_base: message.version_base,
        })
    }
}

/// Why a shard cannot be split.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SplitError {
    /// The shard was split or merged since.
    #[error("split by epoch {asked}, but the shard is at {now}: read its descriptor again")]
    Epoch {
        /// The epoch that the split was decided by.
        asked: Epoch,
        /// The shard's.
        now: Epoch,
    },
    /// One of the parts would have no keys.
    #[error("a shard is split at a key inside of it, behind its first one")]
    Key,
}

/// Two shards that are no neighbours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{right} does not begin where {left} ends")]
pub struct NotAdjacent {
    /// The one.
    pub left: ShardId,
    /// The other.
    pub right: ShardId,
}

impl ShardDescriptor {
    /// The version of the `number`-th write of an entry; `None` when there are no more versions.
    #[must_use]
    pub fn version(&self, index: u64, number: usize) -> Option<u64> {
        debug_assert!(number < MAX_WRITES_PER_ENTRY);
        let within = index.checked_mul(1 << VERSION_BITS)?.checked_add(number as u64)?;
        self.version_base.checked_add(within).filter(|version| *version <= MAX_VERSION)
    }

    /// What is left of it, and the shard `right` of the keys from `at` on, when the entry at `index` splits it.
    ///
    /// # Errors
    /// When it has changed since epoch `asked`, or `at` is not inside of it.
    pub fn split(&self, asked: Epoch, at: &[u8], right: ShardId, index: u64) -> Result<(Self, Self), SplitError> {
        if asked != self.epoch {
            return Err(SplitError::Epoch { asked, now: self.epoch });
        }
        if at <= self.range.start() || !self.range.contains(at) {
            return Err(SplitError::Key);
        }
        let end = self.range.end().unwrap_or_default();
        let left = KeyRange::new(self.range.start(), at).ok_or(SplitError::Key)?;
        let rest = KeyRange::new(at, end).ok_or(SplitError::Key)?;
        let epoch = self.epoch.next();
        // The new log begins anew, so its indices say nothing of what was written here.
        let version_base = self.version(index, MAX_WRITES_PER_ENTRY - 1).unwrap_or(MAX_VERSION);
        let left = Self { shard: self.shard, range: left, epoch, version_base: self.version_base };
        Ok((left, Self { shard: right, range: rest, epoch, version_base }))
    }

    /// The shard with the keys of its right neighbour, which takes no writes behind the entry at `frozen_at` of its own log.
    ///
    /// # Errors
    /// When the other one is no right neighbour.
    pub fn absorb(&self, right: &Self, frozen_at: u64) -> Result<Self, NotAdjacent> {
        if self.range.end() != Some(right.range.start()) {
            return Err(NotAdjacent { left: self.shard, right: right.shard });
        }
        // The neighbour's log ends here, so its indices say nothing of what is written from here on.
        let last = right.version(frozen_at, MAX_WRITES_PER_ENTRY - 1).unwrap_or(MAX_VERSION);
        Ok(Self {
            shard: self.shard,
            range: self.range.hull(&right.range),
            epoch: self.epoch.max(right.epoch).next(),
            version_base: self.version_base.max(last),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn whole() -> ShardDescriptor {
        ShardDescriptor { shard: ShardId(1), range: KeyRange::new("b", "m").unwrap(), epoch: Epoch(3), version_base: 7 }
    }

    #[test]
    fn a_shard_that_absorbs_its_neighbour_has_the_keys_of_both_a_newer_epoch_and_versions_above_all_that_were_given() {
        let (left, right) = whole().split(Epoch(3), b"g", ShardId(2), 40).unwrap();
        let right = ShardDescriptor { epoch: Epoch(9), ..right };
        let merged = left.absorb(&right, 700).unwrap();
        assert_eq!((merged.shard, &merged.range, merged.epoch), (ShardId(1), &whole().range, Epoch(10)));
        assert!(merged.version(1, 0).unwrap() > right.version(700, MAX_WRITES_PER_ENTRY - 1).unwrap());
        assert!(merged.version(41, 0).unwrap() > left.version(41, 0).unwrap());
        // The other way round its own are the higher ones.
        let late = ShardDescriptor { version_base: 1 << 40, ..left };
        assert!(late.absorb(&right, 700).unwrap().version(2, 0).unwrap() > late.version(1, 0).unwrap());
    }

    #[test]
    fn only_the_right_neighbour_is_absorbed() {
        let (left, right) = whole().split(Epoch(3), b"g", ShardId(2), 40).unwrap();
        assert!(right.absorb(&left, 1).is_err() && left.absorb(&left, 1).is_err());
        let far = ShardDescriptor { range: KeyRange::new("h", "m").unwrap(), ..right };
        let refused = NotAdjacent { left: ShardId(1), right: ShardId(2) };
        assert_eq!(left.absorb(&far, 1), Err(refused));
        let last = ShardDescriptor { range: KeyRange::new("g", "").unwrap(), ..far };
        assert!(last.absorb(&left, 1).is_err(), "behind the last key there is nobody");
    }

    #[test]
    fn a_split_leaves_no_key_without_a_shard_and_none_with_two() {
        let (left, right) = whole().split(Epoch(3), b"g", ShardId(2), 40).unwrap();
        assert_eq!((left.range.start(), left.range.end()), (&b"b"[..], Some(&b"g"[..])));
        assert_eq!((right.range.start(), right.range.end()), (&b"g"[..], Some(&b"m"[..])));
        assert_eq!((left.shard, right.shard), (ShardId(1), ShardId(2)));
        assert_eq!((left.epoch, right.epoch), (Epoch(4), Epoch(4)));
    }

    #[test]
    fn versions_of_a_shard_that_split_off_lie_above_all_that_were_given_before() {
        let before = whole();
        let (left, right) = before.split(Epoch(3), b"g", ShardId(2), 40).unwrap();
        let last = before.version(40, MAX_WRITES_PER_ENTRY - 1).unwrap();
        assert!(right.version(0, 0).unwrap() >= last && right.version(1, 0).unwrap() > last);
        assert_eq!(left.version(41, 0).unwrap(), last + 1);
    }

    #[test]
    fn a_split_is_refused_at_a_key_that_leaves_a_part_empty_or_by_an_old_epoch() {
        for at in [&b"a"[..], b"b", b"m", b"z"] {
            assert_eq!(whole().split(Epoch(3), at, ShardId(2), 1), Err(SplitError::Key));
        }
        let old = SplitError::Epoch { asked: Epoch(2), now: Epoch(3) };
        assert_eq!(whole().split(Epoch(2), b"g", ShardId(2), 1), Err(old));
    }

    #[test]
    fn versions_end_before_the_engine_refuses_them() {
        assert_eq!(whole().version(u64::MAX >> VERSION_BITS, 0), None);
        assert!(whole().version(1 << 50, MAX_WRITES_PER_ENTRY - 1).unwrap() <= MAX_VERSION);
    }
}
