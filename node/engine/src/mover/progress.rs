//! How far a move is, by what its sources held of the range when it began: the one figure that means the same for
//! records of any size and compression.

use super::Moved;
use crate::engine::Inner;
use crate::error::Result;
use crate::format::keys;
use crate::range::KeyRange;

/// What is told when a part of a move is done: before its end no share of 100.
const LARGEST: u64 = 99;

/// A part of a move that is done.
pub(crate) struct Part<'a> {
    /// The tier it left, or was copied from.
    pub(crate) from: usize,
    pub(crate) moved: Moved,
    /// What of the range is still to be gone through in that tier.
    pub(crate) rest: Option<&'a KeyRange>,
}

/// A part of a move that is done, as whoever asked for the move is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MoveStep {
    /// What this part moved.
    pub moved: Moved,
    /// How much of the move is done with it, 0 to 99; an estimate that may go back where others write the range.
    pub percent: u8,
}

/// What a move has to go through.
pub(crate) struct Course {
    /// Tiers in the order in which they are gone through, with the bytes of the range that each held at the begin.
    sources: Vec<(usize, u64)>,
}

impl Course {
    /// Of a move of this range to a tier, before its first part.
    pub(crate) fn of(inner: &Inner, range: &KeyRange, to: usize) -> Result<Self> {
        let sources = (0..inner.database.tier_count()).filter(|tier| *tier != to);
        Ok(Self { sources: sources.map(|tier| Ok((tier, bytes(inner, tier, range)?))).collect::<Result<_>>()? })
    }

    /// What is told of a part that is done.
    pub(crate) fn step(&self, inner: &Inner, part: &Part<'_>) -> MoveStep {
        // Only figures depend on the estimate: where it fails the tier counts as done.
        let rest = part.rest.map_or(0, |rest| bytes(inner, part.from, rest).unwrap_or(0));
        MoveStep { moved: part.moved, percent: self.percent(part.from, rest) }
    }

    fn percent(&self, from: usize, rest: u64) -> u8 {
        let total: u64 = self.sources.iter().map(|(_, held)| held).sum();
        let mut behind = 0;
        for (tier, held) in &self.sources {
            if *tier == from {
                behind += held.saturating_sub(rest);
                break;
            }
            behind += held;
        }
        let share = u128::from(behind) * 100 / u128::from(total.max(1));
        u8::try_from(share.min(u128::from(LARGEST))).unwrap_or(0)
    }
}

fn bytes(inner: &Inner, tier: usize, range: &KeyRange) -> Result<u64> {
    let (start, end) = keys::bounds(range);
    inner.database.approximate_bytes(tier, &start, &end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiers_that_are_gone_through_count_whole_and_the_end_is_never_told_early() {
        let course = Course { sources: vec![(0, 100), (2, 300)] };
        assert_eq!(course.percent(0, 100), 0);
        assert_eq!(course.percent(0, 40), 15);
        assert_eq!(course.percent(0, 0), 25);
        assert_eq!(course.percent(2, 150), 62);
        assert_eq!(course.percent(2, 0), 99);
        assert_eq!(course.percent(0, 900), 0, "somebody wrote more than there was");
        assert_eq!(Course { sources: vec![(0, 0)] }.percent(0, 0), 0, "nothing to estimate by");
    }
}
