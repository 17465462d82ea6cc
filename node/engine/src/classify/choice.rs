//! What the classifier decides: values, carried out by the mover.

use crate::range::KeyRange;

/// Why data moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MoveReason {
    /// It earned a faster tier.
    Hot,
    /// It fell under its tier's threshold.
    Cold,
    /// Its tier is over its high watermark.
    Pressure,
    /// Something hotter takes its place.
    MakeRoom,
}

impl MoveReason {
    /// The name used in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hot => "hot",
            Self::Cold => "cold",
            Self::Pressure => "pressure",
            Self::MakeRoom => "make-room",
        }
    }
}

/// One move. Moves are carried out in order: one that makes room comes before the one that needs it.
#[derive(Debug, Clone, PartialEq)]
pub enum MoveChoice {
    /// Copy single keys up.
    Promote {
        /// The keys, hottest first.
        keys: Vec<Vec<u8>>,
        /// Index of the tier they are copied to.
        to: usize,
        /// Their bytes.
        bytes: u64,
    },
    /// Copy a whole range up: it is hot throughout.
    PromoteRange {
        /// The range.
        range: KeyRange,
        /// Index of the tier it is copied from.
        from: usize,
        /// Index of the tier it is copied to.
        to: usize,
        /// Bytes to copy.
        bytes: u64,
    },
    /// Move a range down, but for some keys.
    DemoteRange {
        /// The range.
        range: KeyRange,
        /// Index of the tier it leaves.
        from: usize,
        /// Index of the tier it goes to.
        to: usize,
        /// Hot keys of it that stay in `from`, in key order.
        keep: Vec<Vec<u8>>,
        /// Bytes that leave.
        bytes: u64,
        /// Why.
        reason: MoveReason,
    },
}

impl MoveChoice {
    /// Bytes it moves.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        match self {
            Self::Promote { bytes, .. } | Self::PromoteRange { bytes, .. } | Self::DemoteRange { bytes, .. } => *bytes,
        }
    }
}

/// A decision of the classifier.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Classification {
    /// What to move, in order.
    pub moves: Vec<MoveChoice>,
    /// How evenly reads spread over bytes: 1 is uniform. Over [`super::EVEN`] only pressure and unread data move down.
    pub evenness: f64,
    /// Whether threshold moves were held back because the load is even.
    pub frozen: bool,
    /// Moves the policy wanted and the tiers could not take (full, or not accepting).
    pub refused: usize,
}
