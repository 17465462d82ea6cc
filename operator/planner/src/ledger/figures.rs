//! What a ledger counts by.

use crate::Figure;

/// What a node has and can run out of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resource {
    /// Bytes of all tiers.
    Disk,
    /// Processor time.
    Load,
    /// Time of its devices.
    Io,
}

impl Resource {
    pub const ALL: [Self; 3] = [Self::Disk, Self::Load, Self::Io];
    /// Those that imbalance is measured by.
    pub const BALANCED: [Self; 2] = [Self::Disk, Self::Load];

    pub const fn figure(self) -> Figure {
        match self {
            Self::Disk => Figure::DiskPercent,
            Self::Load => Figure::CpuPercent,
            Self::Io => Figure::IoPercent,
        }
    }
}

/// Open moves of a node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub moves_in: u32,
    pub moves_out: u32,
    pub critical_in: u32,
    pub critical_out: u32,
    pub leaders_in: u32,
    pub leaders_out: u32,
}

/// Open moves of the cluster.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ClusterCounts {
    pub moves: u32,
    pub critical: u32,
    pub range_changes: u32,
}

/// What one member more or less changes at a node.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Shift {
    pub place: usize,
    pub bytes: f64,
    pub cpu: f64,
    pub io: f64,
}
